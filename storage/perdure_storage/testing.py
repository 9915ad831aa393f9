"""A disk and a clock for tests: in memory, seeded, and able to fail in the ways real ones do.

    disk, clock = MemoryDisk(), ManualClock()
    engine = Engine.open("/db", Options(files=disk, open_tables=disk.open_tables, clock=clock))
    ...
    disk.crash(random)                  # the machine loses power now
    engine = Engine.open("/db", ...)    # what survived

What the disk promises is what POSIX does: a file's content is safe after its `sync`, a name after `sync_dir` of its
directory; of everything else a power cut keeps any part: writes may survive in any subset, torn at sector boundaries,
and directory operations in any prefix. After a failed `sync` the writes before it are still what a reader sees, but no
later sync brings them to the medium: so does Linux. The LMDB stand-in commits atomically and durably, as LMDB does
when synced.
"""

from __future__ import annotations

import errno
import os
from bisect import bisect_left
from collections.abc import Iterator
from random import Random
from typing import Final

from perdure_storage.errors import DirectoryLocked
from perdure_storage.tables import U64, Rows, Table

SECTOR: Final = 512


class PowerCut(BaseException):
    """Raised by a planned fault at the moment the machine is to lose power. Not an Exception: nothing may catch it."""


class _Inode:
    """A file's bytes: what is on the medium, and what was written since."""

    def __init__(self) -> None:
        self.medium = bytearray()
        self.content = bytearray()
        self.writes: list[tuple[int, bytes]] = []

    def after_crash(self, random: Random) -> None:
        """Keep any subset of the unsynced writes, each possibly torn."""
        for offset, data in self.writes:
            fate = random.random()
            if fate < 0.4:
                continue
            if fate < 0.6 and len(data) > 1:
                cut = (offset + random.randrange(len(data))) // SECTOR * SECTOR - offset
                data = data[: max(0, cut)]
            _put(self.medium, offset, data)
        self.writes.clear()
        self.content = bytearray(self.medium)


def _put(target: bytearray, offset: int, data: bytes) -> None:
    if len(target) < offset:
        target.extend(bytes(offset - len(target)))
    target[offset : offset + len(data)] = data


class MemoryFile:
    """An open file of a MemoryDisk."""

    def __init__(self, disk: MemoryDisk, inode: _Inode, path: str) -> None:
        self._disk = disk
        self._inode = inode
        self._path = path
        self.fd = -1

    def pread(self, size: int, offset: int) -> bytes:
        return bytes(self._inode.content[offset : offset + size])

    def pwrite(self, data: bytes, offset: int) -> None:
        try:
            self._disk.step("write", self._path)
        except PowerCut:  # in the middle of it: the crash decides what is left of it
            self._write(data, offset)
            raise
        grown = max(0, offset + len(data) - len(self._inode.content))
        if grown and self._disk.used + grown > self._disk.capacity:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._disk.used += grown
        self._write(data, offset)

    def allocate(self, size: int) -> None:
        self.pwrite(bytes(max(0, size - self.size())), self.size())

    def _write(self, data: bytes, offset: int) -> None:
        _put(self._inode.content, offset, data)
        self._inode.writes.append((offset, bytes(data)))

    def sync(self) -> None:
        try:
            self._disk.step("sync", self._path)
        except OSError:
            self._inode.writes.clear()
            raise
        for offset, data in self._inode.writes:
            _put(self._inode.medium, offset, data)
        self._inode.writes.clear()

    def size(self) -> int:
        return len(self._inode.content)

    def close(self) -> None:
        self._disk.locks.discard(self._path)


