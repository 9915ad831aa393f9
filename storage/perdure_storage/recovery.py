"""What a data directory is worth: its layout, who may open it, and how it is made whole after a crash.

::

    FORMAT     JSON: format version, LMDB version, id, creation time. Never changes.
    LOCK       flock by the server, holds its pid
    CLEAN      present after a clean shutdown: the last LSN
    TABLES     the name of the table directory in use; replaced whole when a compacted copy takes over
    tables-N/  LMDB
    wal/       MANIFEST and segments
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import error as StructError
from typing import Final

import lmdb

from perdure_storage.checkpoint import Checkpointer
from perdure_storage.clock import Clock
from perdure_storage.errors import Corruption, StorageError, UnknownFormat
from perdure_storage.files import Files, read_whole, replace_whole
from perdure_storage.tables import TableStore
from perdure_storage.wal import MANIFEST, LogReader, Manifest, Tail, cut_tail, make_durable, remove_leftovers

FORMAT_VERSION: Final = 1
FULL_BELOW: Final = 1 << 20
TABLES: Final = re.compile(r"tables-[1-9][0-9]*")
"""How table directories are named. What else lies in a data directory is somebody's own, and is let alone."""
TableOpener = Callable[[str], TableStore]


@dataclass
class Recovered:
    """What recovery found and did. `tail` is where the log goes on."""

    tail: Tail
    manifest: Manifest
    applied_lsn: int
    folded: int = 0
    clean: bool = False
    created: bool = False
    leftovers: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if self.created:
            return "new data directory"
        how = "after a clean shutdown" if self.clean else "after a crash"
        torn = f"; a torn tail of {self.tail.torn_bytes} bytes after LSN {self.tail.last_lsn} was cut" * bool(
            self.tail.torn_bytes
        )
        return f"opened {how} at LSN {self.tail.last_lsn}, {self.folded} batches folded from the log{torn}"


class Directory:
    """Paths and small files of a data directory."""

    def __init__(self, files: Files, path: str) -> None:
        self.files = files
        self.path = path
        self.log = os.path.join(path, "wal")
        self.lock_path = os.path.join(path, "LOCK")
        self._format = os.path.join(path, "FORMAT")
        self._clean = os.path.join(path, "CLEAN")
        self._pointer = os.path.join(path, "TABLES")

    def is_new(self) -> bool:
        return not self.files.exists(self._format)

    def create(self, clock: Clock) -> None:
        """Lay out an empty directory, the FORMAT file last. Raises Corruption when it is one that has lost that file."""
        in_log = self.files.listdir(self.log) if self.files.exists(self.log) else []
        if data := [*self.table_directories(), *(name for name in in_log if name == MANIFEST or name.endswith(".wal"))]:
            why = (
                f"is missing, but there is data ({data[0]}): put it back, from a backup or from a new directory that "
                "this version makes, or choose another directory; nothing was changed"
            )
            raise Corruption(self._format, 0, why)
        self.files.makedirs(self.log)
        self.point_to("tables-1")
        now = clock.wall_ms()
        identity = {
            "format": FORMAT_VERSION,
            "lmdb": list(lmdb.version()),
            "id": secrets.token_hex(20),
            "created_ms": now,
        }
        replace_whole(self.files, self._format, json.dumps(identity).encode() + b"\n")

    def identity(self) -> dict[str, object]:
        """The FORMAT file. Raises UnknownFormat, Corruption."""
        try:
            identity: dict[str, object] = json.loads(read_whole(self.files, self._format))
        except ValueError as error:
            raise Corruption(self._format, 0, f"is not JSON: {error}") from error
        if not isinstance(identity, dict):
            raise Corruption(self._format, 0, "is not an object in JSON")
        if identity.get("format") != FORMAT_VERSION:
            raise UnknownFormat(
                f"{self.path} has format {identity.get('format')}, this version reads format {FORMAT_VERSION}: "
                "use the version that wrote it, or migrate it"
            )
        made_with = identity.get("lmdb")
        if not isinstance(made_with, list) or made_with[:2] != list(lmdb.version()[:2]):
            raise UnknownFormat(
                f"{self.path} was made with LMDB {identity.get('lmdb')}, this is {lmdb.version()}: their files differ"
            )
        return identity

    @property
    def tables(self) -> str:
        """The table directory in use. Raises Corruption."""
        name = self._pointed_to()
        there = self.table_directories()
        if name not in there and name != self._pointed_to():  # a server exchanges them at this moment
            return self.tables
        if not TABLES.fullmatch(name) or (there and name not in there):
            why = f"names {name!r}, and " * bool(name) + f"there is {' and '.join(there) or 'no table directory'}"
            why += ": write the name of the right one into it, or restore a backup; nothing was changed"
            raise Corruption(self._pointer, 0, why)
        return os.path.join(self.path, name)

    def _pointed_to(self) -> str:
        """What the file TABLES says, "" when there is none."""
        try:
            return read_whole(self.files, self._pointer).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return ""

    def table_directories(self) -> list[str]:
        """The names of all that are there, whichever is in use."""
        return [name for name in self.files.listdir(self.path) if TABLES.fullmatch(name)]

    def point_to(self, name: str) -> None:
        """Make `name` the table directory in use, durably."""
        replace_whole(self.files, self._pointer, name.encode() + b"\n")

    def next_tables(self) -> str:
        """A fresh name for a compacted copy."""
        return f"tables-{int(os.path.basename(self.tables).partition('-')[2]) + 1}"

    def remove_stray_tables(self) -> None:
        """Delete table directories that a crash during compaction left behind."""
        current = os.path.basename(self.tables)
        for name in self.table_directories():
            if name != current:
                shutil.rmtree(os.path.join(self.path, name), ignore_errors=True)

    def mark_clean(self, lsn: int) -> None:
        replace_whole(self.files, self._clean, b"%d\n" % lsn)

    def take_clean_mark(self) -> bool:
        """Was the last shutdown clean? The mark is removed."""
        if not self.files.exists(self._clean):
            return False
        self.files.unlink(self._clean)
        self.files.sync_dir(self.path)
        return True


