"""The hot cache against a dict: whatever is in memory, in the tables or on the way between them."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.storage.memory import World, opened

from perdure_storage import keyspace
from perdure_storage.errors import TooLarge, WrongType
from perdure_storage.types.hash import Hash
from perdure_storage.types.list import List
from perdure_storage.types.set import Set
from perdure_storage.types.stream import Stream
from perdure_storage.types.zset import ZSet
from perdure_storage.walk import walk

KEYS = st.sampled_from([b"", b"a", b"ab", b"b", b"\xff", b"\xff\xff", b"long" * 130, b"long" * 130 + b"er"])
FIELDS = st.sampled_from([b"", b"f", b"g", b"long" * 130])
VALUES = st.sampled_from([b"", b"v", b"w" * 255, b"x" * 257, b"y" * 16_000, b"z" * 40_000])
DATABASES = st.integers(0, 2)
Model = dict[tuple[int, bytes], Any]


class KeyspaceMachine(RuleBasedStateMachine):
    """Each rule is one transaction. Strings are bytes in the model, hashes dicts."""

    @initialize()
    def start(self) -> None:
        self.world = opened(databases=3, segment_size=1 << 16)
        self.model: Model = {}

    @property
    def databases(self) -> list[keyspace.Keyspace]:
        return self.world.engine.dataset.databases

    def keys(self, index: int) -> set[bytes]:
        return {key for at, key in self.model if at == index}

    def commit(self) -> None:
        self.world.engine.commit()

    @rule(index=DATABASES, key=KEYS, value=VALUES)
    def set_string(self, index: int, key: bytes, value: bytes) -> None:
        self.databases[index].set_string(key, value)
        self.model[index, key] = value
        self.commit()

    @rule(index=DATABASES, key=KEYS, value=VALUES, offset=st.sampled_from([0, 1, 250, 16_000, 33_000]))
    def write_string(self, index: int, key: bytes, value: bytes, offset: int) -> None:
        old = self.model.get((index, key), b"")
        db = self.databases[index]
        if isinstance(old, dict):
            with pytest.raises(WrongType):
                db.find_string(key)
        elif value:
            size = db.write_string(key, db.find_string(key), offset, value)
            old = old.ljust(offset, b"\0")
            self.model[index, key] = old[:offset] + value + old[offset + len(value) :]
            assert size == len(self.model[index, key])
        self.commit()

    @rule(index=DATABASES, key=KEYS, field=FIELDS, value=VALUES)
    def set_field(self, index: int, key: bytes, field: bytes, value: bytes) -> None:
        old = self.model.get((index, key), {})
        if isinstance(old, dict):
            assert self.databases[index].edit_hash(key).set(field, value) == (field not in old)
            self.model[index, key] = {**old, field: value}
        else:
            with pytest.raises(WrongType):
                self.databases[index].edit_hash(key)
        self.commit()

    @rule(index=DATABASES, key=KEYS, field=FIELDS)
    def delete_field(self, index: int, key: bytes, field: bytes) -> None:
        old = self.model.get((index, key))
        if not isinstance(old, dict):
            return
        entry = self.databases[index].find_hash(key)
        assert entry is not None
        assert entry.delete(field) == (field in old)
        self.databases[index].settle(entry)
        self.model[index, key] = {name: value for name, value in old.items() if name != field}
        if not self.model[index, key]:
            del self.model[index, key]
        self.commit()

    @rule(index=DATABASES, key=KEYS)
    def delete(self, index: int, key: bytes) -> None:
        assert self.databases[index].delete(key) == ((index, key) in self.model)
        self.model.pop((index, key), None)
        self.commit()

    @rule(index=DATABASES, key=KEYS, to=DATABASES, new_key=KEYS)
    def move(self, index: int, key: bytes, to: int, new_key: bytes) -> None:
        entry = self.databases[index].find(key)
        assert (entry is not None) == ((index, key) in self.model)
        if entry is None or (to, new_key) in self.model or (to, new_key) == (index, key):
            return
        self.databases[index].move(entry, self.databases[to], new_key)
        self.model[to, new_key] = self.model.pop((index, key))
        self.commit()

    @rule(index=DATABASES)
    def clear(self, index: int) -> None:
        self.databases[index].clear()
        self.model = {place: value for place, value in self.model.items() if place[0] != index}
        self.commit()

    @rule(first=DATABASES, second=DATABASES)
    def swap(self, first: int, second: int) -> None:
        self.world.engine.dataset.swap(first, second)
        turn = {first: second, second: first}
        self.model = {(turn.get(index, index), key): value for (index, key), value in self.model.items()}
        self.commit()

    @rule(goal=st.sampled_from([0, 50_000]))
    def evict(self, goal: int) -> None:
        dataset = self.world.engine.dataset
        dataset.tick += 2
        if dataset.evict(goal, 1000):
            assert dataset.used <= goal

    @rule()
    def checkpoint(self) -> None:
        self.world.engine.checkpoint()

    @rule()
    def half_a_checkpoint(self) -> None:
        """Folded, but the engine has not heard of it yet: its snapshot is the one before."""
        engine = self.world.engine
        engine.sync()
        engine.dataset.close_generation()
        assert engine._checkpointer is not None
        for _ in engine._checkpointer.run(engine.log.durable_lsn):
            pass

    @rule()
    def the_other_half(self) -> None:
        self.world.engine._applied()

    @rule(seed=st.integers(0, 1000))
    def crash(self, seed: int) -> None:
        self.world.engine.sync()
        self.world.crash(seed)
        self.world.open()

    @rule(index=DATABASES, prefix=st.sampled_from([b"", b"a", b"\xff", b"long", b"long" * 130 + b"e"]))
    def scan(self, index: int, prefix: bytes) -> None:
        found = [key for key, _ in self.databases[index].scan(prefix)]
        assert sorted(found) == sorted(key for key in self.keys(index) if key.startswith(prefix))

    @rule(index=DATABASES, seed=st.integers(0, 1000))
    def random_key(self, index: int, seed: int) -> None:
        key = self.databases[index].random_key(Random(seed))
        keys = self.keys(index)
        assert key in keys if keys else key is None

    @invariant()
    def everything_is_as_it_should_be(self) -> None:
        found = {}
        for db in self.databases:
            assert db.keys == len(self.keys(db.index))
            for item in walk(db):
                if item.type_name == "hash":
                    found[db.index, item.key] = {field: value for field, value, _ in item.elements()}
                    assert item.size == len(found[db.index, item.key])
                else:
                    ((found[db.index, item.key],),) = item.elements()
        assert found == self.model


KeyspaceMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestKeyspace = KeyspaceMachine.TestCase


@pytest.mark.parametrize("seed", range(8))
def test_a_scan_sees_what_is_there_all_the_time_whatever_happens_between_pages(seed: int) -> None:
    random = Random(seed)
    world = opened(segment_size=1 << 16)
    db = world.engine[0]
    steady = {b"steady:%d" % number for number in range(60)}
    for key in steady:
        world.put(key, b"v")
    fleeting = [b"%d:fleeting" % number for number in range(60)]
    seen: Counter[bytes] = Counter()
    after = b""
    ended = False
    while not ended:
        after, found = db.scan_page(after, b"", random.randint(1, 10))
        ended = not after
        seen.update(key for key, _ in found)
        for _ in range(random.randint(0, 20)):
            key = random.choice(fleeting)
            if random.random() < 0.5:
                world.put(key, b"v")
            else:
                db.delete(key)
                world.engine.commit()
        what = random.random()
        if what < 0.3:
            world.engine.checkpoint()
        elif what < 0.5:
            world.engine.dataset.tick += 2
            world.engine.dataset.evict(0, 1000)
    assert steady <= set(seen)
    assert all(seen[key] == 1 for key in steady)


def test_a_page_looks_at_no_more_rows_than_it_may() -> None:
    world = opened()
    for number in range(100):
        world.put(b"k%02d" % number, b"v")
    world.engine.checkpoint()
    position, found = world.engine[0].scan_page(b"", b"", 10)
    assert [key for key, _ in found] == [b"k%02d" % number for number in range(10)]
    position, found = world.engine[0].scan_page(position, b"", 10)
    assert found[0][0] == b"k10"


def test_a_walk_that_ends_early_is_closed_without_a_trace() -> None:
    """No exception that only stderr would see (an error here), nothing for the collector, which the server switches off."""
    world = opened()
    for number in range(10, 20):
        world.put(b"k%02d" % number, b"v")
    world.engine.checkpoint()
    for number in range(3):
        world.put(b"k%02d" % number, b"v")
    gc.collect()
    gc.disable()
    try:
        for limit in range(1, 13):
            world.engine[0].scan_page(b"", b"", limit)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_the_empty_key_is_a_key_like_any_other() -> None:
    for folded in (False, True):
        world = opened()
        world.put(b"", b"v")
        world.put(b"a", b"v")
        if folded:
            world.engine.checkpoint()
        pages, after = [], b""
        for _ in range(2):
            after, found = world.engine[0].scan_page(after, b"", 1)
            pages += [key for key, _ in found]
            if not after:
                break
        assert b"" in pages
        assert [key for key, _ in world.engine[0].scan()] == [b"", b"a"]


def test_eviction_drops_the_longest_unused_and_loses_nothing() -> None:
    world = opened(segment_size=1 << 20)
    dataset, db = world.engine.dataset, world.engine[0]
    for number in range(500):
        world.put(b"k%d" % number, b"%d" % number * 20)
    assert not dataset.evict(0, 10_000)
    assert len(db.hot) == 500  # nothing is in the tables yet
    world.engine.checkpoint()
    dataset.tick += 5
    for number in range(100):
        world.get(b"k%d" % number)
    assert dataset.evict(dataset.used // 2, 10_000)
    assert all(b"k%d" % number in db.hot for number in range(100))
    assert dataset.dropped >= 200
    for number in range(500):
        assert world.get(b"k%d" % number) == b"%d" % number * 20
    assert db.keys == 500


def test_random_keys_are_about_evenly_chosen_in_memory() -> None:
    world = opened(segment_size=1 << 16)
    for number in range(20):
        world.put(b"k%d" % number, b"v")
    random = Random(1)
    chosen = Counter(world.engine[0].random_key(random) for _ in range(4000))
    assert len(chosen) == 20
    assert max(chosen.values()) < 2 * min(chosen.values())


def test_random_keys_reach_every_cold_key() -> None:
    world = opened(segment_size=1 << 16)
    for number in range(50):
        world.put(b"%d" % (number * number * 7919), b"v")
    world.engine.checkpoint()
    world.engine.dataset.tick += 5
    random = Random(1)
    chosen = set()
    for _ in range(3000):
        world.engine.dataset.evict(0, 1000)
        chosen.add(world.engine[0].random_key(random))
    assert len(chosen) == 50


def test_a_string_that_is_too_large_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyspace, "MAX_STRING", 1000)
    world = opened()
    world.put(b"k", b"v" * 900)
    db = world.engine[0]
    entry = db.find_string(b"k")
    assert entry is not None
    with pytest.raises(TooLarge):
        db.set_string(b"k", b"x" * 1001)
    with pytest.raises(TooLarge):
        db.patch_string(entry, 999, b"xx")
    with pytest.raises(TooLarge):
        db.write_string(b"new", None, 999, b"xx")
    assert world.get(b"k") == b"v" * 900
    assert db.keys == 1
    assert not world.engine.dataset.effects


def test_ids_are_never_given_out_twice() -> None:
    """Also not that of a collection which came and went within one transaction: its rows are still to be removed."""
    world = opened()
    db = world.engine[0]
    entry = db.edit_hash(b"h")
    entry.set(b"f", b"v")
    db.remove(entry)
    world.engine.commit()
    world.engine.sync()
    world.crash()
    world.open()
    fresh = world.engine[0].edit_hash(b"h")
    assert fresh.id > entry.id
    fresh.set(b"g", b"v")
    world.engine.commit()
    world.engine.checkpoint()
    world.engine.dataset.tick += 5
    world.engine.dataset.evict(0, 100)
    found = world.engine[0].hash(b"h")
    assert found is not None
    assert found.values == {b"g": b"v"}


def test_memory_is_given_back_for_all_that_goes() -> None:
    world = opened(segment_size=1 << 20)
    dataset, db = world.engine.dataset, world.engine[0]
    for number in range(50):
        world.put(b"s%d" % number, b"v" * number * 100)
        db.edit_hash(b"h%d" % number).set(b"f", b"v" * number)
        world.engine.commit()
    assert dataset.used > 150_000
    db.clear()
    world.engine.commit()
    assert dataset.used == 0
    while dataset.free_some():
        pass
    assert dataset.trash == []


def test_a_large_value_is_freed_in_slices() -> None:
    world = opened(segment_size=1 << 20)
    entry = world.engine[0].edit_hash(b"h")
    for number in range(5000):
        entry.set(b"f%d" % number, b"v")
    world.engine.commit()
    fields = entry.values
    world.engine[0].remove(entry)
    world.engine.commit()
    assert fields
    slices = 1
    while world.engine.dataset.free_some():
        slices += 1
    assert slices >= 3
    assert not fields


def test_the_ring_holds_what_is_in_memory_and_nothing_else() -> None:
    """What is gone would keep its value there, which nobody counts as memory."""
    world = opened()
    db = world.engine[0]
    entries: list[Any] = []
    for name in (b"deleted", b"replaced", b"renamed", b"expired", b"kept"):
        db.set_string(name, b"v" * 20_000)
        entries.append(db.find(name))
    for made in (Hash, List, Set, ZSet, Stream):
        entries.append(db.create(made, made.type_name.encode()))
    hash_, list_, set_, zset, stream = entries[5:]
    hash_.set(b"f", b"v")
    list_.push_right([b"v"])
    set_.add([b"m"])
    zset.set(b"m", 1.0)
    stream.append(1, (b"f", b"v"))
    world.engine.commit()
    db.delete(b"deleted")
    db.remove(entries[1])
    db.create(Set, b"replaced").add([b"m"])
    db.move(entries[2], db, b"new name")
    db.move(zset, world.engine[1], b"elsewhere")
    db.set_expire(entries[3], world.clock.now_ms())
    db.find(b"expired")
    for entry in (hash_, list_, set_, stream):
        db.delete(entry.key)
    world.engine.commit()
    for each in (db, world.engine[1]):
        there = [entry for entry in each.hot.values() if entry.kind]
        assert len(each.ring) == len(there)
        assert all(each.ring[entry.ring_at] is entry for entry in there)
    assert sorted(entry.key for entry in db.ring) == [b"kept", b"new name", b"replaced"]
    assert db.string(b"new name") == b"v" * 20_000


def test_an_entry_that_was_moved_unloaded_keeps_the_accounts() -> None:
    world = opened()
    db = world.engine[0]
    db.edit_hash(b"h").set(b"f", b"v", world.clock.now_ms() + 1000)
    world.engine.commit()
    world.engine.checkpoint()
    world.engine.dataset.tick += 5
    world.engine.dataset.evict(0, 100)
    entry = db.find(b"h")
    assert isinstance(entry, Hash)
    assert not entry.loaded
    db.move(entry, world.engine[1], b"h")
    world.engine.commit()
    assert (db.used, world.engine[1].used) == (0, entry.cost())


def test_a_world_of_many_databases_counts_each() -> None:
    world = World(databases=16)
    engine = world.open()
    for number in range(16):
        for key in range(number):
            world.put(b"k%d" % key, b"v", db=number)
    engine.dataset.swap(3, 12)
    engine.commit()
    engine.sync()
    world.crash()
    counts = [db.keys for db in world.open().dataset.databases]
    expected = list(range(16))
    expected[3], expected[12] = 12, 3
    assert counts == expected


def test_a_checkpoint_asked_for_within_a_transaction_does_not_make_it_forgotten() -> None:
    world = opened()
    world.put(b"deleted", b"v")
    world.put(b"kept", b"v")
    world.engine.close()
    engine = world.open()
    db = engine[0]
    world.put(b"other", b"v")
    engine.sync()
    assert db.delete(b"deleted")
    db.set_string(b"made", b"v")
    assert engine.request_checkpoint()
    while engine.dataset.free_some():
        pass
    engine.commit()
    assert db.find(b"deleted") is None
    assert sorted(key for key, _ in db.scan()) == [b"kept", b"made", b"other"]


def test_strings_are_taken_for_what_they_cost_in_memory() -> None:
    db = opened().engine[0]
    for number in range(700):  # just enough for the dict to have grown
        db.set_string(b"key:%d" % number, b"x" * (number % 64))
    entries = list(db.hot.values())
    real = sum(sys.getsizeof(each) for entry in entries for each in (entry, entry.key, entry.value))
    real += sys.getsizeof(db.hot) + sys.getsizeof(db.ring)
    assert 0.8 * db.used < real <= db.used