class MemoryDisk:
    """The `Files` interface over a dict, with planned faults.

    `faults[(operation, n)]` is raised by the n-th (from 1) "write", "sync", "rename", "unlink", "sync_dir", "commit" or
    "committed" (of the tables, when it is done); with n = 0 by every one, and once it is in `lasting` too by every one
    after the n-th. An OSError is what the caller sees; a PowerCut ends the run. `trace` counts what has happened.
    """

    def __init__(self, capacity: int = 1 << 40) -> None:
        self.capacity = capacity
        self.used = 0
        self.names: dict[str, _Inode] = {}
        self.medium_names: dict[str, _Inode] = {}
        self.name_operations: list[tuple[str, str, str, _Inode]] = []
        self.locks: set[str] = set()
        self.faults: dict[tuple[str, int], BaseException] = {}
        self.lasting: set[BaseException] = set()
        self.trace: dict[str, int] = {}
        self.tables: dict[str, MemoryTables] = {}

    def step(self, operation: str, path: str) -> None:
        """Count an operation; raise what was planned for it."""
        number = self.trace[operation] = self.trace.get(operation, 0) + 1
        fault = self.faults.get((operation, number)) or self.faults.get((operation, 0))
        if fault is not None:
            if fault in self.lasting:
                self.faults[(operation, 0)] = fault
            raise fault

    def open(self, path: str, *, writable: bool = False, create: bool = False) -> MemoryFile:
        inode = self.names.get(path)
        if inode is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            inode = self.names[path] = _Inode()
            self.name_operations.append(("link", path, "", inode))
        return MemoryFile(self, inode, path)

    def exists(self, path: str) -> bool:
        return path in self.names

    def listdir(self, path: str) -> list[str]:
        prefix = path.rstrip("/") + "/"
        return sorted({name[len(prefix) :].partition("/")[0] for name in self.names if name.startswith(prefix)})

    def makedirs(self, path: str) -> None:
        pass

    def rename(self, old: str, new: str) -> None:
        self.step("rename", old)
        inode = self.names[new] = self.names.pop(old)
        self.name_operations.append(("rename", old, new, inode))

    def unlink(self, path: str) -> None:
        self.step("unlink", path)
        inode = self.names.pop(path)
        self.used -= len(inode.content)
        self.name_operations.append(("unlink", path, "", inode))

    def sync_dir(self, path: str) -> None:
        self.step("sync_dir", path)
        kept = []
        for operation in self.name_operations:
            if os.path.dirname(operation[1]) == path:
                self._settle(operation)
            else:
                kept.append(operation)
        self.name_operations = kept

    def _settle(self, operation: tuple[str, str, str, _Inode]) -> None:
        """A directory operation reaches the medium."""
        kind, path, new, inode = operation
        if kind == "link":
            self.medium_names[path] = inode
        else:
            self.medium_names.pop(path, None)
            if kind == "rename":
                self.medium_names[new] = inode

    def lock(self, path: str) -> MemoryFile:
        if path in self.locks:
            raise DirectoryLocked(os.path.dirname(path), os.getpid())
        self.locks.add(path)
        return self.open(path, writable=True, create=True)

    def crash(self, random: Random) -> None:
        """Lose power: unsynced writes and names survive in part."""
        for operation in self.name_operations[: random.randint(0, len(self.name_operations))]:
            self._settle(operation)
        self.name_operations.clear()
        self.names = dict(self.medium_names)
        for inode in self.names.values():
            inode.after_crash(random)
        self._restart()

    def kill(self) -> None:
        """Kill the process: everything written survives, synced or not."""
        self._restart()

    def _restart(self) -> None:
        self.locks.clear()
        self.faults.clear()
        self.lasting.clear()
        self.used = sum(len(inode.content) for inode in self.names.values())

    def open_tables(self, path: str) -> MemoryTables:
        """The stand-in for LMDB at this path; it survives everything."""
        return self.tables.setdefault(path, MemoryTables(self))


class MemorySnapshot:
    """A frozen view of MemoryTables."""

    def __init__(self, tables: list[dict[bytes, bytes]], order: list[list[bytes] | None]) -> None:
        self._tables = tables
        self._order = order
        raw = tables[Table.META].get(b"applied_lsn")
        self.applied_lsn = U64.unpack(raw)[0] if raw else 0

    def _keys(self, table: Table) -> list[bytes]:
        keys = self._order[table]
        if keys is None:
            keys = self._order[table] = sorted(self._tables[table])
        return keys

    def get(self, table: Table, key: bytes) -> bytes | None:
        return self._tables[table].get(key)

    def scan(self, table: Table, start: bytes, stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        keys, rows = self._keys(table), self._tables[table]
        for index in range(bisect_left(keys, start), len(keys)):
            if stop is not None and keys[index] >= stop:
                return
            yield keys[index], rows[keys[index]]

    def sift(self, table: Table, start: bytes, stop: bytes | None = None) -> Iterator[tuple[bytes, bytes | None]]:
        return self.scan(table, start, stop)

    def sizes(self, table: Table) -> tuple[int, int]:
        rows = self._tables[table]
        return len(rows), sum(len(key) + len(content) for key, content in rows.items())

    def scan_back(self, table: Table, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        keys, rows = self._keys(table), self._tables[table]
        index = bisect_left(keys, start)
        if index < len(keys) and keys[index] == start:
            index += 1
        for at in range(index - 1, -1, -1):
            yield keys[at], rows[keys[at]]

    def count(self, table: Table) -> int:
        return len(self._tables[table])

    def close(self) -> None:
        pass


class MemoryTables:
    """The `TableStore` interface over dicts: a commit is atomic and durable."""

    def __init__(self, disk: MemoryDisk) -> None:
        self._disk = disk
        self._tables: list[dict[bytes, bytes]] = [{} for _ in Table]
        self._order: list[list[bytes] | None] = [None for _ in Table]

    def snapshot(self) -> MemorySnapshot:
        return MemorySnapshot(self._tables, self._order)

    def apply(self, rows: list[Rows], applied_lsn: int | None) -> None:
        self._disk.step("commit", "tables")
        if applied_lsn is not None:
            rows[Table.META][b"applied_lsn"] = U64.pack(applied_lsn)
        tables, order = list(self._tables), list(self._order)
        for table, changed in enumerate(rows):
            if changed:
                fresh = dict(tables[table])
                for key, content in changed.items():
                    if content is None:
                        fresh.pop(key, None)
                    else:
                        fresh[key] = content
                tables[table], order[table] = fresh, None
        self._tables, self._order = tables, order
        self._disk.step("committed", "tables")

    def close(self) -> None:
        pass


class ManualClock:
    """Time that moves when told. `step` moves the wall clock alone, as an administrator or NTP would."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_us = now_ms * 1000
        self._wall_offset_ms = 0

    def now_ms(self) -> int:
        return self._now_us // 1000

    def now_us(self) -> int:
        return self._now_us

    def wall_ms(self) -> int:
        return self._now_us // 1000 + self._wall_offset_ms

    def advance(self, ms: int) -> None:
        self._now_us += ms * 1000

    def step(self, ms: int) -> None:
        self._wall_offset_ms += ms
