"""Random programs of several clients: who waits is served in the same order, who listens hears the same.

A step is (client, command). Both servers run it, each over sockets; then what every client has received is compared. A
client that has no reply yet is waiting, and gets no further commands until it has one. `<1>` in a command stands for the
id of client 1.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from io import BytesIO
from itertools import chain
from typing import Any, Final

from hypothesis import strategies as st
from tests.model.differential import (
    Argv,
    Remote,
    Reply,
    command,
    confirm,
    many,
    optional,
    read_reply,
    request,
    shown,
    word,
)

CLIENTS: Final = 4
Step = tuple[int, Argv]
PATIENCE_S: Final = 0.1

LIST = st.sampled_from((b"a", b"a", b"b"))
TARGET = word("c d")
"""Where nobody waits. Whom a move on behalf of a waiting client wakes, and with which key, is decided as in 7.2."""
ZSET = st.sampled_from((b"z", b"z", b"y"))
STREAM = st.sampled_from((b"s", b"s", b"t"))
KEY = LIST | ZSET | STREAM
VALUE = word("u v w")
SIDE = word("LEFT RIGHT")
SCORE = word("1 2 -3")
CHANNEL = word("news sport weather")
PATTERN = word("n* s* *")
NUMBERED = st.lists(LIST, min_size=1, max_size=2).map(lambda keys: [b"%d" % len(keys), *keys])
NUMBERED_ZSETS = st.lists(ZSET, min_size=1, max_size=2).map(lambda keys: [b"%d" % len(keys), *keys])
FOREVER = word("0 0 0 0 0 -1 x")

WAITING = st.one_of(
    command("BLPOP BRPOP", many(LIST, most=2), FOREVER),
    command("BLMOVE", LIST, TARGET, SIDE, SIDE, FOREVER),
    command("BRPOPLPUSH", LIST, TARGET, FOREVER),
    command("BLMPOP", FOREVER, NUMBERED, SIDE, optional("COUNT", word("1 2"))),
    command("BZPOPMIN BZPOPMAX", many(ZSET, most=2), FOREVER),
    command("BZMPOP", FOREVER, NUMBERED_ZSETS, word("MIN MAX"), optional("COUNT", word("1 2"))),
    command("XREAD", optional("COUNT", word("1 2")), "BLOCK", word("0"), "STREAMS", STREAM, word("$ $ 0 3")),
    command("XREADGROUP", "GROUP", word("g"), word("c d"), "BLOCK", word("0"), "STREAMS", STREAM, b">"),
)
FEEDING = st.one_of(
    command("LPUSH RPUSH", LIST, many(VALUE)),
    command("LPUSH RPUSH", LIST, many(VALUE)),
    command("ZADD", ZSET, many(SCORE, VALUE)),
    command("ZADD", ZSET, many(SCORE, VALUE)),
    command("XADD", STREAM, word("1-* 3-* 5-* 9-*"), VALUE, VALUE),
    command("XGROUP", "CREATE", STREAM, word("g"), word("0 $"), optional("MKSTREAM")),
    command("LPOP RPOP ZPOPMIN", KEY),
    command("LMOVE", LIST, LIST, SIDE, SIDE),
    command("RENAME COPY", LIST, LIST),
    command("RENAME", KEY, KEY),
    command("DEL LLEN ZCARD XLEN TYPE", KEY | TARGET),
    command("SET", LIST, VALUE),
    command("ZUNIONSTORE", ZSET, b"1", ZSET),
    command("MULTI EXEC EXEC DISCARD"),
    command("WATCH", LIST),
    command("CLIENT", "UNBLOCK", word("<0> <1> <2> <3>"), optional(word("TIMEOUT ERROR"))),
    command("FLUSHALL"),
)
LISTENING = st.one_of(
    command("SUBSCRIBE UNSUBSCRIBE", many(CHANNEL, most=2)),
    command("PSUBSCRIBE PUNSUBSCRIBE", many(PATTERN, most=2)),
    command("SSUBSCRIBE SUNSUBSCRIBE", many(CHANNEL, most=2)),
    command("PUBLISH SPUBLISH", CHANNEL, VALUE),
    command("PUBLISH SPUBLISH", CHANNEL, VALUE),
    command("PUBSUB", "CHANNELS SHARDCHANNELS", optional(PATTERN)),
    command("PUBSUB", "NUMSUB SHARDNUMSUB", many(CHANNEL, least=0)),
    command("PUBSUB", "NUMPAT"),
    command("PING"),
)
"""Not in transactions: what a client publishes to itself there, Redis 7.0 sends into the middle of EXEC's reply."""


def dialogue(*families: st.SearchStrategy[Argv]) -> st.SearchStrategy[list[Step]]:
    step = st.tuples(st.integers(0, CLIENTS - 1), st.one_of(families))
    return st.lists(st.lists(step, min_size=1, max_size=10), min_size=1, max_size=6).map(
        lambda lists: list(chain.from_iterable(lists))
    )


