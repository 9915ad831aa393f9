"""MIGRATE: keys go to a real redis-server and come back; what the server does meanwhile, and what may go wrong."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.commands.dialogue import until
from tests.conftest import PerdureServer, RealRedis, RedisError, StartPerdure

VALUES = (
    "SET string 12345", "SET text hello", "RPUSH list 1 two -4097 4095", "SADD numbers 1 2 -300", "SADD set a b 3",
    "ZADD zset 1.5 a inf b -3 c", "HSET hash f v n 1", "XADD stream 1-1 f v", "XADD stream 2-5 f w g x",
    "XGROUP CREATE stream g 0", "XREADGROUP GROUP g c COUNT 1 STREAMS stream >", "XDEL stream 1-1",
)  # fmt: skip
READS = (
    "GET string", "GET text", "LRANGE list 0 -1", "SMEMBERS numbers", "SMEMBERS set", "ZRANGE zset 0 -1 WITHSCORES",
    "HGETALL hash", "XRANGE stream - +", "XINFO GROUPS stream", "XPENDING stream g",
)  # fmt: skip
KEYS = ("string", "text", "list", "numbers", "set", "zset", "hash", "stream", "long")


def contents(client: RealRedis) -> list[Any]:
    found = [client.ask(*line.split()) for line in READS]
    return [sorted(reply) if line.startswith("SMEMBERS") else reply for line, reply in zip(READS, found, strict=True)]


def test_every_type_goes_to_redis_and_comes_back(perdure: RealRedis, real_redis: RealRedis) -> None:
    for line in VALUES:
        perdure.ask(*line.split())
    perdure.ask("SET", "long", b"ab" * 300_000)
    before = contents(perdure)
    assert perdure.ask("MIGRATE", "127.0.0.1", real_redis.port, "", 0, 5000, "KEYS", *KEYS) == b"OK"
    assert perdure.ask("DBSIZE") == 0
    assert contents(real_redis) == before
    assert real_redis.ask("MIGRATE", "127.0.0.1", perdure.port, "", 0, 5000, "KEYS", *KEYS) == b"OK"
    assert contents(perdure) == before
    assert perdure.ask("GET", "long") == b"ab" * 300_000


REFUSED = (
    "MIGRATE 127.0.0.1 %d nosuch 0 1000", "MIGRATE 127.0.0.1 %d a 0 1000 COPY", "MIGRATE 127.0.0.1 %d a 0 1000",
    "MIGRATE 127.0.0.1 %d a 0 1000 REPLACE", "MIGRATE 127.0.0.1 %d b 99 1000", "MIGRATE 127.0.0.1 %d b 3 -5",
    "MIGRATE 127.0.0.1 %d c 0 1000 AUTH x", "MIGRATE 127.0.0.1 %d c 0 1000 AUTH2 x y",
    "MIGRATE 127.0.0.1 %d c 0 1000 AUTH", "MIGRATE 127.0.0.1 %d c 0 1000 FOO", "MIGRATE 127.0.0.1 %d c 0 1000 KEYS d",
    "MIGRATE 127.0.0.1 %d c x 1000", "MIGRATE 127.0.0.1 %d c 0 x", "MIGRATE 127.0.0.1 1 c 0 100",
    "MIGRATE nohost.invalid 1 c 0 100", "EXISTS a b c d", "GET d",
)  # fmt: skip


def test_it_answers_as_redis_does(perdure: RealRedis, real_redis: RealRedis, start_perdure: StartPerdure) -> None:
    target = start_perdure().port
    told = []
    for client in (real_redis, perdure):
        control = RealRedis(target)
        control.ask("FLUSHALL")
        control.close()
        client.ask("MSET", "a", 1, "b", 2, "c", 3, "d", 4)
        told.append([client.ask(*(line.replace("%d", str(target))).split()) for line in REFUSED])
    assert told[0] == told[1]


class Target:
    """A server that answers when it is told to."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(10)
        self.port: int = self._listener.getsockname()[1]

    def accept(self) -> None:
        """Wait for a connection and a request."""
        self._peer, _ = self._listener.accept()
        self._peer.settimeout(10)
        self.receive()

    def receive(self) -> None:
        """Wait for another request."""
        assert self._peer.recv(1 << 16)

    def answer(self, data: bytes = b"+OK\r\n") -> None:
        self._peer.sendall(data)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def target() -> Iterator[Target]:
    one = Target()
    yield one
    one.close()


def test_others_go_on_and_changes_of_the_key_wait(
    perdure_server: PerdureServer, perdure: RealRedis, target: Target
) -> None:
    other, writer, transaction = (perdure_server.connect() for _ in range(3))
    perdure.ask("MSET", "k", "v", "other", "x")
    perdure.send("MIGRATE", "127.0.0.1", target.port, "k", 0, 10_000)
    target.accept()
    assert other.ask("GET", "k") == b"v"
    assert other.ask("SET", "other", "y") == b"OK"
    writer.send("APPEND", "k", "w")
    for line in ("MULTI", "APPEND k x"):
        transaction.ask(*line.split())
    transaction.send("EXEC")
    assert other.ask("GET", "k") == b"v"
    target.answer()
    assert perdure.read() == b"OK"
    assert sorted((writer.read(), *transaction.read())) == [1, 2]  # there was no key any more
    for client in (other, writer, transaction):
        client.close()


