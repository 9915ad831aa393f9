"""What tests of several parts share: a real redis-server, the judge of behaviour; servers of ours over real sockets."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any, BinaryIO

import pytest
from hypothesis import settings

settings.register_profile("repeat", derandomize=True)
if os.environ.get("PERDURE_SEED"):
    settings.load_profile("repeat")


class RealRedis:
    """One connection to a server, Redis or ours. Replies come raw: bytes, int, list, None, or RedisError."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
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
        if kind == b"=":
            return self._replies.read(int(rest) + 2)[4:-2]
        if kind in (b"*", b"~", b"%", b">"):
            return None if rest == b"-1" else [self.read() for _ in range(int(rest) * (1 + (kind == b"%")))]
        if kind == b"-":
            return RedisError(rest.decode("latin-1"))
        if kind == b"_":
            return None
        if not kind:
            raise EOFError
        return int(rest) if kind == b":" else rest

    def send(self, *words: bytes | str | int) -> None:
        """One command, its reply left for `read`."""
        argv = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in argv))

    def closed(self) -> bool:
        """Does the server hang up, after nothing or after replies that are thrown away?"""
        try:
            while self._replies.read1(1 << 16):  # type: ignore[attr-defined]
                pass
        except ConnectionResetError:
            pass
        return True

    def close(self) -> None:
        self._replies.close()
        self.socket.close()


class RedisError(Exception):
    """An error reply; equal to another with the same text."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RedisError) and self.args == other.args

    __hash__ = Exception.__hash__


def free_port() -> int:
    """One that nobody listens on, and that the kernel gives to nobody who connects: it hands out higher ones."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextmanager
def running_redis(directory: Path, *options: str) -> Iterator[int]:
    """The port of a redis-server with these options, killed in the end."""
    if which("redis-server") is None:
        pytest.skip("redis-server is not installed: nothing to compare with")
    port = free_port()
    command = ["redis-server", "--port", str(port), "--dir", str(directory), "--bind", "127.0.0.1", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            yield port
        finally:
            process.kill()


@pytest.fixture(scope="session")
def real_redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A redis-server on a free port, without persistence."""
    with running_redis(tmp_path_factory.mktemp("redis"), "--save", "", "--enable-debug-command", "yes") as port:
        yield port


@pytest.fixture
def real_redis(real_redis_port: int) -> Iterator[RealRedis]:
    """A fresh connection to the session's redis-server, everything flushed."""
    redis = RealRedis(real_redis_port)
    redis.ask("FLUSHALL")
    yield redis
    redis.close()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


# -- our own server ------------------------------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parent.parent


class PerdureServer:
    """`python -m perdure.cli` on a free port. `log` is what it wrote to stderr, `limit` are words for the shell's ulimit."""

    def __init__(
        self,
        directory: Path,
        *options: str,
        environment: dict[str, str] | None = None,
        port: int = 0,
        file: str | None = None,
        limit: str = "",
    ) -> None:
        self.directory = directory
        roots = os.pathsep.join(str(ROOT / name) for name in ("src", "storage", "tools"))
        command = [sys.executable, "-m", "perdure.cli", *([file] if file is not None else [])]
        command += ["--port", str(port), "--dir", str(directory), *options]
        if limit:
            command = ["sh", "-c", f'ulimit {limit} && exec "$@"', "sh", *command]
        self._log = directory.parent / f"{directory.name}.log"
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=directory.parent,
                env={**os.environ, "PYTHONPATH": roots, **(environment or {})},
            )
        if port:
            self.port = port
            _wait_for(port)
            return
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.strip().isdigit():
            self.process.wait()
            raise RuntimeError(f"the server did not start: {self.log}")
        self.port = int(line)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def connect(self) -> RealRedis:
        return RealRedis(self.port)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait for its end; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=30)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


StartPerdure = Callable[..., PerdureServer]


@pytest.fixture
def start_perdure(tmp_path: Path) -> Iterator[StartPerdure]:
    """Starts servers: `start_perdure("--appendfsync", "no")`, on `tmp_path / "data"` unless told `directory=`."""
    started: list[PerdureServer] = []

    def start(*options: str, directory: Path | None = None, **more: Any) -> PerdureServer:
        server = PerdureServer(directory or tmp_path / "data", *options, **more)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def perdure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PerdureServer]:
    """One server for all tests that need nothing of its options. DEBUG is allowed."""
    server = PerdureServer(tmp_path_factory.mktemp("perdure") / "data", "--enable-debug-command", "yes")
    yield server
    server.stop()


@pytest.fixture
def perdure(perdure_server: PerdureServer) -> Iterator[RealRedis]:
    """A fresh connection to that server, everything flushed."""
    client = perdure_server.connect()
    client.ask("FLUSHALL")
    yield client
    client.close()
