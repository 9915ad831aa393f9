"""Client-side caching beside a real redis-server: who is told of which change, and when."""

from __future__ import annotations

import pytest
from redis import Redis
from redis.cache import CacheConfig
from tests.commands.dialogue import play, until
from tests.conftest import PerdureServer, RealRedis, StartPerdure
from tests.model.differential import LocalServer

from perdure.dispatch import execute
from perdure.session import Session

PUSHES = {
    "a key that was read": """
        2 MSET a 1 b 2
        1 CLIENT TRACKING on
        1 GET a
        2 SET b 3
        2 SET a 4
        1 <
        2 SET a 5
        1 PING
        1 MGET a b nosuch
        2 SET nosuch x
        1 <
        2 DEL b a
        1 <
        1 <
        1 HGET h f
        2 HSET h f v g w
        1 <
        1 HGETALL h
        2 HDEL h f
        1 <
        1 STRLEN a
        2 EXPIRE a 100
        2 APPEND a x
        1 <
    """,
    "own changes are told behind the reply": """
        1 CLIENT TRACKING on
        1 SET a 1
        1 GET a
        1 INCR a
        1 <
        1 GET a
        1 GETDEL a
        1 <
        1 PING
        1 MSET a 1 b 1
        1 MGET a b
        1 MSET b 2 a 2
        1 <
        1 <
    """,
    "NOLOOP": """
        1 CLIENT TRACKING on NOLOOP
        1 MGET a b
        1 SET a 1
        2 SET b 1
        1 <
        2 SET a 1
        1 PING
        1 GET a
        1 MULTI
        1 SET a 2
        1 EXEC
        1 PING
        1 CLIENT TRACKINGINFO
    """,
    "transactions": """
        1 CLIENT TRACKING on
        1 MULTI
        1 GET a
        1 MGET b c
        1 EXEC
        2 MULTI
        2 SET a 1
        2 SET c 1
        2 EXEC
        1 <
        1 <
        1 GET a
        1 MULTI
        1 INCR a
        1 GET c
        1 EXEC
        1 <
        1 MULTI
        1 FLUSHALL
        1 EXEC
        1 <
        2 MULTI
        2 SET c 2
        2 DISCARD
        1 PING
    """,
    "what is changed before it is read in a transaction": """
        1 CLIENT TRACKING on
        1 MULTI
        1 MSET a 1 b 2
        1 GET a
        1 GET b
        1 INCR b
        1 EXEC
        1 <
        1 PING
        2 SET a 2
        1 <
        2 SET b 1
        1 PING
        1 EVAL "redis.call('set', 'k', 1)" 1 k
        1 EVAL "return redis.call('get', 'k')" 1 k
        2 SET k 2
        1 <
        1 EVAL_RO "return redis.call('ping')" 1 k
        2 SET k 3
        1 EVAL_RO "return redis.call('get', 'k')" 1 k
        2 SET k 4
        1 <
        1 PING
    """,
    "all keys": """
        1 CLIENT TRACKING on
        3 CLIENT TRACKING on BCAST PREFIX nosuch
        1 GET a
        2 FLUSHALL
        1 <
        3 <
        2 SET a 1
        2 FLUSHDB
        1 <
        3 <
        1 SET a 1
        1 FLUSHDB ASYNC
        1 <
        1 PING
    """,
    "other databases": """
        1 CLIENT TRACKING on
        1 GET a
        2 SELECT 3
        2 SET a 1
        1 <
        1 GET a
        2 MOVE a 0
        1 <
    """,
    "OPTIN": """
        1 CLIENT TRACKING on OPTIN
        1 CLIENT CACHING no
        1 GET a
        2 SET a 1
        1 CLIENT CACHING yes
        1 CLIENT TRACKINGINFO
        1 GET a
        1 CLIENT TRACKINGINFO
        1 GET b
        2 MSET b 1 a 1
        1 <
        1 CLIENT CACHING yes
        1 MULTI
        1 GET a
        1 GET b
        1 EXEC
        2 MSET b 1 a 1
        1 <
        1 <
        1 CLIENT CACHING yes
        1 CLIENT CACHING maybe
        1 CLIENT CACHING
        1 GET a
        2 SET a 1
        1 <
    """,
    "OPTOUT": """
        1 CLIENT TRACKING on OPTOUT
        1 CLIENT CACHING yes
        1 CLIENT CACHING no
        1 CLIENT TRACKINGINFO
        1 GET a
        2 SET a 1
        1 PING
        1 GET a
        2 SET a 1
        1 <
        1 CLIENT CACHING no
        1 MULTI
        1 MGET a b
        1 EXEC
        2 SET a 1
        1 PING
    """,
    "BCAST": """
        1 CLIENT TRACKING on BCAST PREFIX a: PREFIX b:
        2 MSET a:1 1 c:1 1 b:1 1 a:2 1
        1 <
        1 <
        1 SET a:1 2
        1 <
        1 CLIENT TRACKING on BCAST PREFIX c:
        1 CLIENT TRACKINGINFO
        2 SET c:1 2
        1 <
        1 CLIENT TRACKING off
        2 SET c:1 3
        1 CLIENT TRACKING on BCAST NOLOOP
        1 SET x 1
        2 SET y 1
        1 <
        1 CLIENT TRACKINGINFO
        1 GET k
        1 CLIENT TRACKING off
        1 CLIENT TRACKING on
        2 SET k 1
        1 PING
    """,
    "a transaction is told at once": """
        1 CLIENT TRACKING on BCAST
        3 CLIENT TRACKING on BCAST NOLOOP
        3 MULTI
        3 SET b 1
        3 SET a 1
        3 EXEC
        1 <
        3 PING
    """,
    "redirected": """
        2 PING
        1 CLIENT TRACKING on REDIRECT %2
        1 GET a
        3 SET a 1
        2 <
        1 PING
        1 GET a
        1 SET a 2
        2 <
        3 FLUSHALL
        2 <
        2 CLIENT TRACKING on
        2 GET b
        1 GET b
        3 SET b 1
        2 <
        2 <
    """,
    "RESET ends it": """
        1 CLIENT TRACKING on
        1 GET a
        2 PING
        1 PING
        1 GET b
        2 SET b 1
        1 <
        1 GET b
        1 RESET
        2 SET b 2
        1 PING
    """,
    "who waits is told behind the reply": """
        1 RPUSH there a
        1 CLIENT TRACKING on
        1 LRANGE there 0 -1
        1 >BLMOVE here there LEFT LEFT 0
        2 RPUSH here x
        1 <
        1 <
        1 PING
    """,
    "reading what must be read to be told": """
        2 RPUSH l a
        2 ZADD z 1 a
        2 SADD s a
        2 PFADD h a
        2 XADD x 1-1 f v
        1 CLIENT TRACKING on
        1 LLEN l
        1 ZSCORE z a
        1 SMEMBERS s
        1 PFCOUNT h
        1 XRANGE x - +
        1 EXISTS k
        1 TTL t
        1 TYPE y
        2 RPOP l
        1 <
        2 ZREM z a
        1 <
        2 SPOP s
        1 <
        2 PFADD h b
        1 <
        2 XDEL x 1-1
        1 <
        2 SET k 1
        1 <
        2 SET t 1
        1 <
        2 SET y 1
        1 <
        1 LPOP l
        1 TOUCH l
        2 RPUSH l 1
    """,
}  # fmt: skip

