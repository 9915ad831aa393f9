"""What happens to keys, told to whoever has asked: Redis' keyspace events.

A handler that has changed a key says so (`db.notify(HASH, b"hset", key)`); it costs one test while nobody listens. The
events of a transaction are collected in `Dataset.events`; the owner tells them once the transaction is in the log.
"""

from __future__ import annotations

from typing import Final, TypeAlias

GENERIC: Final = 1 << 0
STRING: Final = 1 << 1
LIST: Final = 1 << 2
SET: Final = 1 << 3
HASH: Final = 1 << 4
ZSET: Final = 1 << 5
STREAM: Final = 1 << 6
EXPIRED: Final = 1 << 7
EVICTED: Final = 1 << 8
MODULE: Final = 1 << 9
NEW: Final = 1 << 10
MISS: Final = 1 << 11

Event: TypeAlias = tuple[bytes, int, bytes]
"""(name ("hset", "expired"), number of the database, key)"""
