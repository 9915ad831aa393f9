"""The command line of perdure-server: redis-server's convention, errors that say what to do."""

from __future__ import annotations

import io
import logging
import sys
import types
from pathlib import Path

import pytest

from perdure import cli
from perdure.config import Config
from perdure.directives import DIRECTIVES, GROUPS


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The configurations a stand-in for the server was run with."""
    configs: list[Config] = []
    server = types.ModuleType("perdure.startup")

    def run(config: Config) -> int:
        configs.append(config)
        return 0

    server.__dict__["run"] = run
    monkeypatch.setitem(sys.modules, "perdure.startup", server)
    logger = logging.getLogger("perdure")
    monkeypatch.setattr(logger, "handlers", logger.handlers)
    monkeypatch.setattr(logger, "level", logger.level)
    return configs


def test_without_arguments_the_defaults_run(started: list[Config]) -> None:
    assert cli.main([]) == 0
    assert started[0].port == 6379


def test_directives_follow_the_file_and_win(started: list[Config], tmp_path: Path) -> None:
    path = tmp_path / "x.conf"
    path.write_text("port 1\nhz 20\n")
    assert cli.main([str(path), "--port", "2", "--bind", "127.0.0.1", "::1", "--save", "900", "1"]) == 0
    config = started[0]
    assert (config.port, config.hz, config.bind, config.file) == (2, 20, ("127.0.0.1", "::1"), str(path))
    assert config.get(["save"]) == [("save", "900 1")]


@pytest.mark.parametrize("words", [["-"], ["-", "--port", "7"], ["--port", "7", "-"]])
def test_a_dash_reads_standard_input(started: list[Config], monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hz 20\nport 7\n"))
    assert cli.main(words) == 0
    assert (started[0].hz, started[0].port, started[0].file) == (20, 7, "")


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--requirepass", "--secret"], "requirepass", "--secret"),
        (["--save", "--port", "5"], "port", "5"),
        (["--save"], "save", ""),
        (["--save", "900 1"], "save", "900 1"),
        (["--port=5"], "port", "5"),
        (["--port 5"], "port", "5"),
        (["--port '5'", "--hz 20"], "port", "5"),
        (["--hz", "20", "--port  5"], "port", "5"),
        (["--proc-title-template --my--title", "--hz 20"], "proc-title-template", "--my--title"),
        (["--PORT", "5"], "port", "5"),
        (["--proc-title-template", "--save", "--save"], "proc-title-template", "--save"),
        (["/dev/null", "port", "5", "--hz", "20"], "port", "5"),
        (["--slowlog-log-slower-than", "-1"], "slowlog-log-slower-than", "-1"),
    ],
)
def test_where_a_value_ends(started: list[Config], words: list[str], name: str, value: str) -> None:
    assert cli.main(words) == 0
    assert started[0].get([name]) == [(name, value)]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--prot", "1"], "unknown directive 'prot' (did you mean 'port'?)"),
        (["--port", "1", "--foo", "2"], "unknown directive 'foo'"),
        (["--port"], "'port': wrong number of arguments: needs one value (<port>), got none"),
        (["--port", "1", "2"], "'port \"1\" \"2\"': wrong number of arguments: needs one value (<port>), got 2"),
        (["--port", "--loglevel", "verbose"],
         "'port \"--loglevel\" \"verbose\"': wrong number of arguments: needs one value (<port>), got 2"),
        (["--port", "x"], "'port \"x\"': argument couldn't be parsed into an integer"),
        (["--port", "70000"], "'port \"70000\"': argument must be between 0 and 65535 inclusive"),
        (["-p", "1"], "unknown option '-p': directives are written --name value, see perdure-server --help"),
        (["/no/such.conf"], "cannot read configuration file /no/such.conf: No such file or directory"),
        (["--sentinel"], "--sentinel: there is no Sentinel mode: run one server and let the service manager restart it"),
        (["--hz", "5", "--test-memory", "9"], "--test-memory: there is no memory test: use memtester or memtest86+"),
        (["--replicaof", "h", "1"],
         "'replicaof \"h\" \"1\"': replication is not built in yet: remove this line to start as a master"),
        (["--help", "prot"], "unknown directive 'prot' (did you mean 'port'?)"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_1(
    started: list[Config], capsys: pytest.CaptureFixture[str], words: list[str], problem: str
) -> None:
    assert cli.main(words) == 1
    assert capsys.readouterr().err == f"perdure-server: {problem}\n"
    assert not started


def test_messages_go_to_the_logfile_from_the_level_on(started: list[Config], tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert cli.main(["--logfile", str(path), "--loglevel", "warning"]) == 0
    log = logging.getLogger("perdure")
    log.info("quiet")
    log.warning("loud")
    started[0].set([("loglevel", "notice")])
    log.info("heard")
    assert [line.split()[-1] for line in path.read_text().splitlines()] == ["loud", "heard"]


def test_a_logfile_that_cannot_be_written_is_told(started: list[Config], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--logfile", "/no/such/log"]) == 1
    assert capsys.readouterr().err == (
        "perdure-server: cannot write to logfile /no/such/log: No such file or directory\n"
    )


def test_help_fits_the_terminal_and_names_what_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    for group in GROUPS:
        for directive in group.directives:
            usable = not (group.why or directive.later or directive.only)
            assert (f"  --{directive.name} " in text) == usable, directive.name


@pytest.mark.parametrize("name", [directive.name for directive in DIRECTIVES])
def test_help_tells_about_each_directive(name: str) -> None:
    assert cli.help_text([name]).startswith(f"--{name} ")


def test_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("perdure-server ")
