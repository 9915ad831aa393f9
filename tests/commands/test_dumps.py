"""DUMP and RESTORE: what the random programs of `tests/model/families/dumps.py` do not reach."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.commands.test_notifications import Listener
from tests.conftest import PerdureServer, RealRedis, RedisError
from tests.model.differential import LocalServer

from perdure_storage import rdb
from perdure_storage.rdb import HashValue, ListValue, StreamValue, StringValue, ZSetValue

TEXT = rdb.dump(StringValue(b"text"))


@pytest.fixture
def pair(real_redis_port: int, perdure_server: PerdureServer) -> Iterator[list[Listener]]:
    listeners = [Listener(port, "KEAn") for port in (real_redis_port, perdure_server.port)]
    yield listeners
    for listener in listeners:
        listener.close()


def test_restoring_is_told_of_as_redis_does(pair: list[Listener]) -> None:
    told = []
    for listener in pair:
        client, events = listener.client, []
        for argv in (
            ("RESTORE", "k", 0, TEXT),
            ("RESTORE", "k", 0, TEXT),
            ("RESTORE", "k", 100_000, TEXT, "REPLACE"),
            ("RESTORE", "k", 1, TEXT, "REPLACE", "ABSTTL"),
            ("RESTORE", "k", 1, TEXT, "ABSTTL"),
            ("RESTORE", "k", 0, TEXT[:-1], "REPLACE"),
        ):
            reply = client.ask(*argv)
            client.ask("PUBLISH", "__key__:", "end")
            while (message := listener.ear.read())[3] != b"end":
                events.append((message[2], message[3]))
            events.append((b"", reply))
        told.append(events)
    assert told[0] == told[1]


def test_large_values_go_there_and_back(perdure: RealRedis, real_redis: RealRedis) -> None:
    perdure.ask("RPUSH", "list", *(b"%d" % number * 20 for number in range(3000)), b"x" * 100_000)
    perdure.ask("ZADD", "zset", *(word for number in range(1000) for word in (number / 7, f"m{number}")))
    perdure.ask("HSET", "hash", *(word for number in range(1000) for word in (f"f{number}", number)))
    perdure.ask("SADD", "set", *range(-300, 300))
    for number in range(250):
        perdure.ask("XADD", "stream", "*", "f" if number % 9 else "g", number)
    for key, *read in (
        ("list", "LRANGE", "list", 0, -1),
        ("zset", "ZRANGE", "zset", 0, -1, "WITHSCORES"),
        ("hash", "HGETALL", "hash"),
        ("set", "SMEMBERS", "set"),
        ("stream", "XRANGE", "stream", "-", "+"),
    ):
        assert real_redis.ask("RESTORE", key, 0, perdure.ask("DUMP", key)) == b"OK"
        there, here = real_redis.ask(*read), perdure.ask(*read)
        assert (sorted(there), len(there)) == (sorted(here), len(here)) if key in ("hash", "set") else there == here
        assert perdure.ask("RESTORE", key, 0, real_redis.ask("DUMP", key), "REPLACE") == b"OK"
        back = perdure.ask(*read)
        assert sorted(back) == sorted(here) if key in ("hash", "set") else back == here


def test_a_stream_whose_last_id_was_set_back_goes_there_and_back(perdure: RealRedis, real_redis: RealRedis) -> None:
    real_redis.ask("DEL", "s")
    real_redis.ask("XADD", "s", "1-0", "f", "v")
    assert real_redis.ask("XSETID", "s", "9-0", "ENTRIESADDED", "5", "MAXDELETEDID", "7-0") == b"OK"
    assert real_redis.ask("XSETID", "s", "5-0") == b"OK"  # which 7.0 takes
    assert perdure.ask("RESTORE", "s", 0, real_redis.ask("DUMP", "s"), "REPLACE") == b"OK"
    assert real_redis.ask("RESTORE", "s", 0, perdure.ask("DUMP", "s"), "REPLACE") == b"OK"
    told = perdure.ask("XINFO", "STREAM", "s")
    assert told[told.index(b"max-deleted-entry-id") + 1] == b"7-0"


def test_idle_time_comes_with_the_key(perdure: RealRedis) -> None:
    assert perdure.ask("RESTORE", "k", 0, TEXT, "IDLETIME", 1000) == b"OK"
    assert 1000 <= perdure.ask("OBJECT", "IDLETIME", "k") <= 1002
    assert perdure.ask("GET", "k") == b"text"
    assert perdure.ask("OBJECT", "IDLETIME", "k") == 0


def test_fields_that_expire_survive_a_dump(perdure: RealRedis) -> None:
    perdure.ask("HSET", "h", "a", 1, "b", 2, "c", 3)
    perdure.ask("HPEXPIREAT", "h", 4_000_000_000_000, "FIELDS", 1, "a")
    perdure.ask("HPEXPIREAT", "h", 4_000_000_000_500, "FIELDS", 1, "b")
    payload = perdure.ask("DUMP", "h")
    assert rdb.load(payload) == HashValue(
        {b"a": b"1", b"b": b"2", b"c": b"3"}, {b"a": 4_000_000_000_000, b"b": 4_000_000_000_500}
    )
    assert perdure.ask("RESTORE", "copy", 0, payload) == b"OK"
    assert perdure.ask("HPEXPIRETIME", "copy", "FIELDS", 3, "a", "b", "c") == [4_000_000_000_000, 4_000_000_000_500, -1]


def test_fields_whose_time_has_passed_are_gone(perdure: RealRedis) -> None:
    value = HashValue({b"a": b"1", b"b": b"2"}, {b"a": 1000})
    assert perdure.ask("RESTORE", "h", 0, rdb.dump(value)) == b"OK"
    assert perdure.ask("HGETALL", "h") == [b"b", b"2"]
    value = HashValue({b"a": b"1"}, {b"a": 1000})
    assert perdure.ask("RESTORE", "gone", 0, rdb.dump(value)) == b"OK"
    assert perdure.ask("HGETALL", "gone") == []
    assert perdure.ask("EXISTS", "gone") == 0


def test_what_is_restored_is_there_after_a_power_cut() -> None:
    server = LocalServer()
    group = rdb.GroupValue(b"g", 1 << 64, 1, [rdb.ConsumerValue(b"c", 5, 5)], {1 << 64: (b"c", 7, 2)})
    values = {
        b"text": StringValue(b"x" * 100_000),
        b"list": ListValue([b"a", b"b"]),
        b"zset": ZSetValue({b"a": 1.5, b"b": -0.0}),
        b"hash": HashValue({b"a": b"b"}, {b"a": 4_000_000_000_000}),
        b"stream": StreamValue([(1 << 64, (b"f", b"v"))], 9 << 64, 3, 7, [group]),
        b"empty": StreamValue([], 9 << 64, 3, 7, []),
    }
    for key, value in values.items():
        assert server.ask(b"RESTORE", key, b"0", rdb.dump(value)) == ("+", b"OK")
    for how in ("power cut", "forget", "kill"):
        server.restart(how)
        for key, value in values.items():
            found = rdb.load(server.ask(b"DUMP", key)[1])
            assert found == value, how
    server.close()


@pytest.mark.parametrize("payload", [b"", b"\0" * 9, b"\1" * 10, TEXT[:-1], TEXT[2:], TEXT + b"\0"])
def test_what_is_no_payload_is_refused(perdure: RealRedis, payload: bytes) -> None:
    perdure.ask("SET", "k", "v")
    refused = RedisError("ERR DUMP payload version or checksum are wrong")
    assert perdure.ask("RESTORE", "k", 0, payload, "REPLACE") == refused
    assert perdure.ask("GET", "k") == b"v"


def test_a_payload_with_nonsense_in_it_is_refused_and_changes_nothing(perdure: RealRedis) -> None:
    for body in (b"\x07\x81\0\0\0\0\0\0\0\x01", b"\x12\x00", b"\x63"):
        assert perdure.ask("RESTORE", "k", 0, rdb.seal(body)) == RedisError("ERR Bad data format")
    assert perdure.ask("EXISTS", "k") == 0


def test_a_time_to_live_beyond_the_end_of_time_is_refused(perdure: RealRedis) -> None:
    """The random programs' find: it was an internal error."""
    perdure.ask("SET", "k", "v")
    payload = perdure.ask("DUMP", "k")
    refusal = RedisError("ERR invalid expire time in 'restore' command")
    assert perdure.ask("RESTORE", "k", 2**63 - 1, payload, "REPLACE") == refusal
    assert perdure.ask("RESTORE", "far", 2**63 - 1, payload, "ABSTTL") == b"OK"
    assert (perdure.ask("GET", "k"), perdure.ask("GET", "far")) == (b"v", b"v")
