"""Throughput workloads: redis-benchmark's own tests, run against both servers in turn.

Each has a name, what redis-benchmark is told, and the durability of both servers. The bar is the ratio of requests a
second, Perdure over redis-server, that we want to reach.
"""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
from dataclasses import dataclass

import redis


@dataclass(frozen=True)
class Workload:
    """`tests` are redis-benchmark's names; `requests` per round. With a `script`, its EVALSHA is called instead, with a
    key and an argument."""

    name: str
    tests: str
    clients: int
    pipeline: int
    requests: int
    fsync: str
    bar: float
    keys: int = 0
    script: str = ""


WORKLOADS = [
    Workload("get", "get", 50, 1, 200_000, "everysec", 0.85),
    Workload("set", "set", 50, 1, 200_000, "everysec", 0.85),
    Workload("incr", "incr", 50, 1, 200_000, "everysec", 0.85),
    Workload("hset", "hset", 50, 1, 200_000, "everysec", 0.85),
    Workload("get_pipelined", "get", 50, 16, 1_000_000, "everysec", 0.5),
    Workload("set_pipelined", "set", 50, 16, 1_000_000, "everysec", 0.5),
    Workload("incr_pipelined", "incr", 50, 16, 1_000_000, "everysec", 0.5),
    Workload("hset_pipelined", "hset", 50, 16, 1_000_000, "everysec", 0.5),
    Workload("lpush_pipelined", "lpush", 50, 16, 1_000_000, "everysec", 0.5),
    Workload("zadd_pipelined", "zadd", 50, 16, 1_000_000, "everysec", 0.5, keys=100_000),
    Workload(
        "evalsha_pipelined", "", 50, 16, 500_000, "everysec", 0.5, keys=1000,
        script='redis.call("SET", KEYS[1], ARGV[1]); return redis.call("GET", KEYS[1])',
    ),
    Workload("set_random", "set", 50, 1, 200_000, "everysec", 0.85, keys=1_000_000),
    Workload("set_always_1", "set", 1, 1, 10_000, "always", 0.9),
    Workload("set_always_50", "set", 50, 1, 100_000, "always", 0.9),
    Workload("set_always_500", "set", 500, 1, 100_000, "always", 0.9),
]


@dataclass
class Figure:
    """One run: requests a second, and latencies in ms."""

    rps: float
    p50_ms: float
    p99_ms: float


def measure(workload: Workload, port: int, share: float = 1.0) -> Figure:
    """Run redis-benchmark once; `share` scales the number of requests."""
    command = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(port), "--csv"]
    command += ["-c", str(workload.clients), "-P", str(workload.pipeline)]
    command += ["-n", str(max(1000, int(workload.requests * share)))]
    if workload.keys:
        command += ["-r", str(workload.keys)]
    if workload.script:
        with redis.Redis(port=port, protocol=2) as client:
            client.script_load(workload.script)
        digest = hashlib.sha1(workload.script.encode(), usedforsecurity=False).hexdigest()
        command += ["EVALSHA", digest, "1", "key:__rand_int__", "value"]
    else:
        command += ["-t", workload.tests]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    row = next(csv.DictReader(io.StringIO(output)))
    return Figure(float(row["rps"]), float(row["p50_latency_ms"]), float(row["p99_latency_ms"]))
