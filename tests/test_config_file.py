"""redis.conf: what is read, what is refused, and what CONFIG REWRITE leaves behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.config import Config, ConfigError
from perdure.config_file import load_file, load_text, quote, rewrite, rewritten
from perdure.directives import DIRECTIVES


def loaded(text: str) -> Config:
    config = Config()
    load_text(config, text, "perdure.conf")
    return config


@pytest.mark.parametrize(
    ("line", "password"),
    [
        ("requirepass plain#word", "plain#word"),
        ('  requirepass\t"a b"  ', "a b"),
        ("requirepass 'a \"b\\' c'", "a \"b' c"),
        (r'requirepass "\x41\n\"\\\xc3\xa9"', 'A\n"\\é'),
        (r'requirepass "\xff"', "\udcff"),
        ("requirepass é", "é"),
        ('requirepass ""', ""),
    ],
)
def test_a_word_may_be_quoted(line: str, password: str) -> None:
    assert loaded(line).requirepass == password


@pytest.mark.parametrize("word", ["", "a", "a b", 'say "hi"', "it's", "#x", "é", "\udcff\n\0", "back\\slash"])
def test_a_word_written_is_read_back(word: str) -> None:
    assert loaded("requirepass " + quote(word)).requirepass == word


def test_later_lines_win_and_save_lines_add_up() -> None:
    config = loaded("# a comment\n\nport 1\nPORT 2\nsave 900 1\nsave 300 10 60 10000\n")
    assert config.port == 2
    assert config.get(["save"]) == [("save", "900 1 300 10 60 10000")]
    assert loaded('save 900 1\nsave ""\n').get(["save"]) == [("save", "")]
    assert loaded("").get(["save"]) == [("save", "3600 1 300 100 60 10000")]


def test_what_the_redis_conf_of_7_2_has_besides_that_of_7_0_is_known() -> None:
    text = 'locale-collate ""\ncluster-announce-human-nodename node-1\n'
    assert loaded(text).get(["*-collate", "*-human-*"]) == [
        ("locale-collate", ""),
        ("cluster-announce-human-nodename", "node-1"),
    ]
    assert loaded("locale-collate C").locale_collate == "C"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("port 1\n\nprot 2", "perdure.conf:3: unknown directive 'prot' (did you mean 'port'?)"),
        (
            "locale-collate de_DE.UTF-8",
            "perdure.conf:1: locale-collate: strings are compared byte by byte, as in the locale C",
        ),
        ("hz x", "perdure.conf:1: hz: argument couldn't be parsed into an integer"),
        (
            "port 1 # main",
            "perdure.conf:1: port: wrong number of arguments: needs one value (<port>), got 3 "
            "(a comment needs a line of its own)",
        ),
        ('requirepass "x', "perdure.conf:1: quotes do not pair, or something follows a closing one"),
        ("requirepass 'a'b", "perdure.conf:1: quotes do not pair, or something follows a closing one"),
        (
            "include /nowhere/x.conf",
            "perdure.conf:1: cannot read configuration file /nowhere/x.conf: No such file or directory",
        ),
        ("user", "perdure.conf:1: user: needs a name and rules"),
        ("user a on\nuser b on\nuser a off", "perdure.conf:3: user: Duplicate user 'a' found"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        loaded(text)
    assert str(raised.value) == problem


def test_included_files_stand_where_they_are_included(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("hz 20\ntimeout 7\n")
    (tmp_path / "b.conf").write_text("hz 30\n")
    config = loaded(f"timeout 1\ninclude {tmp_path}/*.conf\nhz 40\n")
    assert (config.hz, config.timeout) == (40, 7)
    assert loaded(f"include {tmp_path}/none*.conf").hz == 10


def test_a_mistake_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("\nfoo 1\n")
    with pytest.raises(ConfigError, match=r"a\.conf:2: unknown directive 'foo'"):
        loaded(f"include {tmp_path}/a.conf")


def test_a_file_that_includes_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text(f"include {path}\n")
    with pytest.raises(ConfigError, match="does a file include itself"):
        load_file(Config(), str(path))


FILE = """\
# my server
port   7000

