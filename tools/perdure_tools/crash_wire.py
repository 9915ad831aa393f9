"""The wire between the crash harness and a server: as much of a RESP2 client as is needed there."""

from __future__ import annotations

import socket
from typing import Any, Final

REPLY_S: Final = 30.0


class ReplyError(Exception):
    """The server answered with an error."""


class Broken(Exception):
    """The connection is gone, as it is when the server was killed."""


class Failure(AssertionError):
    """The server broke a promise."""


class Connection:
    """As much of a RESP2 client as is needed here. Raises Broken, and ReplyError from `reply`."""

    def __init__(self, port: int) -> None:
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), timeout=REPLY_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise Broken(str(error)) from error
        self._stream = self._socket.makefile("rb")

    def send(self, commands: list[list[bytes]]) -> None:
        """Send commands, as one write."""
        parts = []
        for words in commands:
            parts.append(b"*%d\r\n" % len(words))
            parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
        try:
            self._socket.sendall(b"".join(parts))
        except OSError as error:
            raise Broken(str(error)) from error

    def reply(self) -> Any:
        """The next reply. Raises ReplyError; TimeoutError when the server says nothing."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"-":
            raise ReplyError(rest.decode(errors="replace"))
        if kind == b"$":
            size = int(rest)
            return self._read(size + 2)[:-2] if size >= 0 else None
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))] if int(rest) >= 0 else None
        raise Failure(f"a reply begins with {line[:40]!r}")

    def call(self, *words: bytes) -> Any:
        """One command and its reply."""
        self.send([list(words)])
        return self.reply()

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def _line(self) -> bytes:
        try:
            line = self._stream.readline()
        except TimeoutError:
            raise
        except OSError as error:
            raise Broken(str(error)) from error
        if not line.endswith(b"\r\n"):
            raise Broken("end of file")
        return line[:-2]

    def _read(self, size: int) -> bytes:
        try:
            data = self._stream.read(size)
        except TimeoutError:
            raise
        except OSError as error:
            raise Broken(str(error)) from error
        if len(data) < size:
            raise Broken("end of file")
        return data
