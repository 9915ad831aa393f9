"""LATENCY and what INFO says of it; CLUSTER KEYSLOT beside the client library's own reckoning."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot
from tests.conftest import RealRedis, RedisError, StartPerdure

from perdure.latency import BUCKETS, bucket_of, cumulative, highest_of, percentile

TIMES = st.lists(st.integers(0, 1 << 50), min_size=1)


@given(TIMES, st.floats(0, 100))
def test_a_percentile_is_at_most_a_quarter_too_long(times: list[int], percent: float) -> None:
    histogram = [0] * BUCKETS
    for time in times:
        histogram[bucket_of(time)] += 1
        assert time <= highest_of(bucket_of(time)) <= max(time * 5 // 4, 15)
    exact = sorted(times)[max(1, round(len(times) * percent / 100)) - 1]
    assert exact <= percentile(histogram, percent) <= max(exact * 5 // 4, 15)
    steps = list(cumulative(histogram))
    assert steps == sorted(steps)
    assert steps[-1][1] == len(times)
    assert all(limit & (limit - 1) == 0 for limit, _ in steps)


def test_what_takes_long_is_an_event(start_perdure: StartPerdure) -> None:
    client = start_perdure("--enable-debug-command", "yes", "--latency-monitor-threshold", "20").connect()
    assert client.ask("LATENCY", "LATEST") == []
    client.ask("DEBUG", "SLEEP", "0.03")
    [[event, unix_s, last, longest]] = client.ask("LATENCY", "LATEST")
    assert (event, last, longest) == (b"command", longest, last)
    assert 30 <= last < 1000
    assert client.ask("LATENCY", "HISTORY", "command") == [[unix_s, last]]
    assert b"#" in client.ask("LATENCY", "GRAPH", "command")
    assert b"SLOWLOG" in client.ask("LATENCY", "DOCTOR")
    assert client.ask("LATENCY", "RESET", "other", "command") == 1
    assert client.ask("LATENCY", "LATEST") == []
    with pytest.raises(RedisError, match="No samples available for event 'command'"):
        raise client.ask("LATENCY", "GRAPH", "command")


def test_each_command_has_a_histogram(start_perdure: StartPerdure) -> None:
    client = start_perdure().connect()
    for number in range(5):
        client.ask("SET", "k", number)
    name, figures = client.ask("LATENCY", "HISTOGRAM", "set", "nonsense", "get")
    assert (name, figures[:2], figures[3][-1]) == (b"set", [b"calls", 5], 5)
    assert b"latency_percentiles_usec_set:p50=" in client.ask("INFO", "latencystats")
    client.ask("CONFIG", "SET", "latency-tracking", "no")
    client.ask("CONFIG", "RESETSTAT")
    client.ask("SET", "k", "v")
    assert client.ask("LATENCY", "HISTOGRAM") == []


@pytest.mark.parametrize("key", ["a", "{a}b", "b{a}c", "{}a", "{a", "a}b{", "{a}{b}", "{{a}}", ""])
def test_hash_tags_count(perdure: RealRedis, key: str) -> None:
    assert perdure.ask("CLUSTER", "KEYSLOT", key) == key_slot(key.encode())