class Client:
    """One connection, and what has been received on it."""

    def __init__(self, port: int, protocol: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.unread = b""
        self.waiting = False
        self.send((b"HELLO", b"%d" % protocol))
        self.send((b"CLIENT", b"ID"))
        stream = self.socket.makefile("rb")
        read_reply(stream)
        self.id = b"%d" % read_reply(stream)[1]
        self.socket.setblocking(False)

    def send(self, argv: Argv) -> None:
        self.socket.sendall(request(argv))

    def received(self) -> list[Reply]:
        """Everything that has come."""
        try:
            while data := self.socket.recv(1 << 16):
                self.unread += data
        except BlockingIOError:
            pass
        replies: list[Reply] = []
        stream = BytesIO(self.unread)
        while True:
            at = stream.tell()
            try:
                replies.append(read_reply(stream))
            except (EOFError, ValueError):
                self.unread = self.unread[at:]
                return replies


class Side:
    """A server and its clients. `control` is asked after each step: when it has its reply, the others have theirs."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.control = Remote(port)
        self.clients: list[Client] = []

    def close(self) -> None:
        """Leave nobody behind who listens or waits."""
        self.hang_up()
        self.control.close()

    def hang_up(self) -> None:
        for client in self.clients:
            client.socket.close()

    def begin(self, protocol: int) -> None:
        self.hang_up()
        deadline = time.monotonic() + 10
        while len(others := self.control.ask(b"CLIENT", b"LIST")[1].splitlines()) > 1:
            assert time.monotonic() < deadline, f"somebody stays connected: {others}"
            time.sleep(0.001)
        self.control.ask(b"FLUSHALL")
        self.clients = [Client(self.port, protocol) for _ in range(CLIENTS)]

    def tell(self, number: int, argv: Argv) -> None:
        ids = {b"<%d>" % at: client.id for at, client in enumerate(self.clients)}
        self.clients[number].send(tuple(ids.get(word, word) for word in argv))
        self.control.ask(b"PING")

    def received(self) -> list[list[Reply]]:
        return [client.received() for client in self.clients]


def compare(redis: Side, perdure: Side, program: list[Step], protocol: int) -> None:
    """Play the program on both sides. Raises Differs."""

    def look(steps: Sequence[Any]) -> str:
        return difference(redis, perdure, steps, protocol)

    confirm(look, program)


def difference(redis: Side, perdure: Side, program: Sequence[Step], protocol: int) -> str:
    """The first difference, told with the program up to there; empty when there is none."""
    for side in (redis, perdure):
        side.begin(protocol)
    waiting = [False] * CLIENTS
    told: list[str] = []
    for number, argv in program:
        if waiting[number]:
            continue
        told.append(f"{number} {shown(argv)}")
        for side in (redis, perdure):
            side.tell(number, argv)
        waiting[number] = True
        wanted, found = redis.received(), perdure.received()
        deadline = time.monotonic() + PATIENCE_S
        while not alike(argv, wanted, found) and time.monotonic() < deadline:
            time.sleep(0.005)
            for so_far, more in ((wanted, redis.received()), (found, perdure.received())):
                for mine, new in zip(so_far, more, strict=True):
                    mine += new
        if not alike(argv, wanted, found):
            if any(refused(at, number, *both) for at, both in enumerate(zip(wanted, found, strict=True))):
                return ""  # docs/differences.md: "BLPOP with a key of another type among several"
            if replaced(argv, number, told, wanted, found):
                return ""  # docs/differences.md: "Who waits is served when a result takes another type's place"
            steps = "\n  ".join(told)
            return f"RESP{protocol}\n  {steps}\nredis-server: {wanted!r:.600}\nPerdure:      {found!r:.600}"
        for at, replies in enumerate(wanted):
            waiting[at] = waiting[at] and not any(reply[0] != ">" or at == number for reply in replies)
    return ""


def refused(at: int, number: int, wanted: list[Reply], found: list[Reply]) -> bool:
    """Has a client that was waiting got WRONGTYPE from us alone?"""
    return at != number and wanted != found and bool(found) and found[-1][1][:9] == b"WRONGTYPE"


def replaced(argv: Argv, number: int, told: list[str], wanted: list[list[Reply]], found: list[list[Reply]]) -> bool:
    """Is ZUNIONSTORE, after a RENAME, what serves clients of ours alone?"""
    renamed = any("RENAME" in step.upper() for step in told)
    served = all(wanted[at] == found[at] or (not wanted[at] and at != number) for at in range(CLIENTS))
    return argv[0].upper() == b"ZUNIONSTORE" and renamed and served


def alike(argv: Argv, wanted: list[list[Reply]], found: list[list[Reply]]) -> bool:
    """The same for each client; what PUBSUB tells and who matches PUBLISH in any order, also in a transaction."""
    if argv[0].upper() in (b"PUBSUB", b"PUBLISH", b"EXEC"):
        return list(map(in_order, wanted)) == list(map(in_order, found))
    return wanted == found


def in_order(replies: list[Reply]) -> list[Reply]:
    """Sorted, and lists within as well."""
    sorted_ones = [(kind, in_order(content) if isinstance(content, list) else content) for kind, content in replies]
    return sorted(sorted_ones, key=repr)
