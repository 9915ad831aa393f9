"""What can go wrong below the commands, one class for each thing a caller treats differently."""

from __future__ import annotations


class StorageError(Exception):
    """Base of everything the engine raises on purpose."""


class WrongType(StorageError):
    """The key holds another kind of value than the operation asked for."""


class TooLarge(StorageError):
    """A value would pass 512 MiB."""


class Corruption(StorageError):
    """Bytes on disk are not what was written there: names the file and the offset (or row), and why we think so."""

    def __init__(self, path: str, where: int | str, why: str) -> None:
        super().__init__(f"{path}: at {where}: {why}")
        self.path = path
        self.where = where
        self.why = why


class LogFull(StorageError):
    """The log could not reserve room (disk full, quota, file size limit). Nothing was changed; it may work later."""


class LogPoisoned(StorageError):
    """A write or sync of the log failed: what it held is of unknown durability, so nothing more is accepted."""


class CannotGoBack(LogPoisoned):
    """A change had to be undone, but what the disk says cannot be read: memory holds what never was. The process must end
    at once, with nothing more said to anybody; a restart finds what is durable."""


class DirectoryLocked(StorageError):
    """Another process has the data directory open."""

    def __init__(self, path: str, pid: int) -> None:
        super().__init__(
            f"data directory {path} is in use by process {pid}: stop that one, or choose another with --dir"
        )
        self.path = path
        self.pid = pid


class UnknownFormat(StorageError):
    """The data directory was written by a version (or a program) that this one does not understand."""
