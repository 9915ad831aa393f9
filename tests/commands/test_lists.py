"""List commands: those that wait beside a real redis-server, and what lists cost.

What they answer is compared by `tests/model/families/lists.py`, restarts and all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from tests.commands.dialogue import blocked_clients, play, until
from tests.conftest import PerdureServer, RealRedis, RedisError, StartPerdure
from tests.model.differential import LocalServer

from perdure_storage.tables import Table

WAITING = {
    "what is there is taken at once": """
        1 RPUSH k a b c
        1 BLPOP k 0
        1 BRPOP nosuch k 1
        1 BLMOVE k l LEFT RIGHT 1
        1 BLPOP k 0.01
        1 BRPOPLPUSH l l 1
        1 BLMPOP 1 2 k l LEFT COUNT 9
        1 EXISTS k l
    """,
    "a timeout": """
        1 BLPOP k 0.01
        1 BRPOP k l 0.01
        1 BLMOVE k l LEFT LEFT 0.01
        1 BRPOPLPUSH k l 0.01
        1 BLMPOP 0.01 1 k LEFT
        1 EXISTS k l
    """,
    "wrong arguments": """
        1 BLPOP k x
        1 BLPOP k -1
        1 BLPOP 0
        1 BLMOVE k l UP DOWN x
        1 BLMOVE k l LEFT LEFT x
        1 BRPOPLPUSH k l -0.1
        1 BLMPOP x 1 k LEFT
        1 BLMPOP -1 0 k LEFT
        1 BLMPOP -1 1 k LEFT
        1 BLMPOP 1 1 k LEFT COUNT 0
        1 BLMPOP 1 1 k LEFT COUNT 1 COUNT 1
        1 BLMPOP 1 2 k LEFT
    """,
    "another type": """
        1 SET s v
        1 BLPOP s 0
        1 BLPOP k s 0
        1 BLMOVE s k LEFT LEFT 0
        1 BLMPOP 0 1 s LEFT
    """,
    "served in order of arrival": """
        1 >BLPOP k 0
        2 >BRPOP k 0
        3 >BLPOP l k 0
        4 RPUSH k a
        1 <
        4 RPUSH k b c
        2 <
        3 <
        4 EXISTS k
    """,
    "each gets from the end it asked for": """
        1 >BLPOP k 0
        2 >BRPOP k 0
        3 RPUSH k a b c d
        1 <
        2 <
        3 LRANGE k 0 -1
    """,
    "of many pushed at once only as many as are waited for go": """
        1 >BLMPOP 0 2 k l RIGHT COUNT 2
        2 LPUSH l a b c d e
        1 <
        2 LRANGE l 0 -1
    """,
    "served when the transaction is over": """
        1 >BLPOP k 0
        2 MULTI
        2 LPUSH k a
        2 LPUSH k b
        2 LRANGE k 0 -1
        2 EXEC
        1 <
        2 LRANGE k 0 -1
    """,
    "what is gone at the end of a transaction was never there": """
        1 >BLPOP k 0
        2 MULTI
        2 LPUSH k a
        2 DEL k
        2 EXEC
        2 MULTI
        2 LPUSH k a
        2 DEL k
        2 SET k foo
        2 EXEC
        2 GET k
        2 DEL k
        2 LPUSH k b
        1 <
    """,
    "another type does not end a wait": """
        1 >BLPOP k 0
        2 SET k v
        2 DEL k
        2 HSET k f v
        2 DEL k
        2 SADD k m
        2 RENAME k l
        2 RPUSH k a
        1 <
    """,
    "a list that is renamed, copied or restored by a transaction": """
        1 >BLPOP k 0
        2 RPUSH l a b
        2 RENAME l k
        1 <
        2 LRANGE k 0 -1
        1 >BLPOP m 0
        2 COPY k m
        1 <
        2 EXISTS k m
    """,
    "inside MULTI nothing waits": """
        1 MULTI
        1 BLPOP k 0
        1 BRPOP k 0
        1 BLMOVE k l LEFT LEFT 0
        1 BRPOPLPUSH k l 0
        1 BLMPOP 0 1 k LEFT
        1 RPUSH k a b
        1 BLPOP k 0
        1 BLMOVE k l LEFT LEFT 0
        1 EXEC
        1 LRANGE l 0 -1
    """,
    "moved on from one waiting client to the next": """
        1 >BLMOVE a b LEFT RIGHT 0
        2 >BLMOVE b c LEFT RIGHT 0
        3 >BLPOP c 0
        4 RPUSH a x
        1 <
        2 <
        3 <
        4 EXISTS a b c
    """,
    "moved round in a circle": """
        1 >BRPOPLPUSH a b 0
        2 >BRPOPLPUSH b a 0
        3 RPUSH a x
        1 <
        2 <
        3 LRANGE a 0 -1
        3 LRANGE b 0 -1
    """,
    "onto itself": """
        1 >BLMOVE k k LEFT RIGHT 0
        2 RPUSH k a b c
        1 <
        2 LRANGE k 0 -1
    """,
    "the destination is something else": """
        1 SET l v
        1 >BLMOVE k l LEFT LEFT 0
        2 RPUSH k a b
        1 <
        2 LRANGE k 0 -1
    """,
    "the same key twice": """
        1 >BLPOP k k 0
        2 RPUSH k a b
        1 <
        2 LRANGE k 0 -1
        1 BLPOP k l k 0.01
        1 BLPOP l k k 0.01
    """,
    "who hangs up is not served": """
        1 >BLPOP k 0
        2 >BLPOP k 0
        1 !
        3 RPUSH k a
        2 <
        3 EXISTS k
    """,
    "requests behind one that waits": """
        1 >BLPOP k 0
        2 SET s v
        2 RPUSH k a
        1 <
        1 GET s
    """,
    "another database": """
        1 SELECT 1
        1 DEL k
        1 >BLPOP k 0
        2 RPUSH k a
        2 SELECT 1
        2 RPUSH k b
        1 <
        2 SELECT 0
        2 LPOP k
    """,
    "databases change places": """
        1 SELECT 1
        1 DEL k
        1 SELECT 0
        1 >BLPOP k 0
        2 SELECT 1
        2 RPUSH k a
        2 SWAPDB 0 1
        1 <
        2 EXISTS k
        2 SELECT 0
        2 EXISTS k
    """,
    "FLUSHALL does not end a wait": """
        1 >BLPOP k 0
        2 FLUSHALL
        2 RPUSH k a
        1 <
    """,
    "LINSERT and LPUSHX of what is not there wake nobody": """
        1 >BLPOP k 0
        2 LPUSHX k a
        2 LINSERT k BEFORE a b
        2 LMOVE l k LEFT LEFT
        2 RPUSH l a
        2 LMOVE l k LEFT LEFT
        1 <
    """,
}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", WAITING)
def test_waiting_as_in_redis(
    name: str,
    protocol: int,
    perdure_server: PerdureServer,
    real_redis_port: int,
    perdure: RealRedis,
    real_redis: RealRedis,
) -> None:
    assert play(perdure_server.port, WAITING[name], protocol) == play(real_redis_port, WAITING[name], protocol)


def test_client_unblock(perdure_server: PerdureServer, perdure: RealRedis) -> None:
    waiting = perdure_server.connect()
    ident = waiting.ask("CLIENT", "ID")
    for how, reply in (("TIMEOUT", None), ("ERROR", RedisError("UNBLOCKED client unblocked via CLIENT UNBLOCK"))):
        waiting.send("BLPOP", "k", "0")
        until(lambda: blocked_clients(perdure_server.port) == 1)
        assert perdure.ask("CLIENT", "UNBLOCK", ident, how) == 1
        assert waiting.read() == reply
    assert perdure.ask("CLIENT", "UNBLOCK", ident) == 0
    perdure.ask("RPUSH", "k", "a")
    assert waiting.ask("LRANGE", "k", "0", "-1") == [b"a"]
    waiting.close()


def test_a_timeout_is_about_as_long_as_asked(perdure: RealRedis) -> None:
    started = time.monotonic()
    assert perdure.ask("BLPOP", "k", "0.2") is None
    assert 0.19 <= time.monotonic() - started < 3


def test_a_timeout_counts_from_the_beginning(perdure_server: PerdureServer, perdure: RealRedis) -> None:
    waiting = perdure_server.connect()
    started = time.monotonic()
    waiting.send("BLMOVE", "k", "l", "LEFT", "LEFT", "1")
    for _ in range(3):
        time.sleep(0.25)
        perdure.ask("SET", "k", "v")
        perdure.ask("DEL", "k")
    assert waiting.read() is None
    assert 0.95 <= time.monotonic() - started < 1.75
    waiting.close()


def test_what_a_waiting_client_was_given_is_durable(start_perdure: StartPerdure) -> None:
    server = start_perdure("--appendfsync", "always")
    waiting, client = server.connect(), server.connect()
    waiting.send("BLMOVE", "k", "l", "LEFT", "LEFT", "0")
    until(lambda: blocked_clients(server.port) == 1)
    client.ask("RPUSH", "k", "a", "b")
    assert waiting.read() == b"a"
    server.stop(9)
    client = start_perdure().connect()
    assert [client.ask("LRANGE", key, "0", "-1") for key in ("k", "l")] == [[b"b"], [b"a"]]


def test_the_rest_of_a_long_queue_costs_nothing(perdure_server: PerdureServer, perdure: RealRedis) -> None:
    queue = [perdure_server.connect() for _ in range(50)]
    for number, client in enumerate(queue, 1):
        client.send("BLPOP", "k", "0")
        until(lambda: blocked_clients(perdure_server.port) == number)  # noqa: B023
    before = calls(perdure)
    for number, client in enumerate(queue):
        perdure.ask("RPUSH", "k", number)
        assert client.read() == [b"k", b"%d" % number]
    assert calls(perdure) - before == 50
    for client in queue:
        client.close()


def calls(client: RealRedis) -> int:
    stats: bytes = client.ask("INFO", "commandstats")
    return int(stats.partition(b"cmdstat_blpop:calls=")[2].partition(b",")[0])


# -- in process ----------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[LocalServer]:
    server = LocalServer()
    yield server
    server.close()


def test_inside_multi_the_nulls_are_those_of_redis(server: LocalServer) -> None:
    server.ask(b"MULTI")
    server.ask(b"BLPOP", b"k", b"0")
    server.ask(b"BLMPOP", b"0", b"1", b"k", b"LEFT")
    server.ask(b"BLMOVE", b"k", b"l", b"LEFT", b"LEFT", b"0")
    server.ask(b"BRPOPLPUSH", b"k", b"l", b"0")
    assert server.ask(b"EXEC")[1] == [("*", None), ("*", None), ("$", None), ("$", None)]


def forget(server: LocalServer) -> None:
    """The key k has to come from the tables again. A server does that in steps, for which this one has no loop."""
    server.restart("forget")
    dataset = server.engine.dataset
    dataset.databases[0].find(b"k").load(dataset.snapshot)


@pytest.mark.parametrize("length", [10, 10_000])
def test_the_ends_of_a_list_cost_the_same_in_the_log_however_long_it_is(server: LocalServer, length: int) -> None:
    server.ask(b"RPUSH", b"k", *[b"x"] * length)
    forget(server)
    for argv in (
        (b"LPUSH", b"k", b"a"),
        (b"RPUSH", b"k", b"a"),
        (b"LPOP", b"k"),
        (b"RPOP", b"k"),
        (b"LMOVE", b"k", b"k", b"LEFT", b"RIGHT"),
        (b"LTRIM", b"k", b"1", b"-2"),
        (b"LSET", b"k", b"5", b"y"),
        (b"LINSERT", b"k", b"BEFORE", b"y", b"z"),
        (b"LREM", b"k", b"1", b"z"),
        (b"DEL", b"k"),
    ):
        said = server.logged(*argv)
        assert len(said) <= 3 and len(repr(said)) < 250, (argv, said)


def test_the_shorter_side_is_renumbered(server: LocalServer) -> None:
    server.ask(b"RPUSH", b"k", *[b"%d" % number for number in range(1000)])
    said = server.logged(b"LINSERT", b"k", b"AFTER", b"990", b"new")
    assert [len(effect) for effect in said if effect[0] == 20] == [3 + 10]
    said = server.logged(b"LREM", b"k", b"0", b"3")
    assert [effect for effect in said if effect[0] == 20] == [(20, 1, 1, b"0", b"1", b"2")]


def test_most_of_a_long_list_goes_at_the_price_of_the_rest(server: LocalServer) -> None:
    server.ask(b"RPUSH", b"k", *[b"x"] * 50_000)
    server.restart("checkpoint")
    said = server.logged(b"LTRIM", b"k", b"20000", b"20009")
    assert len(repr(said)) < 300
    server.restart("checkpoint")
    assert server.engine.snapshot().count(Table.LISTS) == 10
    server.restart("kill")
    assert server.ask(b"LLEN", b"k") == (":", 10)
    assert server.ask(b"LPUSH", b"k", b"a") == (":", 11)


def test_a_queue_gives_back_its_memory(server: LocalServer) -> None:
    for number in range(3000):
        server.ask(b"RPUSH", b"k", b"%d" % number)
        if number >= 10:
            assert server.ask(b"LPOP", b"k") == ("$", b"%d" % (number - 10))
    assert len(server.engine.dataset.databases[0].hot[b"k"].slots) < 100


def test_encodings(server: LocalServer) -> None:
    for value in (b"1", b"a", b"x" * 9000):
        server.ask(b"RPUSH", b"k", value)
        assert server.ask(b"OBJECT", b"ENCODING", b"k") == ("$", b"quicklist")