QUESTIONS = {
    "what is refused": """
        1 CLIENT TRACKING
        1 CLIENT TRACKING maybe
        1 CLIENT TRACKING on NOSUCH
        1 CLIENT TRACKING on PREFIX
        1 CLIENT TRACKING on REDIRECT
        1 CLIENT TRACKING on REDIRECT x
        1 CLIENT TRACKING on REDIRECT 0
        1 CLIENT TRACKING on REDIRECT 99999999
        2 PING
        1 CLIENT TRACKING on REDIRECT %2 REDIRECT %2
        1 CLIENT TRACKING on PREFIX a
        1 CLIENT TRACKING on BCAST OPTIN
        1 CLIENT TRACKING on BCAST OPTOUT
        1 CLIENT TRACKING on OPTIN OPTOUT
        1 CLIENT TRACKING on BCAST PREFIX FOOBAR PREFIX FOO
        1 CLIENT TRACKING on BCAST PREFIX FOO PREFIX FOOBAR
        1 CLIENT TRACKING on BCAST PREFIX FOO PREFIX FOO
        1 CLIENT TRACKING on BCAST PREFIX FOO PREFIX BAR
        1 CLIENT TRACKING on BCAST PREFIX FO
        1 CLIENT TRACKING on BCAST PREFIX BARR
        1 CLIENT TRACKING on BCAST
        1 CLIENT TRACKINGINFO
        1 CLIENT TRACKING on
        1 CLIENT TRACKING off
        1 CLIENT TRACKING on OPTIN
        1 CLIENT TRACKING on OPTOUT
        1 CLIENT TRACKING on BCAST
        1 CLIENT TRACKINGINFO
        1 CLIENT TRACKING on
        1 CLIENT TRACKINGINFO
        1 CLIENT TRACKING on OPTOUT
        1 CLIENT TRACKINGINFO
        1 CLIENT TRACKING on OPTIN
    """,
    "what is in force": """
        1 CLIENT GETREDIR
        1 CLIENT TRACKINGINFO
        1 CLIENT CACHING yes
        1 CLIENT CACHING maybe
        1 CLIENT TRACKING on
        1 CLIENT GETREDIR
        1 CLIENT CACHING yes
        1 CLIENT CACHING no
        1 CLIENT CACHING maybe
        1 CLIENT TRACKINGINFO
        1 RESET
        1 CLIENT GETREDIR
        1 CLIENT GETREDIR x
        1 CLIENT TRACKINGINFO x
    """,
    "a subscriber is told for another": """
        2 PING
        2 SUBSCRIBE __redis__:invalidate
        1 CLIENT TRACKING on REDIRECT %3
        3 SUBSCRIBE other
        1 MGET a b
        4 SET a 1
        3 <
        4 FLUSHALL
        3 <
        1 SET c 1
        1 GET c
        1 SET c 2
        3 <
        3 UNSUBSCRIBE
        1 GET c
        1 SET c 2
        3 PING
    """,
}  # fmt: skip