def recover(
    directory: Directory,
    open_tables: TableOpener,
    clock: Clock,
    progress: Callable[[int, int], None] | None = None,
) -> Recovered:
    """Make the directory whole: cut a torn tail, fold the rest of the log. REQUIRES: the lock.

    `progress(lsn, last_lsn)` is called after each commit. Raises Corruption, UnknownFormat, OSError; then nothing
    has been changed but leftovers removed.
    """
    files = directory.files
    created = directory.is_new()
    if created:
        directory.create(clock)
    directory.identity()
    path = directory.tables
    try:
        refuse_cut_tables(path)
        tables = open_tables(path)
    except lmdb.Error as error:
        raise table_problem(path, error) from error
    try:
        checkpointer = Checkpointer(files, directory.log, tables)
        reader = LogReader(files, directory.log)
        try:
            tail = reader.find_tail(checkpointer.applied_lsn)
        except FileNotFoundError as missing:
            raise Corruption(missing.filename, 0, "the manifest names this segment, but it is not there") from missing
        finally:
            reader.close()
        manifest = reader.manifest
        if reader.first_lsn > checkpointer.applied_lsn + 1:
            applied = checkpointer.applied_lsn
            why = f"the tables end at LSN {applied}, the log begins at LSN {reader.first_lsn}: what is between is missing"
            raise Corruption(path, 0, f"{why}, for one of them is lost or of another moment; restore a backup")
        leftovers = remove_leftovers(files, manifest)
        clean = directory.take_clean_mark()
        directory.remove_stray_tables()
        cut_tail(files, manifest, tail)
        if not clean:  # the tables must never be ahead of what the log would still say after a power cut
            files.sync_dir(directory.tables)
            files.sync_dir(directory.path)
            make_durable(files, manifest, tail)
        before = checkpointer.applied_lsn
        for lsn in checkpointer.run(tail.last_lsn):
            if progress is not None:
                progress(lsn, tail.last_lsn)
        applied = checkpointer.applied_lsn
        checkpointer.close()
    except lmdb.Error as error:
        raise table_problem(path, error) from error
    finally:
        tables.close()
    return Recovered(tail, manifest, applied, applied - before, clean, created, leftovers)


def refuse_cut_tables(path: str) -> None:
    """Raises Corruption when pages are missing at the end of LMDB's file: it is mapped, so that to read there would end
    the process without a word."""
    data = os.path.join(path, "data.mdb")
    if not os.path.exists(data) or not os.path.getsize(data):
        return
    with lmdb.open(path, readonly=True, lock=False, max_dbs=0) as environment:
        pages, page_size = environment.info()["last_pgno"] + 1, environment.stat()["psize"]
    size = os.path.getsize(data)
    if size < pages * page_size and (problems := broken_pages(data)):  # pages that were never used need not be there
        why = f"{size} of {pages * page_size} bytes are there ({problems[0]}): the rest is lost; restore a backup"
        raise Corruption(data, size, why)


def broken_pages(data: str) -> list[str]:
    """What is wrong with the structure of LMDB's file, read as bytes: a broken page must not bring this process down."""
    from lmdb import verify

    check: Callable[..., list[str]] = verify.verify
    try:
        return check(data, subdir=False)
    except (verify.VerifyError, ValueError, TypeError, IndexError, KeyError, StructError) as cause:
        return [str(cause)]


def table_problem(path: str, error: lmdb.Error) -> StorageError:
    """LMDB's error as one of ours, with what to do."""
    if isinstance(error, (lmdb.InvalidError, lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.VersionMismatchError)):
        return Corruption(os.path.join(path, "data.mdb"), 0, f"{error}: restore a backup")
    return StorageError(
        f"the log cannot be folded into {path}: {in_words(path, error)}; nothing acknowledged is lost, start again when "
        "that is mended"
    )


def in_words(path: str, error: Exception) -> str:
    """What an error of the tables says. LMDB calls it an I/O error, too, when the disk had room for a part of a write."""
    disk = os.statvfs(path)
    full = "Input/output" in str(error) and disk.f_bavail * disk.f_frsize < FULL_BELOW
    return f"{error}: No space left on device" if full else str(error)
