"""argv → reply bytes: look up, admit, make resident, run, `finish`.

`execute` is the hot path and stays flat. Everything that is not the common case leaves it early: `_admit` when the
session's or the server's gate is set, `_wait_for_elements` when a key's elements are not in memory.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from perdure import clock, errors, latency, lfu
from perdure.acl import admission
from perdure.errors import CountedError, ReplyError, TooLong
from perdure.pauses import TOLD_ON
from perdure.registry import Command
from perdure.session import NO_REPLY, Argv, Park, Session
from perdure.tracking import SCRIPTS
from perdure_storage.effects import KEY_LEVEL, SPACES
from perdure_storage.errors import Corruption, StorageError, TooLarge, WrongType
from perdure_storage.keyspace import BIG
from perdure_storage.types.entry import Collection

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.scripting.running import Run
    from perdure.server import Server
    from perdure_storage.keyspace import Keyspace

log = logging.getLogger("perdure")

WRONGTYPE: Final = ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value")
TOO_LARGE: Final = ReplyError("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
QUEUED: Final = b"+QUEUED\r\n"
SHOWN_AFTER: Final = frozenset((b"exec", b"reset", b"select"))
"""MONITOR shows these when they have run: SELECT with the database that it has chosen."""
OF_HTTP: Final = frozenset((b"post", b"host:"))
"""Nobody but a browser says this, and what follows may be commands that a web page had it send."""
IN_MULTI: Final = frozenset((b"exec", b"discard", b"multi", b"watch", b"quit", b"reset"))
WHILE_SUBSCRIBED: Final = frozenset(
    (
        b"subscribe", b"unsubscribe", b"psubscribe", b"punsubscribe", b"ssubscribe", b"sunsubscribe",
        b"ping", b"quit", b"reset",
    )
)  # fmt: skip


ENOUGH: Final = 1 << 20
"""Bytes of one reply which are to leave before more of a pipeline is run."""


def execute_all(session: Session, commands: list[Argv]) -> int:
    """Run requests in order, their replies going to `session.out`; returns how many were run. One that has to wait,
    one that closes the connection and one with a large reply are the last."""
    server = session.server
    out = session.out
    for done, argv in enumerate(commands, 1):
        reply = execute(session, argv)
        if reply:
            out.append(reply)
        if server.signaled:
            server.wakeups.serve()
        if session.parked is not None or session.closing or len(reply) > ENOUGH:
            return done
    return len(commands)


def execute(session: Session, argv: Argv) -> bytes:
    """Run one request and return its encoded reply; NO_REPLY when there is none (now). Never raises for what a client
    can cause."""
    server = session.server
    command = server.lookup.get(argv[0])
    if command is None or command.subcommands is not None:
        found = find(server, argv)
        if isinstance(found, ReplyError):
            return _hang_up(session) if argv[0].lower() in OF_HTTP else _refuse(session, found)
        command = found
    if not command.min_argc <= len(argv) <= command.max_argc:
        return _refuse(session, errors.wrong_arity(command.name), command)
    if session.gate or server.gate:
        verdict = _admit(session, command, argv)
        if verdict is not None:
            return verdict
    if not session.db.complete and not command.record_only:
        park = _wait_for_elements(session, command, argv)
        if park is not None:
            return _park(session, park, argv)
    session.last_command = command
    reply = run(session, command, argv)
    if type(reply) is Park:
        command.calls -= 1  # it counts when it has its reply
        return _park(session, reply, argv)
    if session.gate and not _may_reply(session):
        return NO_REPLY
    return session.encode(reply)


def find(server: Server, argv: Argv) -> Command | ReplyError:
    """The command (or subcommand) that `argv` names, or the error that says there is none."""
    command = server.commands.get(argv[0].lower())
    if command is None:
        return errors.unknown_command(argv)
    if command.subcommands is None or len(argv) == 1:
        return command
    return command.subcommands.get(argv[1].lower()) or errors.unknown_subcommand(argv)


def run(session: Session, command: Command, argv: Argv, again: Callable[[Keyspace], Any] | None = None) -> Any:
    """Call the handler and let `finish` do what follows from its changes; a reply, a ReplyError or a Park.

    `again` takes the handler's place when a client that waited gets its turn: see `Park`.

    REQUIRES: admitted, arity checked.
    """
    server = session.server
    started = clock.nanoseconds()
    try:
        if again is None:
            reply = command.handler(session if command.context else session.db, argv[command.words :])
        else:
            reply = again(session.db)
    except TooLong as error:
        if session.peer is not None:  # whoever has a limit for its replies gets what it would get half way
            server.too_much(session, error.least)
        reply = ReplyError(error.text)
    except ReplyError as error:
        reply = error.with_traceback(None)  # else this frame and the error hold one another, and nobody collects cycles
    except WrongType:
        reply = WRONGTYPE
    except TooLarge:
        reply = TOO_LARGE
    except Corruption as error:
        log.error("corruption met by %s: %s", command.name.decode(), error)
        reply = ReplyError(f"ERR corruption: {error}")
    except Exception:
        log.exception("the handler of %s failed", command.name.decode())
        reply = ReplyError(f"ERR internal error in '{command.name.decode()}', see the server's log")
    ds = session.ds
    if (ds.effects or ds.touched) and not session.in_exec:
        failure = finish(server)
        if failure is not None and not (command.readonly and server.refuses_writes):  # who reads has met what expired
            reply = failure
    if ds.events:
        server.tell_events()
    elapsed = clock.nanoseconds() - started
    command.calls += 1
    command.nanoseconds += elapsed
    if server.histograms and type(reply) is not Park:
        counts = command.histogram
        if counts is None:
            counts = command.histogram = [0] * latency.BUCKETS
        counts[latency.bucket_of(elapsed)] += 1
    if elapsed >= server.slow_ns and type(reply) is not Park:
        server.was_slow(session, command, argv, elapsed)
    if type(reply) is ReplyError:
        command.failed += 1
        server.count_error(reply)
    elif type(reply) is CountedError:
        command.failed += 1
    return reply


def finish(server: Server) -> ReplyError | None:
    """Everything that follows from a change: the log, WATCH, blocked clients, tracking. One batch, one LSN.

    Returns the error that the client must see when the log refused the batch; the change is undone then.
    """
    ds = server.dataset
    effects = ds.effects
    if ds.touched or ds.counted:
        ds.seal()
    changed, moved, stale = None, False, None
    if server.watchers or server.waited_for or server.trackers:
        changed = [(effect[1], effect[2]) for effect in effects if effect[0] in KEY_LEVEL]
        moved = SPACES in [effect[0] for effect in effects]
        if server.trackers:
            stale = server.caches.stale(effects, ds.now)
    try:
        server.engine.commit()
    except StorageError as error:
        ds.events.clear()
        server.refuse_writes(error)
        return ReplyError(f"MISCONF {error}")
    server.changes += 1
    if changed:
        server.keys_changed(changed)
    if stale:
        server.caches.changed(stale)
    if moved:
        server.databases_moved()
    if ds.events:
        server.tell_events()
    return None


def exec_queue(session: Session) -> bytes:
    """EXEC: run what MULTI queued as one batch. REQUIRES: in MULTI, not broken."""
    queue = session.multi or []
    server = session.server
    session.discard()
    session.in_exec = True
    server.hold_back()
    replies = [b"*%d\r\n" % len(queue)]
    try:
        for command, argv in queue:
            if server.monitors:
                show(session, command, argv)
            reply = None if session.user.unrestricted else admission.refusal_in_exec(session, command, argv)
            if reply is None:
                reply = run_inside(session, command, argv)
            if server.monitors:
                show(session, command, argv, ran=True)
            if type(reply) is Park:
                reply = reply.at_once
            if session.tracking is not None:
                server.caches.remember_inside(session, command, argv)
            replies.append(session.encode(reply))
    finally:
        session.in_exec = False
    ds = session.ds
    if ds.effects or ds.touched:
        failure = finish(server)
        if failure is not None:
            server.let_go(committed=False)
            return session.encode(failure)
    replies.append(server.let_go(committed=True, caller=session))
    return b"".join(replies)


def run_inside(session: Session, command: Command, argv: Argv) -> Any:
    """`run` for a command of a transaction or a script: under an LFU policy the uses of its keys are counted."""
    server = session.server
    if not server.gate or not command.first_key or not lfu.is_lfu(server.config.maxmemory_policy):
        return run(session, command, argv)
    ticks = _before_use(session, command, argv)
    reply = run(session, command, argv)
    _count_uses(session, ticks)
    return reply


def _before_use(session: Session, command: Command, argv: Argv) -> list[tuple[Any, int]]:
    """The entries of a command's keys that are in memory, each with a `tick` that a use sets to another value."""
    found = map(session.db.hot.get, command.keys(argv))
    ticks = [(entry, lfu.counted(entry.tick)) for entry in found if entry is not None and entry.kind]
    for entry, tick in ticks:
        entry.tick = tick
    return ticks