@pytest.mark.parametrize("name", PUSHES)
def test_what_changes_is_told_as_by_redis(real_redis_port: int, perdure_server: PerdureServer, name: str) -> None:
    for port in (real_redis_port, perdure_server.port):
        play(port, "1 FLUSHALL")
    script = PUSHES[name]
    assert play(perdure_server.port, script, 3) == play(real_redis_port, script, 3)


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", QUESTIONS)
def test_the_words_are_redis(real_redis_port: int, perdure_server: PerdureServer, name: str, protocol: int) -> None:
    script = QUESTIONS[name]
    if name == "a subscriber is told for another":
        if protocol == 3:
            return
        script = "3 PING" + script
    for port in (real_redis_port, perdure_server.port):
        play(port, "1 FLUSHALL")
    assert play(perdure_server.port, script, protocol) == play(real_redis_port, script, protocol)


def three(perdure: RealRedis) -> tuple[RealRedis, RealRedis, RealRedis]:
    """A client that speaks RESP3, another that does, and one that does not."""
    clients = perdure, RealRedis(perdure.port), RealRedis(perdure.port)
    for client in clients[:2]:
        client.ask("HELLO", 3)
    return clients


def test_the_one_told_for_another_has_gone(perdure: RealRedis) -> None:
    tracker, receiver, writer = three(perdure)
    number = receiver.ask("CLIENT", "ID")
    tracker.ask("CLIENT", "TRACKING", "ON", "REDIRECT", number)
    tracker.ask("GET", "k")
    assert b" flags=t " in tracker.ask("CLIENT", "INFO") and b" redir=%d " % number in tracker.ask("CLIENT", "INFO")
    receiver.ask("QUIT")
    writer.ask("SET", "k", 1)
    assert tracker.read() == [b"tracking-redir-broken", number]
    assert tracker.ask("CLIENT", "TRACKINGINFO")[1] == [b"on", b"broken_redirect"]
    assert b" flags=tR " in tracker.ask("CLIENT", "INFO")
    tracker.ask("CLIENT", "TRACKING", "ON", "BCAST")  # refused
    tracker.ask("CLIENT", "TRACKING", "OFF")
    tracker.ask("CLIENT", "TRACKING", "ON", "BCAST")
    assert b" flags=tB " in tracker.ask("CLIENT", "INFO")


