"""EVAL and SCRIPT: programs in Lua that run as one command."""

from __future__ import annotations

from typing import Final

from perdure import errors
from perdure.args import integer
from perdure.errors import ReplyError
from perdure.registry import (
    ALLOW_BUSY,
    LOADING,
    NO_MANDATORY_KEYS,
    NOSCRIPT,
    READONLY,
    SKIP_MONITOR,
    STALE,
    Args,
    Family,
)
from perdure.resp import Reply
from perdure.session import Session

COMMANDS = Family("scripting", context=True)

RUNS: Final = NO_MANDATORY_KEYS | NOSCRIPT | SKIP_MONITOR | STALE
DEPENDS: Final = "Depends on the script that is executed"
READS: Final = "RO access"
CHANGES: Final = "RW access update"

HELP: Final = (
    "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DEBUG (YES|SYNC|NO)",
    "    Not supported; NO is accepted.",
    "EXISTS <sha1> [<sha1> ...]",
    "    Which of these scripts are kept.",
    "FLUSH [ASYNC|SYNC]",
    "    Forget all scripts.",
    "KILL",
    "    End the script that is running, if it has not written yet.",
    "LOAD <script>",
    "    Keep a script without running it; returns its digest.",
    "HELP",
    "    Print this help.",
)


def key_count(args: Args) -> int:
    """numkeys, the second argument. Raises ReplyError."""
    count = 1 if args[1] == b"1" else integer(args[1])
    if count > len(args) - 2:
        raise errors.too_many_keys()
    if count < 0:
        raise errors.negative_keys()
    return count


@COMMANDS.command("EVAL script numkeys [key [key ...]] [arg [arg ...]]", RUNS, since="2.6.0", complexity=DEPENDS,
                  key_flags=(CHANGES,))  # fmt: skip
def eval_(ctx: Session, args: Args) -> Reply:
    """Run a script."""
    return evaluate(ctx, args, read_only=False)


@COMMANDS.command("EVAL_RO script numkeys [key [key ...]] [arg [arg ...]]", RUNS | READONLY, since="7.0.0",
                  complexity=DEPENDS, key_flags=(READS,))  # fmt: skip
def eval_ro(ctx: Session, args: Args) -> Reply:
    """Run a script that must not write."""
    return evaluate(ctx, args, read_only=True)


@COMMANDS.command("EVALSHA sha1 numkeys [key [key ...]] [arg [arg ...]]", RUNS, since="2.6.0", complexity=DEPENDS,
                  key_flags=(CHANGES,))  # fmt: skip
def evalsha(ctx: Session, args: Args) -> Reply:
    """Run a script that was kept, named by its digest."""
    return run_kept(ctx, args, False)


@COMMANDS.command("EVALSHA_RO sha1 numkeys [key [key ...]] [arg [arg ...]]", RUNS | READONLY, since="7.0.0",
                  complexity=DEPENDS, key_flags=(READS,))  # fmt: skip
def evalsha_ro(ctx: Session, args: Args) -> Reply:
    """Run a script that was kept and must not write."""
    return run_kept(ctx, args, True)


def run_kept(ctx: Session, args: Args, read_only: bool) -> Reply:
    scripts = ctx.server.scripts
    count = key_count(args)
    return scripts.run(ctx, scripts.find(args[0]), count, args[2:], read_only)


def evaluate(ctx: Session, args: Args, *, read_only: bool) -> Reply:
    scripts = ctx.server.scripts
    count = key_count(args)
    return scripts.run(ctx, scripts.add(args[0]), count, args[2:], read_only)


@COMMANDS.command("SCRIPT LOAD script", NOSCRIPT | STALE, since="2.6.0", complexity="O(N), N being the script's length",
                  tips="request_policy:all_nodes response_policy:all_succeeded")  # fmt: skip
def script_load(ctx: Session, args: Args) -> Reply:
    """Keep a script without running it."""
    return ctx.server.scripts.add(args[0]).name.encode()


@COMMANDS.command("SCRIPT EXISTS sha1 [sha1 ...]", NOSCRIPT, since="2.6.0", complexity="O(N), N being the digests",
                  tips="request_policy:all_shards response_policy:agg_logical_and")  # fmt: skip
def script_exists(ctx: Session, args: Args) -> Reply:
    """Say which of these scripts are kept."""
    return [int(digest.lower() in ctx.server.scripts.by_digest) for digest in args]


@COMMANDS.command("SCRIPT FLUSH [ASYNC | SYNC]", NOSCRIPT, since="2.6.0", complexity="O(N), N being the scripts kept",
                  tips="request_policy:all_nodes response_policy:all_succeeded",
                  history=(("6.2.0", "Added the `ASYNC` and `SYNC` flushing mode modifiers."),))  # fmt: skip
def script_flush(ctx: Session, args: Args) -> Reply:
    """Forget all scripts."""
    if len(args) > 1 or (args and args[0].lower() not in (b"sync", b"async")):
        raise ReplyError("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
    ctx.server.scripts.flush()
    return "OK"


@COMMANDS.command("SCRIPT KILL", NOSCRIPT | ALLOW_BUSY, since="2.6.0", complexity="O(1)",
                  tips="request_policy:all_shards response_policy:one_succeeded")  # fmt: skip
def script_kill(ctx: Session, args: Args) -> Reply:
    """End the script that is running, if it has not written yet."""
    ctx.server.stage.kill(function=False)
    return "OK"


@COMMANDS.command("SCRIPT DEBUG <YES | SYNC | NO>", NOSCRIPT, since="3.2.0", complexity="O(1)")
def script_debug(ctx: Session, args: Args) -> Reply:
    """Refused: there is no debugger."""
    mode = args[0].lower()
    if mode == b"no":
        return "OK"
    if mode in (b"yes", b"sync"):
        raise ReplyError("ERR SCRIPT DEBUG is not supported")
    raise ReplyError("ERR Use SCRIPT DEBUG YES/SYNC/NO")


@COMMANDS.command("SCRIPT HELP", LOADING | STALE, since="5.0.0", complexity="O(1)")
def script_help(ctx: Session, args: Args) -> Reply:
    """List the subcommands."""
    return list(HELP)
