"""A collection that was loaded in steps for one client, and meanwhile at once for another, kept the older value."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure_storage import Engine
from perdure_storage.keyspace import Keyspace
from perdure_storage.types.entry import Collection
from perdure_storage.types.hash import Hash
from perdure_storage.types.list import List
from perdure_storage.types.set import Set
from perdure_storage.types.zset import ZSet


def change(db: Keyspace, kind: type[Collection], number: int) -> None:
    """Add one element that tells its number."""
    entry = db.edit(b"k", kind)
    name = b"%d" % number
    if isinstance(entry, Hash):
        entry.set(name, b"v", 1 << 50)
    elif isinstance(entry, List):
        entry.push_right([name])
    elif isinstance(entry, Set):
        entry.add([name])
    elif isinstance(entry, ZSet):
        entry.set(name, float(number))


@pytest.mark.parametrize("kind", [Hash, List, Set, ZSet])
def test_what_was_changed_while_loading_stays(kind: type[Collection], tmp_path: Path) -> None:
    with Engine.open(str(tmp_path)) as engine:
        for number in range(10):
            change(engine[0], kind, number)
        engine.commit()
        engine.checkpoint()
        engine.dataset.evict(-1, 1 << 20)
        engine.update_time()
        entry = engine[0].find(b"k")
        assert not entry.loaded
        snapshot = engine.snapshot()
        steps = entry.load_steps(snapshot, 3)
        next(steps)
        change(engine[0], kind, 10)  # loads it at once
        for _ in steps:
            pass
        snapshot.close()
        assert len(list(entry.elements())) == entry.size == 11