def _count_uses(session: Session, ticks: list[tuple[Any, int]]) -> None:
    server = session.server
    for entry, tick in ticks:
        if entry.tick != tick:
            entry.tick = lfu.used(tick, session.ds.tick, server.config, server.random)


def call_inside(session: Session, script: Run, argv: Argv) -> Any:
    """Run a command for a script: a reply or a ReplyError. What it changes is part of the script's batch.

    REQUIRES: `session.in_exec`.
    """
    server = session.server
    command = server.lookup.get(argv[0])
    if command is None or command.subcommands is not None:
        found = find(server, argv)
        if isinstance(found, ReplyError):
            server.count_error(found)
            return ReplyError("ERR Unknown Redis command called from script")
        command = found
    if not command.min_argc <= len(argv) <= command.max_argc:
        command.rejected += 1
        misfit = ReplyError("ERR Wrong number of args calling Redis command from script")
        server.count_error(misfit)
        return misfit
    if command.noscript or command.write or command.blocking or session.gate or server.gate or script.read_only:
        refusal = _why_not_inside(session, script, command, argv)
        if refusal is not None:
            command.rejected += 1
            server.count_error(refusal)
            return refusal
    reply = run_inside(session, command, argv) if server.gate else run(session, command, argv)
    if server.monitors:
        show(session, command, argv, ran=True)
    if type(reply) is Park:
        reply = reply.at_once
    if command.readonly and script.caller.tracking is not None:
        server.caches.remember_inside(script.caller, command, argv)
        server.caches.script_reads = True
    return reply


