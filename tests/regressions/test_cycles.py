"""An error kept the frame that had caught it, and that frame the error; the function that loaded a collection in steps kept
itself, and the collection. The server, which collects no cycles, kept them all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT, RealRedis, RedisError

SERVER = """
import gc, signal, sys
from perdure.cli import main
signal.signal(signal.SIGUSR1, lambda number, frame: print("cycles:", gc.collect(), flush=True))
sys.exit(main(sys.argv[1:]))
"""


def cycles(server: subprocess.Popen[str], client: RealRedis) -> int:
    """How many objects the collector finds now."""
    server.send_signal(signal.SIGUSR1)
    client.ask("PING")
    assert server.stdout is not None
    while not (line := server.stdout.readline()).startswith("cycles:"):
        assert line, "the server has ended"
    return int(line.partition(":")[2])


def use(server: RealRedis) -> None:
    """What makes errors, waits, transactions and connections."""
    for wrong in (["SET", "a", "b", "BAD"], ["INCR", "s"], ["LPUSH", "s", "x"], ["NOSUCH"], ["GET"], ["EXEC"]):
        assert isinstance(server.ask(*wrong), RedisError)
    for command in (["MULTI"], ["INCR", "s"], ["SET", "n", "1"], ["EXEC"], ["BLPOP", "none", "0.001"], ["SCAN", "0"]):
        server.ask(*command)
    other = RealRedis(server.port)
    other.ask("PING")
    other.close()


@contextmanager
def serving(directory: Path) -> Iterator[tuple[subprocess.Popen[str], RealRedis]]:
    """A server that tells of cycles, and a client of it."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, "--port", "0", "--dir", str(directory), "--loglevel", "warning"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("src", "storage"))},
    )
    try:
        assert server.stdout is not None
        client = RealRedis(int(server.stdout.readline()))
        yield server, client
        client.close()
    finally:
        server.terminate()
        server.communicate(timeout=20)


def test_serving_leaves_no_cycles_behind(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as (server, client):
        client.ask("SET", "s", "text")
        use(client)
        cycles(server, client)  # those of modules that are imported when they are first needed
        for _ in range(20):
            use(client)
        assert cycles(server, client) == 0


def test_loading_in_steps_leaves_no_cycles_behind(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as (_, client):
        client.ask("SET", "s", "text")
        for key in ("a", "b"):
            client.ask("SADD", key, *range(3000))
    with serving(tmp_path / "data") as (server, client):
        use(client)
        client.ask("SISMEMBER", "a", 1)
        cycles(server, client)
        assert client.ask("SISMEMBER", "b", 1) == 1
        assert cycles(server, client) == 0
