"""Is everything in a data directory as it was written, and does it fit together? Finds and names; repairs nothing.

Three depths, all generators, so that whoever runs them decides when to go on:

    check_directory(path)   everything: log, tables, what both say together; stopped, or beside a server
    check_tables(snapshot)  the tables of one snapshot
    scrub(snapshots)        row by row in slices, each with a snapshot of its own: for a server in its idle time

They yield `Finding`s, and a `Progress` every few thousand rows. An "error" is damage; a "warning" is something a start
mends (a torn tail) or that costs only room; neither ever means that anything was changed.

What must be true of the tables:

* every row has its check sum and can be decoded; a long key's row key has its digest
* every key is in a space that a database points at, or that is garbage; each space has as many keys and expiring keys
  as META says; every id is below `next_id` and belongs to one key
* a key's rows under its id stand for exactly the size in its record; rows under any other id are garbage by the list
* a key that is ever due has its row in EXPIRIES, and EXPIRIES has no other

Memory: ids are compared with rows in windows of `WINDOW` keys, each a pass over the tables; most directories need one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from struct import error as StructError
from typing import Final, NamedTuple

import lmdb

from perdure_storage import effects as fx
from perdure_storage.codec import BATCH, unpack
from perdure_storage.errors import Corruption, StorageError
from perdure_storage.files import Files, OsFiles
from perdure_storage.keyspace import COLLECTIONS
from perdure_storage.offline import ATTEMPTS, PAUSE_S, Offline, TableReader, is_live, read_tables
from perdure_storage.records import (
    COUNT_PREFIX,
    COUNTS,
    DUE,
    LIBRARY_PREFIX,
    SPACE,
    SPACE_BIT,
    Record,
    decode,
    expiry_key,
    record_key,
)
from perdure_storage.recovery import Directory, broken_pages
from perdure_storage.tables import U64, LmdbTables, Snapshot, Table, TableStore, bounded, split_key
from perdure_storage.types.entry import Entry, Kind
from perdure_storage.types.string import INLINE_MAX, String
from perdure_storage.wal import HEADER_SIZE, START, LogReader, Manifest, Segment, SegmentReader, refuse_lost_manifest

WINDOW: Final = 1 << 18
SLICE: Final = 4096
ID_SIZE: Final = U64.size
UNREADABLE: Final = (ValueError, TypeError, IndexError, KeyError, StructError)

VALUES: Final[list[type[Entry]]] = [String, *COLLECTIONS.values()]
ROW_TYPES: Final[dict[Table, type[Entry]]] = {table: value for value in VALUES for table in value.tables}
KIND_TABLES: Final[dict[int, tuple[Table, ...]]] = {
    Kind.CHUNKED: String.tables,
    **{kind: value.tables for kind, value in COLLECTIONS.items()},
}
EMPTY_KINDS: Final = frozenset(kind for kind, value in COLLECTIONS.items() if value.may_be_empty)
SIDE_TABLES: Final = frozenset(table for value in VALUES for table in value.side_tables)


class Finding(NamedTuple):
    """Something that is not as it should be. `severity` is "error" or "warning"."""

    severity: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.what}"


class Progress(NamedTuple):
    """`done` of `total` rows or bytes of `what` have been looked at."""

    what: str
    done: int
    total: int


Steps = Iterator[Finding | Progress]


def error(where: str, what: str) -> Finding:
    return Finding("error", where, what)


def warning(where: str, what: str) -> Finding:
    return Finding("warning", where, what)


def check_directory(path: str, *, files: Files | None = None, open_tables: TableReader | None = None) -> Steps:
    """Everything about a data directory."""
    files = files or OsFiles()
    open_tables = open_tables or read_tables
    directory = Directory(files, path)
    try:
        directory.identity()
    except (StorageError, OSError) as problem:
        yield error("FORMAT", str(problem))
        return
    live = is_live(directory)
    applied_lsn: int | None = None
    try:
        if not live and isinstance(files, OsFiles):
            yield from check_pages(directory.tables)
        tables = _open_tables(directory, open_tables, live)
    except (StorageError, lmdb.Error, OSError) as problem:
        yield error("TABLES", str(problem))
    else:
        try:
            snapshot = tables.snapshot(doubting=True) if isinstance(tables, LmdbTables) else tables.snapshot()
            raw = _doubted(snapshot, b"applied_lsn")
            applied_lsn = U64.unpack(raw)[0] if raw is not None and len(raw) == U64.size else 0 if raw is None else None
            yield from check_tables(snapshot)
            snapshot.close()
        finally:
            tables.close()
    yield from check_log(files, directory.log, applied_lsn, live=live)
    if applied_lsn is not None:
        yield from _check_together(path, files, open_tables)
    if not live and is_live(directory):
        yield warning(path, "a server was started meanwhile: what was found may be wrong, check again")


def _open_tables(directory: Directory, open_tables: TableReader, live: bool) -> TableStore:
    """The tables in use; a server may exchange them at this very moment."""
    for _ in range(ATTEMPTS if live else 0):
        try:
            return open_tables(directory.tables, live)
        except (StorageError, lmdb.Error, OSError):
            time.sleep(PAUSE_S)
    return open_tables(directory.tables, live)


def _doubted(snapshot: Snapshot, name: bytes) -> bytes | None:
    """A row of META, b"" when it is damaged."""
    try:
        return snapshot.get(Table.META, name)
    except Corruption:
        return b""


# -- LMDB's pages ------------------------------------------------------------------------------------------------------


def check_pages(directory: str) -> Steps:
    """The structure of LMDB's file, read as bytes: a broken page must not bring this process down. Stopped only."""
    path = os.path.join(directory, "data.mdb")
    if not os.path.exists(path):
        return
    yield Progress("pages", 0, os.path.getsize(path))
    problems = broken_pages(path)
    for problem in problems:
        yield error(path, f"LMDB: {problem}")
    if problems:
        raise Corruption(path, 0, "LMDB's pages are damaged, the rows in them were not looked at")


