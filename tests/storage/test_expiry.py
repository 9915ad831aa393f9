"""Nothing expires early, nothing stays for ever: by which clock, found where, and across what."""

from __future__ import annotations

import time

import pytest
from tests.storage.memory import World, opened

from perdure_storage.clock import SystemClock
from perdure_storage.errors import LogFull
from perdure_storage.tables import Table


def due(world: World, in_ms: int) -> int:
    return world.clock.now_ms() + in_ms


def expiry_rows(world: World) -> int:
    return world.engine.dataset.snapshot.count(Table.EXPIRIES)


def test_a_key_is_there_until_its_time_and_gone_from_then_on() -> None:
    world = opened()
    world.put(b"k", b"v", due(world, 100))
    world.advance(99)
    assert world.get(b"k") == b"v"
    world.advance(1)
    assert world.get(b"k") is None
    assert (world.engine[0].keys, world.engine[0].expires) == (0, 0)


@pytest.mark.parametrize("step_ms", [-86_400_000, 86_400_000])
def test_a_stepped_wall_clock_neither_expires_early_nor_freezes(step_ms: int) -> None:
    world = opened()
    world.put(b"lock", b"mine", due(world, 1000))
    world.clock.step(step_ms)
    world.advance(999)
    world.engine.sweep()
    assert world.get(b"lock") == b"mine"
    world.advance(1)
    assert world.engine.sweep() == 1
    assert world.engine[0].keys == 0


def test_the_system_clock_follows_the_monotonic_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    before = clock.now_ms()
    assert abs(before - time.time() * 1000) < 1000
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert 0 <= clock.now_ms() - before < 1000
    assert clock.now_us() // 1000 - clock.now_ms() in (-1, 0)
    assert clock.wall_ms() == 0


@pytest.mark.parametrize("where", ["memory", "tables", "tables, cold", "after a restart", "after a crash"])
def test_the_sweep_finds_what_is_due_wherever_it_is(where: str) -> None:
    world = opened()
    for number in range(100):
        world.put(b"k%d" % number, b"v", due(world, number + 1) if number % 2 else 0)
    hash_ = world.engine[1].edit_hash(b"h")
    hash_.set(b"mortal", b"v", due(world, 10))
    hash_.set(b"immortal", b"v")
    world.engine.commit()
    if where.startswith("tables"):
        world.engine.checkpoint()
    if where.endswith("cold"):
        world.engine.dataset.tick += 10
        world.engine.dataset.evict(0, 1000)
        assert not world.engine[0].hot
    if where.startswith("after"):
        world.engine.sync()
        if where.endswith("restart"):
            world.engine.close()
        else:
            world.crash()
        world.open()
    for step in range(20):
        world.advance(5)
        while world.engine.sweep(3):
            pass
        passed = (step + 1) * 5
        assert world.engine[0].keys == 100 - sum(1 for number in range(1, 100, 2) if number + 1 <= passed)
        assert world.engine[0].expires == world.engine[0].keys - 50
    found = world.engine[1].hash(b"h")
    assert found is not None
    assert list(found.values) == [b"immortal"]
    world.engine.checkpoint()
    assert expiry_rows(world) == 0


def test_a_swept_key_stays_gone_after_a_crash() -> None:
    """The deletion is logged: replay does not ask the clock."""
    world = opened()
    world.put(b"k", b"v", due(world, 10))
    world.engine.checkpoint()
    world.advance(10)
    world.engine.sweep()
    world.engine.sync()
    world.clock.advance(-1000)
    world.crash()
    world.open()
    assert world.get(b"k") is None


def test_wall_time_counts_while_the_server_is_down() -> None:
    world = opened()
    world.put(b"k", b"v", due(world, 1000))
    world.put(b"other", b"v", due(world, 5000))
    world.engine.close()
    world.clock.advance(1000)
    world.open()
    assert world.get(b"k") is None
    assert world.get(b"other") == b"v"


def test_a_sweep_is_bounded_and_says_that_it_is_behind() -> None:
    world = opened()
    for number in range(30):
        world.put(b"k%d" % number, b"v", due(world, 5))
    world.engine.checkpoint()
    for number in range(30, 50):
        world.put(b"k%d" % number, b"v", due(world, 5))
    world.advance(5)
    assert world.engine.sweep(20) == 20
    assert world.engine.sweeper.behind
    assert world.engine.sweep(20) == 20
    assert world.engine.sweep(20) == 10
    assert not world.engine.sweeper.behind
    assert world.engine[0].keys == 0


