"""`make bench`: Perdure and redis-server side by side, interleaved, as ratios.

    python benchmarks/run.py                      all workloads, three rounds, then all scenarios
    python benchmarks/run.py --only set,get       some of them
    python benchmarks/run.py --quick              a tenth of the requests: does it work at all?

Absolute figures depend on the machine and the hour; ratios of one run do not. Results go to benchmarks/results/ as
JSON and SVG. `redis-server` and `redis-benchmark` (Debian: redis-server, redis-tools) must be installed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from dataclasses import asdict
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import chart, scenarios, servers
from benchmarks.workloads import WORKLOADS, Figure, Workload, measure

RESULTS = Path(__file__).parent / "results"


def compare(workload: Workload, rounds: int, share: float) -> dict[str, list[Figure]]:
    """Run a workload in turn on both servers, `rounds` times, after one short warm-up each."""
    subjects = servers.pair(appendfsync=workload.fsync)
    figures: dict[str, list[Figure]] = {subject.name: [] for subject in subjects}
    try:
        for subject in subjects:
            subject.start()
            measure(workload, subject.port, share / 10)
        for _ in range(rounds):
            for subject in subjects:
                figures[subject.name].append(measure(workload, subject.port, share))
    finally:
        for subject in subjects:
            subject.remove()
    return figures


def ratios(figures: dict[str, list[Figure]]) -> list[float]:
    """Requests a second, Perdure over Redis, one for each round."""
    return [ours.rps / theirs.rps for ours, theirs in zip(figures["perdure"], figures["redis"], strict=True)]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each workload runs on each server")
    parser.add_argument("--only", default="", help="comma-separated names of workloads and scenarios")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests and sizes")
    parser.add_argument("--list", action="store_true", help="list the names and stop")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory for JSON and SVG")
    options = parser.parse_args()
    wanted = set(filter(None, options.only.split(",")))
    names = [workload.name for workload in WORKLOADS] + list(scenarios.SCENARIOS)
    if options.list:
        print("\n".join(names))
        return 0
    if unknown := wanted - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; --list shows the names")
    if shutil.which("redis-benchmark") is None or shutil.which("redis-server") is None:
        parser.error("redis-server and redis-benchmark are needed: apt-get install redis-server redis-tools")
    share = 0.1 if options.quick else 1.0
    results: dict[str, object] = {}
    rows = []
    print(f"{'workload':<18} {'ratio':>6} {'low':>6} {'high':>6} {'bar':>5}   redis rps  perdure rps   p99 ms")
    for workload in WORKLOADS:
        if wanted and workload.name not in wanted:
            continue
        figures = compare(workload, options.rounds, share)
        found = sorted(ratios(figures))
        median = statistics.median(found)
        theirs, ours = (statistics.median(f.rps for f in figures[name]) for name in ("redis", "perdure"))
        slow = [statistics.median(f.p99_ms for f in figures[name]) for name in ("redis", "perdure")]
        mark = "" if median >= workload.bar else "  < bar"
        print(
            f"{workload.name:<18} {median:6.2f} {found[0]:6.2f} {found[-1]:6.2f} {workload.bar:5.2f} "
            f"{theirs:11,.0f} {ours:12,.0f}   {slow[0]:.2f}/{slow[1]:.2f}{mark}",
            flush=True,
        )
        rows.append((workload.name, found[0], median, found[-1], workload.bar))
        results[workload.name] = {
            "workload": asdict(workload),
            "ratios": found,
            **{name: [asdict(figure) for figure in found_figures] for name, found_figures in figures.items()},
        }
    for name, scenario in scenarios.SCENARIOS.items():
        if wanted and name not in wanted:
            continue
        outcome = scenario(share)
        results[name] = outcome
        print(f"{name:<18} {'  '.join(f'{key} {value}' for key, value in outcome.items())}", flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "latest.json").write_text(json.dumps(results, indent=1) + "\n")
    if rows:
        (options.output / "latest.svg").write_text(chart.svg("Throughput beside redis-server", rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