# -- the log -----------------------------------------------------------------------------------------------------------


def check_log(files: Files, directory: str, applied_lsn: int | None, *, live: bool = False) -> Steps:
    """Every segment, the chain between them, every payload, and how the end fits the tables (None: not known)."""
    try:
        manifest = Manifest.load(files, directory)
        strays = [os.path.join(directory, name) for name in manifest.unnamed(files.listdir(directory))]
    except (StorageError, OSError, *UNREADABLE) as problem:
        yield error(os.path.join(directory, "MANIFEST"), str(problem))
        return
    if not manifest.segments and not live:
        try:
            refuse_lost_manifest(manifest, strays)
        except Corruption as lost:
            yield error(lost.path, lost.why)
            return
    for stray in strays if not live else ():
        yield warning(stray, "is not in the manifest; a start removes it")
    before: tuple[int, int] | None = None
    for number, segment in enumerate(manifest.segments):
        if live and number == len(manifest.segments) - 1:
            before = None  # the one before it may have grown since it was read
        try:
            before = yield from _check_segment(files, segment, before, last=number >= len(manifest.segments) - 2)
        except FileNotFoundError:
            before = None
            if not live:
                yield error(segment.path, "is named in the manifest and missing")
        except Corruption as damage:
            yield error(f"{damage.path} at {damage.where}", damage.why)
            before = None
    if applied_lsn is None or live:
        return
    try:
        reader = LogReader(files, directory)
        try:
            for _ in reader.rest(applied_lsn):
                pass
            tail = reader.find_tail(applied_lsn)
        finally:
            reader.close()
    except Corruption as damage:
        yield error(f"{damage.path} at {damage.where}", damage.why)
    except FileNotFoundError:
        pass  # said above
    else:
        if tail.torn_bytes and tail.segment is not None:
            what = f"{tail.torn_bytes} bytes of an unfinished write follow LSN {tail.last_lsn}; a start cuts them"
            yield warning(f"{tail.segment.path} at {tail.offset}", what)