# memory
maxmemory 64mb
save 900 1
save 300 10
requirepass 'old one'
"""


def test_rewriting_nothing_changes_no_byte() -> None:
    assert rewritten(loaded(FILE), FILE) == FILE


def test_rewriting_changes_values_where_they_stand_and_adds_the_rest() -> None:
    config = loaded(FILE)
    config.set([("requirepass", 'new "one"'), ("save", "60 5"), ("appendfsync", "everysec"), ("lua-time-limit", "9")])
    assert rewritten(config, FILE) == (
        "# my server\nport   7000\n\n# memory\nmaxmemory 64mb\nsave 60 5\n"
        'requirepass "new \\"one\\""\n'
        "\n# Added by CONFIG REWRITE\nappendfsync everysec\nbusy-reply-threshold 9\n"
    )


def test_rewriting_again_adds_no_second_heading() -> None:
    config = loaded(FILE)
    config.set([("hz", "20")])
    once = rewritten(config, FILE)
    config.set([("hz", "10"), ("timeout", "3")])
    assert rewritten(config, once).count("# Added") == 1
    assert "hz 10\ntimeout 3\n" in rewritten(config, once)


def test_a_whole_file_names_every_directive_and_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x.conf"
    path.write_text(FILE)
    config = Config()
    load_file(config, str(path))
    rewrite(config, whole=True)
    again = Config()
    load_file(again, str(path))
    assert again.get(["*"]) == config.get(["*"])
    assert path.read_text().startswith(FILE)
    assert all(again.is_set(directive.name) for directive in DIRECTIVES)


def test_what_the_command_line_chose_is_written_too() -> None:
    config = loaded("port 1\n")
    config.load("port", ["2"])
    assert rewritten(config, "port 1\n") == "port 2\n"


def test_an_included_file_does_not_get_the_last_word(tmp_path: Path) -> None:
    (tmp_path / "more.conf").write_text("hz 30\nsave 900 1\n")
    text = f"hz 20\ninclude {tmp_path}/more.conf\n"
    config = loaded(text)
    config.set([("hz", "40"), ("save", "5 5")])
    result = rewritten(config, text)
    again = loaded(result)
    assert (again.hz, again.get(["save"])) == (40, [("save", "5 5")])


def test_every_kind_of_value_survives_a_rewrite() -> None:
    config = Config()
    settings = {
        "client-output-buffer-limit": "normal 1mb 2kb 3",
        "notify-keyspace-events": "KEA",
        "shutdown-on-sigint": "nosave now",
        "latency-tracking-info-percentiles": "",
        "maxmemory-clients": "5%",
        "masterauth": "a b\udcff",
        "save": "1 1 2 2",
    }
    config.set(settings.items())
    config.load("bind", ["127.0.0.1", "::1"])
    config.load("unixsocketperm", ["700"])
    again = loaded(rewritten(config, ""))
    assert again.get(["*"]) == config.get(["*"])


def test_the_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    real = tmp_path / "real.conf"
    real.write_text("hz 20\n")
    real.chmod(0o640)
    link = tmp_path / "link.conf"
    link.symlink_to(real)
    config = Config()
    load_file(config, str(link))
    config.set([("hz", "30")])
    before = real.stat().st_ino
    rewrite(config)
    assert link.is_symlink()
    assert real.read_text() == "hz 30\n"
    assert real.stat().st_ino != before
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link.conf", "real.conf"]


def test_a_file_that_vanished_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "perdure.conf"
    path.write_text("hz 20\n")
    config = Config()
    load_file(config, str(path))
    path.unlink()
    rewrite(config)
    assert path.read_text() == "# Added by CONFIG REWRITE\nhz 20\n"
