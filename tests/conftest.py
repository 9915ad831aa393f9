"""What tests of several parts share: a real redis-server, the judge of behaviour."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any, BinaryIO

import pytest


class RealRedis:
    """One connection to a redis-server of our own. Replies come raw: bytes, int, list, None, or RedisError."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port))
        self._replies: BinaryIO = self.socket.makefile("rb")

    def ask(self, *words: bytes | str | int) -> Any:
        """One command, one reply."""
        argv = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in argv))
        return self.read()

    def read(self) -> Any:
        """One reply."""
        line = self._replies.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if rest == b"-1" else self._replies.read(int(rest) + 2)[:-2]
        if kind in (b"*", b"~", b"%"):
            return None if rest == b"-1" else [self.read() for _ in range(int(rest) * (1 + (kind == b"%")))]
        if kind == b"-":
            return RedisError(rest.decode("latin-1"))
        return int(rest) if kind == b":" else rest


class RedisError(Exception):
    """An error reply; equal to another with the same text."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RedisError) and self.args == other.args

    __hash__ = Exception.__hash__


@pytest.fixture(scope="session")
def real_redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A redis-server on a free port, without persistence."""
    if which("redis-server") is None:
        pytest.skip("redis-server is not installed: nothing to compare with")
    directory: Path = tmp_path_factory.mktemp("redis")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    options = ["--port", str(port), "--save", "", "--dir", str(directory), "--bind", "127.0.0.1"]
    with subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            yield port
        finally:
            process.kill()


@pytest.fixture
def real_redis(real_redis_port: int) -> Iterator[RealRedis]:
    """A fresh connection to the session's redis-server, everything flushed."""
    redis = RealRedis(real_redis_port)
    redis.ask("FLUSHALL")
    yield redis
    redis.socket.close()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
