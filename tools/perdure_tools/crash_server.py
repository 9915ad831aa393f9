"""kill -9 against a real server: clients write, the server dies, and what it has acknowledged must be there again.

How one round goes: a server starts on the directory of the rounds before; what it holds is compared with what the
clients know; the clients write; at a random moment the server is killed (or only its checkpointer, after which it must
go on, or the server while it is still starting).

What is compared. Each client knows what its databases must hold (`crash_client.py`): all that was acknowledged, plus
some first part of what was under way; no other state is right. Counters that all clients share lie between the
increments acknowledged and those sent.

Traps: "acknowledged" is noted after the reply has been read; the process that is talked to must be the one that was
started; a kill hits only processes started here, by their id.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Final

from perdure_tools.crash_client import COUNTERS, Client, read
from perdure_tools.crash_wire import REPLY_S, Connection, Failure

START_S: Final = 30.0


class Server:
    """A server process of our own on a free port of the loopback address."""

    def __init__(self, directory: str, level: str, messages: str, databases: int = 16) -> None:
        self.messages = messages
        words = [sys.executable, "-m", "perdure.cli", "--port", "0", "--bind", "127.0.0.1"]
        words += ["--dir", directory, "--appendfsync", level, "--databases", str(databases)]
        words += ["--wal-segment-size", "1mb", "--checkpoint-lag", "2mb", "--checkpoint-interval-ms", "100"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
        with open(messages, "ab") as sink:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=sink, env=environment
            )
        self.port = 0

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_until_ready(self) -> None:
        """Read the port it has chosen, and see that it is this process which listens there. Raises Failure."""
        assert self.process.stdout is not None
        timer = threading.Timer(START_S, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if not line.strip().isdigit():
            raise Failure(f"the server did not start: {self.last_words()}")
        self.port = int(line)
        connection = Connection(self.port)
        info = dict(each.split(b":", 1) for each in connection.call(b"INFO", b"server").splitlines() if b":" in each)
        connection.close()
        if int(info.get(b"process_id", 0)) != self.pid:
            raise Failure(f"port {self.port} belongs to process {info.get(b'process_id')!r}, not to {self.pid}")

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        """Ask it to shut down; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(REPLY_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure("the server did not stop when asked to") from None
        self._reap()
        return self.process.returncode

    def _reap(self) -> None:
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def checkpointer(self) -> int:
        """The process id of its checkpointer; 0 when there is none at the moment."""
        for pid in children(self.pid):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    if b"perdure_storage.checkpointer" in file.read():
                        return pid
            except OSError:
                continue
        return 0

    def last_words(self) -> str:
        with open(self.messages, errors="replace") as file:
            return file.read()[-2000:].strip()


def children(parent: int) -> Iterator[int]:
    """Process ids of a process' children."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                yield int(name)


def now_ms() -> int:
    return int(time.time() * 1000)


@dataclass
class Result:
    """What the rounds came to. `lost` and `never_written` must be 0."""

    level: str
    rounds: int = 0
    kills: int = 0
    kills_at_start: int = 0
    checkpointer_kills: int = 0
    clean_stops: int = 0
    acknowledged: int = 0
    under_way: int = 0
    under_way_kept: int = 0
    lost: int = 0
    never_written: int = 0
    slowest_start_s: float = 0.0
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return not self.lost + self.never_written

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "slowest_start_s": round(self.slowest_start_s, 3), "seconds": round(self.seconds, 1)}


class Harness:
    """Rounds on one directory."""

    def __init__(self, directory: str, level: str, clients: int, random: Random) -> None:
        self.directory = os.path.join(directory, "data")
        self.messages = os.path.join(directory, "server.log")
        self.random = random
        self.result = Result(level)
        self.counters: dict[bytes, int] = {}
        self.clients = [Client(number, Random(random.randrange(1 << 32))) for number in range(clients)]
        self.databases = 1 + sum(len(client.databases) for client in self.clients)
        self.server: Server | None = None

    def run(self, rounds: int, tell: Callable[[int, int], None] = lambda done, total: None) -> Result:
        """Raises Failure when a server does not start, does not answer, or answers nonsense."""
        began = time.monotonic()
        try:
            for number in range(rounds):
                self.start()
                self.verify()
                self.round()
                self.result.rounds += 1
                tell(number + 1, rounds)
            self.start()
            self.verify()
            self.stop()
        finally:
            self.result.seconds = time.monotonic() - began
            if self.server is not None:
                self.server.kill()
        return self.result

    @property
    def complaints(self) -> list[str]:
        """What was not as it should be: for each key, what was expected and what was found."""
        return [f"{client.name.decode()} {each}" for client in self.clients for each in client.complaints]

    def start(self) -> None:
        """Start a server; now and then it is killed before it is ready."""
        if self.random.random() < 0.15:
            early = Server(self.directory, self.result.level, self.messages, self.databases)
            time.sleep(self.random.random() * 0.5)
            early.kill()
            self.result.kills_at_start += 1
        began = time.monotonic()
        self.server = Server(self.directory, self.result.level, self.messages, self.databases)
        self.server.wait_until_ready()
        self.result.slowest_start_s = max(self.result.slowest_start_s, time.monotonic() - began)

    def round(self) -> None:
        """Let the clients write, then end the server in some way."""
        server = self.server
        assert server is not None
        threads = [threading.Thread(target=client.work, args=(server.port,)) for client in self.clients]
        for thread in threads:
            thread.start()
        try:
            time.sleep(self.random.random() * 0.4 + 0.02)
            if self.random.random() < 0.4:
                self.kill_checkpointer(server)
        finally:
            if self.random.random() < 0.9:
                server.kill()
                self.result.kills += 1
            else:
                self.stop()
            self.server = None
            for thread in threads:
                thread.join(REPLY_S + 5)
        for client in self.clients:
            if client.problem is not None:
                raise Failure(f"{client.name.decode()}: {client.problem!r}; {server.last_words()}") from client.problem

    def kill_checkpointer(self, server: Server) -> None:
        """The server must notice, start another one, and go on taking writes."""
        for _ in range(self.random.randint(1, 2)):
            pid = server.checkpointer()
            if not pid:
                continue
            os.kill(pid, signal.SIGKILL)
            self.result.checkpointer_kills += 1
            connection = Connection(server.port)
            if connection.call(b"SET", b"after", b"the checkpointer") != b"OK":
                raise Failure("no writes after the checkpointer was killed")
            connection.close()
            time.sleep(self.random.random() * 0.2)

    def stop(self) -> None:
        assert self.server is not None
        code = self.server.stop()
        self.result.clean_stops += 1
        if code:
            raise Failure(f"exit code {code} after SIGTERM: {self.server.last_words()}")
        self.server = None

    def verify(self) -> None:
        """Compare what the server holds with what the clients know."""
        assert self.server is not None
        connection = Connection(self.server.port)
        result = self.result
        floors, ceilings = dict(self.counters), dict(self.counters)
        for client in self.clients:
            result.acknowledged += client.acknowledged
            result.under_way += len(client.under_way)
            for counter, count in client.increments.items():
                floors[counter] = floors.get(counter, 0) + count
                ceilings[counter] = ceilings.get(counter, 0) + count
            for operation in client.under_way:
                if operation.counter:
                    ceilings[operation.counter] = ceilings.get(operation.counter, 0) + 1
            began = now_ms()
            found = read(connection, client.databases)
            lost, unwritten, kept = client.compare(found, began, now_ms())
            result.lost += lost
            result.never_written += unwritten
            result.under_way_kept += kept
            client.acknowledged = 0
        connection.call(b"SELECT", b"0")
        for number in range(COUNTERS):
            counter = b"counter:%d" % number
            value = int(connection.call(b"GET", counter) or 0)
            result.lost += max(0, floors.get(counter, 0) - value)
            result.never_written += max(0, value - ceilings.get(counter, 0))
            answers = [answer for client in self.clients for answer in client.answers.get(counter, ())]
            if len(set(answers)) != len(answers) or (answers and max(answers) > value):
                result.lost += 1
            self.counters[counter] = value
        for client in self.clients:
            client.increments.clear()
            client.answers.clear()
        connection.close()