def _why_not_inside(session: Session, script: Run, command: Command, argv: Argv) -> ReplyError | None:
    """The reason why a script may not run this command."""
    server = session.server
    if command.noscript:
        return ReplyError("ERR This Redis command is not allowed from script")
    if session.gate:
        refusal = admission.refusal_in_script(script.caller, command, argv)
        if refusal is not None:
            return refusal
    if command.blocking and command.name in (b"xread", b"xreadgroup") and b"BLOCK" in map(bytes.upper, argv):
        return ReplyError(f"ERR {command.name.decode()} command is not allowed with BLOCK option from scripts")
    if script.read_only and (command.write or command.name in TOLD_ON):
        return ReplyError("ERR Write commands are not allowed from read-only scripts.")
    if command.write:
        if server.gate:
            refusal = server.why_no_writes(command, session)
            if refusal is not None and not (script.rules.allow_oom and refusal.text.startswith("OOM")):
                return refusal
        script.wrote = True
    if server.monitors:
        show(session, command, argv)
    return None


def _admit(session: Session, command: Command, argv: Argv) -> bytes | None:
    """The uncommon reasons not to run a command now; None when it may run."""
    server, name = session.server, command.name
    if not session.authenticated and not command.no_auth:
        return _refuse(session, errors.no_auth(), command)
    refused = admission.refusal(session, command, argv)
    if refused is not None:
        return _refuse(session, refused, command)
    if server.meanwhile.run is not None and not command.allow_busy:
        return _refuse(session, server.stage.busy(), command)
    subscribed = session.protocol == 2 and (session.channels or session.patterns or session.shard_channels)
    if subscribed and name not in WHILE_SUBSCRIBED:
        error = ReplyError(
            f"ERR Can't execute '{name.decode()}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
            "are allowed in this context"
        )
        return _refuse(session, error, command)
    for judged in [queued for queued, _ in session.multi or ()] if name == b"exec" else [command]:
        refusal = server.why_no_writes(judged, session) if judged.write else None
        if refusal is not None:
            return _refuse(session, refusal, command)
    if session.multi is not None and name not in IN_MULTI:
        if command.no_multi:
            return _refuse(session, errors.not_in_transaction(), command)
        session.multi.append((command, argv))
        session.multi_bytes += sum(map(len, argv))
        return QUEUED if _may_reply(session) else NO_REPLY
    if server.paused(command, session, argv):
        return _park(session, Park("pause", ready=lambda: not server.paused(command, session, argv)), argv)
    if server.monitors:
        show(session, command, argv)
    quiet = server.refuses_writes or (bool(server.pausing.until_ms) and command.readonly)
    quiet = quiet or (lfu.is_lfu(server.config.maxmemory_policy) and command.first_key > 0)
    if session.no_touch or session.tracking is not None or quiet or (server.monitors and name in SHOWN_AFTER):
        return _run_observed(session, command, argv)
    return None


def show(session: Session, command: Command, argv: Argv, *, ran: bool = False) -> None:
    """Tell MONITOR of a command before it runs, or, if it is one of SHOWN_AFTER, when it has `ran`.

    Scripts are shown, too, ahead of their commands, although Redis flags them otherwise.
    """
    hidden = command.admin or (command.skip_monitor and command.name not in SCRIPTS)
    if not hidden and ran == (command.name in SHOWN_AFTER):
        session.server.feed_monitors(session, argv)


