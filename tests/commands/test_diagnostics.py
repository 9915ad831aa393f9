"""SLOWLOG, MEMORY, DEBUG, and what clients ask on connect."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.commands.dialogue import blocked_clients, play, until
from tests.conftest import PerdureServer, RealRedis, RedisError, StartPerdure

SCRIPTS = {
    "slow log": "1 SLOWLOG GET x\n1 SLOWLOG GET -2\n1 SLOWLOG RESET\n1 SLOWLOG LEN\n1 SLOWLOG GET -1\n1 SLOWLOG NOSUCH",
    "latency": "1 LATENCY LATEST\n1 LATENCY HISTORY nosuch\n1 LATENCY RESET\n1 LATENCY NOSUCH",
    "memory": """
        1 MEMORY USAGE nosuch
        1 MEMORY USAGE k SAMPLES -1
        1 MEMORY USAGE k SAMPLES x
        1 MEMORY USAGE k SAMPLES
        1 MEMORY USAGE
        1 MEMORY PURGE
    """,
    "on connect": "1 MODULE LIST\n1 ACL WHOAMI\n1 CLUSTER INFO\n1 CLUSTER NODES\n1 SENTINEL masters",
    "cluster commands": """
        1 CLUSTER MEET 127.0.0.1 6379
        1 CLUSTER MEET 127.0.0.1
        1 CLUSTER ADDSLOTS 1 2 3
        1 CLUSTER ADDSLOTSRANGE 1 2
        1 CLUSTER COUNT-FAILURE-REPORTS x
        1 CLUSTER DELSLOTS 1
        1 CLUSTER DELSLOTSRANGE 1
        1 CLUSTER FAILOVER TAKEOVER
        1 CLUSTER FAILOVER
        1 CLUSTER FLUSHSLOTS now
        1 CLUSTER FORGET x
        1 CLUSTER REPLICAS x
        1 CLUSTER REPLICATE x
        1 CLUSTER SLAVES x
        1 CLUSTER SAVECONFIG
        1 CLUSTER BUMPEPOCH
        1 CLUSTER SET-CONFIG-EPOCH 1
        1 CLUSTER SETSLOT 1 STABLE
        1 CLUSTER SETSLOT 1
        1 CLUSTER NOSUCH
    """,
    "debug": """
        1 DEBUG NOSUCH
        1 DEBUG
        1 DEBUG SLEEP
        1 DEBUG SLEEP 0.001
        1 DEBUG OBJECT nosuch
        1 DEBUG ERROR 'ERR is human'
        1 DEBUG DIGEST
        1 DEBUG DIGEST-VALUE nosuch
        1 DEBUG SET-ACTIVE-EXPIRE 1
        1 DEBUG CHANGE-REPL-ID
        1 DEBUG LOG hello
        1 DEBUG RELOAD
        1 DEBUG STRINGMATCH-LEN 10
    """,
    "debug populate": """
        1 SET pre:2 kept
        1 DEBUG POPULATE 3
        1 MGET key:0 key:2 key:3
        1 DEBUG POPULATE 4 pre 12
        1 MGET pre:0 pre:2 pre:3
        1 DEBUG POPULATE 1 short 3
        1 GET short:0
        1 DEBUG POPULATE 2001 many 1
        1 DBSIZE
        1 DEBUG POPULATE x
        1 DEBUG POPULATE -1
    """,
    "numbers that are shared": """
        1 SET k 12
        1 OBJECT REFCOUNT k
        1 CONFIG SET maxmemory 1gb
        1 OBJECT REFCOUNT k
        1 CONFIG SET maxmemory-policy allkeys-lru
        1 SET k 12
        1 OBJECT REFCOUNT k
        1 CONFIG SET maxmemory-policy noeviction maxmemory 0
        1 DEL k
    """,
    "debug protocol": """
        1 DEBUG PROTOCOL string
        1 DEBUG PROTOCOL integer
        1 DEBUG PROTOCOL null
        1 DEBUG PROTOCOL array
        1 DEBUG PROTOCOL set
        1 DEBUG PROTOCOL map
        1 DEBUG PROTOCOL verbatim
        1 DEBUG PROTOCOL true
        1 DEBUG PROTOCOL false
        1 DEBUG PROTOCOL bignum
    """,
}  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", SCRIPTS)
def test_as_redis(
    name: str,
    protocol: int,
    perdure_server: PerdureServer,
    real_redis_port: int,
    perdure: RealRedis,
    real_redis: RealRedis,
) -> None:
    assert play(perdure_server.port, SCRIPTS[name], protocol) == play(real_redis_port, SCRIPTS[name], protocol)


# -- slow log ------------------------------------------------------------------------------------------------------


def test_slow_commands_are_remembered(perdure: RealRedis) -> None:
    perdure.ask("CLIENT", "SETNAME", "me")
    perdure.ask("SLOWLOG", "RESET")
    perdure.ask("DEBUG", "SLEEP", "0.03")
    ((ident, when, micros, argv, address, name),) = perdure.ask("SLOWLOG", "GET")
    assert ident >= 0
    assert abs(when - time.time()) < 5
    assert 30_000 <= micros < 1_000_000
    assert argv == [b"DEBUG", b"SLEEP", b"0.03"]
    assert address.startswith(b"127.0.0.1:")
    assert name == b"me"
    assert perdure.ask("SLOWLOG", "LEN") == 1


def test_who_waits_is_in_the_slow_log_once_and_only_when_served(start_perdure: StartPerdure) -> None:
    server = start_perdure("--slowlog-log-slower-than", "0")
    client, waiting = server.connect(), server.connect()
    waiting.send("BLPOP", "q", 0)
    until(lambda: blocked_clients(server.port) == 1)
    assert [b"BLPOP", b"q", b"0"] not in [entry[3] for entry in client.ask("SLOWLOG", "GET", -1)]
    client.ask("RPUSH", "q", "x")
    assert waiting.read() == [b"q", b"x"]
    assert [entry[3] for entry in client.ask("SLOWLOG", "GET", -1)].count([b"BLPOP", b"q", b"0"]) == 1


def test_the_slow_log_is_short_and_knows_no_secrets(start_perdure: StartPerdure) -> None:
    client = start_perdure("--slowlog-log-slower-than", "0", "--slowlog-max-len", "3").connect()
    client.ask("AUTH", "default", "secret")
    client.ask("CONFIG", "SET", "requirepass", "secret")
    client.ask("CONFIG", "SET", "requirepass", "")
    assert [entry[3] for entry in client.ask("SLOWLOG", "GET")] == [
        [b"CONFIG", b"SET", b"requirepass", b"(redacted)"],
        [b"CONFIG", b"SET", b"requirepass", b"(redacted)"],
        [b"AUTH", b"(redacted)", b"(redacted)"],
    ]
    client.ask("SET", "k", b"x" * 1000)
    client.ask("DEL", *range(100))
    deleted, stored, _ = (entry[3] for entry in client.ask("SLOWLOG", "GET"))
    assert stored == [b"SET", b"k", b"x" * 128 + b"... (872 more bytes)"]
    assert len(deleted) == 32
    assert deleted[-1] == b"... (70 more arguments)"
    client.ask("CONFIG", "SET", "slowlog-max-len", "1")
    assert client.ask("SLOWLOG", "LEN") == 1
    client.ask("CONFIG", "SET", "slowlog-log-slower-than", "-1")
    client.ask("SLOWLOG", "RESET")
    client.ask("PING")
    assert client.ask("SLOWLOG", "LEN") == 0


# -- memory --------------------------------------------------------------------------------------------------------


def test_memory(perdure: RealRedis) -> None:
    perdure.ask("SET", "k", "v" * 1000)
    assert 1000 < perdure.ask("MEMORY", "USAGE", "k") < 2000
    assert perdure.ask("MEMORY", "USAGE", "k", "SAMPLES", "0") > 1000
    flat = perdure.ask("MEMORY", "STATS")
    stats = dict(zip(flat[::2], flat[1::2], strict=True))
    assert stats[b"keys.count"] == 1
    assert stats[b"total.allocated"] > 1000
    assert perdure.ask("MEMORY", "DOCTOR")


def test_memory_stats_has_what_redis_tells_but_of_its_allocator_and_hash_tables(
    perdure: RealRedis, real_redis: RealRedis
) -> None:
    for client in (perdure, real_redis):
        client.ask("SET", "k", "v")
    told = {name.decode() for name in real_redis.ask("MEMORY", "STATS")[::2]}
    flat = perdure.ask("MEMORY", "STATS")
    mine = dict(zip([name.decode() for name in flat[::2]], flat[1::2], strict=True))
    assert {name for name in told - mine.keys() if not name.startswith(("allocator", "rss-overhead", "db."))} == set()
    info = dict(line.split(":", 1) for line in perdure.ask("INFO", "memory").decode().split("\r\n") if ":" in line)
    assert mine["startup.allocated"] == int(info["used_memory_startup"])
    assert 0 < mine["peak.allocated"] <= int(info["used_memory_peak"])
    assert 0 < float(mine["dataset.percentage"]) <= 100
    assert abs(float(mine["fragmentation"]) - float(info["mem_fragmentation_ratio"])) < 1


# -- DEBUG ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("option", "allowed"), [("no", False), ("local", True), ("yes", True)])
def test_debug_is_for_those_who_may(start_perdure: StartPerdure, option: str, allowed: bool) -> None:
    reply = start_perdure("--enable-debug-command", option).connect().ask("DEBUG", "SLEEP", "0")
    assert (reply == b"OK") == allowed
    if not allowed:
        assert str(reply).startswith("ERR DEBUG command not allowed.")


def test_digests_agree_when_data_does(perdure: RealRedis) -> None:
    perdure.ask("MSET", "a", "1", "b", "2")
    perdure.ask("HSET", "h", "f", "v", "g", "w")
    first, value = perdure.ask("DEBUG", "DIGEST"), perdure.ask("DEBUG", "DIGEST-VALUE", "h")
    assert len(first) == 40
    perdure.ask("FLUSHALL")
    perdure.ask("HSET", "h", "g", "w")
    perdure.ask("HSET", "h", "f", "v")
    perdure.ask("SET", "b", "2")
    assert perdure.ask("DEBUG", "DIGEST") != first
    perdure.ask("SET", "a", "1")
    assert perdure.ask("DEBUG", "DIGEST") == first
    assert perdure.ask("DEBUG", "DIGEST-VALUE", "h") == value


def test_reload_keeps_data_clients_and_what_they_watch(perdure: RealRedis, perdure_server: PerdureServer) -> None:
    other = perdure_server.connect()
    other.ask("SELECT", "3")
    other.ask("SET", "k", "three")
    other.ask("WATCH", "k", "absent")
    perdure.ask("MSET", "a", "1", "b", "2")
    perdure.ask("SET", "gone", "x", "PX", "1")
    waiting = perdure_server.connect()
    waiting.send("WAIT", "1", "300")
    time.sleep(0.005)
    before = perdure.ask("DEBUG", "DIGEST")
    for _ in range(2):
        perdure.ask("SET", "a", "1")
        assert perdure.ask("DEBUG", "RELOAD") == b"OK"
        assert perdure.ask("DEBUG", "DIGEST") == before
    assert perdure.ask("MGET", "a", "b", "gone") == [b"1", b"2", None]
    assert waiting.read() == 0
    other.ask("MULTI")
    other.ask("GET", "k")
    assert other.ask("EXEC") == [b"three"]
    other.ask("WATCH", "k")
    perdure.ask("SELECT", "3")
    perdure.ask("SET", "k", "changed")
    other.ask("MULTI")
    assert other.ask("EXEC") is None
    assert other.ask("INCR", "n") == 1
    assert perdure.ask("SAVE") == b"OK"
    for client in (other, waiting):
        client.close()


def test_reload_in_the_middle_of_a_pipeline(perdure: RealRedis) -> None:
    for words in (("SET", "n", "1"), ("INCR", "n"), ("DEBUG", "RELOAD"), ("INCR", "n"), ("GET", "n")):
        perdure.send(*words)
    assert [perdure.read() for _ in range(5)] == [b"OK", 2, b"OK", 3, b"3"]


def test_reload_in_the_middle_of_a_transaction(perdure: RealRedis) -> None:
    perdure.ask("SET", "gone", "x")
    for words in (("MULTI",), ("SADD", "s", "x"), ("DEL", "gone"), ("DEBUG", "RELOAD"), ("SET", "b", "2")):
        perdure.ask(*words)
    assert perdure.ask("EXEC") == [1, 1, b"OK", b"OK"]
    assert perdure.ask("MGET", "gone", "b") == [None, b"2"]
    assert perdure.ask("SCARD", "s") == 1


def test_keys_expire_only_when_asked_for_with_active_expire_off(perdure: RealRedis) -> None:
    perdure.ask("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    perdure.ask("SET", "k", "v", "PX", "1")
    time.sleep(0.3)
    assert perdure.ask("DBSIZE") == 1
    assert perdure.ask("GET", "k") is None
    assert perdure.ask("DBSIZE") == 0
    perdure.ask("SET", "k", "v", "PX", "1")
    perdure.ask("DEBUG", "SET-ACTIVE-EXPIRE", "1")
    until(lambda: perdure.ask("DBSIZE") == 0)


def test_internals_and_what_else(perdure: RealRedis) -> None:
    perdure.ask("SET", "k", "12")
    assert b"dirty" not in perdure.ask("DEBUG", "INTERNALS")
    told = perdure.ask("DEBUG", "OBJECT", "k")
    assert b"encoding:int" in told
    assert b"lru_seconds_idle:0" in told
    assert perdure.ask("DEBUG", "STRINGMATCH-LEN", "1000", "a*a*a*a*a*a*a*a*b") == 0
    assert perdure.ask("DEBUG", "STRINGMATCH-LEN", "1000", "*a") == 1
    assert perdure.ask("DEBUG", "PROTOCOL", "nosuch").args[0].startswith("ERR Wrong protocol type name.")
    assert isinstance(perdure.ask("MODULE", "LOAD", "x"), RedisError)


def test_the_whole_configuration_is_written_down(start_perdure: StartPerdure, tmp_path: Path) -> None:
    path = tmp_path / "perdure.conf"
    path.write_text("enable-debug-command local\nsave 900 1\n")
    client = start_perdure(file=str(path)).connect()
    assert client.ask("CONFIG", "SET", "hz", "20") == b"OK"
    assert client.ask("DEBUG", "CONFIG-REWRITE-FORCE-ALL") == b"OK"
    lines = path.read_text().splitlines()
    assert lines[:2] == ["enable-debug-command local", "save 900 1"]
    assert {"hz 20", "maxmemory 0", 'requirepass ""'} <= set(lines)
    assert client.ask("CONFIG", "REWRITE") == b"OK"
    assert path.read_text().splitlines() == lines
