"""Folding the log: the rows say what memory says, whatever the batches; garbage goes, free pages are given back."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path
from random import Random

import pytest
from tests.storage.memory import World, opened

from perdure_storage import engine as engine_module
from perdure_storage.check import Finding, check_directory, check_tables
from perdure_storage.checkpoint import Folder
from perdure_storage.codec import unpack
from perdure_storage.digest import dataset_digest
from perdure_storage.engine import Engine, Options
from perdure_storage.keyspace import Dataset
from perdure_storage.replay import Replay
from perdure_storage.tables import LmdbTables, Table
from perdure_storage.wal import LogReader
from perdure_tools.crash_simulation import OPERATIONS, Round, State


def digest_of_rows(world: World | Round) -> str:
    """What the tables say, read by somebody who has never seen the log."""
    dataset = Dataset(world.engine.snapshot(), 1)
    dataset.now = world.engine.dataset.now
    return dataset_digest(dataset)


def findings(world: World | Round) -> list[str]:
    steps = check_tables(world.engine.snapshot())
    return [str(step) for step in steps if isinstance(step, Finding)]


def random_batches(seed: int, count: int) -> Round:
    """An engine whose log holds random batches that the tables do not have."""
    world = Round(seed)
    world.segment_size = 1 << 16
    world.open()
    state: State = {}
    for _ in range(count):
        for _ in range(world.random.randint(1, 4)):
            world.random.choice(OPERATIONS)(world, state, world.engine.dataset.now)
        world.engine.commit()
    world.engine.sync()
    return world


@pytest.mark.parametrize("seed", range(25))
def test_folding_gives_what_memory_has_and_so_does_replay(seed: int) -> None:
    world = random_batches(seed, 120)
    engine = world.engine
    in_memory = dataset_digest(engine.dataset)
    replayed = Dataset(engine.snapshot(), 3)
    replayed.now = engine.dataset.now
    replay = Replay(replayed)
    reader = LogReader(world.disk, engine.directory.log)
    for record in reader.batches(engine.applied_lsn, engine.log.durable_lsn):
        replay.apply(record.lsn, list(unpack(record.payload)))
    assert dataset_digest(replayed) == in_memory
    engine.checkpoint()
    assert digest_of_rows(world) == in_memory
    assert dataset_digest(engine.dataset) == in_memory
    assert findings(world) == []


@pytest.mark.parametrize("seed", range(10))
def test_it_does_not_matter_where_a_fold_is_cut(seed: int) -> None:
    """One transaction for everything, or one for each batch: the same rows."""
    rows = []
    for each in (False, True):
        world = random_batches(100 + seed, 60)
        checkpointer = world.engine._checkpointer
        assert checkpointer is not None
        if each:
            for lsn in range(checkpointer.applied_lsn + 1, world.engine.log.durable_lsn + 1):
                assert list(checkpointer.run(lsn)) == [lsn]
        else:
            assert list(checkpointer.run(world.engine.log.durable_lsn)) == [world.engine.log.durable_lsn]
        snapshot = world.engine.snapshot()
        rows.append({table: list(snapshot.scan(table, b"")) for table in Table})
    assert rows[0] == rows[1]


def test_nothing_is_folded_that_is_not_durable() -> None:
    world = opened()
    world.put(b"k", b"v")
    world.engine.sync()
    world.put(b"k", b"w")
    assert world.engine.request_checkpoint()
    assert world.engine.applied_lsn == 2
    assert not world.engine.request_checkpoint()


def test_garbage_is_reclaimed_to_the_last_row() -> None:
    world = opened(segment_size=1 << 20)
    db = world.engine[0]
    for number in range(3):
        world.put(b"large%d" % number, b"x" * 100_000)
        entry = db.edit_hash(b"hash%d" % number)
        for field in range(3000):
            entry.set(b"f%d" % field, b"v")
        world.engine.commit()
    world.engine.checkpoint()
    db.delete(b"large0")
    db.delete(b"hash0")
    db.set_string(b"large1", b"short")
    world.engine.commit()
    world.engine.checkpoint()
    snapshot = world.engine.snapshot()
    assert snapshot.count(Table.GARBAGE) == 0
    assert snapshot.count(Table.HASHES) == 6000
    assert snapshot.count(Table.STRINGS) == 7
    db.clear()
    world.engine.commit()
    world.engine.checkpoint()
    snapshot = world.engine.snapshot()
    assert {table: snapshot.count(table) for table in Table if snapshot.count(table) and table != Table.META} == {}


def test_reclaiming_goes_in_bounded_steps_and_survives_a_crash_between_them() -> None:
    world = opened(segment_size=1 << 20)
    entry = world.engine[0].edit_hash(b"h")
    for field in range(500):
        entry.set(b"f%d" % field, b"v")
    world.engine.commit()
    world.engine.checkpoint()
    world.engine[0].clear()
    world.engine.commit()
    world.engine.sync()
    checkpointer = world.engine._checkpointer
    assert checkpointer is not None
    for _ in checkpointer.run(world.engine.log.durable_lsn):
        pass
    assert 0 < checkpointer.folder.reclaim(100) < 10  # the space, which makes the hash's id garbage
    assert checkpointer.folder.reclaim(100) == 100
    world.crash()
    world.open()
    before = world.engine.snapshot().count(Table.HASHES)
    assert before > 0
    steps = 0
    folder = world.engine._checkpointer.folder  # type: ignore[union-attr]
    while removed := folder.reclaim(100):
        assert removed <= 101
        steps += 1
    assert steps >= before // 100
    assert world.engine.snapshot().count(Table.HASHES) == 0
    assert findings(world) == []


def test_a_hash_made_and_flushed_in_one_transaction_leaves_nothing() -> None:
    world = opened()
    db = world.engine[0]
    db.edit_hash(b"old").set(b"f", b"v", world.clock.now_ms() + 1000)
    world.engine.commit()
    db.edit_hash(b"old").set(b"g", b"v")
    db.edit_hash(b"new").set(b"f", b"v")
    db.clear()
    db.edit_hash(b"last").set(b"f", b"v")
    world.engine.commit()
    world.engine.checkpoint()
    assert findings(world) == []
    snapshot = world.engine.snapshot()
    assert (snapshot.count(Table.HASHES), snapshot.count(Table.EXPIRIES)) == (1, 0)


def test_the_log_is_let_go_once_the_tables_have_it() -> None:
    world = opened(segment_size=1024)
    for number in range(200):
        world.put(b"k%d" % number, b"v" * 20)
    world.engine.sync()
    before = len(world.engine.log.segments())
    world.engine.checkpoint()
    assert before > 10
    assert len(world.engine.log.segments()) <= 2
    assert world.engine.lag_bytes == 0
    world.crash()
    world.open()
    assert world.engine[0].keys == 200


def test_a_compacted_copy_that_cannot_be_opened_yet_is_opened_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **more: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    with Engine.open(str(tmp_path / "db"), Options(separate=True)) as engine:
        engine[0].set_string(b"k", b"v")
        engine.commit()
        engine.checkpoint()
        with monkeypatch.context() as patch:
            patch.setattr(engine_module, "LmdbTables", refuse)
            assert engine.compact()
            wait(engine, lambda: "too many open files" in engine.checkpoint_error)
            assert engine.compacting
            assert engine[0].string(b"k") == b"v"
        engine[0].set_string(b"l", b"w")
        engine.commit()
        engine.checkpoint()
        assert not engine.compacting
        assert engine.applied_lsn == engine.log.durable_lsn
        wait(engine, lambda: sorted(tmp_path.glob("db/tables-*")) == [tmp_path / "db" / "tables-2"])
    with Engine.open(str(tmp_path / "db")) as engine:
        assert (engine[0].string(b"k"), engine[0].string(b"l")) == (b"v", b"w")


def test_a_checkpointer_that_ends_before_it_can_tell_of_its_copy(tmp_path: Path) -> None:
    with Engine.open(str(tmp_path / "db"), Options(separate=True)) as engine:
        engine[0].set_string(b"k", b"v")
        engine.commit()
        engine.checkpoint()
        assert engine.process is not None
        engine.process.process.kill()
        engine.process.process.wait()
        shutil.copytree(tmp_path / "db" / "tables-1", tmp_path / "db" / "tables-2")
        engine.directory.point_to("tables-2")
        engine[0].set_string(b"l", b"w")
        engine.commit()
        engine.checkpoint()  # the next checkpointer writes to the copy: the others would never have this
        assert engine.applied_lsn == engine.log.durable_lsn


def test_compaction_gives_free_pages_back_under_load(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    with Engine.open(path, Options(separate=True)) as engine:
        db = engine[0]
        for number in range(300):
            db.set_string(b"k%d" % number, os.urandom(15_000))
        engine.commit()
        engine.checkpoint()
        for number in range(295):
            db.delete(b"k%d" % number)
        engine.commit()
        engine.checkpoint()
        engine.ask_sizes()
        wait(engine, lambda: bool(engine.sizes))
        before = engine.sizes["file_bytes"]
        kept = {b"k%d" % number: db.string(b"k%d" % number) for number in range(295, 300)}
        assert engine.compact()
        assert not engine.compact()
        writes = 0
        deadline = time.monotonic() + 20
        while engine.compacting and time.monotonic() < deadline:
            db.set_string(b"during", b"%d" % writes)
            engine.commit()
            writes += 1
            engine.sync()
            engine.request_checkpoint()
            engine.poll()
        assert not engine.compacting
        engine.checkpoint()
        engine.ask_sizes()
        wait(engine, lambda: bool(engine.sizes))
        assert engine.sizes["file_bytes"] < before / 5
        engine.dataset.tick += 5
        engine.dataset.evict(0, 1000)
        assert {key: db.string(key) for key in kept} == kept
    assert sorted(name for name in os.listdir(path) if name.startswith("tables-")) == ["tables-2"]
    assert [str(step) for step in check_directory(path) if isinstance(step, Finding)] == []
    with Engine.open(path) as engine:
        assert engine[0].string(b"during") == b"%d" % (writes - 1)


def wait(engine: Engine, condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        assert engine.process is not None
        engine.process.wait(0.1)
        engine.poll()
    assert condition()


@pytest.mark.parametrize("seed", range(3))
def test_lmdb_and_the_tables_in_memory_agree(seed: int, tmp_path: Path) -> None:
    """The simulation's stand-in and the real thing, fed with the same log."""
    world = random_batches(200 + seed, 80)
    engine = world.engine
    real = LmdbTables(str(tmp_path / "tables"), writable=True)
    folder = Folder(real)
    for record in LogReader(world.disk, engine.directory.log).batches(engine.applied_lsn, engine.log.durable_lsn):
        folder.fold(record.payload)
    folder.commit(engine.log.durable_lsn)
    while folder.reclaim():
        pass
    engine.checkpoint()
    snapshot, memory = real.snapshot(), engine.snapshot()
    assert snapshot.applied_lsn == memory.applied_lsn
    for table in Table:
        assert list(snapshot.scan(table, b"")) == list(memory.scan(table, b"")), table
        assert snapshot.count(table) == memory.count(table)
    rows = list(memory.scan(Table.KEYS, b""))
    middle = rows[len(rows) // 2][0]
    for start in (middle, middle + b"\0", rows[0][0], b"\xff"):
        assert list(snapshot.scan_back(Table.KEYS, start)) == list(memory.scan_back(Table.KEYS, start))
    snapshot.close()
    folder.close()
    real.close()


def test_a_directory_in_memory_passes_its_check() -> None:
    for seed in range(5):
        random = Random(seed)
        world = random_batches(300 + seed, 40)
        if random.random() < 0.5:
            world.engine.checkpoint()
        assert findings(world) == []