def _run_observed(session: Session, command: Command, argv: Argv) -> bytes:
    """The rest of `execute` for a client that leaves no trace (CLIENT NO-TOUCH: for eviction, its keys have been unused
    for as long as before), or is told what changes (CLIENT TRACKING); for reading during a pause, or while the log
    takes nothing, when keys whose time has come are not there, but are not deleted; and for an EXEC that MONITOR shows
    behind what it runs."""
    if not session.db.complete and not command.record_only:
        park = _wait_for_elements(session, command, argv)
        if park is not None:
            return _park(session, park, argv)
    server = session.server
    unseen: list[tuple[Any, int]] = []
    used: list[tuple[Any, int]] = []
    if command.first_key and session.no_touch and command.name != b"touch":
        found = map(session.db.hot.get, command.keys(argv))
        unseen = [(entry, entry.tick) for entry in found if entry is not None and entry.kind]
    elif command.first_key and lfu.is_lfu(server.config.maxmemory_policy):
        used = _before_use(session, command, argv)
    session.last_command = command
    session.ds.hold_expired = server.refuses_writes or (command.readonly and bool(server.pausing.until_ms))
    reply, told = run_told(session, command, argv)
    session.ds.hold_expired = False
    for entry, tick in unseen:
        entry.tick = tick
    _count_uses(session, used)
    if type(reply) is Park:
        command.calls -= 1  # it counts when it has its reply
        return _park(session, reply, argv)
    if server.monitors:
        show(session, command, argv, ran=True)
    if _may_reply(session):
        encoded: bytes = session.encode(reply)
        return encoded + told
    if told:
        session.server.push(session, told)
    return NO_REPLY


def run_told(
    session: Session, command: Command, argv: Argv, again: Callable[[Keyspace], Any] | None = None
) -> tuple[Any, bytes]:
    """`run`, and what a client that tracks is told of its own changes, encoded: it goes out behind the reply."""
    if session.tracking is None:
        return run(session, command, argv, again), b""
    caches = session.server.caches
    caches.begin(session)
    reply = run(session, command, argv, again)
    if type(reply) is not Park:
        caches.remember(session, command, argv)
    if session.tracking is not None and session.multi is None and not command.name.startswith(b"client|"):
        session.tracking.caching = False
    return reply, caches.end()


def _hang_up(session: Session) -> bytes:
    """HTTP is not answered: the connection ends with what was said before, and nothing behind it is run."""
    log.warning("client %d (%s) speaks HTTP, closing: did a web page send it here?", session.id, session.address)
    session.server.kill(session, after_reply=True)
    return NO_REPLY


def _refuse(session: Session, error: ReplyError, command: Command | None = None) -> bytes:
    """The reply to a request that will not run; inside MULTI it also breaks the transaction, and EXEC ends it."""
    session.server.count_error(error)
    if command is not None:
        command.rejected += 1
    if command is not None and command.name == b"exec":
        session.discard()
        error = ReplyError(f"EXECABORT Transaction discarded because of: {error.text.removeprefix('ERR ')}")
    elif session.multi is not None:
        session.multi_broken = True
    if session.gate and not _may_reply(session):
        return NO_REPLY
    return session.encode(error)


def _may_reply(session: Session) -> bool:
    """CLIENT REPLY OFF and SKIP."""
    if session.skip_next:
        session.skip_next -= 1
        session.update_gate()
        return False
    return session.reply_on


def _wait_for_elements(session: Session, command: Command, argv: Argv) -> Park | None:
    """Bring large cold collections among the declared keys into memory in steps, the client waiting meanwhile."""
    if not command.first_key and not command.movablekeys:
        return None
    db = session.db
    for key in command.keys(argv):
        entry = db.hot.get(key)
        if entry is None and not db.complete:
            entry = db.find(key)
        if isinstance(entry, Collection) and not entry.loaded and entry.size > BIG:
            session.server.load_in_steps(entry)
            return Park("loading", ready=_LoadedNow(entry))
    return None


class _LoadedNow:
    """Asks whether a collection has come into memory, or has been deleted meanwhile."""

    def __init__(self, entry: Collection) -> None:
        self.entry = entry

    def __call__(self) -> bool:
        return self.entry.loaded or not self.entry.is_there


def _park(session: Session, park: Park, argv: Argv) -> bytes:
    """Let the client wait; its further requests queue up behind."""
    park.argv = argv
    park.db = session.db
    park.since_ms = session.ds.now
    session.server.park(session, park)
    return NO_REPLY
