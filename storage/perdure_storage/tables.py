"""The tables: one LMDB environment, one named table per data type, every row sealed with a CRC32C.

* Written by one process only (the checkpointer), sorted, in synced transactions that also hold the new `applied_lsn`.
* Row keys keep order: integers big-endian. LMDB's keys end at 511 bytes, so a long key is stored as a prefix of
  `LONG_PREFIX` bytes and a 128-bit BLAKE2b digest, with the whole key in front of the value; reading compares it.
* The map is 1 TiB of address space and sparse: it never has to grow.

Format: `docs/formats/tables.md`. LMDB's own guarantees: synced commits, copy-on-write, readers never block writers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import IntEnum
from hashlib import blake2b
from struct import Struct
from typing import Any, Final, Protocol

import lmdb

from perdure_storage.codec import open_row, seal_row
from perdure_storage.errors import Corruption

MAP_SIZE: Final = 1 << 40
MAX_RAW: Final = 480
LONG_PREFIX: Final = 480
U32: Final = Struct(">I")
U64: Final = Struct(">Q")
LONG: Final = Struct("<I")


class Table(IntEnum):
    """The closed list of tables; the number is part of the row check sum, the name is LMDB's."""

    META = 0
    KEYS = 1
    STRINGS = 2
    HASHES = 3
    LISTS = 4
    SETS = 5
    ZSETS = 6
    ZSCORES = 7
    STREAMS = 8
    GROUPS = 9
    SERIES = 10
    LABELS = 11
    FILTERS = 12
    EXPIRIES = 13
    GARBAGE = 14


META, KEYS, STRINGS, HASHES, LISTS, SETS, ZSETS, ZSCORES, STREAMS, GROUPS, SERIES, LABELS, FILTERS, EXPIRIES, GARBAGE = Table
"""The same by name, for where rows are made: to look a member up in its class takes Python 3.11 0.1 us."""

TABLE_TAG: Final = [bytes((table,)) for table in Table]
Rows = dict[bytes, bytes | None]


def bounded(prefix: bytes, key: bytes) -> bytes:
    """The row key for `key` under a fixed-size `prefix` (at most 14 bytes): whole when short, else cut and digested."""
    if len(key) <= MAX_RAW:
        return prefix + key
    return prefix + key[:LONG_PREFIX] + blake2b(key, digest_size=16).digest()


def element_key_in_python(ident: int, name: bytes) -> bytes:
    """The row key of a collection's element."""
    return bounded(U64.pack(ident), name)


def is_long(key: bytes) -> bool:
    """Does a row for `key` carry the whole key in its value?"""
    return len(key) > MAX_RAW


def with_key(key: bytes, content: bytes) -> bytes:
    """The content of a row whose key may be long: the whole key goes in front when the row key had to be cut."""
    return LONG.pack(len(key)) + key + content if len(key) > MAX_RAW else content


def split_key(prefix_size: int, row_key: bytes, content: bytes) -> tuple[bytes, bytes]:
    """(whole key, content proper) of a row made with `bounded` and `with_key`."""
    if len(row_key) - prefix_size <= MAX_RAW:
        return row_key[prefix_size:], content
    size = LONG.unpack_from(content)[0]
    return content[4 : 4 + size], content[4 + size :]


