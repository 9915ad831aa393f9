"""When the disk fails: what is refused, what goes on, and what nobody is ever told."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.storage.memory import opened

from perdure_storage.engine import Engine, Options
from perdure_storage.errors import LogFull, LogPoisoned
from perdure_storage.files import OsFiles, replace_whole
from perdure_storage.testing import PowerCut

STORAGE = str(Path(__file__).parents[2] / "storage")
EIO = OSError(errno.EIO, "planned")


@pytest.mark.parametrize("operation", ["sync", "write"])
def test_a_failed_sync_poisons(operation: str) -> None:
    """The writer that waits gets the error, nothing is acknowledged afterwards, reads show what is durable."""
    world = opened()
    engine = world.engine
    world.put(b"k", b"durable")
    engine.sync()
    world.put(b"k", b"lost")
    world.put(b"other", b"lost")
    world.disk.faults[operation, world.disk.trace[operation] + 1] = EIO
    with pytest.raises(LogPoisoned, match="planned"):
        engine.sync()
    assert world.get(b"k") == b"durable"
    assert world.get(b"other") is None
    assert engine[0].keys == 1
    for _ in range(3):  # the disk is well again, but nobody can know what it has
        with pytest.raises(LogPoisoned):
            world.put(b"k", b"later")
        with pytest.raises(LogPoisoned):
            engine.sync()
        assert world.get(b"k") == b"durable"
    engine.close()
    world.crash()
    world.open()
    assert world.get(b"k") == b"durable"


def test_a_failed_sync_under_a_hash_and_an_expiry_goes_back_to_what_is_durable() -> None:
    world = opened()
    engine, db = world.engine, world.engine[0]
    soon = world.clock.now_ms() + 100
    entry = db.edit_hash(b"h")
    entry.set(b"f", b"v", soon)
    entry.set(b"g", b"v")
    world.put(b"k", b"v", soon)
    engine.checkpoint()
    world.advance(200)
    assert engine.sweep() == 2
    assert db.keys == 1
    world.disk.faults["sync", world.disk.trace["sync"] + 1] = EIO
    with pytest.raises(LogPoisoned):
        engine.sync()
    assert (db.keys, db.expires) == (2, 1)
    found = db.hash(b"h")
    assert found is not None
    assert list(found.values) == [b"g"]


def test_a_full_disk_refuses_writes_and_takes_them_when_space_returns() -> None:
    world = opened(segment_size=2048)
    engine = world.engine
    world.put(b"k", b"v")
    world.disk.capacity = world.disk.used
    accepted = 0
    with pytest.raises(LogFull):
        while True:
            world.put(b"n", b"%d" % accepted)
            accepted += 1
    assert accepted > 20
    assert world.get(b"n") == b"%d" % (accepted - 1)
    assert world.get(b"k") == b"v"
    for _ in range(3):
        with pytest.raises(LogFull):
            world.put(b"n", b"x" * 500)
        assert world.get(b"n") == b"%d" % (accepted - 1)
    engine.sync()
    world.disk.capacity = 1 << 40
    engine.log.retry_prepare()
    assert engine.log.prepare_error is None
    world.put(b"n", b"x" * 500)
    engine.sync()
    world.crash()
    world.open()
    assert world.get(b"n") == b"x" * 500
    assert world.engine[0].keys == 2


def test_a_checkpoint_gives_space_back_to_a_full_disk() -> None:
    world = opened(segment_size=2048)
    for _ in range(200):
        world.put(b"k", b"v" * 50)
    world.engine.sync()
    before = world.disk.used
    world.engine.checkpoint()
    assert world.disk.used < before / 2


def test_a_refused_transaction_leaves_no_trace() -> None:
    world = opened(segment_size=2048)
    engine, db, other = world.engine, world.engine[0], world.engine[1]
    world.put(b"a", b"1", world.clock.now_ms() + 5000)
    db.edit_hash(b"h").set(b"f", b"v")
    engine.commit()
    engine.checkpoint()
    world.disk.capacity = 0
    ids = engine.dataset.next_id
    db.set_string(b"b", b"x" * 100_000)
    db.move(db.find(b"a"), other, b"a")
    db.edit_hash(b"h").set(b"g", b"v")
    engine.dataset.swap(2, 3)
    engine[2].clear()
    with pytest.raises(LogFull):
        engine.commit()
    assert world.get(b"b") is None
    assert world.get(b"a") == b"1"
    assert (db.keys, db.expires, other.keys) == (2, 1, 0)
    found = db.hash(b"h")
    assert found is not None
    assert found.values == {b"f": b"v"}
    assert engine.dataset.next_id == ids
    world.disk.capacity = 1 << 40
    assert engine.commit() == engine.log.next_lsn - 1


def test_a_checkpoint_that_fails_is_tried_again() -> None:
    world = opened()
    world.put(b"k", b"v")
    world.engine.sync()
    world.disk.faults["commit", world.disk.trace.get("commit", 0) + 1] = EIO
    with pytest.raises(OSError, match="planned"):
        world.engine.checkpoint()
    assert world.engine.applied_lsn < world.engine.log.durable_lsn
    world.engine.checkpoint()
    assert world.engine.applied_lsn == world.engine.log.durable_lsn


@pytest.mark.parametrize("operation", ["write", "sync", "rename", "unlink", "sync_dir", "commit"])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for good"])
def test_every_operation_of_the_disk_may_fail_at_any_time(operation: str, lasting: bool) -> None:
    """Fail the n-th, for every n that a short story has: nothing acknowledged is lost, and it can be opened again."""
    for number in range(1, 200):
        world = opened(segment_size=2048)
        fault = OSError(errno.EIO, "planned")
        struck = world.disk.trace.get(operation, 0) + number
        world.disk.faults[operation, struck] = fault
        if lasting:
            world.disk.lasting.add(fault)
        acknowledged = -1
        try:
            for each in range(30):
                world.put(b"k", b"%d" % each)
                world.put(b"pad", b"x" * 200)
                world.engine.sync()
                acknowledged = each
                if each % 10 == 9:
                    world.engine.checkpoint()
            world.engine.close()
        except (LogFull, LogPoisoned, OSError):
            pass
        reached = world.disk.trace.get(operation, 0) >= struck
        world.crash(number)
        world.open()
        value = int(world.get(b"k") or -1)
        assert acknowledged <= value <= acknowledged + 1
        if not reached:
            return
    raise AssertionError("the story does not end")


@pytest.mark.parametrize("operation", ["write", "sync", "rename", "unlink", "sync_dir", "commit", "committed"])
def test_the_power_may_go_at_every_operation_and_again_during_recovery(operation: str) -> None:
    for number in range(1, 200):
        world = opened(segment_size=2048)
        struck = world.disk.trace.get(operation, 0) + number
        world.disk.faults[operation, struck] = PowerCut()
        acknowledged = -1
        try:
            for each in range(15):
                world.put(b"k", b"%d" % each)
                world.put(b"pad", b"x" * 400)
                world.engine.sync()
                acknowledged = each
                if each % 5 == 4:
                    world.engine.checkpoint()
            return
        except PowerCut:
            pass
        for again in range(1, 30):
            world.crash(number * 100 + again)
            world.disk.faults[operation, world.disk.trace[operation] + again] = PowerCut()
            try:
                world.open()
            except PowerCut:
                continue
            break
        world.disk.faults.clear()
        assert acknowledged <= int(world.get(b"k") or -1) <= acknowledged + 1
    raise AssertionError("the story does not end")


# -- real files --------------------------------------------------------------------------------------------------------


@pytest.fixture
def file_limit() -> Iterator[None]:
    """Puts the limit on the size of files back: what a full disk is to a file, without being root."""
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_file_size_limit_refuses_writes_and_reads_go_on(tmp_path: Path, file_limit: None) -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    with Engine.open(str(tmp_path / "db"), Options(segment_size=1 << 20)) as engine:
        db = engine[0]
        db.set_string(b"k", b"v")
        engine.commit()
        engine.checkpoint()
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        db.set_string(b"large", b"x" * 2_000_000)
        with pytest.raises(LogFull, match="File too large"):
            engine.commit()
        assert db.string(b"k") == b"v"
        assert db.string(b"large") is None
        db.set_string(b"k", b"w")
        engine.commit()
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        engine.log.retry_prepare()
        db.set_string(b"large", b"x" * 2_000_000)
        engine.commit()
    with Engine.open(str(tmp_path / "db")) as engine:
        assert engine[0].string(b"k") == b"w"
        assert engine[0].string(b"large") == b"x" * 2_000_000


def test_a_file_that_cannot_be_replaced_stays_and_leaves_nothing_beside_it(tmp_path: Path, file_limit: None) -> None:
    """A part of the new one would only take room on a full disk."""
    kept = tmp_path / "kept"
    kept.write_bytes(b"old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 10, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with pytest.raises(OSError, match="File too large"):
        replace_whole(OsFiles(), str(kept), b"x" * 5000)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert kept.read_bytes() == b"old"


TINY_DISK = """
import sys
from perdure_storage.engine import Engine, Options
from perdure_storage.errors import LogFull
engine = Engine.open(sys.argv[1], Options(segment_size=1 << 20))
db = engine[0]
accepted = 0
try:
    while True:
        db.set_string(b"k%d" % (accepted % 50), b"%d" % accepted * 2000)
        engine.commit()
        engine.sync()
        accepted += 1
except LogFull:
    pass
values = [db.string(b"k%d" % (number % 50)) for number in range(accepted - 50, accepted)]
assert values == [b"%d" % number * 2000 for number in range(accepted - 50, accepted)]
print("full", flush=True)
sys.stdin.readline()
engine.log.retry_prepare()
db.set_string(b"after", b"v")
engine.commit()
engine.close()
print("went on", accepted, flush=True)
"""


def test_a_full_file_system_refuses_writes_until_space_returns(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=6M", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs to be root and allowed to mount a tmpfs")
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", TINY_DISK, str(tmp_path / "db")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": STORAGE},
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "full\n"
        subprocess.run(["mount", "-o", "remount,size=64M", str(tmp_path)], check=True)
        out, _ = process.communicate("\n", timeout=60)
        assert out.startswith("went on")
        with Engine.open(str(tmp_path / "db")) as engine:
            assert engine[0].string(b"after") == b"v"
            assert engine[0].keys == 51
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