def _check_segment(
    files: Files, segment: Segment, before: tuple[int, int] | None, *, last: bool
) -> Generator[Finding | Progress, None, tuple[int, int] | None]:
    """One segment. `before` is (LSN, CRC) that the one before ended with, and the generator's value the same of this.

    `last`: unfinished writing may follow its records, which `find_tail` judges.
    """
    reader = SegmentReader(files, segment)
    try:
        size = reader.handle.size()
        lsn, crc = before or (0, 0)
        while (record := reader.next()) is not None:
            where = f"{segment.path} at {record.offset}"
            if record.offset == HEADER_SIZE:
                if record.kind != START:
                    yield error(where, "the segment does not begin with a START record")
                start = (record.lsn, int.from_bytes(record.payload, "little"))
                if before is not None and start != before:
                    yield error(where, f"continues LSN {start[0]}, but the segment before ends with LSN {before[0]}")
                lsn, crc = start
                continue
            if record.kind != BATCH or record.lsn != lsn + 1:
                yield error(where, f"LSN {record.lsn} follows LSN {lsn}")
            lsn, crc = record.lsn, record.crc
            try:
                for effect in unpack(record.payload):
                    fx.describe(effect)
            except UNREADABLE as problem:
                yield error(where, f"batch {record.lsn} cannot be read: {problem}")
        if not last and LogReader.torn_bytes(reader):
            yield error(f"{segment.path} at {reader.offset}", f"the record behind LSN {lsn} is damaged")
        yield Progress("log", size, size)
        return (lsn, crc) if reader.offset > HEADER_SIZE else before
    finally:
        reader.close()


def _check_together(path: str, files: Files, open_tables: TableReader) -> Steps:
    """Can the log's tail be laid over the tables, and do the counts then hold?"""
    try:
        view = Offline.open(path, files=files, open_tables=open_tables)
    except (StorageError, lmdb.Error, OSError) as problem:
        yield error(path, f"log and tables do not fit together: {problem}")
        return
    with view:
        if view.last_lsn == view.applied_lsn:
            return
        for db in view.databases:
            keys = _count_keys(view.snapshot, db.space)
            for key, entry in db.hot.items():
                keys += (entry.kind != 0) - _has_row(view.snapshot, record_key(db.space, key))
            if keys != db.keys:
                yield error(f"database {db.index} at LSN {view.last_lsn}", f"{keys} keys, the log counts {db.keys}")


def _has_row(snapshot: Snapshot, row_key: bytes) -> bool:
    """Is there a key, be its row damaged or not (which has been said already)?"""
    try:
        return snapshot.get(Table.KEYS, row_key) is not None
    except Corruption:
        return True


def _count_keys(snapshot: Snapshot, space: int) -> int:
    return sum(1 for _ in snapshot.sift(Table.KEYS, SPACE.pack(space), SPACE.pack(space + 1)))


# -- the tables --------------------------------------------------------------------------------------------------------


def check_tables(snapshot: Snapshot) -> Steps:
    """All rows of a snapshot and how they fit together."""
    yield from _TableCheck(snapshot).run()


def scrub(snapshots: Callable[[], Snapshot], rows_per_slice: int = 1000) -> Steps:
    """One round over all rows; each slice, which ends with a Progress, has its own snapshot and holds it no longer.

    Finds damaged rows and broken links between keys and expiries; sums need one snapshot, see `check_tables`.
    """
    for table in Table:
        position: bytes | None = b""
        done = 0
        while position is not None:
            snapshot = snapshots()
            try:
                rows = _TableCheck(snapshot)
                total = snapshot.count(table)
                seen = 0
                for row_key, content in snapshot.sift(table, position):
                    if seen == rows_per_slice:
                        position = row_key
                        break
                    seen += 1
                    yield from rows.check_row(table, row_key, content)
                else:
                    position = None
            finally:
                snapshot.close()
            done += seen
            yield Progress(table.name.lower(), done, total)