class Snapshot(Protocol):
    """A frozen view of the tables at `applied_lsn`."""

    applied_lsn: int

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The content of a row. Raises Corruption."""

    def scan(self, table: Table, start: bytes, stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Rows with start <= key < stop, in order. Raises Corruption."""

    def sift(self, table: Table, start: bytes, stop: bytes | None = None) -> Iterator[tuple[bytes, bytes | None]]:
        """`scan` that gives None for the content of a damaged row, and goes on."""

    def scan_back(self, table: Table, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Rows with key <= start, in falling order."""

    def count(self, table: Table) -> int: ...

    def sizes(self, table: Table) -> tuple[int, int]:
        """(rows, bytes) of a table, the bytes as the driver counts them."""

    def close(self) -> None: ...


class TableStore(Protocol):
    """Where the log is folded into. Drivers: LMDB here, memory in `perdure_storage.testing`."""

    def snapshot(self) -> Snapshot: ...

    def apply(self, rows: list[Rows], applied_lsn: int | None) -> None:
        """Write one transaction, synced: `rows[table][key]` is the new content or None for gone."""

    def close(self) -> None: ...


class LmdbSnapshot:
    """A read transaction. For one thread; short-lived, since an old reader keeps pages from being reused."""

    __slots__ = ("_dbs", "_path", "_txn", "applied_lsn")

    def __init__(self, txn: lmdb.Transaction, dbs: list[lmdb._Database], path: str, *, doubting: bool = False) -> None:
        self._txn: Any = txn  # typed for buffers too, which are never asked for
        self._dbs = dbs
        self._path = path
        raw = None if doubting else self.get(Table.META, b"applied_lsn")
        self.applied_lsn = U64.unpack(raw)[0] if raw else 0

    def get(self, table: Table, key: bytes) -> bytes | None:
        stored = self._txn.get(key, db=self._dbs[table])
        if stored is None:
            return None
        content = open_row(TABLE_TAG[table], key, stored)
        if content is None:
            raise self._damaged(table, key)
        return content

    def scan(self, table: Table, start: bytes, stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        tag = TABLE_TAG[table]
        with self._txn.cursor(db=self._dbs[table]) as cursor:
            if not (cursor.set_range(start) if start else cursor.first()):
                return
            for key, stored in cursor:
                if stop is not None and key >= stop:
                    return
                content = open_row(tag, key, stored)
                if content is None:
                    raise self._damaged(table, key)
                yield key, content

    def sift(self, table: Table, start: bytes, stop: bytes | None = None) -> Iterator[tuple[bytes, bytes | None]]:
        tag = TABLE_TAG[table]
        with self._txn.cursor(db=self._dbs[table]) as cursor:
            if not (cursor.set_range(start) if start else cursor.first()):
                return
            for key, stored in cursor:
                if stop is not None and key >= stop:
                    return
                yield key, open_row(tag, key, stored)

    def sizes(self, table: Table) -> tuple[int, int]:
        """(rows, bytes of pages) of a table."""
        stat = self._txn.stat(self._dbs[table])
        pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return int(stat["entries"]), int(pages * stat["psize"])

    def scan_back(self, table: Table, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        with self._txn.cursor(db=self._dbs[table]) as cursor:
            found = cursor.set_range(start)
            if found and cursor.key() > start:
                found = cursor.prev()
            elif not found:
                found = cursor.last()
            if not found:
                return
            for key, stored in cursor.iterprev():
                content = open_row(TABLE_TAG[table], key, stored)
                if content is None:
                    raise self._damaged(table, key)
                yield key, content

    def count(self, table: Table) -> int:
        return int(self._txn.stat(self._dbs[table])["entries"])

    def close(self) -> None:
        self._txn.abort()

    def _damaged(self, table: Table, key: bytes) -> Corruption:
        return Corruption(self._path, f"table {table.name.lower()} row {key.hex()}", "row check sum does not match")


class LmdbTables:
    """The LMDB driver. `writable` in the one process that folds; everybody else reads.

    `lock=False` leaves even the lock file alone: only for a directory that nobody writes to meanwhile.
    """

    def __init__(self, directory: str, *, writable: bool, lock: bool = True, map_size: int = MAP_SIZE) -> None:
        self.path = directory
        if writable:
            os.makedirs(directory, mode=0o700, exist_ok=True)
        self._env = lmdb.open(
            directory,
            map_size=map_size,
            max_dbs=len(Table) + 4,
            max_readers=64,
            readonly=not writable,
            lock=lock,
            create=writable,
            writemap=False,
            metasync=True,
            sync=True,
            readahead=False,
            mode=0o600,
        )
        if lock:
            self._env.reader_check()
        names = [table.name.lower().encode() for table in Table]
        try:
            self._dbs = [self._env.open_db(name, create=writable) for name in names]
        except BaseException:
            self._env.close()
            raise

    def snapshot(self, *, doubting: bool = False) -> LmdbSnapshot:
        """`doubting` reads nothing yet and leaves `applied_lsn` at 0: for a check of tables that may be damaged."""
        try:
            txn = self._env.begin(buffers=False)
        except lmdb.ReadersFullError:
            self._env.reader_check()
            txn = self._env.begin(buffers=False)
        return LmdbSnapshot(txn, self._dbs, os.path.join(self.path, "data.mdb"), doubting=doubting)

    def apply(self, rows: list[Rows], applied_lsn: int | None) -> None:
        if applied_lsn is not None:
            rows[Table.META][b"applied_lsn"] = U64.pack(applied_lsn)
        with self._env.begin(write=True) as txn:
            for table, changed in enumerate(rows):
                if not changed:
                    continue
                tag = TABLE_TAG[table]
                database = self._dbs[table]
                puts = []
                for key in sorted(changed):
                    content = changed[key]
                    if content is None:
                        txn.delete(key, db=database)
                    else:
                        puts.append((key, seal_row(tag, key, content)))
                if puts:
                    with txn.cursor(db=database) as cursor:
                        cursor.putmulti(puts)

    def info(self) -> dict[str, int]:
        """Sizes, in bytes and pages: `file_bytes`, `used_bytes`, `free_pages`, `page_size`."""
        stat, info = self._env.stat(), self._env.info()
        page = stat["psize"]
        with self._env.begin() as txn:
            free_pages = self._free_pages(txn)
        file_bytes = os.path.getsize(os.path.join(self.path, "data.mdb"))
        return {
            "file_bytes": file_bytes,
            "map_bytes": (info["last_pgno"] + 1) * page,
            "free_pages": free_pages,
            "page_size": page,
        }

    def _free_pages(self, txn: lmdb.Transaction) -> int:
        """Pages on LMDB's free list: all pages less those that any table uses."""
        used = 2
        for database in [None, *self._dbs]:
            stat = txn.stat(database) if database is not None else self._env.stat()
            used += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return max(0, int(self._env.info()["last_pgno"]) + 1 - used)

    def last_transaction(self) -> int:
        """LMDB's number of the newest commit."""
        return int(self._env.info()["last_txnid"])

    def copy_compact(self, directory: str) -> None:
        """Write a compacted copy of the environment; the directory must exist and be empty."""
        self._env.copy(directory, compact=True)

    def close(self) -> None:
        self._env.close()


def empty_rows() -> list[Rows]:
    """One empty change set per table."""
    return [{} for _ in Table]


try:  # the same in C
    from perdure_storage._fast import element_key as element_key
except ImportError:
    element_key = element_key_in_python
