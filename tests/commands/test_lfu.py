"""LFU: how often keys are used, and which go first."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace

from tests.commands.dialogue import play
from tests.conftest import StartPerdure

from perdure import lfu

ERRORS = """
1 SET a 1
1 OBJECT FREQ a
1 OBJECT FREQ none
1 CONFIG SET maxmemory-policy allkeys-lfu
1 OBJECT IDLETIME a
1 OBJECT IDLETIME none
1 OBJECT FREQ none
1 CONFIG SET maxmemory-policy noeviction
"""


def test_freq_and_idletime_each_need_their_policy(start_perdure: StartPerdure, real_redis_port: int) -> None:
    assert play(start_perdure().port, ERRORS) == play(real_redis_port, ERRORS)


def test_restore_sets_the_counter(start_perdure: StartPerdure) -> None:
    client = start_perdure("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lfu").connect()
    client.ask("SET", "a", "1")
    payload = client.ask("DUMP", "a")
    assert client.ask("RESTORE", "b", "0", payload, "FREQ", "100") == b"OK"
    assert client.ask("OBJECT", "FREQ", "b") == 100
    before = client.ask("OBJECT", "FREQ", "a")
    for _ in range(50):
        client.ask("GET", "a")
    assert client.ask("OBJECT", "FREQ", "a") > before


def test_uses_are_counted_without_a_memory_limit(start_perdure: StartPerdure) -> None:
    client = start_perdure().connect()
    client.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    client.ask("SET", "a", "1")
    for _ in range(200):
        client.ask("GET", "a")
    assert client.ask("OBJECT", "FREQ", "a") > lfu.INITIAL


def test_uses_in_transactions_and_scripts_are_counted(start_perdure: StartPerdure) -> None:
    client = start_perdure("--maxmemory-policy", "allkeys-lfu").connect()
    client.ask("SET", "a", "1")
    before = lfu.INITIAL
    for call in (["MULTI"], ["EVAL", "for i = 1, 300 do redis.call('get', KEYS[1]) end", "1", "a"]):
        client.ask(*call)
        if call == ["MULTI"]:
            for _ in range(100):
                client.ask("GET", "a")
            client.ask("EXEC")
        count = client.ask("OBJECT", "FREQ", "a")
        assert count > before
        before = count


def test_counters_grow_with_the_logarithm_and_decay() -> None:
    config = SimpleNamespace(lfu_log_factor=10, lfu_decay_time=1)
    random, now, tick = Random(1), 6000, 6000
    for _ in range(1000):
        tick = lfu.used(tick, now, config, random)
    count = lfu.counter(tick, now, 1)
    assert 12 <= count <= 26
    assert lfu.counter(tick, now + 180, 1) == count - 3
    assert lfu.counter(tick, now + 36000, 1) == 0
    assert lfu.counter(tick, now + 36000, 0) == count
    assert lfu.seconds(tick) == 6000
