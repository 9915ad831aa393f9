"""Check a data directory: every record of the log, every row of the tables, and what they say of one another.

Changes nothing and repairs nothing. Each finding is a line: severity, place, what is wrong there. An "error" is
damage; a "warning" is something the next start mends, like the unfinished write that a power cut leaves.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from typing import Final

from perdure_storage.check import Finding, check_directory
from perdure_tools.common import Meter, Mistake, directory_argument

EXAMPLES: Final = """\
examples:
  perdure check perdure-data
  perdure check perdure-data --json | jq -r 'select(.severity == "error") | .where'

exit codes: 0 no errors (there may be warnings), 1 errors, 2 not a data directory
"""


def arguments(parser: ArgumentParser) -> None:
    directory_argument(parser)
    parser.add_argument("--json", action="store_true", help="findings as JSON lines")
    parser.add_argument("--quiet", action="store_true", help="say nothing when nothing is found")


def run(args: Namespace) -> int:
    if not any(os.path.exists(os.path.join(args.directory, name)) for name in ("FORMAT", "TABLES", "wal")):
        raise Mistake(f"{args.directory} is not a data directory: there is no file FORMAT in it")
    meter = Meter()
    errors = warnings = 0
    for step in check_directory(args.directory):
        if not isinstance(step, Finding):
            meter.tell(*step)
            continue
        meter.clear()
        errors += step.severity == "error"
        warnings += step.severity != "error"
        print(json.dumps(step._asdict()) if args.json else step, flush=True)
    meter.clear()
    if not args.json and not (args.quiet and not errors + warnings):
        print(f"{args.directory}: {errors} errors, {warnings} warnings", file=sys.stderr if errors else sys.stdout)
    return 1 if errors else 0
