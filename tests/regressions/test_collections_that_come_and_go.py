"""What a large collection leaves behind when it leaves memory, or is deleted, on its way into memory or after it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import RealRedis, RedisError, StartPerdure
from tests.regressions.test_loading_in_steps import change
from tests.storage.directory import rows

from perdure.commands import hashes, sets, zsets
from perdure_storage import Engine
from perdure_storage.tables import Table
from perdure_storage.types.entry import Collection
from perdure_storage.types.hash import Hash
from perdure_storage.types.list import List
from perdure_storage.types.set import Set
from perdure_storage.types.zset import ZSet

FIELDS = 2000


def fill(client: RealRedis, key: str) -> None:
    """A hash that is loaded in steps, of about 4 MB."""
    for start in range(0, FIELDS, 100):
        pairs = [word for at in range(start, start + 100) for word in (f"field:{at}", "x" * 2000)]
        client.ask("HSET", key, *pairs)


@pytest.mark.parametrize("kind", [Hash, List, Set, ZSet])
@pytest.mark.parametrize("how", ["delete", "clear", "evict"])
def test_what_is_deleted_while_it_is_loaded_takes_no_memory(kind: type[Collection], how: str, tmp_path: Path) -> None:
    with Engine.open(str(tmp_path)) as engine:
        db = engine[0]
        for number in range(10):
            change(db, kind, number)
        engine.commit()
        engine.checkpoint()
        engine.dataset.evict(-1, 1 << 20)
        engine.update_time()
        entry = db.find(b"k")
        snapshot = engine.snapshot()
        steps = entry.load_steps(snapshot, 3)
        next(steps)
        assert engine.dataset.used == entry.cost()
        if how == "delete":
            db.delete(b"k")
        elif how == "clear":
            db.clear()
        else:
            entry.tick = -1
            engine.dataset.evict(-1, 1 << 20)
        for _ in steps:
            pass
        snapshot.close()
        assert engine.dataset.used == 0


def test_who_waits_for_a_damaged_collection_is_told(start_perdure: StartPerdure, tmp_path: Path) -> None:
    server = start_perdure("--appendfsync", "no")
    fill(server.connect(), "h")
    assert server.stop() == 0
    with rows(str(tmp_path / "data"), Table.HASHES) as raw:
        row_key, original = raw.all()[FIELDS // 2]
        raw.store(row_key, original[:-1] + b"y")
    client = start_perdure().connect()
    assert client.ask("HLEN", "h") == FIELDS
    reply = client.ask("HGETALL", "h")
    assert isinstance(reply, RedisError) and "corruption" in str(reply)


@pytest.mark.parametrize("kind", [Hash, List, Set, ZSet])
def test_what_is_being_loaded_is_not_dropped_from_memory(kind: type[Collection], tmp_path: Path) -> None:
    """A cache that is too small dropped it before anybody had seen it, and so on for ever."""
    with Engine.open(str(tmp_path)) as engine:
        change(engine[0], kind, 1)
        engine.commit()
        engine.checkpoint()
        engine.dataset.evict(-1, 1 << 20)
        entry = engine[0].find(b"k")
        engine.dataset.loading.add(entry)
        assert not engine.dataset.evict(-1, 1 << 20)
        assert entry.is_there


def test_a_collection_larger_than_the_cache_stays_while_it_is_used(tmp_path: Path) -> None:
    with Engine.open(str(tmp_path)) as engine:
        dataset = engine.dataset
        engine[0].edit_hash(b"small").set(b"f", b"x" * 2000)
        for number in range(2000):
            engine[0].edit_hash(b"large").set(b"%d" % number, b"v")
        engine.commit()
        for _ in range(5):
            assert not dataset.evict(dataset.used // 2, 1 << 20)  # a change that the tables do not know yet
        engine.checkpoint()
        assert dataset.evict(dataset.used // 2, 1 << 20)
        assert b"large" in engine[0].hot
        dataset.tick += 3
        assert dataset.evict(dataset.used // 2, 1 << 20)
        assert b"large" not in engine[0].hot


LONG = b"member" * 100


def test_a_large_collection_stays_on_disk_when_single_elements_are_asked_for(tmp_path: Path) -> None:
    calls = (
        (hashes.hget, b"h", [LONG], b"v"),
        (hashes.hget, b"h", [b"late"], None),
        (hashes.hmget, b"h", [b"7", b"none", LONG], [b"7", None, b"v"]),
        (hashes.hstrlen, b"h", [b"77"], 2),
        (hashes.hexists, b"h", [b"late"], 0),
        (hashes.hexists, b"h", [b"7"], 1),
        (sets.sismember, b"s", [LONG], 1),
        (sets.smismember, b"s", [b"7", b"none"], [1, 0]),
        (zsets.zscore, b"z", [b"7"], 7.5),
        (zsets.zscore, b"z", [b"none"], None),
        (zsets.zmscore, b"z", [LONG, b"none"], [0.25, None]),
    )
    with Engine.open(str(tmp_path)) as engine:
        db = engine[0]
        names = [b"%d" % number for number in range(FIELDS)]
        for name in (*names, LONG):
            db.edit_hash(b"h").set(name, name if name != LONG else b"v")
            db.edit(b"z", ZSet).set(name, float(name) + 0.5 if name != LONG else 0.25)
        db.edit_hash(b"h").set(b"late", b"v", engine.dataset.now + 5)
        db.edit(b"s", Set).add([*names, LONG])
        engine.commit()
        engine.checkpoint()
        dataset = engine.dataset
        dataset.evict(-1, 1 << 20)
        dataset.now += 10
        for handler, key, words, reply in calls:
            assert handler(db, [key, *words]) == reply
            assert not db.hot[key].loaded
