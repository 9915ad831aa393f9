"""Running a server: what it is doing (INFO), making its data safe (SAVE, WAITAOF), and ending it (SHUTDOWN).

Redis' words for files map to ours: a save is a checkpoint, rewriting the AOF is compacting the tables, an fsync of the
AOF is one of the log.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from perdure import errors
from perdure.args import integer, integer_between, positive
from perdure.errors import ReplyError
from perdure.info import info_text, own_version
from perdure.registry import (
    ADMIN,
    ALLOW_BUSY,
    BLOCKING,
    FAST,
    LOADING,
    NO_ASYNC_LOADING,
    NO_MULTI,
    NOSCRIPT,
    READ,
    STALE,
    Args,
    Family,
)
from perdure.resp import Reply, Verbatim
from perdure.session import Park, Session

if TYPE_CHECKING:
    from perdure.server import Server

log = logging.getLogger("perdure")

COMMANDS = Family("server", context=True)
WAITING = Family("generic", context=True)
"""WAIT and WAITAOF are not in Redis' server group."""

ANYTIME: Final = NOSCRIPT | LOADING | STALE
WHEN_LOADED: Final = ADMIN | NOSCRIPT | NO_ASYNC_LOADING


@COMMANDS.command(
    "INFO [section [section ...]]",
    LOADING | STALE,
    since="1.0.0",
    complexity="O(1)",
    acl="dangerous",
    tips="nondeterministic_output request_policy:all_shards response_policy:special",
    history=(("7.0.0", "Takes several sections."),),
)
def info(ctx: Session, args: Args) -> Reply:
    """Return information and statistics about the server."""
    return Verbatim(info_text(ctx.server, [each.decode("latin-1").lower() for each in args]).encode())