def test_the_last_expiry_that_was_set_counts() -> None:
    world = opened()
    db = world.engine[0]
    for folded in (False, True):
        world.put(b"later", b"v", due(world, 10))
        world.put(b"never", b"v", due(world, 10))
        world.put(b"sooner", b"v", due(world, 1000))
        world.put(b"replaced", b"v", due(world, 10))
        if folded:
            world.engine.checkpoint()
        for key, expire in ((b"later", due(world, 100)), (b"never", 0), (b"sooner", due(world, 5))):
            db.set_expire(db.find(key), expire)
        db.set_string(b"replaced", b"w")
        world.engine.commit()
        world.advance(50)
        world.engine.sweep()
        assert [world.get(key) for key in (b"later", b"never", b"sooner", b"replaced")] == [b"v", b"v", None, b"w"]
        assert (db.keys, db.expires) == (3, 1)
        world.engine.checkpoint()
        assert expiry_rows(world) == 1
        world.advance(50)
        world.engine.sweep()
        assert db.expires == 0


def test_a_due_time_in_the_past_is_met_although_the_sweep_has_passed_it() -> None:
    world = opened()
    world.put(b"a", b"v", due(world, 50))
    world.engine.checkpoint()
    world.advance(100)
    world.engine.sweep()
    world.put(b"b", b"v", due(world, -80))
    world.engine.checkpoint()
    world.engine.sweep()
    assert world.engine[0].keys == 0


@pytest.mark.parametrize("folded", [False, True])
def test_fields_of_a_hash_expire_one_by_one_and_the_key_with_the_last(folded: bool) -> None:
    world = opened()
    db = world.engine[0]
    hash_ = db.edit_hash(b"h")
    for number in range(5):
        hash_.set(b"f%d" % number, b"v", due(world, 10 * (number + 1)))
    world.engine.commit()
    if folded:
        world.engine.checkpoint()
        world.engine.dataset.tick += 10
        world.engine.dataset.evict(0, 100)
    for number in range(5):
        found = db.hash(b"h")
        assert found is not None
        assert len(found.values) == 5 - number
        world.advance(10)
        world.engine.sweep()
        world.engine.commit()
    assert db.keys == 0
    assert db.hash(b"h") is None
    world.engine.checkpoint()
    assert expiry_rows(world) == 0


def test_an_unloaded_hash_keeps_the_expiry_of_its_fields_when_its_own_changes() -> None:
    for expire in (0, 1000):
        world = opened()
        db = world.engine[0]
        db.edit_hash(b"h").set(b"f", b"v", due(world, 50))
        db.edit_hash(b"h").set(b"g", b"v")
        world.engine.commit()
        world.engine.checkpoint()
        world.engine.dataset.tick += 10
        world.engine.dataset.evict(0, 100)
        entry = db.find(b"h")
        assert not entry.loaded
        db.set_expire(entry, due(world, expire) if expire else 0)
        world.engine.commit()
        world.engine.checkpoint()
        world.advance(50)
        world.engine.sweep()
        found = db.hash(b"h")
        assert found is not None
        assert list(found.values) == [b"g"]


def test_a_renamed_key_takes_its_expiry_along() -> None:
    world = opened()
    first, second = world.engine[0], world.engine[1]
    world.put(b"k", b"v", due(world, 10))
    first.edit_hash(b"h").set(b"f", b"v", due(world, 20))
    world.engine.commit()
    world.engine.checkpoint()
    world.engine.dataset.tick += 10
    world.engine.dataset.evict(0, 100)
    for key in (b"k", b"h"):
        first.move(first.find(key), second, b"new " + key)
    world.engine.commit()
    world.engine.checkpoint()
    assert expiry_rows(world) == 2
    world.advance(10)
    world.engine.sweep()
    assert (first.keys, second.keys) == (0, 1)
    world.advance(10)
    world.engine.sweep()
    assert second.keys == 0


def test_a_refused_sweep_is_done_again() -> None:
    """Undone for want of disk space, the keys are there again, before the place that the sweep had reached."""
    world = opened(segment_size=2048)
    for number in range(200):
        world.put(b"k%d" % number, b"v", due(world, 10))
    world.engine.checkpoint()
    world.advance(10)
    world.disk.capacity = 0
    with pytest.raises(LogFull):  # more deletions than a segment holds
        world.engine.sweep(1000)
    assert world.engine[0].keys == 200
    world.disk.capacity = 1 << 40
    assert world.engine.sweep(1000) == 200
    assert world.engine[0].keys == 0
