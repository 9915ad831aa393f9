"""Starting the two servers that are compared, each on a port and a directory of its own, and ending them again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis

START_PATIENCE_S = 60.0


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Subject:
    """A server under measurement. `name` is "redis" or "perdure"; `options` are redis.conf directives of both."""

    def __init__(self, name: str, options: dict[str, str]) -> None:
        self.name = name
        self.options = options
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix=f"bench-{name}-"))
        self.process: subprocess.Popen[bytes] | None = None
        self.ready_s = 0.0

    def command(self) -> list[str]:
        directives = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.directory), **self.options}
        words = [word for name, value in directives.items() for word in (f"--{name}", *(value.split() or [""]))]
        if self.name == "redis":
            return ["redis-server", *words, "--save", "", "--appendonly", "yes"]
        return [sys.executable, "-m", "perdure.cli", *words]

    def start(self) -> float:
        """Start and wait for the first PONG; returns the seconds that took."""
        started = time.monotonic()
        self.process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while time.monotonic() - started < START_PATIENCE_S:
            try:
                with redis.Redis(port=self.port, protocol=2) as client:
                    client.ping()
                    self.ready_s = time.monotonic() - started
                    return self.ready_s
            except (redis.ConnectionError, redis.exceptions.BusyLoadingError):
                if self.process.poll() is not None:
                    raise RuntimeError(f"{' '.join(self.command())} ended with {self.process.returncode}") from None
                time.sleep(0.005)
        raise RuntimeError(f"{self.name} did not answer within {START_PATIENCE_S:.0f} s")

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, protocol=2)

    def kill(self) -> None:
        """kill -9, as a crash."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.kill()

    def anonymous_bytes(self) -> int:
        """RssAnon of the server and its children: memory that is really taken, without mapped table pages."""
        assert self.process is not None
        total = 0
        for pid in [self.process.pid, *children(self.process.pid)]:
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    total += int(line.split()[1]) * 1024
        return total

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def children(pid: int) -> list[int]:
    """Process ids of direct children."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def pair(**options: str) -> tuple[Subject, Subject]:
    """Both servers with the same directives, not started."""
    directives = {name.replace("_", "-"): value for name, value in options.items()}
    return Subject("redis", directives), Subject("perdure", directives)
