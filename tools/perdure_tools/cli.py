"""`perdure VERB ...`: look at a data directory, check it, take things out of it. One module for each verb.

A verb's module has a docstring (its help), `EXAMPLES`, `arguments(parser)` and `run(args) -> exit code`; it is imported
when it is called for. Exit codes: 0 all is well, 1 something was found or went wrong, 2 wrong usage.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module
from typing import Final

OK: Final = 0
PROBLEM: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

VERBS: Final = {
    "inspect": "what is in a directory: log, tables, keys, the biggest, what expires when",
    "dump": "all keys as JSON lines",
    "check": "is every byte as it was written, and does everything fit together?",
    "wal": "the records of the log, one line each",
    "crash": "kill a server again and again and see that nothing acknowledged is lost",
}

HELP: Final = """\
Usage: perdure VERB ... ; perdure VERB --help tells more

{verbs}

All but crash only read: a stopped directory, or one with a server running in it. Nothing on disk is changed.

Examples:
  perdure inspect perdure-data                  a summary
  perdure inspect perdure-data --key user:17    one key
  perdure dump perdure-data --match 'user:*' | jq -r .key
  perdure check perdure-data && echo sound
  perdure wal perdure-data --key user:17        what was done to it, as far as the log goes back

Exit codes: 0 all is well, 1 something was found or went wrong, 2 wrong usage.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        if words[1:] and words[1] in VERBS:
            return main([words[1], "--help"])
        print(HELP.format(verbs="\n".join(f"  {verb:<9}{what}" for verb, what in VERBS.items())), end="")
        return OK if words else USAGE
    if words[0] not in VERBS:
        print(f"perdure: there is no verb {words[0]!r}; there are {', '.join(VERBS)}", file=sys.stderr)
        return USAGE
    try:
        return run(words[0], words[1:])
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def run(verb: str, words: Sequence[str]) -> int:
    """Parse the rest of the line and call the verb."""
    module = import_module(f"perdure_tools.{verb}")
    summary, _, more = (module.__doc__ or "").partition("\n")
    parser = ArgumentParser(
        prog=f"perdure {verb}",
        description=summary + more.rstrip(),
        epilog=module.EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    module.arguments(parser)
    try:
        args = parser.parse_args(words)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else USAGE
    from perdure_tools.common import Mistake, failures

    directory = getattr(args, "directory", None)
    if directory and os.path.isdir(directory) and not os.access(directory, os.R_OK | os.X_OK):
        print(f"perdure {verb}: {directory} may not be read: run this as the user it belongs to", file=sys.stderr)
        return PROBLEM
    try:
        code: int = module.run(args)
        sys.stdout.flush()
        return code
    except Mistake as mistake:
        print(f"perdure {verb}: {mistake}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:
        raise
    except failures() as problem:
        print(f"perdure {verb}: {problem}", file=sys.stderr)
        return PROBLEM


if __name__ == "__main__":
    sys.exit(main())
