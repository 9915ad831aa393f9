"""Crash the engine and the server again and again, and see that nothing acknowledged is lost.

Three ways. Simulated rounds: random operations, faults of the disk and crashes, all from one seed, in this process
and against a dict; a seed that fails is printed, and --seed plays it again. Planted bugs: the simulation is run with
each of a list of bugs put into the engine, and must notice every one. Kill rounds: a real server with writing clients
is killed with SIGKILL at random moments (so is its checkpointer alone), started again, and must hold all that it had
acknowledged and nothing that was never written; what was under way may be there or not. All three drive values of all
types, mixed, in transactions too.

All on directories of its own, under the system's temporary one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from importlib.util import find_spec
from random import Random
from typing import Any, Final

from perdure_tools.common import Meter, Mistake

LEVELS: Final = ("always", "everysec", "no")
SMOKE_SEEDS: Final = 300
SMOKE_KILLS: Final = 3
SIMULATED: Final = 1000
COMPLAINTS: Final = 10

EXAMPLES: Final = """\
examples:
  perdure crash                                     1000 simulated rounds, 20 kill rounds
  perdure crash --rounds 200 --clients 8 --level everysec
  perdure crash --simulate 100000 --rounds 0 --from 5000
  perdure crash --seed 4711                         one simulated round again
  perdure crash --planted                           does the simulation find what is there?
  perdure crash --smoke                             a little of each, in a minute or two

exit codes: 0 nothing was found, 1 something was
"""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="kill rounds [20]")
    parser.add_argument("--clients", type=int, default=8, metavar="N", help="writing clients in a kill round [8]")
    parser.add_argument("--level", choices=LEVELS, default="always", help="the server's appendfsync [always]")
    parser.add_argument("--simulate", type=int, metavar="N", help=f"simulated rounds [{SIMULATED}, with --rounds none]")
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="SEED", help="first seed [0]")
    parser.add_argument("--seed", type=int, metavar="SEED", help="only this simulated round")
    parser.add_argument("--planted", action="store_true", help="check the simulation with planted bugs")
    parser.add_argument("--smoke", action="store_true", help="a little of everything")
    parser.add_argument("--json", action="store_true", help="results as JSON lines")
    parser.set_defaults(rounds_default=parser.get_default("rounds"))


def run(args: Namespace) -> int:
    """Play what was asked for; returns 1 when something was found."""
    report = Report(as_json=args.json)
    if args.seed is not None:
        simulated(report, args.seed, 1)
    elif args.planted:
        planted(report)
    elif args.smoke:
        simulated(report, args.first, SMOKE_SEEDS)
        planted(report)
        for level in ("always", "everysec"):
            killed(report, level, SMOKE_KILLS, args.clients)
    else:
        rounds_given = args.rounds != args.rounds_default
        simulated(report, args.first, args.simulate if args.simulate is not None else 0 if rounds_given else SIMULATED)
        killed(report, args.level, args.rounds, args.clients)
    return 1 if report.bad else 0


class Report:
    """Results on standard output, progress on standard error. `bad` when something was found."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.bad = False
        self.meter = Meter()

    def give(self, what: str, good: bool, rows: dict[str, Any], detail: str = "") -> None:
        """One result: a table of names and numbers, and what there is to say when it is not good."""
        self.meter.clear()
        self.bad = self.bad or not good
        if self.as_json:
            print(json.dumps({"what": what, "good": good, **rows, "detail": detail}), flush=True)
            return
        print(f"{what}: {'good' if good else 'BAD'}")
        for name, value in rows.items():
            print(f"  {name.replace('_', ' '):<48}{value:>12}")
        if detail:
            print(detail)
        sys.stdout.flush()


def simulated(report: Report, first: int, rounds: int) -> None:
    """Rounds of the simulation, from seed `first` on."""
    from perdure_tools.crash_simulation import Failure, play

    if rounds <= 0:
        return
    began = time.monotonic()
    steps = 0
    failed: list[int] = []
    detail = ""
    for seed in range(first, first + rounds):
        try:
            steps += play(seed)
        except Failure as failure:
            failed.append(seed)
            detail = detail or f"{failure}\nto play it again: perdure crash --seed {seed}"
        report.meter.tell("simulated", seed - first + 1, rounds)
    rows = {"rounds": rounds, "steps": steps, "failed": len(failed), "seconds": round(time.monotonic() - began, 1)}
    report.give("simulated rounds", not failed, rows, detail)


def planted(report: Report) -> None:
    """Every planted bug must be noticed. Compiled classes take no bugs: then another process does it without them."""
    from perdure_tools.crash_planted import BUGS, can_plant, rounds_until_caught

    if not can_plant():
        command = [sys.executable, "-m", "perdure_tools.cli", "crash", "--planted", *(["--json"] if report.as_json else [])]
        found = subprocess.run(command, env={**os.environ, "PERDURE_PURE": "1"}, check=False).returncode
        report.bad = report.bad or found != 0
        return
    survived = 0
    rows: dict[str, Any] = {}
    for number, bug in enumerate(BUGS, 1):
        rounds, failure = rounds_until_caught(bug)
        rows[bug.name] = f"round {rounds}" if failure is not None else f"NOT NOTICED in {rounds} rounds"
        survived += failure is None
        report.meter.tell("planted bugs", number, len(BUGS))
    report.give("planted bugs, noticed in", not survived, rows)


def killed(report: Report, level: str, rounds: int, clients: int) -> None:
    """Rounds with a real server. The directory is kept when something was found."""
    from perdure_tools.crash_server import Harness
    from perdure_tools.crash_wire import Failure

    if rounds <= 0:
        return
    if find_spec("perdure") is None:
        raise Mistake("the server is not installed beside the tools: kill rounds need it")
    directory = tempfile.mkdtemp(prefix="perdure-crash-")
    harness = Harness(directory, level, clients, Random())
    detail = ""
    try:
        harness.run(rounds, lambda done, total: report.meter.tell(f"killed, {level}", done, total))
    except Failure as failure:
        detail = f"{failure}\n"
    good = harness.result.good and not detail
    rows = harness.result.as_dict()
    del rows["level"]
    if good:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        detail += "".join(f"  {each}\n" for each in harness.complaints[:COMPLAINTS])
        detail += f"directory and messages of the server: {directory}"
    report.give(f"kill -9, appendfsync {level}", good, rows, detail)
