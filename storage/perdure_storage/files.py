"""The only door to the disk for everything but LMDB.

`Files` is what the log, the manifest and the lock ask of a file system; `OsFiles` is the real one, and
`perdure_storage.testing` has one in memory that loses, tears and refuses on command.
"""

from __future__ import annotations

import fcntl
import os
from typing import Protocol

from perdure_storage.errors import DirectoryLocked

ZEROS = bytes(1 << 20)


class File(Protocol):
    """An open file, addressed by offset (bytes)."""

    def pread(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes; fewer only at the end of the file."""

    def pwrite(self, data: bytes, offset: int) -> None:
        """Write all of `data` (short writes are continued). Raises OSError."""

    def allocate(self, size: int) -> None:
        """Take the room for `size` bytes in all; those that were not written read as zeros. Raises OSError."""

    def sync(self) -> None:
        """fdatasync. Raises OSError, and then nothing about earlier writes may be assumed."""

    def size(self) -> int: ...

    def close(self) -> None: ...


class Files(Protocol):
    """A file system. Paths are plain strings; errors are OSError."""

    def open(self, path: str, *, writable: bool = False, create: bool = False) -> File: ...

    def exists(self, path: str) -> bool: ...

    def listdir(self, path: str) -> list[str]: ...

    def makedirs(self, path: str) -> None: ...

    def rename(self, old: str, new: str) -> None: ...

    def unlink(self, path: str) -> None: ...

    def sync_dir(self, path: str) -> None: ...

    def lock(self, path: str) -> File:
        """Take the exclusive lock at `path` until closed. Raises DirectoryLocked with the holder's pid."""


class OsFile:
    """A file descriptor. Safe to use from several threads: no shared position."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def pread(self, size: int, offset: int) -> bytes:
        return os.pread(self.fd, size, offset)

    def pwrite(self, data: bytes, offset: int) -> None:
        written = os.pwrite(self.fd, data, offset)
        if written != len(data):  # short: a signal, a limit, or a file system that takes 2 GiB at a time
            view = memoryview(data)
            while written < len(data):
                written += os.pwrite(self.fd, view[written:], offset + written)

    def allocate(self, size: int) -> None:
        os.posix_fallocate(self.fd, 0, size)

    def sync(self) -> None:
        os.fdatasync(self.fd)

    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class OsFiles:
    """The machine's own file system. Never follows a symbolic link at the last step; directories are made 0700."""

    def open(self, path: str, *, writable: bool = False, create: bool = False) -> OsFile:
        flags = os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_RDWR if writable else os.O_RDONLY) | (os.O_CREAT if create else 0)
        return OsFile(os.open(path, flags, 0o600))

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def listdir(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def makedirs(self, path: str) -> None:
        missing, above = [], os.path.abspath(path)
        while not os.path.isdir(above):
            missing.append(above)
            above = os.path.dirname(above)
        os.makedirs(path, mode=0o700, exist_ok=True)
        for each in missing:  # a power cut must not take the directory with all that is in it
            self.sync_dir(os.path.dirname(each))

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def sync_dir(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, path: str) -> OsFile:
        handle = self.open(path, writable=True, create=True)
        try:
            fcntl.flock(handle.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = handle.pread(32, 0).strip()
            handle.close()
            raise DirectoryLocked(os.path.dirname(path), int(holder) if holder.isdigit() else 0) from None
        os.ftruncate(handle.fd, 0)
        handle.pwrite(b"%d\n" % os.getpid(), 0)
        return handle


def read_whole(files: Files, path: str) -> bytes:
    """All bytes of a (small) file. Raises OSError."""
    handle = files.open(path)
    try:
        return handle.pread(handle.size(), 0)
    except OSError as error:
        error.filename = path  # a descriptor's errors do not have it
        raise
    finally:
        handle.close()


def rewrite_file(path: str, data: bytes) -> None:
    """As `replace_whole`, for a file that people keep: behind a symbolic link, with the permissions it has (new: 0600)."""
    path = os.path.realpath(path)
    mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o600
    replace_whole(OsFiles(), path, data)
    os.chmod(path, mode)


def replace_whole(files: Files, path: str, data: bytes) -> None:
    """Put `data` at `path` so that after any crash there is the old content or the new: write, sync, rename, sync."""
    temporary = path + ".new"
    if files.exists(temporary):
        files.unlink(temporary)
    handle = files.open(temporary, writable=True, create=True)
    try:
        try:
            handle.pwrite(data, 0)
            handle.sync()
        finally:
            handle.close()
        files.rename(temporary, path)
    except OSError:
        if files.exists(temporary):  # a part of it would only take room, where there is none
            files.unlink(temporary)
        raise
    files.sync_dir(os.path.dirname(path))