def test_a_key_that_is_gone_or_elsewhere_meanwhile(
    perdure_server: PerdureServer, perdure: RealRedis, target: Target
) -> None:
    other = perdure_server.connect()
    for line, left in (("FLUSHALL", 0), ("SWAPDB 0 5", 0)):
        perdure.ask("SET", "k", "v")
        perdure.send("MIGRATE", "127.0.0.1", target.port, "k", 0, 10_000)
        if line == "FLUSHALL":
            target.accept()
        assert other.ask(*line.split()) == b"OK"
        target.answer()
        assert perdure.read() == b"OK"
        assert perdure.ask("EXISTS", "k") == left
        perdure.ask("SELECT", 5)
        assert perdure.ask("EXISTS", "k") == 0
        perdure.ask("SELECT", 0)
    other.close()


def test_a_client_that_hangs_up_does_not_stop_it(
    perdure_server: PerdureServer, perdure: RealRedis, target: Target
) -> None:
    mover = perdure_server.connect()
    perdure.ask("SET", "k", "v")
    mover.send("MIGRATE", "127.0.0.1", target.port, "k", 0, 10_000)
    target.accept()
    mover.close()
    perdure.ask("PING")
    target.answer()
    until(lambda: perdure.ask("EXISTS", "k") == 0)


def test_an_answer_that_does_not_come_leaves_the_key(perdure: RealRedis, target: Target) -> None:
    perdure.ask("SET", "k", "v")
    for answer in (b"", b"+OK", b"what?\r\n", b"*1000000000000\r\n"):
        perdure.send("MIGRATE", "127.0.0.1", target.port, "k", 0, 100)
        target.accept()
        target.answer(answer)
        assert perdure.read() == RedisError("IOERR error or timeout reading to target instance")
        assert perdure.ask("GET", "k") == b"v"


def test_what_was_taken_is_deleted_and_the_rest_stays(perdure: RealRedis, target: Target) -> None:
    perdure.ask("MSET", "a", 1, "b", 2, "c", 3)
    perdure.ask("CONFIG", "RESETSTAT")
    perdure.send("MIGRATE", "127.0.0.1", target.port, "", 0, 1000, "KEYS", "a", "b", "c")
    target.accept()
    target.answer(b"+OK\r\n-BUSY no\r\n+OK\r\n")
    assert perdure.read() == RedisError("ERR Target instance replied with error: BUSY no")
    stats = next(line for line in perdure.ask("INFO", "commandstats").split() if b"_migrate:" in line)
    assert b"calls=1," in stats and b"failed_calls=1" in stats
    assert perdure.ask("KEYS", "*") == [b"b"]
    perdure.send("MIGRATE", "127.0.0.1", target.port, "b", 0, 1000)
    target.receive()  # over the same connection
    target.answer(b"+OK\r\n+OK\r\n")  # nobody knows which database is selected there
    assert perdure.read() == b"OK"
    assert b"migrate_cached_sockets:0" not in perdure.ask("INFO", "stats")


def test_inside_a_transaction_all_wait(perdure: RealRedis, real_redis: RealRedis) -> None:
    for line in ("MULTI", "SET k v", f"MIGRATE 127.0.0.1 {real_redis.port} k 0 1000", "EXISTS k"):
        perdure.ask(*line.split())
    assert perdure.ask("EXEC") == [b"OK", b"OK", 0]
    assert real_redis.ask("GET", "k") == b"v"


def test_what_has_gone_is_gone_after_a_crash(
    start_perdure: StartPerdure, real_redis: RealRedis, tmp_path: Path
) -> None:
    server = start_perdure("--appendfsync", "always")
    client = server.connect()
    client.ask("MSET", "a", 1, "b", 2)
    assert client.ask("MIGRATE", "127.0.0.1", real_redis.port, "a", 0, 1000) == b"OK"
    client.close()
    server.stop(9)
    client = start_perdure().connect()
    assert client.ask("KEYS", "*") == [b"b"]
    client.close()


def test_more_keys_than_fit_on_the_way(perdure: RealRedis, start_perdure: StartPerdure) -> None:
    target = start_perdure().connect()
    keys = [f"key:{number}" for number in range(2500)]
    perdure.ask("MSET", *(word for key in keys for word in (key, key[::-1])))
    assert perdure.ask("MIGRATE", "127.0.0.1", target.port, "", 2, 5000, "KEYS", *keys) == b"OK"
    assert perdure.ask("DBSIZE") == 0
    target.ask("SELECT", 2)
    assert target.ask("MGET", *keys) == [key[::-1].encode() for key in keys]
    target.close()