def test_keys_whose_time_comes_are_told(perdure: RealRedis) -> None:
    tracker, everything, writer = three(perdure)
    tracker.ask("CLIENT", "TRACKING", "ON")
    everything.ask("CLIENT", "TRACKING", "ON", "BCAST", "NOLOOP")
    everything.ask("SET", "k", "v", "PX", 20)  # not told that it has set it
    assert tracker.ask("GET", "k") == b"v"
    assert tracker.read() == [b"invalidate", [b"k"]]
    assert everything.read() == [b"invalidate", [b"k"]]
    writer.ask("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    try:
        everything.ask("SET", "k", "v", "PX", 1)
        assert tracker.ask("GET", "k") in (b"v", None)
        until(lambda: writer.ask("GET", "k") is None)
        assert everything.read() == [b"invalidate", [b"k"]]
    finally:
        writer.ask("DEBUG", "SET-ACTIVE-EXPIRE", 1)


def test_evicted_keys_are_told(start_perdure: StartPerdure) -> None:
    server = start_perdure("--maxmemory-policy", "volatile-ttl", "--appendfsync", "no")
    tracker, writer = server.connect(), server.connect()
    tracker.ask("HELLO", 3)
    tracker.ask("CLIENT", "TRACKING", "ON")
    writer.ask("SETEX", "k", 1000, "v")
    tracker.ask("GET", "k")
    writer.ask("CONFIG", "SET", "maxmemory", 200_000)
    writer.ask("SET", "large", "x" * 300_000)
    assert tracker.read() == [b"invalidate", [b"k"]]
    assert tracker.ask("CONFIG", "SET", "maxmemory", 0) == b"OK"
    tracker.ask("CLIENT", "TRACKING", "ON", "NOLOOP")
    tracker.ask("SETEX", "k", 1000, "v")
    assert tracker.ask("GET", "k") == b"v"
    writer.ask("CONFIG", "SET", "maxmemory", 200_000, "maxmemory-samples", 50)
    told = [tracker.ask("SET", "small", "x"), tracker.read()]  # at the latest it makes room, which is not its own change
    assert [b"invalidate", [b"k"]] in told


def test_redis_py_keeps_what_it_has_read(perdure: RealRedis) -> None:
    perdure.ask("SET", "k", "old")
    caching = Redis(port=perdure.port, protocol=3, cache_config=CacheConfig(), decode_responses=True)
    try:
        assert caching.get("k") == caching.get("k") == "old"
        reads = perdure.ask("INFO", "commandstats").partition(b"cmdstat_get:calls=")[2].split(b",")[0]
        assert caching.get("k") == "old"  # out of its cache
        assert reads == perdure.ask("INFO", "commandstats").partition(b"cmdstat_get:calls=")[2].split(b",")[0]
        perdure.ask("SET", "k", "new")
        until(lambda: caching.get("k") == "new")
    finally:
        caching.close()


def test_the_table_is_no_larger_than_it_may_be(perdure: RealRedis) -> None:
    tracker, _, other = three(perdure)

    def table() -> list[int]:
        words = dict(line.split(b":") for line in other.ask("INFO", "stats", "clients").split(b"\r\n") if b":" in line)
        names = (b"tracking_clients", b"tracking_total_keys", b"tracking_total_items", b"tracking_total_prefixes")
        return [int(words[name]) for name in names]

    try:
        tracker.ask("CLIENT", "TRACKING", "ON")
        other.ask("CLIENT", "TRACKING", "ON")
        for number in range(250):
            tracker.ask("GET", f"k{number}")
        other.ask("GET", "k0")
        assert table() == [2, 250, 251, 0]
        other.ask("CONFIG", "SET", "tracking-table-max-keys", 100)
        told = {tracker.read()[1][0] for _ in range(151)}  # one more than there are too many
        assert told == {b"k%d" % number for number in range(151)}
        assert table() == [2, 99, 99, 0]
        for number in range(2):
            assert tracker.ask("GET", f"new{number}") is None
        assert tracker.ask("PING") == [b"invalidate", [b"k151"]]  # ahead of the reply to the next command
        assert tracker.read() == [b"invalidate", [b"k152"]]
        assert tracker.read() == b"PONG"
        other.ask("CLIENT", "TRACKING", "OFF")
        other.ask("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "a", "PREFIX", "b")
        assert table()[3] == 2
        other.ask("CLIENT", "TRACKING", "OFF")
        tracker.close()
        until(lambda: table() == [0, 0, 0, 0])
    finally:
        other.ask("CONFIG", "SET", "tracking-table-max-keys", 1_000_000)


def test_replies_that_are_off_do_not_silence_pushes(perdure: RealRedis) -> None:
    tracker, _, writer = three(perdure)
    tracker.ask("CLIENT", "TRACKING", "ON")
    tracker.ask("GET", "k")
    tracker.send("CLIENT", "REPLY", "OFF")
    tracker.send("PING")
    writer.ask("SET", "k", 1)
    assert tracker.read() == [b"invalidate", [b"k"]]
    tracker.send("GET", "k")
    tracker.send("SET", "k", 2)
    assert tracker.read() == [b"invalidate", [b"k"]]
    assert tracker.ask("CLIENT", "REPLY", "ON") == b"OK"


def test_nobody_who_tracks_costs_nothing_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    server = LocalServer()
    caches = server.server.caches
    monkeypatch.setattr(server.server, "send", lambda to, data: None)
    session = Session(server.server, 2)
    server.server.sessions[2] = session
    execute(session, [b"CLIENT", b"TRACKING", b"ON"])
    assert session.gate and caches.trackers
    execute(session, [b"MGET", b"a", b"b"])
    assert caches.readers == {b"a": {2}, b"b": {2}} and caches.items == 2
    execute(session, [b"SET", b"a", b"1"])
    assert caches.readers == {b"b": {2}} and caches.items == 1
    execute(session, [b"CLIENT", b"TRACKING", b"OFF"])
    assert not (session.gate or caches.trackers or caches.readers or caches.items)
