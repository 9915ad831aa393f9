"""Streams through restarts, evictions and replays of the log: what is in memory is what was there; rows on the disk."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from tests.storage.directory import rows

from perdure_storage.check import Finding, check_directory
from perdure_storage.codec import unpack
from perdure_storage.digest import dataset_digest
from perdure_storage.engine import Engine, Options
from perdure_storage.errors import Corruption
from perdure_storage.offline import Offline
from perdure_storage.tables import Table
from perdure_storage.testing import ManualClock, MemoryDisk
from perdure_storage.types.group import Group
from perdure_storage.types.stream import (
    CONSUMER_KEY,
    CONSUMER_TAG,
    ENTRY_KEY,
    GROUP_KEY,
    HEAD_KEY,
    PENDING_KEY,
    PENDING_TAG,
    Stream,
)
from perdure_storage.walk import walk


class World:
    """One engine on a disk in memory, and two streams that are changed at random."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.disk = MemoryDisk()
        self.clock = ManualClock()
        self.now = 0
        self.open()

    def open(self) -> None:
        options = Options(
            files=self.disk, open_tables=self.disk.open_tables, clock=self.clock, random=self.random, databases=1,
            segment_size=1 << 14,
        )  # fmt: skip
        self.engine = Engine.open("/db", options)
        self.db = self.engine[0]

    def step(self) -> None:
        random = self.random
        self.now += 1
        key = random.choice((b"a", b"b"))
        stream = self.db.find_collection(key, Stream)
        if stream is None:
            stream = self.db.create(Stream, key)
            stream.set_state(5 << 64, 0, 0)
        elif random.random() < 0.03:
            if random.random() < 0.5 and self.db.find(key + b"'") is None:
                stream.copy(self.db, key + b"'")
            self.db.remove(stream)
        elif stream.groups and random.random() < 0.5:
            self.change_a_group(stream, random.choice(list(stream.groups.values())))
        else:
            self.change(stream)
        self.engine.commit()

    def change(self, stream: Stream) -> None:
        random = self.random
        ids = [ident for ident, _ in stream.between(0, 1 << 128)]
        what = random.randrange(10)
        if what < 5:
            for _ in range(random.choice((1, 1, 3, 250))):
                stream.append(stream.last + random.choice((1, 7, 1 << 64)), (b"f", b"v" * random.randrange(60)) * 2)
        elif what == 5:
            gone = random.sample(ids, min(len(ids), random.choice((1, 5, 90))))
            assert stream.delete([*gone, 1, *gone]) == len(gone)
            assert not gone or stream.deleted >= max(gone)
        elif what == 6:
            stream.drop_first(min(len(ids), random.choice((1, 30, 200, 2000))))
        elif what == 7:
            stream.set_state(stream.last + 5, stream.deleted, stream.added + 2)
        elif len(stream.groups) < 4:
            name = b"group %d" % self.now
            stream.create_group(name, random.choice([0, *ids]), random.choice((-1, 0, 5)))

    def change_a_group(self, stream: Stream, group: Group) -> None:
        random = self.random
        pending = list(group.pending)
        what = random.randrange(10)
        if what < 5:
            name = random.choice((b"c", b"d", b"e" * 600))
            consumer = group.consumers.get(name) or stream.create_consumer(group, name, self.now)
            entries = stream.between(group.last + 1, 1 << 128, random.choice((1, 3, 100)))
            stream.pass_over(group, [ident for ident, _ in entries])
            stream.put_pending(group, consumer, [(ident, self.now, 1) for ident, _ in entries])
            again = random.sample(pending, min(len(pending), 3))
            stream.put_pending(group, consumer, [(ident, self.now, 2) for ident in again])
            stream.set_consumer(group, consumer, self.now, self.now)
        elif what < 8:
            gone = random.sample(pending, min(len(pending), random.choice((1, 4, 200))))
            assert stream.settle_pending(group, [*gone, *gone, 3]) == len(gone)
        elif what == 8:
            stream.set_group(group, group.last // 2, -1)
        elif group.consumers and random.random() < 0.7:
            doomed = random.choice(list(group.consumers.values()))
            theirs = len(doomed.order)
            assert stream.delete_consumer(group, doomed) == theirs
        else:
            stream.destroy_group(group)

    def restart(self) -> None:
        how = self.random.choice(("kill", "power", "close", "checkpoint", "forget", "restore"))
        self.engine.sync()
        if how == "restore":
            self.engine.restore(self.engine.log.durable_lsn)
        elif how in ("kill", "power", "close"):
            if how == "kill":
                self.disk.kill()
            elif how == "power":
                self.disk.crash(self.random)
            else:
                self.engine.close()
            self.open()
        else:
            self.engine.checkpoint()
            if how == "forget":
                self.engine.dataset.tick += 10
                while not self.engine.dataset.evict(0, 1 << 30):
                    pass

    def digest(self) -> str:
        return dataset_digest(self.engine.dataset)

    def check(self) -> None:
        for key, _ in list(self.db.scan()):
            stream = self.db.find_collection(key, Stream)
            assert stream is not None
            stream.check()
        assert self.db.used == sum(entry.cost() for entry in self.db.hot.values() if entry.kind)


@pytest.mark.parametrize("seed", range(20))
def test_a_stream_is_what_it_was(seed: int) -> None:
    world = World(seed)
    for _ in range(12):
        for _ in range(world.random.choice((1, 5, 30))):
            world.step()
        world.check()
        digest = world.digest()
        world.restart()
        assert world.digest() == digest  # from the rows
        world.check()
        assert world.digest() == digest  # from memory
    world.engine.sync()
    world.disk.kill()
    with Offline.open("/db", files=world.disk, open_tables=lambda path, _: world.disk.open_tables(path)) as view:
        assert dataset_digest(view.dataset) == digest


def filled(path: Path) -> str:
    engine = Engine.open(str(path), Options(databases=1))
    db = engine[0]
    stream = db.create(Stream, b"stream")
    for seq in (1, 2, 3):
        stream.append(7 << 64 | seq, (b"f", b"%d" % seq, b"", b"\xff"))
    stream.delete([7 << 64 | 2])
    group = stream.create_group(b"g", 0, 0)
    consumer = stream.create_consumer(group, b"c" * 600, 1000)
    stream.put_pending(group, consumer, [(7 << 64 | 1, 1001, 1), (7 << 64 | 2, 1001, 3)])
    stream.pass_over(group, [7 << 64 | 1])
    db.create(Stream, b"empty").set_state(0, 0, 0)
    engine.commit()
    engine.checkpoint()
    engine.close()
    return str(path)


def test_rows_are_as_the_format_says(tmp_path: Path) -> None:
    path = filled(tmp_path / "db")
    with Offline.open(path) as view:
        streams = dict(view.snapshot.scan(Table.STREAMS, b""))
        groups = dict(view.snapshot.scan(Table.GROUPS, b""))
        told = {item.key: item.plain() for item in walk(view.databases[0])}
    assert set(streams) == {HEAD_KEY.pack(1), ENTRY_KEY.pack(1, 7, 1), ENTRY_KEY.pack(1, 7, 3), HEAD_KEY.pack(2)}
    assert unpack(streams[ENTRY_KEY.pack(1, 7, 3)]) == (b"f", b"3", b"", b"\xff")
    assert set(groups) == {
        GROUP_KEY.pack(1, 1),
        CONSUMER_KEY.pack(1, 1, CONSUMER_TAG, 1),
        PENDING_KEY.pack(1, 1, PENDING_TAG, 7, 1),
        PENDING_KEY.pack(1, 1, PENDING_TAG, 7, 2),
    }
    assert [step for step in check_directory(path) if isinstance(step, Finding)] == []
    assert told[b"empty"] == {"value": [], "last_id": "0-0", "max_deleted_id": "0-0", "entries_added": 0}
    assert told[b"stream"] == {
        "value": [
            {"id": "7-1", "fields": [[b"f", b"1"], [b"", b"\xff"]]},
            {"id": "7-3", "fields": [[b"f", b"3"], [b"", b"\xff"]]},
        ],
        "last_id": "7-3",
        "max_deleted_id": "7-2",
        "entries_added": 3,
        "groups": [
            {
                "name": b"g",
                "last_id": "7-1",
                "entries_read": None,
                "consumers": [{"name": b"c" * 600, "seen_ms": 1000, "active_ms": 0}],
                "pending": [
                    {"id": "7-1", "consumer": b"c" * 600, "delivered_ms": 1001, "count": 1},
                    {"id": "7-2", "consumer": b"c" * 600, "delivered_ms": 1001, "count": 3},
                ],
            }
        ],
    }


@pytest.mark.parametrize(
    ("table", "row_key", "why"),
    [
        (Table.STREAMS, HEAD_KEY.pack(1), "without the row of their stream"),
        (Table.GROUPS, GROUP_KEY.pack(1, 1), "a group that is not there"),
        (Table.GROUPS, CONSUMER_KEY.pack(1, 1, CONSUMER_TAG, 1), "a consumer that is not there"),
    ],
)
def test_a_missing_row_is_corruption(tmp_path: Path, table: Table, row_key: bytes, why: str) -> None:
    path = filled(tmp_path / "db")
    with rows(path, table) as stored:
        stored.delete(row_key)
    engine = Engine.open(path, Options(databases=1))
    with pytest.raises(Corruption, match=why):
        engine[0].find_collection(b"stream", Stream)
    engine.close()


def test_check_finds_a_missing_entry_and_rows_of_no_stream(tmp_path: Path) -> None:
    path = filled(tmp_path / "db")
    with rows(path, Table.STREAMS) as stored:
        stored.delete(ENTRY_KEY.pack(1, 7, 3))
    with rows(path, Table.GROUPS) as stored:
        stored.seal(GROUP_KEY.pack(9, 1), bytes(24) + b"g")
        stored.seal(PENDING_KEY.pack(1, 1, 7, 7, 1), bytes(20))
    told = [str(step) for step in check_directory(path) if isinstance(step, Finding)]
    assert any("rows stand for 1, the key's record says 2" in line for line in told)
    assert any("belong to no key" in line for line in told)
    assert any("a row of kind 7" in line for line in told)


def test_steps_of_loading_do_not_undo_what_happened_meanwhile(tmp_path: Path) -> None:
    engine = Engine.open(filled(tmp_path / "db"), Options(databases=1))
    stream = engine[0].find(b"stream")
    snapshot = engine.snapshot()
    steps = stream.load_steps(snapshot, 2)
    next(steps)
    stream.load(engine.dataset.snapshot)
    stream.append(9 << 64, (b"f", b"v"))
    engine.commit()
    assert list(steps) == [None, None]
    assert stream.size == 3 and engine[0].used == sum(entry.cost() for entry in engine[0].hot.values())
    stream.check()
    snapshot.close()
    engine.close()
