"""What a large collection leaves behind when it leaves memory, or is deleted, on its way into memory or after it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import RealRedis, RedisError, StartPerdure
from tests.regressions.test_loading_in_steps import change
from tests.storage.directory import rows

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
    reply = client.ask("HGET", "h", "field:7")
    assert isinstance(reply, RedisError) and "corruption" in str(reply)
