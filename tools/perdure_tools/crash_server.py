"""kill -9 against a real server: clients write, the server dies, and what it has acknowledged must be there again.

How one round goes: a server starts on the directory of the rounds before; what it holds is compared with what the
clients know; the clients write; at a random moment the server is killed (or only its checkpointer, after which it must
go on, or the server while it is still starting).

What is compared. A client knows each command it sent and each reply it read. Its commands run in the order it sent
them, so what the server holds of its keys must be all that was acknowledged plus some first part of what was under way:
no other state is right. Counters that all clients share lie between the increments acknowledged and those sent.

Traps: "acknowledged" is noted after the reply has been read; the process that is talked to must be the one that was
started; a kill hits only processes started here, by their id.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, Final

START_S: Final = 30.0
REPLY_S: Final = 30.0
KEYS: Final = 20
COUNTERS: Final = 5
PIPELINE: Final = (1, 1, 1, 2, 8)

Known = dict[bytes, bytes | None]
"""What a client's own keys hold. A field of its hash has a name of its own: hash key, NUL, field."""


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


class Server:
    """A server process of our own on a free port of the loopback address."""

    def __init__(self, directory: str, level: str, messages: str) -> None:
        self.messages = messages
        words = [sys.executable, "-m", "perdure.cli", "--port", "0", "--bind", "127.0.0.1"]
        words += ["--dir", directory, "--appendfsync", level]
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


@dataclass
class Operation:
    """Something a client asked for. `changes` are what it does to the client's own keys, all of them or none."""

    commands: list[list[bytes]]
    changes: Known = field(default_factory=dict)
    counter: bytes = b""


class Client:
    """One writer, in a thread of its own while a round lasts."""

    def __init__(self, number: int, seed: int) -> None:
        self.name = b"client%d" % number
        self.random = Random(seed)
        self.known: Known = {}
        self.under_way: list[Operation] = []
        self.written: dict[bytes, set[bytes | None]] = {}
        self.acknowledged = 0
        self.sequence = 0
        self.increments: dict[bytes, int] = {}
        self.answers: dict[bytes, list[int]] = {}
        self.problem: BaseException | None = None

    def work(self, port: int) -> None:
        """Write until the connection breaks."""
        try:
            connection = Connection(port)
            while True:
                batch = [self.invent() for _ in range(self.random.choice(PIPELINE))]
                self.under_way += batch
                for operation in batch:
                    for name, value in operation.changes.items():
                        self.written.setdefault(name, set()).add(value)
                connection.send([words for operation in batch for words in operation.commands])
                for operation in batch:
                    replies = [connection.reply() for _ in operation.commands]
                    self.acknowledge(operation, replies[-1])
        except Broken:
            pass
        except BaseException as error:
            self.problem = error

    def acknowledge(self, operation: Operation, reply: Any) -> None:
        assert self.under_way.pop(0) is operation
        self.known.update(operation.changes)
        self.acknowledged += 1
        if operation.counter:
            self.increments[operation.counter] = self.increments.get(operation.counter, 0) + 1
            self.answers.setdefault(operation.counter, []).append(reply)

    def value(self) -> bytes:
        """Never the same twice."""
        self.sequence += 1
        text = b"%b:%d:" % (self.name, self.sequence)
        return text + b"x" * self.random.choice([0, 0, 0, 50, 2000, 40_000])

    def key(self, number: int) -> bytes:
        return b"%b:%d" % (self.name, number)

    def invent(self) -> Operation:
        random = self.random
        chance = random.random()
        if chance < 0.45:
            key, value = self.key(random.randrange(KEYS)), self.value()
            return Operation([[b"SET", key, value]], {key: value})
        if chance < 0.6:
            counter = b"counter:%d" % random.randrange(COUNTERS)
            return Operation([[b"INCR", counter]], counter=counter)
        if chance < 0.8:
            hash_, field, value = self.name + b":hash", b"f%d" % random.randrange(KEYS), self.value()
            return Operation([[b"HSET", hash_, field, value]], {hash_ + b"\0" + field: value})
        if chance < 0.9:
            key = self.key(random.randrange(KEYS))
            return Operation([[b"DEL", key]], {key: None})
        keys, value = random.sample([self.key(number) for number in range(KEYS)], 3), self.value()
        if random.random() < 0.5:
            return Operation([[b"MSET", *(word for key in keys for word in (key, value))]], dict.fromkeys(keys, value))
        sets = [[b"SET", key, value] for key in keys]
        return Operation([[b"MULTI"], *sets, [b"EXEC"]], dict.fromkeys(keys, value))

    # -- after the crash -------------------------------------------------------------------------------------------

    def read(self, connection: Connection) -> Known:
        """What the server holds of this client."""
        names = [self.key(number) for number in range(KEYS)]
        hash_ = self.name + b":hash"
        connection.send([[b"GET", name] for name in names] + [[b"HGETALL", hash_]])
        found: Known = {name: connection.reply() for name in names}
        flat = connection.reply()
        found.update({hash_ + b"\0" + name: value for name, value in zip(flat[::2], flat[1::2], strict=True)})
        return {name: value for name, value in found.items() if value is not None}

    def compare(self, found: Known) -> tuple[int, int, int]:
        """(lost, never written, operations under way that were kept). From now on `found` is what is known."""
        state = dict(self.known)
        states = [dict(state)]
        for operation in self.under_way:
            state.update(operation.changes)
            states.append(dict(state))
        applied = next((number for number, each in enumerate(states) if _present(each) == found), None)
        lost = unwritten = 0
        if applied is None:
            for name in {**state, **found}:
                value = found.get(name)
                if value not in {each.get(name) for each in states}:
                    known = value is None or value in self.written.get(name, ())
                    lost, unwritten = lost + known, unwritten + (not known)
            if not lost + unwritten:
                lost = 1  # each key alone could be so, all of them together could not
        self.known = dict(found)
        self.written = {name: {value} for name, value in found.items()}
        self.under_way = []
        return lost, unwritten, applied or 0


def _present(state: Known) -> Known:
    return {name: value for name, value in state.items() if value is not None}


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
        self.clients = [Client(number, random.randrange(1 << 32)) for number in range(clients)]
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

    def start(self) -> None:
        """Start a server; now and then it is killed before it is ready."""
        if self.random.random() < 0.15:
            early = Server(self.directory, self.result.level, self.messages)
            time.sleep(self.random.random() * 0.5)
            early.kill()
            self.result.kills_at_start += 1
        began = time.monotonic()
        self.server = Server(self.directory, self.result.level, self.messages)
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
            lost, unwritten, kept = client.compare(client.read(connection))
            result.lost += lost
            result.never_written += unwritten
            result.under_way_kept += kept
            client.acknowledged = 0
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
