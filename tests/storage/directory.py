"""Data directories for the tests of what reads them, and ways to damage them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from perdure_storage.codec import seal_row
from perdure_storage.engine import Engine, Options
from perdure_storage.tables import TABLE_TAG, Table

LONG_KEY = b"long" * 200
FOREVER_MS = 4_000_000_000_000


def fill(path: Path | str, *, tail: bool = False) -> str:
    """A directory with every kind of key in its tables and, if asked for, some in the log only. Returns its path."""
    engine = Engine.open(str(path), Options(databases=4))
    first, second = engine[0], engine[1]
    for number in range(20):
        first.set_string(b"key:%02d" % number, b"value %d" % number)
    first.set_string(b"volatile", b"v", FOREVER_MS)
    first.set_string(LONG_KEY, b"of a long key")
    first.set_string(b"bin\xff\0", b"\xfe\xff")
    first.set_string(b"chunked", bytes(range(256)) * 200)
    hash_ = second.edit_hash(b"hash")
    for number in range(10):
        hash_.set(b"field:%d" % number, b"value %d" % number)
    hash_.set(b"f" * 600, b"of a long field")
    hash_.set(b"mortal", b"v", FOREVER_MS + 1)
    engine.commit()
    second.edit_hash(b"doomed").set(b"f", b"v")
    engine.commit()
    engine.checkpoint()
    if tail:
        first.set_string(b"key:00", b"changed")
        first.set_string(b"tail", b"only in the log")
        first.remove(first.find(b"key:01"))
        second.edit_hash(b"hash").set(b"field:0", b"changed")
        second.edit_hash(b"new").set(b"f", b"v")
        engine.commit()
    engine.close(clean=not tail)
    return str(path)


def contents(path: str) -> dict[str, tuple[int, bytes]]:
    """Everything in a directory, with the times of change."""
    return {
        name: (os.stat(name).st_mtime_ns, Path(name).read_bytes())
        for folder, _, names in os.walk(path)
        for name in (os.path.join(folder, each) for each in names)
    }


def segments(path: str) -> list[Path]:
    return sorted(Path(path, "wal").glob("*.wal"))


class Rows:
    """Raw access to the rows of a table."""

    def __init__(self, txn: lmdb.Transaction, env: lmdb.Environment, table: Table) -> None:
        self._txn, self._table = txn, table
        self._db = env.open_db(table.name.lower().encode(), txn=txn, create=False)

    def all(self) -> list[tuple[bytes, bytes]]:
        """(row key, stored bytes), the check sum in front."""
        with self._txn.cursor(db=self._db) as cursor:
            return [(bytes(key), bytes(stored)) for key, stored in cursor]

    def store(self, key: bytes, stored: bytes) -> None:
        self._txn.put(key, stored, db=self._db)

    def seal(self, key: bytes, content: bytes) -> None:
        """A row with a right check sum."""
        self.store(key, seal_row(TABLE_TAG[self._table], key, content))

    def delete(self, key: bytes) -> None:
        assert self._txn.delete(key, db=self._db)


@contextmanager
def rows(path: str, table: Table) -> Iterator[Rows]:
    """Change rows behind the engine's back."""
    env = lmdb.open(os.path.join(path, "tables-1"), max_dbs=20, map_size=1 << 30)
    try:
        with env.begin(write=True) as txn:
            yield Rows(txn, env, table)
    finally:
        env.close()
