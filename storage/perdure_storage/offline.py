"""A data directory seen without touching it: stopped, or beside a running server.

    with Offline.open("perdure-data") as view:
        for db in view.databases:
            for item in walk(db):
                ...

What one sees is the tables at their `applied_lsn` with the valid part of the log behind them laid over in memory: what
a server would start with. Nothing on disk is created or changed, and a torn tail is reported, not cut. Memory holds
what the log's tail says, and whole each collection that the tail changes; the rest stays on disk.

Beside a running server LMDB's lock file is used, so that the pages in view are kept until `close`: a view held for
long makes the tables grow. On a stopped directory even that file is left alone, hence `disturbed`: has a server
been started, and written, since?
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final

import lmdb

from perdure_storage.codec import unpack
from perdure_storage.errors import Corruption, StorageError, UnknownFormat
from perdure_storage.files import Files, OsFiles
from perdure_storage.keyspace import Dataset, Keyspace
from perdure_storage.recovery import Directory
from perdure_storage.replay import Replay
from perdure_storage.tables import LmdbTables, Snapshot, Table, TableStore
from perdure_storage.wal import LogReader, Tail

ATTEMPTS: Final = 8
PAUSE_S: Final = 0.05
TableReader = Callable[[str, bool], TableStore]
"""(table directory, is a server running) -> tables."""


class EmptySnapshot:
    """The tables of a directory whose server ended before it had made any."""

    applied_lsn = 0

    def get(self, table: Table, key: bytes) -> bytes | None:
        return None

    def scan(self, table: Table, start: bytes, stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        return iter(())

    def sift(self, table: Table, start: bytes, stop: bytes | None = None) -> Iterator[tuple[bytes, bytes | None]]:
        return iter(())

    def scan_back(self, table: Table, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(())

    def count(self, table: Table) -> int:
        return 0

    def sizes(self, table: Table) -> tuple[int, int]:
        return 0, 0

    def close(self) -> None:
        pass


class EmptyTables:
    """What gives that snapshot."""

    def snapshot(self) -> Snapshot:
        return EmptySnapshot()

    def apply(self, rows: object, applied_lsn: int | None) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


class Offline:
    """See the module. Attributes:

    `databases`     to be read with `walk`
    `snapshot`      the tables alone, at `applied_lsn`
    `last_lsn`      where the readable log ends
    `torn_bytes`    unfinished writing behind that, which a start would cut
    `damage`        why the log cannot be read to its end, where later bytes or the tables prove that it goes on
    `live`          a server has the directory open
    """

    def __init__(self, path: str, files: Files, tables: TableStore, live: bool, directory: Directory) -> None:
        self.path = path
        self.files = files
        self.live = live
        self.directory = directory
        self.identity = directory.identity()
        self.tables = tables
        self.damage: Corruption | None = None
        self.torn_bytes = 0
        self.tail: Tail | None = None
        self._transaction = tables.last_transaction() if isinstance(tables, LmdbTables) else 0
        snapshot = tables.snapshot()
        try:
            self.dataset = Dataset(snapshot, 0)
            self.applied_lsn = self.last_lsn = snapshot.applied_lsn
            self._replay()
        except BaseException:
            snapshot.close()
            raise

    @classmethod
    def open(cls, path: str, *, files: Files | None = None, open_tables: TableReader | None = None) -> Offline:
        """Look at a directory. Raises FileNotFoundError, UnknownFormat, Corruption (of the tables), OSError.

        Beside a server, segments may be retired and tables exchanged between two looks: then it looks again.
        """
        files = files or OsFiles()
        directory = Directory(files, path)
        if directory.is_new():
            raise UnknownFormat(f"{path} is not a data directory: there is no file FORMAT in it")
        directory.identity()
        for attempt in range(ATTEMPTS):
            live = is_live(directory)
            try:
                return cls._attempt(path, files, directory, open_tables or read_tables, live)
            except (FileNotFoundError, Corruption, lmdb.Error):
                if not (live or is_live(directory)) or attempt == ATTEMPTS - 1:
                    raise
                time.sleep(PAUSE_S)
        raise AssertionError

    @classmethod
    def _attempt(cls, path: str, files: Files, directory: Directory, open_tables: TableReader, live: bool) -> Offline:
        tables = open_tables(directory.tables, live)
        try:
            return cls(path, files, tables, live, directory)
        except BaseException:
            tables.close()
            raise

    def _replay(self) -> None:
        """Lay the log's tail over the tables."""
        replay = Replay(self.dataset)
        reader = LogReader(self.files, self.directory.log)
        try:
            if self.live:
                reader.hold()
            for record in reader.rest(self.applied_lsn):
                try:
                    replay.apply(record.lsn, list(unpack(record.payload)))
                except (ValueError, TypeError, KeyError, IndexError, AssertionError) as error:
                    path = reader.where()[0]
                    raise Corruption(path, record.offset, f"batch {record.lsn} cannot be read: {error!r}") from error
                self.last_lsn = record.lsn
            if self.live:  # what follows is being written at this moment
                return
            try:
                self.tail = reader.find_tail(self.applied_lsn)
                self.torn_bytes = self.tail.torn_bytes
            except Corruption as damage:
                self.damage = damage
        finally:
            reader.close()

    @property
    def snapshot(self) -> Snapshot:
        return self.dataset.snapshot

    @property
    def databases(self) -> list[Keyspace]:
        return self.dataset.databases

    def disturbed(self) -> bool:
        """Has a server written to a directory that was stopped when it was opened? Then what was read may be wrong."""
        if self.live or not isinstance(self.tables, LmdbTables):
            return False
        try:
            return self.tables.path != self.directory.tables or self.tables.last_transaction() != self._transaction
        except (OSError, StorageError):
            return True

    def close(self) -> None:
        self.dataset.snapshot.close()
        self.tables.close()

    def __enter__(self) -> Offline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_tables(path: str, live: bool) -> TableStore:
    """LMDB's tables, for reading only; with its lock file only beside a server."""
    if not os.path.exists(os.path.join(path, "data.mdb")):
        if live or os.path.exists(path):
            raise FileNotFoundError(f"{path}/data.mdb is missing")
        return EmptyTables()
    try:
        return LmdbTables(path, writable=False, lock=live)
    except lmdb.NotFoundError:  # the first start ended before it had made them all
        return EmptyTables()
    except lmdb.Error as error:
        raise Corruption(os.path.join(path, "data.mdb"), 0, str(error)) from error


def is_live(directory: Directory) -> bool:
    """Does a server hold the directory's lock? Asked by taking it, shared, for an instant."""
    try:
        handle = os.open(directory.lock_path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False