@COMMANDS.command("TIME", LOADING | STALE | FAST, since="2.6.0", complexity="O(1)", tips="nondeterministic_output")
def time(ctx: Session, args: Args) -> Reply:
    """Return the server's time: seconds, and microseconds of the present one."""
    now = ctx.server.engine.clock.now_us()
    return [b"%d" % (now // 1_000_000), b"%d" % (now % 1_000_000)]


@COMMANDS.command("ROLE", NOSCRIPT | LOADING | STALE | FAST, since="2.8.12", complexity="O(1)", acl="admin dangerous")
def role(ctx: Session, args: Args) -> Reply:
    """Return the role in replication: a master without replicas."""
    return [b"master", ctx.server.engine.log.next_lsn - 1, []]


def replicaof(ctx: Session, args: Args) -> Reply:
    """Stop being a replica, which nobody is here yet."""
    host, port = args
    if (host.lower(), port.lower()) == (b"no", b"one"):
        return "OK"
    number = integer(port, lambda: ReplyError("ERR Invalid master port"))
    if not 0 <= number <= 65535:
        raise ReplyError("ERR Invalid master port")
    raise ReplyError("ERR replication is not supported by this version")


COMMANDS.command("REPLICAOF host port", WHEN_LOADED | STALE, since="5.0.0", complexity="O(1)")(replicaof)
COMMANDS.command(
    "SLAVEOF host port",
    WHEN_LOADED | STALE,
    since="1.0.0",
    complexity="O(1)",
    deprecated_since="5.0.0",
    replaced_by="`REPLICAOF`",
)(replicaof)


@COMMANDS.command("MONITOR", ADMIN | ANYTIME, since="1.0.0", complexity="O(1)")
def monitor(ctx: Session, args: Args) -> Reply:
    """Show every command that the server runs from now on."""
    if ctx.in_exec:  # the replies that are still to come would be lost among what is shown
        raise ReplyError("ERR MONITOR isn't allowed for DENY BLOCKING client")
    ctx.monitoring = True
    ctx.server.monitors.add(ctx)
    ctx.server.update_gate()
    return "OK"


# -- checkpoints ---------------------------------------------------------------------------------------------------


class Saving:
    """A checkpoint of everything up to now. `ready` pushes it on and says whether it is over, one way or the other."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.target = server.engine.log.next_lsn - 1
        server.engine.checkpoint_error = ""

    def ready(self) -> bool:
        engine = self.server.engine
        if engine.applied_lsn < self.target and engine.log.durable_lsn < self.target:
            self.server.hasten_sync()
        if engine.applied_lsn >= self.target or engine.checkpoint_error or engine.log.poison is not None:
            return True
        self.server.checkpoint()
        return engine.applied_lsn >= self.target

    def answer(self) -> Any:
        engine = self.server.engine
        if engine.applied_lsn >= self.target:
            return "OK"
        return ReplyError(f"ERR the checkpoint failed: {engine.log.poison or engine.checkpoint_error}")


@COMMANDS.command("SAVE", WHEN_LOADED | NO_MULTI, since="1.0.0", complexity="O(N) where N is what has changed")
def save(ctx: Session, args: Args) -> Reply | Park:
    """Fold everything until now into the tables, and wait for it. Other clients are served meanwhile."""
    saving = Saving(ctx.server)
    if saving.ready():
        reply: Reply = saving.answer()
        return reply
    return Park("save", ready=saving.ready, answer=saving.answer)


@COMMANDS.command("BGSAVE [SCHEDULE]", WHEN_LOADED, since="1.0.0", complexity="O(1)")
def bgsave(ctx: Session, args: Args) -> Reply:
    """Have everything until now folded into the tables."""
    if args and (len(args) > 1 or args[0].lower() != b"schedule"):
        raise errors.syntax()
    ctx.server.checkpoint()
    return "Background saving started"


@COMMANDS.command("LASTSAVE", LOADING | STALE | FAST, since="1.0.0", complexity="O(1)", acl="admin dangerous",
                  tips="nondeterministic_output")  # fmt: skip
def lastsave(ctx: Session, args: Args) -> Reply:
    """Return the unix time of the last checkpoint."""
    return ctx.server.engine.last_checkpoint_ms // 1000


@COMMANDS.command("BGREWRITEAOF", WHEN_LOADED, since="1.0.0", complexity="O(1)")
def bgrewriteaof(ctx: Session, args: Args) -> Reply:
    """Have the tables copied without their free pages, which gives disk space back."""
    engine = ctx.server.engine
    if engine.compacting:
        raise ReplyError("ERR Background append only file rewriting already in progress")
    if ctx.in_exec:  # the rest of the transaction comes first
        ctx.server.loop.call_soon(compact_unless_busy, ctx.server)
        return "Background append only file rewriting scheduled"
    engine.compact()
    return "Background append only file rewriting started"


def compact_unless_busy(server: Server) -> None:
    if not server.engine.compacting:
        server.engine.compact()


# -- waiting for safety --------------------------------------------------------------------------------------------


def milliseconds(raw: bytes) -> int:
    """A time to wait, 0 for ever. Raises ReplyError."""
    value = integer(raw, lambda: ReplyError("ERR timeout is not an integer or out of range"))
    if value < 0:
        raise errors.negative_timeout()
    return value


@WAITING.command(
    "WAIT numreplicas timeout",
    NOSCRIPT,
    since="3.0.0",
    complexity="O(1)",
    acl="connection -keyspace",
    tips="request_policy:all_shards response_policy:agg_min",
)
def wait(ctx: Session, args: Args) -> Reply | Park:
    """Wait until so many replicas have this connection's writes. There are none."""
    wanted, timeout = integer(args[0]), milliseconds(args[1])
    if wanted <= 0:
        return 0
    return Park("wait", deadline_ms=ctx.ds.now + timeout if timeout else 0, on_timeout=0)


class Syncing:
    """Until the log is durable up to now. `ready` pushes it on and says whether it is over."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.target = server.engine.log.next_lsn - 1

    @property
    def done(self) -> bool:
        return self.server.engine.log.durable_lsn >= self.target

    def ready(self) -> bool:
        if self.done or self.server.engine.log.poison is not None:
            return True
        self.server.start_sync()
        return False

    def answer(self) -> Any:
        return [1, 0] if self.done else ReplyError(f"MISCONF {self.server.engine.log.poison}")


@WAITING.command(
    "WAITAOF numlocal numreplicas timeout",
    NOSCRIPT | BLOCKING,
    since="7.2.0",
    complexity="O(1)",
    acl="connection",
    tips="request_policy:all_shards response_policy:agg_min",
)
def waitaof(ctx: Session, args: Args) -> Reply | Park:
    """Wait until what was written before is durable on this machine, and on so many replicas. There are none."""
    local = integer_between(args[0], 0, 1)
    replicas = positive(args[1])
    timeout = milliseconds(args[2])
    syncing = Syncing(ctx.server)
    now = [int(syncing.done), 0]
    if syncing.done >= local and not replicas:
        return now
    deadline = ctx.ds.now + timeout if timeout else 0
    if replicas:
        if local:
            ctx.server.start_sync()
        return Park("waitaof", deadline_ms=deadline, on_timeout=now)
    syncing.ready()
    return Park("waitaof", deadline_ms=deadline, on_timeout=now, ready=syncing.ready, answer=syncing.answer)


# -- the end -------------------------------------------------------------------------------------------------------


@COMMANDS.command(
    "SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
    ADMIN | ANYTIME | NO_MULTI | ALLOW_BUSY,
    since="1.0.0",
    complexity="O(N) where N is what has changed since the last checkpoint",
)
def shutdown(ctx: Session, args: Args) -> Reply | Park:
    """Stop the server. What was acknowledged is kept in any case, NOSAVE too.

    NOW does not wait for clients to take their replies; FORCE is for saves that fail. ABORT takes back what a signal has
    asked for, if it has not begun.
    """
    words = {each.upper() for each in args}
    if not words <= {b"NOSAVE", b"SAVE", b"NOW", b"FORCE", b"ABORT"} or words >= {b"NOSAVE", b"SAVE"}:
        raise errors.syntax()
    if b"ABORT" in words:
        if len(words) > 1:
            raise errors.syntax()
        if not ctx.server.asked_to_stop or ctx.server.stopping.is_set():
            raise ReplyError("ERR No shutdown in progress.")
        ctx.server.asked_to_stop = False
        log.warning("Shutdown manually aborted")
        return "OK"
    if ctx.server.stage.run is not None:
        ctx.server.stage.abandon(saving=b"NOSAVE" not in words)
    ctx.server.patient = b"NOW" not in words
    ctx.server.stop()
    return Park("shutdown")


# -- for fun -------------------------------------------------------------------------------------------------------

STRATA: Final = " .:-=+*#%@"


@COMMANDS.command("LOLWUT [VERSION version]", READ | FAST, since="5.0.0", complexity="O(1)")
def lolwut(ctx: Session, args: Args) -> Reply:
    """Draw what lasts: layers, the youngest on top, each made from the one below it."""
    if args and args[0].upper() == b"VERSION" and len(args) > 1:
        integer(args[1])
    width, height = 60, 12
    cells = [ctx.server.random.randrange(len(STRATA)) for _ in range(width)]
    layers = []
    for depth in range(height):
        layers.append("".join(STRATA[cell] for cell in cells))
        weight = depth / height
        cells = [
            round((1 - weight) * cells[at] + weight * (cells[at - 1] + cells[at] + cells[(at + 1) % width]) / 3)
            for at in range(width)
        ]
    drawing = "\n".join(layers)
    return Verbatim(
        f"{drawing}\n\nAll that lasts is the sum of what was added. Perdure ver. {own_version()}\n".encode()
    )
