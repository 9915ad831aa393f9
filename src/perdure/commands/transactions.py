"""MULTI, EXEC and WATCH: commands that run as one, if what they were decided upon has not changed meanwhile.

What MULTI queues is one batch of the log: after any crash all of it is there, or nothing.
"""

from __future__ import annotations

from typing import Final

from perdure import errors
from perdure.registry import ALLOW_BUSY, FAST, LOADING, NOSCRIPT, SKIP_SLOWLOG, STALE, Args, Family
from perdure.resp import NULL_ARRAY, Raw, Reply
from perdure.session import Session

COMMANDS = Family("transactions", context=True)

ANYTIME: Final = NOSCRIPT | LOADING | STALE


@COMMANDS.command("MULTI", ANYTIME | FAST | ALLOW_BUSY, since="1.2.0", complexity="O(1)")
def multi(ctx: Session, args: Args) -> Reply:
    """Begin a transaction: what follows is queued until EXEC."""
    if ctx.multi is not None:
        raise errors.nested_multi()
    ctx.multi = []
    ctx.multi_broken = False
    ctx.update_gate()
    return "OK"


@COMMANDS.command("EXEC", ANYTIME | SKIP_SLOWLOG, since="1.2.0", complexity="Depends on commands in the transaction")
def exec_(ctx: Session, args: Args) -> Reply:
    """Run the queued commands; null when a watched key has changed."""
    if ctx.multi is None:
        raise errors.exec_without_multi()
    if ctx.multi_broken:
        ctx.discard()
        raise errors.exec_abort()
    if ctx.watch_broken or ctx.watches_expired():
        ctx.discard()
        return NULL_ARRAY
    return Raw(ctx.server.exec_queue(ctx))


@COMMANDS.command(
    "DISCARD", ANYTIME | FAST | ALLOW_BUSY, since="2.0.0", complexity="O(N) where N is the number of queued commands"
)
def discard(ctx: Session, args: Args) -> Reply:
    """Forget what was queued and what is watched."""
    if ctx.multi is None:
        raise errors.discard_without_multi()
    ctx.discard()
    return "OK"


@COMMANDS.command("WATCH key [key ...]", ANYTIME | FAST | ALLOW_BUSY, since="2.2.0", complexity="O(1) for every key",
                  key_flags=("RO",))  # fmt: skip
def watch(ctx: Session, args: Args) -> Reply:
    """Make the next EXEC do nothing if one of these keys changes before it."""
    if ctx.multi is not None:
        raise errors.watch_inside_multi()
    if not ctx.watch_broken:
        for key in args:
            ctx.watch(key)
    return "OK"


@COMMANDS.command("UNWATCH", ANYTIME | FAST | ALLOW_BUSY, since="2.2.0", complexity="O(1)")
def unwatch(ctx: Session, args: Args) -> Reply:
    """Forget what is watched."""
    ctx.unwatch()
    return "OK"
