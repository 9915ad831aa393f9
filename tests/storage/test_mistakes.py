"""What people do to a data directory: files lost, put back wrongly, or added. Data is never deleted for that."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure_storage.check import Finding, check_directory
from perdure_storage.engine import Engine, Options
from perdure_storage.errors import Corruption, StorageError


def made(path: Path, *, folded: bool) -> Path:
    """A directory with a key; in the tables, the log before them retired, or in the log only."""
    engine = Engine.open(str(path / "db"), Options(segment_size=4096))
    for number in range(200):
        engine[0].set_string(b"k%d" % number, b"v" * 100)
        engine.commit()
    engine.sync()
    if folded:
        engine.checkpoint()
    engine.close(clean=False)
    return path / "db"


def content(directory: Path) -> dict[str, bytes]:
    files = [path for path in directory.rglob("*") if path.is_file() and path.name not in ("LOCK", "lock.mdb")]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def lose(name: str) -> Callable[[Path], object]:
    return lambda directory: (directory / name).unlink()


def say(name: str, text: bytes) -> Callable[[Path], object]:
    return lambda directory: (directory / name).write_bytes(text)


def cut_tables(directory: Path) -> None:
    os.truncate(directory / "tables-1" / "data.mdb", 12288)


def use_second_tables(directory: Path) -> None:
    """As after a compaction, and the file that says so is lost."""
    (directory / "tables-1").rename(directory / "tables-2")
    (directory / "TABLES").unlink()


def lose_format_after_compaction(directory: Path) -> None:
    use_second_tables(directory)
    (directory / "FORMAT").unlink()


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (lose("FORMAT"), "FORMAT: at 0: is missing, but there is data"),
        (lose_format_after_compaction, "FORMAT: at 0: is missing, but there is data"),
        (say("FORMAT", b"[1]"), "FORMAT: at 0: is not an object"),
        (say("FORMAT", b'{"format": 1, "lmdb": 5}'), "was made with LMDB 5"),
        (lose("TABLES"), "TABLES: at 0: there is tables-1: write the name of the right one into it"),
        (use_second_tables, "TABLES: at 0: there is tables-2"),
        (say("TABLES", b""), "TABLES: at 0: there is tables-1"),
        (say("TABLES", b"tables-7\n"), "TABLES: at 0: names 'tables-7', and there is tables-1"),
        (say("TABLES", b"../db\n"), "TABLES: at 0: names '../db', and there is tables-1"),
        (say("TABLES", b"\xff\0"), "TABLES: at 0: names "),
        (say("tables-1/data.mdb", b"x" * 8192), "data.mdb: at 0: .*restore a backup"),
        (lose("wal/MANIFEST"), "wal/MANIFEST: at 0: is missing, but|the log can be read to LSN 0 only"),
    ],
)
def test_a_file_that_is_lost_or_wrong_is_named_and_nothing_is_deleted(
    mistake: Callable[[Path], object], told: str, folded: bool, tmp_path: Path
) -> None:
    directory = made(tmp_path, folded=folded)
    mistake(directory)
    before = content(directory)
    for _ in range(2):
        with pytest.raises(StorageError, match=told):
            Engine.open(str(directory))
        assert content(directory) == before
    findings = [step for step in check_directory(str(directory)) if isinstance(step, Finding)]
    assert any(finding.severity == "error" for finding in findings)


def test_tables_cut_short_are_refused_before_they_are_mapped(tmp_path: Path) -> None:
    """To read where the file has ended would be a SIGBUS."""
    directory = made(tmp_path, folded=True)
    cut_tables(directory)
    with pytest.raises(Corruption, match="data.mdb: at 12288: 12288 of .* restore a backup"):
        Engine.open(str(directory))


def test_tables_that_are_lost_are_made_anew_only_from_a_whole_log(tmp_path: Path) -> None:
    directory = made(tmp_path, folded=False)
    shutil.rmtree(directory / "tables-1")
    with Engine.open(str(directory)) as engine:
        assert engine[0].keys == 200
    again = made(tmp_path / "again", folded=True)
    shutil.rmtree(again / "tables-1")
    with pytest.raises(Corruption, match="tables-1: at 0: the tables end at LSN 0, the log begins at LSN .* missing"):
        Engine.open(str(again))


def test_what_is_not_ours_is_let_alone(tmp_path: Path) -> None:
    directory = made(tmp_path, folded=True)
    for name in ("tables-1.bak", "tables-old", "tables-"):
        shutil.copytree(directory / "tables-1", directory / name)
    (directory / "tables-9").mkdir()  # what a crash during compaction leaves
    notes = [directory / "notes.txt", directory / "wal" / "mine.wal", directory / "wal" / "0000000000000001.wal.bak"]
    for note in notes:
        note.write_text("mine")
    Engine.open(str(directory)).close()
    assert all(note.exists() for note in notes)
    found = sorted(path.name for path in directory.glob("tables*"))
    assert found == ["tables-", "tables-1", "tables-1.bak", "tables-old"]
