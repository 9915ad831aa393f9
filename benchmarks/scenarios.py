"""Scenarios: what throughput does not show. Each is a function `(share) -> {figure: value}`; `share` scales sizes."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

import redis

from benchmarks.servers import Subject, pair

Outcome = dict[str, object]
BATCH = 1000


def fill(client: redis.Redis, commands: Iterator[tuple[object, ...]]) -> None:
    """Send commands in pipelines and check that none failed."""
    while batch := list(islice(commands, BATCH)):
        with client.pipeline(transaction=False) as pipeline:
            for command in batch:
                pipeline.execute_command(*command)
            pipeline.execute()


def ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


class Prober(threading.Thread):
    """Sends one GET after another from a connection of its own and keeps the latencies."""

    def __init__(self, subject: Subject) -> None:
        super().__init__(daemon=True)
        self._client = subject.client()
        self._done = threading.Event()
        self.latencies: list[float] = []

    def run(self) -> None:
        while not self._done.is_set():
            started = time.perf_counter()
            self._client.execute_command("SET", "probe", "x")
            self.latencies.append(time.perf_counter() - started)
            time.sleep(0.0005)

    def stop(self) -> None:
        self._done.set()
        self.join()

    def p99_ms(self) -> float:
        return ms(statistics.quantiles(self.latencies, n=100)[98])


@contextmanager
def probing(subject: Subject) -> Iterator[Prober]:
    """Measure latencies while the block runs."""
    prober = Prober(subject)
    prober.start()
    try:
        yield prober
    finally:
        prober.stop()


@contextmanager
def perdure(**options: str) -> Iterator[Subject]:
    """Perdure alone, started."""
    subject = pair(**options)[1]
    try:
        subject.start()
        yield subject
    finally:
        subject.remove()


def memory(share: float) -> Outcome:
    """1,000,000 keys of 100 bytes with maxmemory 64mb: all readable, RssAnon of both processes under load."""
    count = int(1_000_000 * share)
    with perdure(maxmemory="64mb", appendfsync="everysec") as subject:
        client = subject.client()
        fill(client, (("SET", f"key:{i:010d}", f"{i:0100d}") for i in range(count)))
        peak, missing = subject.anonymous_bytes(), 0
        deadline = time.monotonic() + max(3.0, 20 * share)
        while time.monotonic() < deadline:
            wanted = [random.randrange(count) for _ in range(100)]
            values = client.mget([f"key:{i:010d}" for i in wanted])
            missing += sum(value != b"%0100d" % i for value, i in zip(values, wanted, strict=True))
            peak = max(peak, subject.anonymous_bytes())
        return {"keys": count, "missing": missing, "peak_rss_anon_mb": peak >> 20, "bar_mb": 64 + 120}


def restart(share: float) -> Outcome:
    """Restart with 5,000,000 keys after kill -9: time to the first correct reply, beside redis-server's."""
    count = int(5_000_000 * share)
    seconds: dict[str, float] = {}
    subjects = pair(appendfsync="everysec")
    try:
        for subject in subjects:
            subject.start()
            fill(subject.client(), (("SET", f"key:{i:010d}", f"value:{i}") for i in range(count)))
            subject.kill()
            started = time.monotonic()
            subject.start()
            last = f"key:{count // 2:010d}"
            assert subject.client().get(last) == b"value:%d" % (count // 2)
            seconds[subject.name] = round(time.monotonic() - started, 3)
            subject.stop()
    finally:
        for subject in subjects:
            subject.remove()
    return {"keys": count, **seconds, "times_sooner": round(seconds["redis"] / seconds["perdure"], 1)}


def big_delete(share: float) -> Outcome:
    """DEL of a hash of 1,000,000 fields: what the client waits."""
    count = int(1_000_000 * share)
    with perdure(appendfsync="everysec") as subject:
        client = subject.client()
        waits = []
        for round_ in range(3):
            fill(client, (("HSET", "big", f"field:{i:08d}", "v") for i in range(count)))
            started = time.perf_counter()
            client.delete("big")
            waits.append(ms(time.perf_counter() - started))
            assert client.dbsize() == 0, round_
        return {"fields": count, "del_ms": waits, "bar_ms": 1.0}


def expiry_storm(share: float) -> Outcome:
    """1,000,000 keys that expire in the same second, under load: p99 of other commands, and when all are gone."""
    count = int(1_000_000 * share)
    with perdure(appendfsync="everysec") as subject:
        client = subject.client()
        with probing(subject) as quiet:
            time.sleep(3)
        at = int(time.time()) + 5 + int(30 * share)
        fill(client, (("SET", f"key:{i}", "v", "EXAT", at) for i in range(count)))
        loaded = time.time()
        time.sleep(max(0.0, at - time.time()))
        with probing(subject) as storm:
            started = time.monotonic()
            while client.dbsize() > 1 and time.monotonic() - started < 60:
                time.sleep(0.1)
            gone_s = time.monotonic() - started
        return {
            "keys": count,
            "loaded_in_time": loaded < at,
            "quiet_p99_ms": quiet.p99_ms(),
            "storm_p99_ms": storm.p99_ms(),
            "all_gone_s": round(gone_s, 1),
        }


def scan_prefix(share: float) -> Outcome:
    """All of SCAN MATCH prefix* over 1,000,000 keys with 100 matches, beside redis-server's full scan."""
    count = int(1_000_000 * share)
    seconds: dict[str, float] = {}
    subjects = pair(appendfsync="everysec")
    try:
        for subject in subjects:
            subject.start()
            client = subject.client()
            fill(client, (("SET", f"key:{i:08d}", "v") for i in range(count)))
            fill(client, (("SET", f"user:42:{i}", "v") for i in range(100)))
            started = time.perf_counter()
            found = set(client.scan_iter(match="user:42:*", count=1000))
            seconds[f"{subject.name}_ms"] = ms(time.perf_counter() - started)
            assert len(found) == 100
    finally:
        for subject in subjects:
            subject.remove()
    return {"keys": count, **seconds, "times_faster": round(seconds["redis_ms"] / seconds["perdure_ms"], 1)}


def big_ranking(share: float) -> Outcome:
    """A sorted set of 1,000,000 members: medians on the server of ZADD, ZRANK and ZRANGE by rank and by score."""
    count = int(1_000_000 * share)
    with perdure(appendfsync="everysec") as subject:
        client = subject.client()
        fill(client, (("ZADD", "ranking", random.random(), f"member:{i:08d}") for i in range(count)))
        client.zrank("ranking", "member:00000000")
        client.config_resetstat()
        for _ in range(2000):
            member, rank, score = f"member:{random.randrange(count):08d}", random.randrange(count), random.random()
            client.execute_command("ZADD", "ranking", score, member)
            client.execute_command("ZRANK", "ranking", member)
            client.execute_command("ZRANGE", "ranking", rank, rank + 9)
            client.execute_command("ZRANGEBYSCORE", "ranking", score, "+inf", "LIMIT", 0, 10)
        told = client.info("latencystats")
        medians = {
            f"{name}_us": told[f"latency_percentiles_usec_{name}"]["p50"]
            for name in ("zadd", "zrank", "zrange", "zrangebyscore")
        }
        return {"members": count, **medians, "bar_us": 100}


def checkpoint_latency(share: float) -> Outcome:
    """p99 of SET while checkpoints and a compaction run, against that of a quiet server."""
    count = int(1_000_000 * share)
    with perdure(appendfsync="everysec") as subject:
        client = subject.client()
        fill(client, (("SET", f"key:{i:08d}", "v" * 100) for i in range(count)))
        time.sleep(3)
        with probing(subject) as quiet:
            time.sleep(4)
        with probing(subject) as during:
            for _ in range(4):
                fill(client, (("SET", f"key:{random.randrange(max(count, 1)):08d}", "w" * 100) for _ in range(2000)))
                client.bgsave()
                time.sleep(1)
        with probing(subject) as compaction:
            client.bgrewriteaof()
            time.sleep(4)
        return {
            "quiet_p99_ms": quiet.p99_ms(),
            "checkpoint_p99_ms": during.p99_ms(),
            "compaction_p99_ms": compaction.p99_ms(),
        }


SCENARIOS: dict[str, Callable[[float], Outcome]] = {
    "memory": memory,
    "restart": restart,
    "big_delete": big_delete,
    "expiry_storm": expiry_storm,
    "scan_prefix": scan_prefix,
    "big_ranking": big_ranking,
    "checkpoint_latency": checkpoint_latency,
}
"""By name, in the order they run."""
