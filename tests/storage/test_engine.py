"""Opening, closing, locking, and refusing what was written by something else."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import lmdb
import pytest
from tests.storage.memory import PATH, World, opened

from perdure_storage import checkpointer
from perdure_storage.engine import Engine, Options
from perdure_storage.errors import Corruption, DirectoryLocked, StorageError, UnknownFormat

STORAGE = str(Path(__file__).parents[2] / "storage")


def test_what_was_committed_is_there_after_a_close_and_a_kill(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    for number, clean in enumerate([True, False, False, True, True]):
        engine = Engine.open(path)
        db = engine[0]
        assert [db.string(b"k%d" % each) for each in range(number)] == [b"v%d" % each for each in range(number)]
        assert db.keys == number
        db.set_string(b"k%d" % number, b"v%d" % number)
        engine.commit()
        engine.close(clean=clean)


def test_the_clean_mark_tells_a_shutdown_from_a_crash() -> None:
    world = opened()
    assert world.engine.recovered.created
    assert str(world.engine.recovered) == "new data directory"
    world.put(b"k", b"v")
    world.engine.close()
    assert world.open().recovered.clean
    assert "after a clean shutdown" in str(world.engine.recovered)
    world.put(b"k", b"w")
    world.engine.sync()
    recovered = world.reopen().recovered
    assert not recovered.clean
    assert recovered.folded == 1
    assert "after a crash at LSN 3, 1 batches folded" in str(recovered)
    assert not world.reopen().recovered.clean


def test_a_torn_tail_is_reported_with_its_size() -> None:
    world = opened()
    world.put(b"k", b"v")
    world.engine.sync()
    world.put(b"k", b"w")
    world.engine.log.flush()
    segment = world.engine.log._current
    assert segment is not None
    world.disk.names[segment.path].content[world.engine.log._offset - 1] ^= 1
    recovered = world.reopen().recovered
    assert world.get(b"k") == b"v"
    assert recovered.tail.torn_bytes > 0
    assert f"a torn tail of {recovered.tail.torn_bytes} bytes after LSN 2 was cut" in str(recovered)
    assert world.reopen().recovered.tail.torn_bytes == 0


def test_a_second_engine_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    with Engine.open(path):
        script = f"from perdure_storage.engine import Engine; Engine.open({path!r})"
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": STORAGE}
        )
        assert f"is in use by process {os.getpid()}" in done.stderr
        with pytest.raises(DirectoryLocked) as caught:
            Engine.open(path)
        assert caught.value.pid == os.getpid()
    Engine.open(path).close()


def test_a_lock_of_a_process_that_was_killed_is_no_obstacle(tmp_path: Path) -> None:
    """Its checkpointer holds the lock a little longer; opening waits for that."""
    path = str(tmp_path / "db")
    script = (
        "import os, signal\nfrom perdure_storage.engine import Engine, Options\n"
        f"engine = Engine.open({path!r}, Options(separate=True))\n"
        "engine[0].set_string(b'k', b'v')\nengine.commit()\nengine.sync()\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": STORAGE})
    began = time.monotonic()
    with Engine.open(path) as engine:
        assert engine[0].string(b"k") == b"v"
    assert time.monotonic() - began < 5


def test_a_failed_opening_lets_go_of_the_lock() -> None:
    world = opened()
    world.engine.close()
    content = world.disk.names[f"{PATH}/FORMAT"].content
    good = bytes(content)
    content[:] = good.replace(b'"format": 1', b'"format": 9')
    for _ in range(2):
        with pytest.raises(UnknownFormat):
            world.open()
    content[:] = good
    world.open()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2, this version reads format 1"),
        ({"format": None}, "has format None"),
        ({"lmdb": [0, 8, 0]}, r"was made with LMDB \[0, 8, 0\], this is"),
        ({"lmdb": []}, "was made with LMDB"),
    ],
)
def test_what_another_version_wrote_is_refused_and_left_alone(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "db"
    with Engine.open(str(path)) as engine:
        engine[0].set_string(b"k", b"v")
        engine.commit()
    identity = json.loads((path / "FORMAT").read_text())
    (path / "FORMAT").write_text(json.dumps({**identity, **change}))
    before = {each: each.read_bytes() for each in sorted(path.rglob("*")) if each.is_file() and each.name != "LOCK"}
    with pytest.raises(UnknownFormat, match=message):
        Engine.open(str(path))
    assert before == {each: each.read_bytes() for each in before}


def test_another_patch_release_of_lmdb_reads_the_same_files(tmp_path: Path) -> None:
    path = tmp_path / "db"
    Engine.open(str(path)).close()
    identity = json.loads((path / "FORMAT").read_text())
    assert identity["lmdb"] == list(lmdb.version())
    identity["lmdb"][2] += 1
    (path / "FORMAT").write_text(json.dumps(identity))
    Engine.open(str(path)).close()


def test_a_format_file_that_is_no_json_is_damage() -> None:
    world = opened()
    world.engine.close()
    world.disk.names[f"{PATH}/FORMAT"].content[:] = b"{"
    with pytest.raises(Corruption, match="FORMAT: at 0: is not JSON"):
        world.open()


def test_leftovers_of_a_crash_are_removed() -> None:
    world = opened()
    world.put(b"k", b"v")
    world.engine.sync()
    for name in ("wal/0000000000000099.wal", "wal/MANIFEST.new"):
        world.disk.open(f"{PATH}/{name}", writable=True, create=True).pwrite(b"junk", 0)
    recovered = world.reopen().recovered
    assert recovered.leftovers == ["0000000000000099.wal", "MANIFEST.new"]
    assert world.get(b"k") == b"v"


def test_a_directory_keeps_its_databases_when_fewer_are_asked_for() -> None:
    world = opened(databases=8)
    world.put(b"k", b"v", db=7)
    world.engine.close()
    world.open(databases=2)
    assert len(world.engine.dataset.databases) == 8
    assert world.get(b"k", db=7) == b"v"
    world.engine.close()
    world.open(databases=10)
    assert world.get(b"k", db=7) == b"v"
    world.put(b"k", b"w", db=9)
    world.engine.sync()
    world.reopen()
    assert world.get(b"k", db=9) == b"w"


def test_what_a_killed_server_left_in_the_page_cache_survives_a_power_cut_after_the_restart() -> None:
    """Recovery folds it into the tables: so it must be on the disk, with the names that lead to it."""
    for seed in range(20):
        world = opened(segment_size=1024)
        for number in range(50):
            world.put(b"k%d" % number, b"v%d" % number)
        world.engine.log.flush()
        world.kill()
        world.open()
        assert world.engine.log.durable_lsn == 51
        world.crash(seed)
        world.open()
        assert [world.get(b"k%d" % number) for number in range(50)] == [b"v%d" % number for number in range(50)]


def test_a_kill_after_a_failed_sync_does_not_make_the_lost_pages_durable_by_name_only() -> None:
    """The page cache still shows them, and calls them clean."""
    for seed in range(10):
        world = opened()
        world.put(b"k", b"v")
        world.disk.faults["sync", world.disk.trace["sync"] + 1] = OSError("planned")
        with pytest.raises(Exception, match="planned"):
            world.engine.sync()
        world.kill()
        world.open()
        held = world.get(b"k")
        world.crash(seed)
        world.open()
        assert world.get(b"k") == held


def test_a_new_data_directory_is_private_and_its_name_is_durable(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    Engine.open(str(path)).close()
    assert path.stat().st_mode & 0o077 == 0
    for name in path.rglob("*"):
        assert name.stat().st_mode & 0o077 == 0, name


def test_no_symbolic_link_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.mkdir()
    (tmp_path / "elsewhere").write_text("")
    (path / "LOCK").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=re.escape(str(path / "LOCK"))):
        Engine.open(str(path))


def test_the_separate_checkpointer_can_be_killed_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointer, "PAUSE_S", 0)
    with Engine.open(str(tmp_path / "db"), Options(separate=True, segment_size=1 << 16)) as engine:
        for number in range(8):
            for key in range(200):
                engine[0].set_string(b"k%d" % key, b"%d" % number * 50)
            engine.commit()
            engine.sync()
            assert engine.process is not None
            pid = engine.process.pid
            if number % 2:
                engine.request_checkpoint()
            engine.process.process.kill()
            engine.process.process.wait()
            deadline = time.monotonic() + 10
            while engine.process.pid == pid and time.monotonic() < deadline:
                engine.poll()
            assert "ended unexpectedly" in engine.checkpoint_error
        while engine.applied_lsn < engine.log.durable_lsn and time.monotonic() < deadline:
            engine.request_checkpoint()
            engine.poll()
        assert engine.applied_lsn == engine.log.durable_lsn
        assert engine.checkpoint_error == ""
    with Engine.open(str(tmp_path / "db")) as engine:
        assert engine.recovered.clean
        assert engine[0].string(b"k199") == b"7" * 50


def test_a_checkpointer_that_is_asked_again_for_what_it_has_done_says_so(tmp_path: Path) -> None:
    with Engine.open(str(tmp_path / "db"), Options(separate=True)) as engine:
        engine[0].set_string(b"k", b"v")
        engine.commit()
        engine.checkpoint()
        assert engine.process is not None
        engine.process.send(fold=engine.applied_lsn)  # as if it had failed with all done but the answer
        assert engine.process.wait(20)
        assert engine.process.receive() == [{"applied": engine.applied_lsn}]


def test_a_checkpointer_that_cannot_be_started_is_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the machine has no more processes or files to give, for a while."""

    def refuse(*args: object, **more: object) -> None:
        raise OSError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr(checkpointer, "PAUSE_S", 0)
    with Engine.open(str(tmp_path / "db"), Options(separate=True)) as engine:
        engine[0].set_string(b"k", b"v")
        engine.commit()
        engine.sync()
        assert engine.process is not None
        engine.process.process.kill()
        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "Popen", refuse)
            while not engine.process.ended:
                assert engine.process.wait(10)
                engine.poll()
            for _ in range(2):
                engine.poll()
                assert "no checkpointer process can be started: [Errno 11] no more processes" in engine.checkpoint_error
            engine.request_checkpoint()
            with pytest.raises(StorageError, match="no more processes"):
                engine.checkpoint()
        engine.checkpoint()
        assert engine.applied_lsn == engine.log.durable_lsn


