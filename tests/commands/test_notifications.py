"""Keyspace notifications beside a real redis-server: which events each command causes, and in which order."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from tests.conftest import PerdureServer, RealRedis, StartPerdure

from perdure.notifications import KINDS, Notifications
from perdure.pubsub import PubSub

COMMANDS = {
    "strings": """
        SET k v|SET k v EX 100|SET k v KEEPTTL|SET k v XX GET|SET n v XX|SETNX m v|SETNX m v|SETEX k 10 v
        PSETEX k 10000 v
        GETSET k w|GETEX k|GETEX k EX 100|GETEX k PERSIST|GETEX k PERSIST|GETDEL m|GETDEL m|MSET a 1 b 2|MSETNX c 1 d 2
        MSETNX a 1 e 2|APPEND k x|APPEND new x|SETRANGE k 2 abc|SETRANGE k 0 ""|INCR a|DECR a|INCRBY a 5|DECRBY a 5
        INCR z
        INCRBYFLOAT a 1.5|SETBIT bits 7 1|SETBIT bits 7 1|SETBIT bits 100 0|BITFIELD bits SET u8 0 255 INCRBY u8 8 1
        BITFIELD bits GET u8 0|BITFIELD bits SET u8 0 255|BITOP AND dest bits k|BITOP OR dest nosuch
        BITOP OR dest nosuch
        BITOP NOT dest bits|PFADD h a b|PFADD h a b|PFMERGE h2 h|PFCOUNT h
    """,
    "keys": """
        MSET a 1 b 2 c 3|DEL a nosuch b|UNLINK c|SET a 1|EXPIRE a 100|PEXPIRE a 100000|EXPIREAT a 4000000000|PERSIST a
        PERSIST a|EXPIRE nosuch 1|EXPIRE a 100 NX|EXPIRE a 100 NX|EXPIRE a -1|SET a 1|RENAME a b|RENAME b b|SET a 1
        RENAME a b|SET a 1|RENAMENX a b|RENAMENX a c|COPY c d|COPY c d|COPY c d REPLACE|COPY c c DB 3|MOVE d 3|MOVE c 3
        FLUSHDB
    """,
    "hashes": """
        HSET h a 1|HSET h a 1|HSET h a 2 b 3|HMSET h c 1|HSETNX h a 1|HSETNX h d 1|HINCRBY h a 5|HINCRBYFLOAT h a 0.5
        HDEL h nosuch|HDEL h a b|HDEL h c d|HDEL h c
    """,
    "lists": """
        RPUSH l a b c|LPUSH l x|LPUSHX l y|RPUSHX nosuch y|LPOP l|RPOP l|LPOP l 0|LPOP l 2|RPOP l 9|RPUSH l a b c a b c
        LINSERT l BEFORE b x|LINSERT l BEFORE zz x|LSET l 0 q|LREM l 0 zz|LREM l 1 b|LTRIM l 0 99|LTRIM l 0 2
        LMOVE l m LEFT RIGHT
        RPOPLPUSH l l|RPOPLPUSH nosuch l|LMPOP 2 nosuch l LEFT|LMPOP 1 l RIGHT COUNT 9|BLPOP m 1|RPUSH l a|LTRIM l 5 9
        RPUSH l a a|LREM l 0 a|RPUSH l a|BLMOVE l m LEFT LEFT 1|BRPOPLPUSH m l 1
    """,
    "sets": """
        SADD s a b c|SADD s a|SREM s zz|SREM s a|SMOVE s t b|SMOVE s t zz|SMOVE s t c|SADD s a b|SADD t a|SMOVE s t a
        SPOP s|SADD s a b c|SPOP s 2|SPOP s 5|SADD s a b c|SINTERSTORE d s t|SUNIONSTORE d s t|SDIFFSTORE d s s
        SDIFFSTORE d s s|SREM s a b c|SPOP s 0
    """,
    "sorted sets": """
        ZADD z 1 a 2 b 3 c|ZADD z 1 a|ZADD z XX 5 a|ZADD z NX 6 a|ZADD z INCR 1 a|ZINCRBY z 1 b|ZINCRBY z 0 b|ZREM z zz
        ZREM z a|ZADD z 1 a 2 b 3 c 4 d 5 e|ZREMRANGEBYRANK z 0 0|ZREMRANGEBYSCORE z 2 2|ZREMRANGEBYLEX z [zz (zz
        ZREMRANGEBYRANK z 50 60|ZPOPMIN z|ZPOPMAX z 1|ZPOPMAX z 9|ZADD z 1 a 2 b|ZUNIONSTORE d 1 z
        ZINTERSTORE d 2 z nosuch
        ZDIFFSTORE d 2 z nosuch|ZRANGESTORE e z 0 -1|ZRANGESTORE e z 5 6|ZMPOP 1 z MIN|BZPOPMIN z 1|ZADD z 1 a
        BZMPOP 1 1 z MAX|GEOADD g 1 1 a 2 2 b|GEOADD g 1 1 a|GEOSEARCHSTORE d g FROMLONLAT 1 1 BYRADIUS 1000 km
        GEORADIUS g 1 1 1000 km STORE d|GEOSEARCHSTORE d nosuch FROMLONLAT 1 1 BYRADIUS 1000 km
    """,
    "streams": """
        XADD x 1-1 f v|XADD x 1-2 f v|XADD x MAXLEN 2 1-3 f v|XADD x MAXLEN 9 1-4 f v|XTRIM x MAXLEN 2|XTRIM x MAXLEN 2
        XDEL x 1-3|XDEL x 1-3|XSETID x 9-9|XGROUP CREATE x g 0|XGROUP SETID x g 0|XGROUP CREATECONSUMER x g c
        XGROUP CREATECONSUMER x g c|XREADGROUP GROUP g new STREAMS x >|XREADGROUP GROUP g new STREAMS x >
        XACK x g 1-4|XADD x 10-1 f v|XREADGROUP GROUP g new STREAMS x >|XCLAIM x g third 0 10-1|XGROUP DELCONSUMER x g c
        XGROUP DELCONSUMER x g c|XAUTOCLAIM x g fourth 0 0|XGROUP DESTROY x g|XGROUP DESTROY x g
        XGROUP CREATE y g $ MKSTREAM
    """,
    "sorting": """
        RPUSH l 3 1 2|SORT l STORE d|SORT l STORE d|SET w_1 5|SORT l BY w_* GET w_*|SORT nosuch|SORT nosuch STORE d
        SORT nosuch STORE d|SET d v|SORT l BY nosort LIMIT 9 9 STORE d|SORT_RO l GET h_*->f|DUMP l|DUMP nosuch
    """,
    "transactions and reads": """
        MULTI|SET a 1|SET b 2|DEL a|GET nosuch|EXEC|GET nosuch|MGET nosuch a|HGET nosuch f|STRLEN nosuch|TTL nosuch
        EXISTS nosuch b
        LRANGE nosuch 0 -1|SMEMBERS nosuch|ZSCORE nosuch a|TYPE nosuch
    """,
}


class Listener:
    """Plays commands to a server and hears what it says about them."""

    def __init__(self, port: int, letters: str) -> None:
        self.client, self.ear = RealRedis(port), RealRedis(port)
        self.client.ask("FLUSHALL")
        self.client.ask("CONFIG", "SET", "notify-keyspace-events", letters)
        self.ear.ask("PSUBSCRIBE", "__key*__:*")

    def events(self, *words: str) -> list[tuple[bytes, bytes]]:
        """What one command caused: (channel, message)."""
        if self.client.ask(*words) == b"QUEUED" or words == ("MULTI",):
            return []
        self.client.ask("PUBLISH", "__key__:", "end")
        heard = []
        while (message := self.ear.read())[3] != b"end":
            heard.append((message[2], message[3]))
        return heard

    def close(self) -> None:
        self.client.ask("CONFIG", "SET", "notify-keyspace-events", "")
        self.client.close()
        self.ear.close()


@pytest.fixture(params=["KEA", "KEAnm"])
def pair(
    request: pytest.FixtureRequest, real_redis_port: int, perdure_server: PerdureServer
) -> Iterator[list[Listener]]:
    listeners = [Listener(port, request.param) for port in (real_redis_port, perdure_server.port)]
    yield listeners
    for listener in listeners:
        listener.close()


def words_of(script: str) -> list[list[str]]:
    return [
        ["" if word == '""' else word for word in line.split()]
        for part in script.split("\n")
        for line in part.split("|")
        if line.strip()
    ]


@pytest.mark.parametrize("family", COMMANDS)
def test_commands_cause_the_events_that_redis_tells(pair: list[Listener], family: str) -> None:
    redis, perdure = pair
    differences = []
    for words in words_of(COMMANDS[family]):
        expected, found = redis.events(*words), perdure.events(*words)
        if expected != found:
            differences.append((words, expected, found))
    assert not differences


def test_keys_that_expire_are_told_of_when_they_go(pair: list[Listener]) -> None:
    for listener in pair:
        listener.client.ask("SET", "soon", "v", "PX", "20")
        while (heard := listener.ear.read())[3] != b"expired":
            pass
        assert heard[2] == b"__keyspace@0__:soon"
        assert listener.ear.read()[2:] == [b"__keyevent@0__:expired", b"soon"]


def test_a_served_client_is_told_of_behind_what_served_it(perdure_server: PerdureServer) -> None:
    listener = Listener(perdure_server.port, "KA")
    waiting = RealRedis(perdure_server.port)
    waiting.send("BLPOP", "l", "0")
    while b"blocked_clients:1" not in listener.client.ask("INFO", "clients"):
        time.sleep(0.005)
    assert [message for _, message in listener.events("RPUSH", "l", "x")] == [b"rpush", b"lpop", b"del"]
    waiting.close()
    listener.close()


def test_letters_say_which_events_are_told() -> None:
    notifications = Notifications(PubSub(lambda session, data: None))
    for letters, kinds in (
        ("", 0),
        ("A", 0),
        ("g$", 0),
        ("Kg$", KINDS["g"] | KINDS["$"]),
        ("EA", 0x3FF),
        ("AKEmn", 0xFFF),
    ):
        notifications.configure(letters)
        assert notifications.kinds == kinds, letters


def test_keys_that_are_evicted_are_told_of(start_perdure: StartPerdure) -> None:
    server = start_perdure(
        "--maxmemory", "200kb", "--maxmemory-policy", "allkeys-lru", "--notify-keyspace-events", "Ee"
    )
    client, ear = server.connect(), server.connect()
    ear.ask("SUBSCRIBE", "__keyevent@0__:evicted")
    for number in range(500):
        client.ask("SET", f"k{number}", b"x" * 1000)
    message = ear.read()
    assert message[:2] == [b"message", b"__keyevent@0__:evicted"] and message[2].startswith(b"k")
    assert client.ask("EXISTS", message[2]) == 0
