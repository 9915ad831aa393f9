"""What the verbs share: opening a directory, putting bytes into JSON and text, sizes for people, progress."""

from __future__ import annotations

import base64
import os
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from perdure_storage.errors import StorageError, UnknownFormat
from perdure_storage.offline import Offline

PATIENCE_S: Final = 2.0
EVERY_S: Final = 0.1
SHOWN: Final = 64


class Mistake(Exception):
    """What was asked for cannot be meant; the text says what to do."""


def failures() -> tuple[type[BaseException], ...]:
    """What a verb reports in one line instead of a traceback."""
    import lmdb

    return StorageError, OSError, lmdb.Error


def directory_argument(parser: ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="the server's data directory, stopped or in use")


@contextmanager
def opened(path: str) -> Iterator[Offline]:
    """A view of the directory; afterwards says on standard error what makes it less than the whole truth."""
    if not os.path.isdir(path):
        raise Mistake(f"{path} is not a directory")
    try:
        view = Offline.open(path)
    except UnknownFormat as unknown:
        raise Mistake(str(unknown)) from unknown
    with view:
        yield view
        if view.disturbed():
            raise StorageError(f"a server has written to {path} meanwhile: what was read may be wrong, run this again")


def log_notes(view: Offline) -> list[str]:
    """What is to be said of the log's end."""
    if view.damage is not None:
        return [f"the log is damaged and is shown up to LSN {view.last_lsn} only: {view.damage}"]
    if view.torn_bytes:
        return [f"an unfinished write of {view.torn_bytes} bytes follows LSN {view.last_lsn}: a start cuts it"]
    return []


def json_text(data: bytes) -> str | dict[str, str]:
    """Bytes for JSON: text where they are UTF-8, else {"base64": ...}."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64_text(data)}


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def shown(value: Any) -> str:
    """A value for people, shortened: bytes in quotes with escapes."""
    if not isinstance(value, (bytes, bytearray)):
        return str(value)
    if len(value) > SHOWN:
        return f"{repr(bytes(value[:SHOWN]))[1:]}...({len(value)} bytes)"
    return repr(bytes(value))[1:]


def key_argument(text: str) -> bytes:
    """A key from the command line, byte for byte as the shell gave it; `base64:...` for any bytes."""
    if text.startswith("base64:"):
        return base64.b64decode(text.removeprefix("base64:"), validate=True)
    return os.fsencode(text)


def human_bytes(size: int) -> str:
    """4096 -> 4.0 KiB."""
    if size < 1024:
        return f"{size} B"
    power = min(4, (size.bit_length() - 1) // 10)
    return f"{size / 1024**power:.1f} {'KMGT'[power - 1]}iB"


class Meter:
    """Progress on standard error: only on a terminal, and only when it takes long."""

    def __init__(self) -> None:
        self._next = time.monotonic() + PATIENCE_S
        self._on = sys.stderr.isatty()
        self._width = 0

    def tell(self, what: str, done: int, total: int) -> None:
        if not self._on or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + EVERY_S
        line = f"{what} {done * 100 // max(1, total)}%"
        sys.stderr.write("\r" + line.ljust(self._width))
        sys.stderr.flush()
        self._width = len(line)

    def clear(self) -> None:
        """Before anything else is written."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
            self._width = 0
