"""Folding the log into the tables: live checkpoint and crash recovery are this same act.

`Folder` reads batches in order, turns effects into row changes (the last change of a row wins), and writes them sorted
in one synced transaction together with the new `applied_lsn`. After any crash the tables are exactly the log up to
that LSN. A transaction holds at most `MAX_ROWS` changed rows beyond its last batch: LMDB keeps every page it touches
in memory until the commit.

Rows under dead ids are reclaimed in bounded steps by `reclaim`, in transactions of their own: they change nothing
that anybody can see.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Final

from perdure_storage import effects as fx
from perdure_storage.codec import pack, unpack
from perdure_storage.effects import visit
from perdure_storage.errors import Corruption
from perdure_storage.files import Files
from perdure_storage.keyspace import COLLECTIONS
from perdure_storage.records import (
    COUNT_PREFIX,
    COUNTS,
    LIBRARY_PREFIX,
    SPACE,
    SPACE_BIT,
    body_record,
    decode,
    expiry_key,
    record_key,
    string_record,
    with_expire,
)
from perdure_storage.tables import (
    EXPIRIES,
    GARBAGE,
    KEYS,
    META,
    STRINGS,
    U64,
    Rows,
    Snapshot,
    Table,
    TableStore,
    bounded,
    empty_rows,
    with_key,
)
from perdure_storage.types.entry import Kind
from perdure_storage.types.string import CHUNK, CHUNK_KEY, String, chunks
from perdure_storage.wal import LogReader

MAX_ROWS: Final = 8192
MAX_BYTES: Final = 24 << 20
LOOK_EVERY: Final = 32
"""Batches between two looks at whether the pending changes are enough for a transaction."""
RECLAIM_ROWS: Final = 4096

ELEMENT_TABLES: Final[dict[int, tuple[Table, ...]]] = {
    Kind.CHUNKED: String.tables,
    **{kind: each.tables for kind, each in COLLECTIONS.items()},
}
"""Where the rows under an id of each kind are."""


class Folder:
    """Turns effects into row changes and writes them. For the one process that may write the tables."""

    def __init__(self, tables: TableStore) -> None:
        self.tables = tables
        self.rows = empty_rows()
        self.snapshot: Snapshot = tables.snapshot()
        self.applied_lsn = self.snapshot.applied_lsn
        raw = self.snapshot.get(META, b"next_id")
        self.next_id = U64.unpack(raw)[0] if raw else 1
        self.folded_bytes = self.folded_batches = 0
        self._handlers: dict[int, fx.Handler] = {
            fx.STRING: self._string,
            fx.PATCH: self._patch,
            fx.RECORD: self._record,
            fx.EXPIRE: self._expire,
            fx.DELETE: self._delete,
            fx.FREE: self._free,
            fx.COUNT: self._count,
            fx.SPACES: self._spaces,
            fx.DROP_SPACE: self._drop_space,
            fx.LIBRARY_SET: self._library_set,
            fx.LIBRARY_DEL: self._library_del,
        }
        for each in COLLECTIONS.values():
            self._handlers.update({number: partial(fold, self.rows) for number, fold in each.folds.items()})

    def fold(self, payload: bytes) -> None:
        """Add one batch to the pending row changes. Raises ValueError for a payload that is no batch."""
        self.folded_bytes += len(payload)
        self.folded_batches += 1
        visit(self._handlers, unpack(payload))

    def fold_some(self, reader: LogReader, upto: int) -> int:
        """Fold what follows `applied_lsn` until it is time to commit, at most up to `upto`; returns where that was.

        Raises Corruption when the log does not hold it, OSError.
        """
        lsn = self.applied_lsn
        while lsn < upto:
            record = reader.must_follow(lsn)
            try:
                self.fold(record.payload)
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                raise Corruption(*reader.where(), f"batch {record.lsn} cannot be read: {error}") from error
            lsn = record.lsn
            if self.full():
                break
        return lsn

    def full(self) -> bool:
        """Is it time to commit?"""
        if self.folded_bytes >= MAX_BYTES:
            return True
        return self.folded_batches % LOOK_EVERY == 0 and sum(map(len, self.rows)) >= MAX_ROWS

    def commit(self, lsn: int) -> None:
        """Write the pending changes and `lsn` in one synced transaction."""
        rows = self.rows
        rows[META][b"next_id"] = U64.pack(self.next_id)
        self.snapshot.close()
        self.tables.apply(rows, lsn)
        self.rows[:] = empty_rows()
        self.folded_bytes = 0
        self.applied_lsn = lsn
        self.snapshot = self.tables.snapshot()

    def forget(self) -> None:
        """Drop the pending changes."""
        self.rows[:] = empty_rows()
        self.folded_bytes = 0
        self.snapshot.close()
        self.snapshot = self.tables.snapshot()

    def close(self) -> None:
        self.snapshot.close()

    # -- effects -> rows -----------------------------------------------------------------------------------------

    def _get(self, table: Table, key: bytes) -> bytes | None:
        changed = self.rows[table]
        return changed[key] if key in changed else self.snapshot.get(table, key)

    def _index(self, space: int, key: bytes, due: int, prev_due: int) -> None:
        if due != prev_due:
            table = self.rows[EXPIRIES]
            if prev_due:
                table[expiry_key(prev_due, space, key)] = None
            if due:
                table[expiry_key(due, space, key)] = with_key(key, b"")

    def _used_id(self, ident: int) -> None:
        if ident >= self.next_id:
            self.next_id = ident + 1

    def _string(self, space: int, key: bytes, value: bytes, expire: int, prev_due: int, ident: int) -> None:
        if ident:
            self._used_id(ident)
            self.rows[STRINGS].update(chunks(ident, value))
            content = body_record(key, Kind.CHUNKED, expire, ident, len(value), expire)
        else:
            content = string_record(key, expire, value)
        self.rows[KEYS][record_key(space, key)] = content
        if expire or prev_due:
            self._index(space, key, expire, prev_due)

    def _patch(self, space: int, key: bytes, ident: int, offset: int, data: bytes, size: int) -> None:
        row_key = record_key(space, key)
        content = self._get(KEYS, row_key)
        if content is None:
            raise Corruption("keys", row_key.hex(), "a patch for a key that is not there")
        record = decode(row_key, content)[1]
        if not ident:
            value = bytearray(record.value.ljust(size, b"\0"))
            value[offset : offset + len(data)] = data
            self.rows[KEYS][row_key] = string_record(key, record.expire, bytes(value))
            return
        table = self.rows[STRINGS]
        for number in range(min(offset, record.size) // CHUNK, (max(offset + len(data), 1) - 1) // CHUNK + 1):
            start = number * CHUNK
            chunk_key = CHUNK_KEY.pack(ident, number)
            width = min(CHUNK, size - start)
            chunk = bytearray((self._get(STRINGS, chunk_key) or b"").ljust(width, b"\0"))
            low, high = max(offset, start), min(offset + len(data), start + width)
            if low < high:
                chunk[low - start : high - start] = data[low - offset : high - offset]
            table[chunk_key] = bytes(chunk)
        self.rows[KEYS][row_key] = body_record(key, Kind.CHUNKED, record.expire, ident, size, record.expire)

    def _record(
        self, space: int, key: bytes, kind: int, ident: int, size: int, expire: int, due: int, prev_due: int
    ) -> None:
        if ident >= self.next_id:
            self._used_id(ident)
        self.rows[KEYS][record_key(space, key)] = body_record(key, kind, expire, ident, size, due)
        if due != prev_due:
            self._index(space, key, due, prev_due)

    def _expire(self, space: int, key: bytes, expire: int, prev_due: int) -> None:
        row_key = record_key(space, key)
        content = self._get(KEYS, row_key)
        if content is None:
            raise Corruption("keys", row_key.hex(), "an expiry for a key that is not there")
        self.rows[KEYS][row_key] = with_expire(row_key, content, expire)
        self._index(space, key, expire, prev_due)

    def _delete(self, space: int, key: bytes, prev_due: int, ident: int, kind: int) -> None:
        self.rows[KEYS][record_key(space, key)] = None
        self._index(space, key, 0, prev_due)
        if ident:
            self._free(ident, kind)

    def _free(self, ident: int, kind: int) -> None:
        self._used_id(ident)  # a collection that came and went in one transaction has no RECORD
        self.rows[GARBAGE][U64.pack(ident)] = bytes((kind,))

    def _count(self, space: int, keys: int, expires: int) -> None:
        self.rows[META][COUNT_PREFIX + SPACE.pack(space)] = COUNTS.pack(keys, expires)

    def _spaces(self, *spaces: int) -> None:
        meta = self.rows[META]
        meta[b"spaces"] = pack(spaces)
        raw = self._get(META, b"next_space")
        meta[b"next_space"] = SPACE.pack(max(*spaces, SPACE.unpack(raw)[0] - 1 if raw else 0) + 1)

    def _drop_space(self, space: int) -> None:
        self.rows[META][COUNT_PREFIX + SPACE.pack(space)] = None
        self.rows[GARBAGE][U64.pack(space | SPACE_BIT)] = b"\0"

    def _library_set(self, name: bytes, code: bytes) -> None:
        self.rows[META][bounded(LIBRARY_PREFIX, name)] = with_key(name, code)

    def _library_del(self, *names: bytes) -> None:
        for name in names:
            self.rows[META][bounded(LIBRARY_PREFIX, name)] = None

    # -- garbage -------------------------------------------------------------------------------------------------

    def reclaim(self, limit: int = RECLAIM_ROWS) -> int:
        """Remove up to `limit` rows of dead ids and spaces; returns how many (0: none left).

        REQUIRES: no uncommitted changes.
        """
        rows = empty_rows()
        removed = 0
        for garbage_key, kind in self.snapshot.scan(GARBAGE, b""):
            ident = U64.unpack(garbage_key)[0]
            if ident & SPACE_BIT:
                removed += self._reclaim_space(rows, ident & ~SPACE_BIT, limit - removed)
            else:
                removed += self._reclaim_id(rows, ident, kind[0], limit - removed)
            if removed >= limit:
                break
            rows[GARBAGE][garbage_key] = None
            removed += 1
        if removed:
            self.snapshot.close()
            self.tables.apply(rows, None)
            self.snapshot = self.tables.snapshot()
        return removed

    def _reclaim_id(self, rows: list[Rows], ident: int, kind: int, limit: int) -> int:
        removed = 0
        for table in ELEMENT_TABLES[kind]:
            dead = self.snapshot.scan(table, U64.pack(ident), U64.pack(ident + 1))
            for row_key, _ in islice(dead, limit - removed):
                rows[table][row_key] = None
                removed += 1
        return removed

    def _reclaim_space(self, rows: list[Rows], space: int, limit: int) -> int:
        removed = 0
        dead = self.snapshot.scan(KEYS, SPACE.pack(space), SPACE.pack(space + 1))
        for row_key, content in islice(dead, limit):
            key, record = decode(row_key, content)
            rows[KEYS][row_key] = None
            if record.id:
                rows[GARBAGE][U64.pack(record.id)] = bytes((record.kind,))
            if record.due:
                rows[EXPIRIES][expiry_key(record.due, space, key)] = None
            removed += 1
        return removed


class Checkpointer:
    """Follows the log and folds it, one bounded step at a time."""

    def __init__(self, files: Files, log_directory: str, tables: TableStore) -> None:
        self.files = files
        self.log_directory = log_directory
        self.folder = Folder(tables)
        self._reader: LogReader | None = None

    @property
    def applied_lsn(self) -> int:
        return self.folder.applied_lsn

    def run(self, upto: int) -> Iterator[int]:
        """Fold up to `upto`, which must be durable; yields the new `applied_lsn` after each commit.

        Raises Corruption when the log does not hold what was asked for, OSError and the table store's errors.
        """
        if upto <= self.folder.applied_lsn:
            return
        if self._reader is None:
            self._reader = LogReader(self.files, self.log_directory)
        else:
            self._reader.reload()
        folder = self.folder
        try:
            while folder.applied_lsn < upto:
                lsn = folder.fold_some(self._reader, upto)
                folder.commit(lsn)
                yield lsn
        except BaseException:  # the reader is ahead of the tables now: both begin again at `applied_lsn`
            folder.forget()
            self._reader.close()
            self._reader = None
            raise

    def reclaim(self) -> int:
        """One bounded step of garbage collection; returns the rows removed."""
        return self.folder.reclaim()

    def close(self) -> None:
        self.folder.close()
        if self._reader is not None:
            self._reader.close()



