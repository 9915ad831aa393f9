"""Lists and sets against Python's own, through restarts, evictions and replays of the log; and what is on the disk."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from tests.storage.directory import rows

from perdure_storage.check import Finding, check_directory
from perdure_storage.digest import dataset_digest
from perdure_storage.engine import Engine, Options
from perdure_storage.errors import Corruption
from perdure_storage.offline import Offline
from perdure_storage.tables import LmdbSnapshot, Table
from perdure_storage.testing import ManualClock, MemoryDisk
from perdure_storage.types.list import SLOT, VALUE_COST, ZERO, List
from perdure_storage.types.set import MEMBER_COST, Set


class World:
    """One engine on a disk in memory, a few lists and sets, and what they should be."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.disk = MemoryDisk()
        self.clock = ManualClock()
        self.lists: dict[bytes, list[bytes]] = {}
        self.sets: dict[bytes, set[bytes]] = {}
        self.long = self.random.random() < 0.2
        self.open()

    def open(self) -> None:
        options = Options(
            files=self.disk,
            open_tables=self.disk.open_tables,
            clock=self.clock,
            random=self.random,
            segment_size=1 << 14,
        )
        self.engine = Engine.open("/db", options)
        self.db = self.engine.dataset.databases[0]

    def values(self) -> list[bytes]:
        random = self.random
        count = random.choice((1, 1, 1, 2, 5, 40, 1500 if self.long else 9))
        return [b"%d" % random.randrange(9) + b"x" * random.choice((0, 0, 50, 700)) for _ in range(count)]

    def restart(self) -> None:
        how = self.random.choice(("kill", "close", "checkpoint", "forget"))
        self.engine.sync()
        if how in ("kill", "close"):
            if how == "kill":
                self.disk.kill()
            else:
                self.engine.close()
            self.open()
            return
        self.engine.checkpoint()
        if how == "forget":
            self.engine.dataset.tick += 10
            while not self.engine.dataset.evict(0, 1 << 30):
                pass

    def change_a_set(self) -> None:
        random, key = self.random, self.random.choice((b"s", b"t"))
        here = self.sets.setdefault(key, set())
        if not here or random.random() < 0.5:
            members = self.values()
            assert self.db.edit(key, Set).add(members) == len(set(members) - here)
            here.update(members)
            return
        entry = self.db.find_collection(key, Set)
        assert entry is not None
        if random.random() < 0.3:
            entry.ordered()
        members = random.sample(sorted(here), random.randrange(len(here) + 1))
        assert entry.remove(members + members) == len(members)
        self.db.settle(entry)
        here -= set(members)

    def change_a_list(self) -> None:
        random, key = self.random, self.random.choice((b"k", b"l"))
        here = self.lists.setdefault(key, [])
        entry = self.db.find_collection(key, List)
        if entry is None or random.random() < 0.4:
            values, left = self.values(), random.random() < 0.5
            self.db.edit(key, List).push(left, values)
            here[:] = values[::-1] + here if left else here + values
            return
        what, place = random.choice(("pop", "keep", "set", "insert", "remove")), random.randrange(len(here))
        if what == "pop":
            left = random.random() < 0.5
            for _ in range(min(len(here), random.choice((1, 1, 3, 50)))):
                assert entry.pop(left) == here.pop(0 if left else -1)
        elif what == "keep":
            stop = random.randint(place + 1, len(here))
            entry.keep(place, stop)
            here[:] = here[place:stop]
        elif what == "set":
            here[place] = random.choice((b"", b"value" * 20))
            entry.set(place, here[place])
        elif what == "insert":
            entry.insert(place, b"new")
            here.insert(place, b"new")
        else:
            count = random.randint(1, min(len(here), random.choice((1, 3, 9999))))
            places = sorted(random.sample(range(len(here)), count))
            entry.remove(places)
            for gone in reversed(places):
                del here[gone]
        if not entry.size:
            self.db.remove(entry)

    def step(self) -> None:
        random = self.random.random()
        if random < 0.15:
            self.restart()
            return
        if random < 0.4:
            self.change_a_set()
        else:
            self.change_a_list()
        self.engine.dataset.seal()
        self.engine.commit()

    def check(self) -> None:
        for key, values in self.lists.items():
            entry = self.db.find_collection(key, List)
            assert (entry is not None) == bool(values)
            if entry is not None:
                assert entry.values() == values and entry.size == len(values)
                assert entry.weight == VALUE_COST * len(values) + sum(map(len, values))
        for key, members in self.sets.items():
            found = self.db.find_collection(key, Set)
            assert (found is not None) == bool(members)
            if found is not None:
                assert set(found.values) == members and found.size == len(members)
                assert found.weight >= MEMBER_COST * len(members) + sum(map(len, members))
                if found.order is not None:
                    found.order.check(members)
        assert self.db.used == sum(entry.cost() for entry in self.db.hot.values() if entry.kind)


@pytest.mark.parametrize("seed", range(25))
def test_lists_and_sets_are_what_they_should_be(seed: int) -> None:
    world = World(seed)
    for _ in range(150):
        world.step()
        world.check()
    world.engine.sync()
    digest = dataset_digest(world.engine.dataset)
    world.disk.kill()
    with Offline.open("/db", files=world.disk, open_tables=lambda path, _: world.disk.open_tables(path)) as view:
        assert dataset_digest(view.dataset) == digest


def filled(path: Path) -> str:
    engine = Engine.open(str(path), Options(databases=1))
    db = engine[0]
    db.edit(b"list", List).push_right([b"a", b"b", b"c"])
    db.edit(b"list", List).push_left([b"x"])
    db.edit(b"set", Set).add([b"m", b"n", b"long" * 200])
    engine.commit()
    engine.checkpoint()
    engine.close()
    return str(path)


def test_rows_are_as_the_format_says(tmp_path: Path) -> None:
    with Offline.open(filled(tmp_path / "db")) as view:
        assert isinstance(view.snapshot, LmdbSnapshot)
        slots = [(SLOT.unpack(key), value) for key, value in view.snapshot.scan(Table.LISTS, b"")]
        assert slots == [((1, ZERO - 1), b"x"), ((1, ZERO), b"a"), ((1, ZERO + 1), b"b"), ((1, ZERO + 2), b"c")]
        sets = list(view.snapshot.scan(Table.SETS, b""))
        assert [len(key) for key, _ in sets] == [504, 9, 9]
    assert [step for step in check_directory(str(tmp_path / "db")) if isinstance(step, Finding)] == []


def test_a_missing_slot_is_corruption(tmp_path: Path) -> None:
    path = filled(tmp_path / "db")
    with rows(path, Table.LISTS) as lists:
        lists.delete(SLOT.pack(1, ZERO + 1))
    assert any(isinstance(step, Finding) and step.severity == "error" for step in check_directory(path))
    engine = Engine.open(path, Options(databases=1))
    with pytest.raises(Corruption, match="no slot 1"):
        engine[0].find_collection(b"list", List)
    engine.close()
