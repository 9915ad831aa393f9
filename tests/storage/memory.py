"""An engine on a disk in memory, for tests that crash it."""

from __future__ import annotations

from random import Random
from typing import Any

from perdure_storage.engine import Engine, Options
from perdure_storage.testing import ManualClock, MemoryDisk

PATH = "/db"
LOG = "/db/wal"


class World:
    """A disk, a clock, and one engine at a time."""

    def __init__(self, **options: Any) -> None:
        self.disk = MemoryDisk()
        self.clock = ManualClock()
        self.options = {"databases": 4, "segment_size": 4096, **options}
        self.engine: Engine

    def open(self, **options: Any) -> Engine:
        """Open the directory; the engine before must be closed, killed or crashed."""
        self.engine = Engine.open(
            PATH,
            Options(
                files=self.disk,
                clock=self.clock,
                open_tables=self.disk.open_tables,
                random=Random(1),
                **{**self.options, **options},
            ),
        )
        return self.engine

    def kill(self) -> None:
        self.disk.kill()

    def crash(self, seed: int = 0) -> None:
        self.disk.crash(Random(seed))

    def reopen(self) -> Engine:
        """After a kill."""
        self.kill()
        return self.open()

    def put(self, key: bytes, value: bytes, expire: int = 0, db: int = 0) -> int:
        """One committed SET, not synced. Returns its LSN."""
        self.engine[db].set_string(key, value, expire)
        return self.engine.commit()

    def get(self, key: bytes, db: int = 0) -> bytes | None:
        value = self.engine[db].string(key)
        return bytes(value) if value is not None else None

    def advance(self, ms: int) -> None:
        self.clock.advance(ms)
        self.engine.update_time()


def opened(**options: Any) -> World:
    world = World(**options)
    world.open()
    return world


def used_bytes(content: bytes | bytearray) -> int:
    """Up to the last byte that is not zero."""
    return len(content.rstrip(b"\0"))
