"""SORT: what the random programs of `tests/model/families/sorting.py` do not reach."""

from __future__ import annotations

from typing import Any

from tests.conftest import RealRedis, RedisError, StartPerdure


def ask_all(client: RealRedis, script: str) -> list[Any]:
    return [client.ask(*line.split()) for line in script.strip().splitlines()]


def test_who_may_not_read_all_keys_gets_none_by_patterns(start_perdure: StartPerdure) -> None:
    client = start_perdure().connect()
    client.ask("ACL", "SETUSER", "worker", "on", "nopass", "+@all", "~list", "~new")
    client.ask("RPUSH", "list", 2, 1)
    client.ask("AUTH", "worker", "x")
    by, get = (f"ERR {word} option of SORT denied due to insufficient ACL permissions." for word in ("BY", "GET"))
    assert client.ask("SORT", "list") == [b"1", b"2"]
    assert client.ask("SORT", "list", "BY", "nosort") == [b"2", b"1"]
    for name in ("SORT", "SORT_RO"):
        assert client.ask(name, "list", "BY", "w_*") == RedisError(by)
        assert client.ask(name, "list", "GET", "#") == RedisError(get)
    client.close()


def test_a_script_gets_a_set_in_the_same_order_every_time(perdure: RealRedis, real_redis: RealRedis) -> None:
    for client in (perdure, real_redis):
        client.ask("SADD", "set", *"zebra")
        client.ask("ZADD", "zset", *(word for at, name in enumerate("zebra") for word in (at, name)))
        found = client.ask("EVAL", "return redis.call('SORT', KEYS[1], 'BY', 'nosort', 'DESC')", 1, "set")
        assert found == [b"z", b"r", b"e", b"b", b"a"]
        found = client.ask("EVAL", "return redis.call('SORT', KEYS[1], 'BY', 'nosort', 'DESC')", 1, "zset")
        assert found == [b"a", b"r", b"b", b"e", b"z"]


def test_keys_and_traces_as_in_redis(perdure: RealRedis, real_redis: RealRedis) -> None:
    script = """
        ZADD zset 1 a 2 b
        SORT zset ALPHA
        OBJECT ENCODING zset
        COMMAND GETKEYS SORT a STORE x BY STORE STORE y
        COMMAND GETKEYS SORT a BY w_* GET # LIMIT 0 1
        COMMAND GETKEYSANDFLAGS SORT a STORE x
        COMMAND GETKEYS SORT_RO a GET b
        COMMAND GETKEYS MIGRATE host 1 k 0 1
    """
    assert ask_all(perdure, script) == ask_all(real_redis, script)
    several = ("COMMAND", "GETKEYS", "MIGRATE", "host", 1, "", 0, 1, "COPY", "KEYS", "a", "b")
    assert perdure.ask(*several) == real_redis.ask(*several) == [b"a", b"b"]


def test_equal_weights_keep_the_order_of_a_list(perdure: RealRedis, real_redis: RealRedis) -> None:
    for client in (perdure, real_redis):
        client.ask("RPUSH", "list", "c", "a", "b")
        assert client.ask("SORT", "list", "BY", "none_*", "ALPHA", "DESC") == [b"c", b"a", b"b"]
        assert client.ask("SORT", "list", "BY", "none_*", "DESC") == [b"c", b"b", b"a"]
