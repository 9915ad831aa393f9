"""The `perdure` command: verbs, help, exit codes, pipes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.storage.directory import contents, fill

from perdure_tools.cli import VERBS, main

ROOTS = ":".join(str(Path(__file__).parents[2] / name) for name in ("src", "storage", "tools"))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> str:
    return fill(tmp_path_factory.mktemp("tools") / "db", tail=True)


def test_help_names_every_verb_and_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {verb}" in text for verb in VERBS)
    assert "Examples:" in text


@pytest.mark.parametrize("verb", ["inspect", "dump", "check", "wal"])
def test_each_verb_helps_with_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert f"perdure {verb} perdure-data" in capsys.readouterr().out
    assert main(["help", verb]) == 0


@pytest.mark.parametrize(
    "words", [[], ["nonsense"], ["dump"], ["dump", "DIR", "--nonsense"], ["dump", "DIR", "--type", "no"]]
)
def test_wrong_usage_is_exit_code_2(words: list[str], directory: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([directory if word == "DIR" else word for word in words]) == 2


@pytest.mark.parametrize("verb", ["inspect", "dump", "check", "wal"])
@pytest.mark.parametrize("exists", [True, False])
def test_what_is_no_data_directory_is_exit_code_2(
    verb: str, exists: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, str(tmp_path if exists else tmp_path / "none")]) == 2
    assert f"perdure {verb}: {tmp_path}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["inspect", "dump", "check", "wal"])
def test_nothing_on_disk_is_touched(verb: str, directory: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    before = contents(directory)
    assert main([verb, directory]) == 0
    assert contents(directory) == before


def test_a_reader_that_has_enough_is_no_error(directory: str) -> None:
    command = f"{sys.executable} -m perdure_tools.cli dump {directory} | head -c 10; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, env={**os.environ, "PYTHONPATH": ROOTS})
    assert done.stderr == b""
    assert done.stdout.endswith(b"0\n")


def test_the_tools_never_import_the_server() -> None:
    code = "import sys\nfrom perdure_tools import check, dump, inspect, wal\nassert 'perdure' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": ROOTS})


@pytest.mark.parametrize("verb", ["check", "dump", "inspect", "wal"])
def test_a_directory_of_somebody_else_is_not_called_none(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    assert main([verb, str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"perdure {verb}: {tmp_path} may not be read: run this as the user it belongs to\n"