def test_checkpointers_that_end_at_once_do_not_follow_each_other_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine.open(str(tmp_path / "db"), Options(separate=True)) as engine:
        engine[0].set_string(b"k", b"v")
        engine.commit()
        assert engine.process is not None
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/bin/false")
            engine.process.process.kill()
            began, started = time.monotonic(), set[int]()
            while time.monotonic() < began + 2.5:
                engine.process.wait(0.1)
                engine.poll()
                started.add(engine.process.pid)
        assert 2 <= len(started) <= 5
        engine.checkpoint()
        assert engine.applied_lsn == engine.log.durable_lsn


def test_garbage_that_cannot_be_removed_does_not_end_the_checkpointer(tmp_path: Path) -> None:
    """It is tried again with the next checkpoint; before, each new process ended at once for the same reason."""
    Engine.open(str(tmp_path / "db")).close()
    with lmdb.open(str(tmp_path / "db" / "tables-1"), max_dbs=20) as tables, tables.begin(write=True) as change:
        change.put(bytes(7) + b"\x01", b"damaged", db=tables.open_db(b"garbage", txn=change))
    with Engine.open(str(tmp_path / "db"), Options(separate=True)) as engine:
        assert engine.process is not None
        pid = engine.process.pid
        for number in range(3):
            engine[0].set_string(b"k", b"%d" % number)
            engine.commit()
            engine.sync()
            engine.request_checkpoint()
            told: set[str] = set()
            while not (engine.applied_lsn == engine.log.durable_lsn and told):
                assert engine.process.wait(10)
                engine.poll()
                told.update({engine.checkpoint_error} - {""})
            assert "table garbage row 0000000000000001: row check sum does not match" in told.pop()
        assert engine.process.pid == pid


def test_a_shutdown_is_clean_although_the_checkpointer_was_killed_just_before_it(tmp_path: Path) -> None:
    with Engine.open(str(tmp_path / "db"), Options(separate=True)) as engine:
        engine[0].set_string(b"k", b"v")
        engine.commit()
        assert engine.process is not None
        engine.process.process.kill()
    with Engine.open(str(tmp_path / "db")) as engine:
        assert engine.recovered.clean


def test_a_checkpoint_fails_when_every_checkpointer_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine.open(str(tmp_path / "db"), Options(separate=True))
    engine[0].set_string(b"k", b"v")
    engine.commit()
    assert engine.process is not None
    monkeypatch.setattr(sys, "executable", "/bin/false")
    engine.process.process.kill()
    with pytest.raises(StorageError, match="ended unexpectedly"):
        engine.checkpoint()
    engine.close(clean=False)


def test_a_world_can_be_opened_again_and_again() -> None:
    world = World()
    for number in range(30):
        world.open()
        assert world.engine[0].keys == number
        world.put(b"%d" % number, b"v" * 500)
        world.engine.sync()
        world.crash(number)
    assert len([name for name in world.disk.names if name.endswith(".wal")]) < 12