class _TableCheck:
    """The checks of one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.next_id: int | None = None
        self.spaces: list[int] = []
        self.counted: dict[int, tuple[int, int]] = {}
        self.said: dict[int, tuple[int, int]] = {}
        self.checks: dict[Table, Callable[[bytes, bytes], Iterator[Finding]]] = {
            Table.META: self._meta_row,
            Table.KEYS: self._key_row,
            Table.EXPIRIES: self._expiry_row,
            Table.GARBAGE: self._garbage_row,
        }
        raw_id, raw_spaces = _doubted(snapshot, b"next_id"), _doubted(snapshot, b"spaces")
        if raw_id:
            self.next_id = int.from_bytes(raw_id, "big")
        if raw_spaces:
            try:
                self.spaces = list(unpack(raw_spaces))
            except UNREADABLE:
                pass

    def run(self) -> Steps:
        for table in Table:
            if table not in ROW_TYPES and table != Table.KEYS:
                yield from self._every_row(table)
        low = 0
        high = yield from self._collect(low, check=True)
        yield from self._counts()
        while True:
            yield from self._elements(low, high)
            if high is None:
                return
            low = high
            high = yield from self._collect(low)

    # -- single rows ---------------------------------------------------------------------------------------------

    def _every_row(self, table: Table) -> Steps:
        total = self.snapshot.count(table)
        try:
            for done, (row_key, content) in enumerate(self.snapshot.sift(table, b""), 1):
                yield from self.check_row(table, row_key, content)
                if not done % SLICE:
                    yield Progress(table.name.lower(), done, total)
        except lmdb.Error as problem:
            yield error(f"table {table.name.lower()}", f"LMDB: {problem}")

    def check_row(self, table: Table, row_key: bytes, content: bytes | None) -> Iterator[Finding]:
        """What one row and look-ups from it can tell."""
        if content is None:
            yield error(_row(table, row_key), "row check sum does not match" + self._whose(table, row_key))
            return
        try:
            if table in self.checks:
                yield from self.checks[table](row_key, content)
            elif table in ROW_TYPES:
                self._weigh(table, row_key, content)
            else:
                yield warning(_row(table, row_key), "this version keeps nothing in that table")
        except UNREADABLE as problem:
            yield error(_row(table, row_key), f"cannot be decoded: {problem}")
        except Corruption:
            pass  # the row it looked up is damaged, and named on its own

    def _whose(self, table: Table, row_key: bytes) -> str:
        if table == Table.KEYS:
            return f": key {_show(row_key[SPACE.size :])}"
        if table in ROW_TYPES:
            return f": an element of id {U64.unpack_from(row_key)[0]}"
        return ""

    @staticmethod
    def _weigh(table: Table, row_key: bytes, content: bytes) -> int:
        weight = ROW_TYPES[table].weigh_row(table, row_key, content)
        name, _ = split_key(ID_SIZE, row_key, content)
        if len(row_key) > ID_SIZE and bounded(row_key[:ID_SIZE], name) != row_key:
            raise ValueError("the digest in the row key is not that of the name in the row")
        return weight

    def _meta_row(self, row_key: bytes, content: bytes) -> Iterator[Finding]:
        where = _row(Table.META, row_key)
        if row_key.startswith(COUNT_PREFIX):
            (space,) = SPACE.unpack(row_key[len(COUNT_PREFIX) :])
            self.said[space] = COUNTS.unpack(content)
            if space not in self.spaces:
                yield warning(where, f"counts keys of space {space}, which no database points at")
        elif row_key in (b"applied_lsn", b"next_id"):
            U64.unpack(content)
        elif row_key == b"next_space":
            (next_space,) = SPACE.unpack(content)
            for space in self.spaces:
                if space >= next_space:
                    yield error(where, f"is {next_space}, but space {space} is in use")
        elif row_key == b"spaces":
            spaces = unpack(content)
            if len(set(spaces)) != len(spaces):
                yield error(where, "two databases point at the same space")
        elif row_key.startswith(LIBRARY_PREFIX):
            name, _ = split_key(len(LIBRARY_PREFIX), row_key, content)
            if bounded(LIBRARY_PREFIX, name) != row_key:
                yield error(where, "the digest in the row key is not that of the library's name")
        else:
            yield warning(where, "is not known to this version")

    def _key_row(self, row_key: bytes, content: bytes) -> Iterator[Finding]:
        key, record = decode(row_key, content)
        (space,) = SPACE.unpack_from(row_key)
        where = f"{_row(Table.KEYS, row_key)} (key {_show(key)})"
        if bounded(row_key[: SPACE.size], key) != row_key:
            yield error(where, "the digest in the row key is not that of the key in the row")
        if space not in self.spaces and not self._is_garbage(space | SPACE_BIT):
            yield error(where, f"is in space {space}, which no database points at and the garbage list does not have")
        if record.kind == Kind.STRING:
            if record.size > INLINE_MAX:
                yield error(where, f"a string of {record.size} bytes in its record")
        else:
            yield from self._body(where, record)
        if record.due and self.snapshot.get(Table.EXPIRIES, expiry_key(record.due, space, key)) is None:
            yield error(where, f"is due at {record.due} and has no row in expiries: it would not expire by itself")

    def _body(self, where: str, record: Record) -> Iterator[Finding]:
        if record.kind not in KIND_TABLES:
            yield error(where, f"has type {record.kind}, which is not known to this version")
            return
        if not record.id:
            yield error(where, "has no id")
        if self.next_id is not None and record.id >= self.next_id:
            yield error(where, f"has id {record.id}, but the next new id is {self.next_id}")
        if not record.size and record.kind not in EMPTY_KINDS:
            yield error(where, "is empty")
        if record.expire and not 0 < record.due <= record.expire:
            yield error(where, f"expires at {record.expire}, but the sweep looks at {record.due}")
        if self._is_garbage(record.id):
            yield error(where, f"its id {record.id} is on the garbage list: its elements are being removed")

    def _expiry_row(self, row_key: bytes, content: bytes) -> Iterator[Finding]:
        due, space = DUE.unpack_from(row_key)
        key, _ = split_key(DUE.size, row_key, content)
        where = f"{_row(Table.EXPIRIES, row_key)} (key {_show(key)}, due {due})"
        if bounded(row_key[: DUE.size], key) != row_key:
            yield error(where, "the digest in the row key is not that of the key in the row")
        record_row = record_key(space, key)
        stored = self.snapshot.get(Table.KEYS, record_row)
        if stored is None:
            yield error(where, "there is no such key")
        elif (known := decode(record_row, stored)[1].due) != due:
            yield error(where, f"the key's record says {known}")

    def _garbage_row(self, row_key: bytes, content: bytes) -> Iterator[Finding]:
        (ident,) = U64.unpack(row_key)
        where = _row(Table.GARBAGE, row_key)
        if ident & SPACE_BIT:
            if ident & ~SPACE_BIT in self.spaces:
                yield error(where, f"a database points at space {ident & ~SPACE_BIT}")
        elif len(content) != 1 or content[0] not in KIND_TABLES:
            yield error(where, f"has type {content.hex()}, which is not known to this version")
        elif self.next_id is not None and ident >= self.next_id:
            yield error(where, f"is id {ident}, but the next new id is {self.next_id}")

    def _is_garbage(self, ident: int) -> bool:
        try:
            return self.snapshot.get(Table.GARBAGE, U64.pack(ident)) is not None
        except Corruption:
            return True

    # -- keys, counts, elements ------------------------------------------------------------------------------------

    def _collect(self, low: int, check: bool = False) -> Generator[Finding | Progress, None, int | None]:
        """Put ids from `low` on into `window`, about `WINDOW` at most; the value is the first one left out, or None."""
        self.window: dict[int, int] = {}
        high: int | None = None
        total = self.snapshot.count(Table.KEYS)
        try:
            for done, (row_key, content) in enumerate(self.snapshot.sift(Table.KEYS, b""), 1):
                if check:
                    yield from self.check_row(Table.KEYS, row_key, content)
                if not done % SLICE:
                    yield Progress("keys", done, total)
                try:
                    (space,) = SPACE.unpack_from(row_key)
                    record = decode(row_key, content)[1] if content is not None else None
                except UNREADABLE:
                    continue
                if check:
                    keys, expires = self.counted.get(space, (0, 0))
                    due = record is not None and record.expire != 0
                    self.counted[space] = keys + 1, expires + due
                if record is None or record.id < low or (high is not None and record.id >= high) or not record.id:
                    continue
                if record.id in self.window:
                    yield error(_row(Table.KEYS, row_key), f"has id {record.id}, as another key does")
                self.window[record.id] = record.kind << 56 | record.size
                if len(self.window) >= 2 * WINDOW:
                    high = sorted(self.window)[WINDOW]
                    self.window = {ident: what for ident, what in self.window.items() if ident < high}
        except lmdb.Error as problem:
            yield error("table keys", f"LMDB: {problem}")
        return high

    def _counts(self) -> Iterator[Finding]:
        for index, space in enumerate(self.spaces):
            keys, expires = self.counted.get(space, (0, 0))
            said_keys, said_expires = self.said.get(space, (0, 0))
            where = f"database {index} (space {space})"
            if keys != said_keys:
                yield error(where, f"has {keys} keys, META counts {said_keys}")
            if expires != said_expires:
                yield error(where, f"has {expires} keys with an expiry, META counts {said_expires}")

    def _elements(self, low: int, high: int | None) -> Steps:
        """Compare the rows under each id from `low` to `high` with the window."""
        for table in ROW_TYPES:
            missing = {ident for ident, what in self.window.items() if table in KIND_TABLES.get(what >> 56, ())}
            yield from self._rows_by_id(table, low, high, missing)
            for ident in sorted(missing) if table not in SIDE_TABLES else ():
                yield error(f"table {table.name.lower()} id {ident}", f"{self._size(ident)} elements, but no rows")

    def _size(self, ident: int) -> int:
        return self.window[ident] & (1 << 56) - 1

    def _rows_by_id(self, table: Table, low: int, high: int | None, missing: set[int]) -> Steps:
        ident, rows, weight, sound = -1, 0, 0, True
        total = self.snapshot.count(table)
        try:
            scan = self.snapshot.sift(table, U64.pack(low), U64.pack(high) if high is not None else None)
            for done, (row_key, content) in enumerate(scan, 1):
                if not done % SLICE:
                    yield Progress(table.name.lower(), done, total)
                if len(row_key) < ID_SIZE:
                    yield error(_row(table, row_key), "the row key is too short for an id")
                    continue
                here = U64.unpack_from(row_key)[0]
                if here != ident:
                    yield from self._group(table, ident, rows, weight, sound)
                    ident, rows, weight, sound = here, 0, 0, True
                    missing.discard(here)
                rows += 1
                if content is None:
                    yield from self.check_row(table, row_key, None)
                    sound = False
                    continue
                try:
                    weight += self._weigh(table, row_key, content)
                except UNREADABLE as problem:
                    yield error(_row(table, row_key), f"cannot be decoded: {problem}")
                    sound = False
            yield from self._group(table, ident, rows, weight, sound)
        except lmdb.Error as problem:
            yield error(f"table {table.name.lower()}", f"LMDB: {problem}")

    def _group(self, table: Table, ident: int, rows: int, weight: int, sound: bool) -> Iterator[Finding]:
        """All rows under one id have been seen."""
        if ident < 0:
            return
        where = f"table {table.name.lower()} id {ident}"
        what = self.window.get(ident)
        if what is None or table not in KIND_TABLES.get(what >> 56, ()):
            if not self._is_garbage(ident):
                yield error(where, f"{rows} rows belong to no key and are not garbage")
        elif sound and weight != self._size(ident) and table not in SIDE_TABLES:
            yield error(where, f"rows stand for {weight}, the key's record says {self._size(ident)}")


def _row(table: Table, row_key: bytes) -> str:
    text = row_key.decode("latin-1")
    name = text if table == Table.META and text.isidentifier() else row_key.hex()
    return f"table {table.name.lower()} row {name if len(name) <= 96 else name[:80] + '...'}"


def _show(key: bytes) -> str:
    text = repr(key)[1:]
    return text if len(text) <= 64 else text[:48] + f"...' ({len(key)} bytes)"
