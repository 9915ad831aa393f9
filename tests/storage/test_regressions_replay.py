"""Bugs found while the log was read by others than the checkpointer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from perdure_storage.digest import dataset_digest
from perdure_storage.engine import Engine, Options
from perdure_storage.errors import Corruption
from perdure_storage.testing import ManualClock, MemoryDisk


@pytest.fixture
def engine() -> Engine:
    disk = MemoryDisk()
    return Engine.open("/db", Options(files=disk, open_tables=disk.open_tables, clock=ManualClock(), databases=4))


def cool(engine: Engine) -> None:
    engine.checkpoint()
    engine.dataset.restart(engine.snapshot())
    engine.dataset.lsn = engine.log.next_lsn


def test_replay_keeps_changes_of_a_hash_that_the_tables_already_had(engine: Engine) -> None:
    engine[0].edit_hash(b"h").set(b"old", b"1")
    engine.commit()
    cool(engine)
    engine[0].edit_hash(b"h").set(b"new", b"2")
    engine.commit()
    used = engine.dataset.used
    engine.restore(engine.log.next_lsn - 1)
    fields = engine[0].hash(b"h")
    assert fields is not None
    assert fields.values == {b"old": b"1", b"new": b"2"}
    assert engine.dataset.used == used
    assert engine[0].keys == 1


def test_replay_follows_a_cold_hash_that_is_changed_and_renamed_in_one_batch(engine: Engine) -> None:
    engine[0].edit_hash(b"h").set(b"old", b"1")
    engine.commit()
    cool(engine)
    engine[0].edit_hash(b"h").set(b"new", b"2")
    engine[0].move(engine[0].find(b"h"), engine[1], b"other")
    engine.commit()
    before = dataset_digest(engine.dataset)
    engine.restore(engine.log.next_lsn - 1)
    assert dataset_digest(engine.dataset) == before
    cool(engine)
    assert dataset_digest(engine.dataset) == before


def test_a_cold_hash_that_is_given_an_expiry_is_swept(engine: Engine) -> None:
    engine[0].edit_hash(b"h").set(b"f", b"v")
    engine.commit()
    cool(engine)
    engine[0].set_expire(engine[0].find(b"h"), engine.dataset.now + 1000)
    engine.commit()
    cool(engine)
    engine.clock.advance(2000)  # type: ignore[attr-defined]
    engine.update_time()
    engine.sweep()
    assert engine[0].keys == 0


def test_a_cold_hash_whose_expiry_is_put_off_is_swept_at_the_later_time(engine: Engine) -> None:
    engine[0].edit_hash(b"h").set(b"f", b"v")
    engine[0].set_expire(engine[0].find(b"h"), engine.dataset.now + 1000)
    engine.commit()
    cool(engine)
    engine[0].set_expire(engine[0].find(b"h"), engine.dataset.now + 5000)
    engine.commit()
    for expected, step in ((1, 2000), (0, 4000)):
        cool(engine)
        engine.clock.advance(step)  # type: ignore[attr-defined]
        engine.update_time()
        engine.sweep()
        assert engine[0].keys == expected


def test_a_cold_hash_that_is_renamed_keeps_the_due_time_of_its_fields(engine: Engine) -> None:
    fields = engine[0].edit_hash(b"h")
    fields.set(b"mortal", b"v", engine.dataset.now + 1000)
    fields.set(b"f", b"v")
    engine.commit()
    cool(engine)
    engine[0].move(engine[0].find(b"h"), engine[1], b"other")
    engine.commit()
    cool(engine)
    engine.clock.advance(2000)  # type: ignore[attr-defined]
    engine.update_time()
    engine.sweep()
    assert engine[1].find(b"other").size == 1


def test_a_stale_due_time_does_not_empty_a_long_string(engine: Engine) -> None:
    engine[0].set_string(b"k", b"x" * 50_000, engine.dataset.now + 1000)
    engine.commit()
    engine[0].set_expire(engine[0].find(b"k"), 0)
    engine.commit()
    engine.checkpoint()
    del engine[0].hot[b"k"]
    engine[0].complete = False
    engine.dataset.young.due.append((engine.dataset.now, engine[0].space, b"k"))
    engine.sweep()
    assert len(engine[0].string(b"k") or b"") == 50_000


def test_a_fold_that_fails_begins_again_at_what_the_tables_have() -> None:
    disk = MemoryDisk()
    options = Options(files=disk, open_tables=disk.open_tables, clock=ManualClock(), databases=1)
    engine = Engine.open("/db", options)
    engine[0].set_string(b"k", b"v")
    engine.commit()
    disk.faults["commit", disk.trace.get("commit", 0) + 1] = OSError("no")
    with pytest.raises(OSError, match="no"):
        engine.checkpoint()
    engine.asked_lsn = engine.applied_lsn
    engine[0].set_string(b"k2", b"v")
    engine.commit()
    engine.checkpoint()
    before = dataset_digest(engine.dataset)
    engine.close()
    with Engine.open("/db", options) as again:
        assert dataset_digest(again.dataset) == before


def test_a_log_that_has_vanished_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    with Engine.open(str(tmp_path)) as engine:
        engine[0].set_string(b"k", b"v")
        engine.commit()
    shutil.rmtree(tmp_path / "wal")
    (tmp_path / "wal").mkdir()
    with pytest.raises(Corruption, match="was durable"):
        Engine.open(str(tmp_path))


def test_a_gap_between_tables_and_log_is_refused(tmp_path: Path) -> None:
    """Tables put back from an older copy beside a newer log."""
    path, copy = tmp_path / "db", tmp_path / "copy"
    with Engine.open(str(path), Options(segment_size=4096)) as engine:
        engine[0].set_string(b"k", b"v")
        engine.commit()
    shutil.copytree(path / "tables-1", copy)
    engine = Engine.open(str(path), Options(segment_size=4096))
    for number in range(100):
        engine[0].set_string(b"k%d" % number, b"v" * 1000)
        engine.commit()
        engine.checkpoint()
    engine[0].set_string(b"last", b"v")
    engine.commit()
    engine.close(clean=False)
    shutil.rmtree(path / "tables-1")
    shutil.copytree(copy, path / "tables-1")
    with pytest.raises(Corruption, match="is missing"):
        Engine.open(str(path))


def test_replay_follows_a_long_string_that_is_renamed_patched_and_renamed_again(engine: Engine) -> None:
    """The simulation's seed 1135 of its time: the second rename brought back what the patch had changed."""
    db = engine[0]
    db.set_string(b"a", b"x" * 40_000)
    engine.commit()
    db.move(db.find(b"a"), engine[1], b"b")
    engine.commit()
    engine[1].patch_string(engine[1].find(b"b"), 25_000, b"changed")
    engine.commit()
    engine[1].move(engine[1].find(b"b"), engine[2], b"c")
    engine.commit()
    before = dataset_digest(engine.dataset)
    engine.restore(engine.log.next_lsn - 1)
    assert dataset_digest(engine.dataset) == before
