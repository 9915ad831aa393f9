"""The offline view shows what a server would start with, and touches nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.storage.directory import contents, fill, segments

from perdure_storage.check import Finding, check_directory
from perdure_storage.digest import dataset_digest
from perdure_storage.engine import Engine, Options
from perdure_storage.errors import Corruption, UnknownFormat
from perdure_storage.offline import Offline
from perdure_storage.walk import find, walk


def seen(view: Offline) -> dict[tuple[int, bytes], Any]:
    return {(db.index, item.key): (item.plain(), item.expire) for db in view.databases for item in walk(db)}


def test_tables_and_tail_are_seen_together_and_nothing_is_touched(tmp_path: Path) -> None:
    path = fill(tmp_path / "db", tail=True)
    before = contents(path)
    with Offline.open(path) as view:
        assert (view.applied_lsn, view.last_lsn, view.live, view.torn_bytes, view.damage) == (3, 4, False, 0, None)
        shown = seen(view)
        digest = dataset_digest(view.dataset)
        assert shown[0, b"key:00"] == ({"value": b"changed"}, 0)
        assert shown[0, b"tail"] == ({"value": b"only in the log"}, 0)
        assert (0, b"key:01") not in shown
        assert shown[1, b"hash"][0]["value"][b"field:0"] == b"changed"
        assert shown[1, b"new"] == ({"value": {b"f": b"v"}}, 0)
        assert [db.keys for db in view.databases] == [24, 3, 0, 0]
        assert find(view.databases[0], b"key:01") is None
        assert not view.disturbed()
    assert contents(path) == before
    with Engine.open(path) as engine:
        assert dataset_digest(engine.dataset) == digest


def test_a_directory_of_the_log_alone_can_be_read(tmp_path: Path) -> None:
    """Killed before the first checkpoint, even before the tables were made."""
    path = str(tmp_path / "db")
    engine = Engine.open(path, Options(databases=3))
    engine[2].set_string(b"k", b"v")
    engine.commit()
    engine.close(clean=False)
    for file in Path(path, "tables-1").iterdir():
        file.unlink()
    Path(path, "tables-1").rmdir()
    with Offline.open(path) as view:
        assert seen(view) == {(2, b"k"): ({"value": b"v"}, 0)}


def test_a_torn_tail_is_reported_and_left(tmp_path: Path) -> None:
    path = fill(tmp_path / "db", tail=True)
    current = [file for file in segments(path) if any(file.read_bytes()[64:])][-1]
    data = bytearray(current.read_bytes())
    end = len(data.rstrip(b"\0"))
    data[end - 20] ^= 1
    current.write_bytes(data)
    before = contents(path)
    with Offline.open(path) as view:
        assert view.last_lsn == 3
        assert view.torn_bytes > 0
        assert (0, b"tail") not in seen(view)
    assert contents(path) == before


def test_damage_in_the_log_shows_what_is_before_it(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    engine = Engine.open(path, Options(databases=1))
    for number in range(9):
        engine[0].set_string(b"k%d" % number, b"v")
        engine.commit()
        engine.sync()
    engine.close(clean=False)
    (file, *_) = segments(path)
    data = bytearray(file.read_bytes())
    data[data.index(b"k5")] ^= 1
    file.write_bytes(data)
    with Offline.open(path) as view:
        assert [key for _, key in seen(view)] == [b"k0", b"k1", b"k2", b"k3", b"k4"]
        assert view.damage is not None
        assert str(file) in str(view.damage)


def test_what_is_no_data_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownFormat, match="is not a data directory"):
        Offline.open(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_missing_log_between_tables_and_tail_is_refused(tmp_path: Path) -> None:
    path = fill(tmp_path / "db", tail=True)
    data = Path(path, "tables-1", "data.mdb")
    data.unlink()
    with pytest.raises((Corruption, FileNotFoundError)):
        Offline.open(path)


def test_disturbed_tells_that_a_server_wrote_meanwhile(tmp_path: Path) -> None:
    path = fill(tmp_path / "db")
    with Offline.open(path) as view:
        run(STARTED_ONCE, path)
        assert view.disturbed()


STARTED_ONCE = """
import sys
from perdure_storage.engine import Engine
with Engine.open(sys.argv[1]) as engine:
    engine[0].set_string(b"k", b"v")
    engine.commit()
"""

WRITER = """
import sys
from perdure_storage.engine import Engine, Options
engine = Engine.open(sys.argv[1], Options(databases=2, separate=True, segment_size=65536))
number = 0
print("up", flush=True)
while True:
    for _ in range(50):
        number += 1
        engine[0].set_string(b"a%d" % (number % 997), b"%d" % number)
        engine[1].edit_hash(b"h").set(b"f%d" % (number % 97), b"%d" % number)
        engine[1].set_string(b"last", b"%d" % number)
        engine.commit()
    engine.sync()
    engine.poll()
    engine.request_checkpoint()
    if number % 5000 == 0:
        engine.compact()
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "storage")}


def run(script: str, path: str) -> None:
    subprocess.run([sys.executable, "-c", script, path], check=True, env=environment(), timeout=30)


def test_beside_a_running_server_each_view_is_one_consistent_state(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    server = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, env=environment())
    try:
        assert server.stdout is not None
        server.stdout.readline()
        last, deadline = 0, time.monotonic() + 2
        while time.monotonic() < deadline:
            damage = [step for step in check_directory(path) if isinstance(step, Finding)]
            assert damage == []  # not inside the view: a process opens the same tables once
            with Offline.open(path) as view:
                assert view.live
                shown = {key: plain["value"] for (_, key), (plain, _) in seen(view).items()}
            if b"last" not in shown:
                continue
            number = int(shown[b"last"])
            assert number >= last
            last = number
            assert shown[b"a%d" % (number % 997)] == b"%d" % number
            assert shown[b"h"][b"f%d" % (number % 97)] == b"%d" % number
            assert max(int(value) for value in shown[b"h"].values()) == number
        assert last > 100
    finally:
        server.kill()
        server.wait()
