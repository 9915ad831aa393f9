"""A script at work: who called it, what it may do, and what it asks of the server.

Everything between the first and the last command of a script is one open transaction. The commands run for a session
of their own, `actor`: it has the caller's database and rights, and SELECT or redis.setresp in it end with the script.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from perdure import clock
from perdure.errors import CountedError, ReplyError
from perdure.registry import REDIS_VERSION
from perdure.resp import Raw, Reply
from perdure.scripting.bridge import Body
from perdure.scripting.convert import ENCODED, FAILED, OK, STATUS, to_lua
from perdure.scripting.numbers import read_number
from perdure.scripting.sandbox import INTERNAL, NO_MEMORY, LuaError, OutOfMemory, Sandbox
from perdure.session import Argv, Session

if TYPE_CHECKING:
    from perdure.registry import Command
    from perdure.server import Server

log = logging.getLogger("perdure")

ROOM: Final = 256 << 20
"""Bytes that one script may allocate."""
LOAD_MS: Final = 500
"""So long the code of a library may run when it is loaded."""
LEVELS: Final = (logging.DEBUG, logging.INFO, logging.INFO, logging.WARNING)
TOLD_OK: Final = (b"OK", STATUS)
NOTHING: Final = b"ERR Please specify at least one argument for this redis lib call"
NO_ARGUMENT: Final = b"ERR Lua redis lib command arguments must be strings or integers"
VERSION: Final = (REDIS_VERSION.encode(), int.from_bytes(bytes(map(int, REDIS_VERSION.split(".")))))


class Rules:
    """What a script has declared about itself. `declared`: it has a shebang, so its flags count; without one Redis
    judges each command instead."""

    __slots__ = ("allow_oom", "declared", "no_writes")

    def __init__(self, flags: frozenset[str] = frozenset(), *, declared: bool = False) -> None:
        self.declared = declared
        self.no_writes = "no-writes" in flags
        self.allow_oom = "allow-oom" in flags


class Run:
    """One script or function from its call to its reply."""

    __slots__ = (
        "abandoned", "caller", "command", "doomed", "function", "name", "protocol", "read_only", "rules", "sandbox",
        "served", "since", "wrote",
    )  # fmt: skip

    def __init__(self, caller: Session, name: str, rules: Rules, read_only: bool, function: bool) -> None:
        self.caller = caller
        self.command: list[bytes] | None = None
        self.rules = rules
        self.name = name
        self.function = function
        if read_only and self.rules.declared and not self.rules.no_writes:
            raise ReplyError("ERR Can not execute a script with write flag using *_ro command.")
        self.read_only = read_only or self.rules.no_writes
        self.protocol = 2
        self.wrote = False
        self.abandoned = False
        self.doomed = b""
        self.served = False
        self.since = clock.nanoseconds()
        self.sandbox: Sandbox


class Stage:
    """Where scripts run, one at a time. `find`, `call` and `finish` are dispatch's: what a command is, running one for a
    script, and what follows from its changes."""

    def __init__(
        self,
        server: Server,
        find: Callable[[Server, Argv], Command | ReplyError],
        call: Callable[[Session, Run, Argv], Any],
        finish: Callable[[Server], ReplyError | None],
    ) -> None:
        self.server = server
        self._find = find
        self._call = call
        self._finish = finish
        self.actor: Session | None = None
        self.run: Run | None = None
        self._load_until = 0

    def _new_actor(self) -> Session:
        """The session that the commands of scripts run for."""
        self.actor = actor = Session(self.server, 0)
        actor.address = "lua"
        actor.in_exec = True
        return actor

    def _admit(self, run: Run) -> None:
        """A script that declares what it does is judged by that before it begins. Raises ReplyError."""
        refusal = self.server.why_no_writes(self.server.commands[b"set"], run.caller)
        if refusal is None:
            return
        if not refusal.text.startswith("OOM"):
            raise refusal
        if not run.rules.allow_oom:
            raise ReplyError(
                "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'"
            )

    def perform(self, run: Run, sandbox: Sandbox, body: Body, count: int, args: list[bytes]) -> Reply:
        """Run a compiled script with the first `count` of `args` as keys. Raises ReplyError with the script's error."""
        server, caller = self.server, run.caller
        actor = self.actor or self._new_actor()
        if server.gate and run.rules.declared and not run.read_only:
            self._admit(run)
        actor.ds, actor.db, actor.user, actor.protocol = caller.ds, caller.db, caller.user, 2
        actor.gate = not caller.user.unrestricted
        if sandbox.protocol != caller.protocol:
            sandbox.set_protocol(caller.protocol)
        alone = not caller.in_exec
        if alone:
            server.held_back = []
        run.sandbox = sandbox
        self.run = run
        size = 0
        for arg in args:
            size += len(arg)
        sandbox.enter(size)
        try:
            outcome = body(count, args)
        except OutOfMemory:
            outcome = NO_MEMORY, FAILED, False
        except LuaError as error:
            outcome = b"ERR " + str(error).partition("\n")[0].encode("latin-1", "replace"), FAILED, False
        finally:
            sandbox.leave()
            self.run = None
            if run.protocol != 2:
                sandbox.set_script_protocol(2)
            if run.served and server.meanwhile.run is not None:
                server.meanwhile.end()
            if run.abandoned:
                server.go_back(server.engine.log.next_lsn - 1)
            if alone:
                failure = self._finish(server) if actor.ds.effects or actor.ds.touched else None
                if server.held_back:
                    server.let_go(committed=failure is None and not run.abandoned)
                else:
                    server.held_back = None
        if alone and failure is not None:
            return failure
        kind = type(outcome)
        if kind is bytes or outcome is None or kind is int:
            plain: Reply = outcome
            return plain
        if kind is float:
            return truncated(outcome)
        if outcome == TOLD_OK:
            return "OK"
        return self._told(run, sandbox, outcome)

    def _told(self, run: Run, sandbox: Sandbox, outcome: tuple[Any, ...]) -> Reply:
        """The reply for what is no plain value."""
        value, kind, *rest = outcome
        if kind == ENCODED:
            for uncounted in rest[0].split(b"\n") if rest and rest[0] else ():
                self.server.count_error(ReplyError(uncounted.decode("latin-1")))
            return Raw(value)
        text: str = value.decode("latin-1")
        if kind == STATUS:
            return text
        counted, *where = rest
        if run.doomed or "not enough memory" in text:
            sandbox.recover()
        if len(where) == 2 and where[0] is not None:
            text = f"{text} script: {run.name}, on {where[0].decode('latin-1')}:{where[1]}."
        return CountedError(text) if counted else ReplyError(text)

    # -- what scripts ask ----------------------------------------------------------------------------------------

    def host(self) -> dict[bytes, Any]:
        """The callables that sandbox.lua wraps."""
        return {
            b"tick": self.tick,
            b"log": self.log,
            b"sha1hex": self.sha1hex,
            b"setresp": self.setresp,
            b"set_repl": self.set_repl,
            b"acl_check_cmd": self.acl_check_cmd,
        }

    def call(self, argv: list[Any]) -> Any:
        """redis.call and redis.pcall. Raises nothing."""
        try:
            run = self.run
            assert run is not None
            for arg in argv:
                if type(arg) is not bytes:
                    argv = [as_argument(arg) for arg in argv]
                    if None in argv:
                        return False, NO_ARGUMENT
                    break
            if not argv:
                return False, NOTHING
            actor = self.actor
            assert actor is not None
            reply = self._call(actor, run, argv)
            kind = type(reply)
            if not run.sandbox.has_room(len(reply) if kind is bytes else 0):
                return False, NO_MEMORY
            if kind is bytes or kind is int:
                return reply
            if kind is str and reply == "OK":
                return OK
            return to_lua(reply, run.sandbox.new_table, run.protocol)
        except Exception:
            log.exception("a script's call of %s failed", argv[:1])
            return False, INTERNAL

    def kill(self, *, function: bool) -> None:
        """SCRIPT KILL, FUNCTION KILL: end what is running. Raises ReplyError when that cannot be."""
        run = self.run
        if run is None:
            raise ReplyError("NOTBUSY No scripts in execution right now.")
        if run.function != function:
            raise self.busy()
        if run.wrote:
            raise ReplyError(
                "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait "
                "the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command."
            )
        run.doomed = b"Script killed by user with FUNCTION KILL." if function else b"Script killed by user with SCRIPT KILL."

    def abandon(self, *, saving: bool) -> None:
        """SHUTDOWN: what is running ends, and nothing of it is kept. Raises ReplyError unless NOSAVE was said."""
        assert self.run is not None
        if saving:
            raise self.busy()
        self.run.doomed = b"The server is shutting down."
        self.run.abandoned = True

    def busy(self) -> ReplyError:
        """What others hear while a script has been running for too long."""
        kill = "FUNCTION KILL" if self.run is not None and self.run.function else "SCRIPT KILL"
        return ReplyError(f"BUSY Redis is busy running a script. You can only call {kill} or SHUTDOWN NOSAVE.")

    def running_function(self) -> tuple[bytes, list[bytes], int] | None:
        """Name, command and milliseconds of the function that runs. Raises ReplyError while a script does."""
        run = self.run
        if run is None:
            return None
        if not run.function:
            raise self.busy()
        return run.name.encode("latin-1"), run.command or [], (clock.nanoseconds() - run.since) // 1_000_000

    @contextmanager
    def loading(self) -> Iterator[None]:
        """While the code of a library runs."""
        self._load_until = clock.nanoseconds() + LOAD_MS * 1_000_000
        try:
            yield
        finally:
            self._load_until = 0

    def tick(self) -> Any:
        """Called every now and then while a script runs; what it returns ends the script."""
        time.sleep(0)  # the interpreter lock for whoever waits for it: the thread that syncs the log
        run = self.run
        if run is None:
            return b"FUNCTION LOAD timeout" if 0 < self._load_until < clock.nanoseconds() else None
        patience_ms = self.server.config.busy_reply_threshold
        if patience_ms > 0 and clock.nanoseconds() - run.since >= patience_ms * 1_000_000:
            run.served = True
            try:
                self.server.meanwhile.serve(run)
            except Exception:  # it must not become an object in the script's hands
                log.exception("other clients could not be served while a script runs")
        if not run.doomed:
            return None
        run.sandbox.lift()
        return run.doomed

    def log(self, *args: Any) -> Any:
        if len(args) < 2:
            return False, b"ERR redis.log() requires two arguments or more."
        level = read_number(args[0]) if type(args[0]) is bytes else args[0]
        if type(level) is not int and type(level) is not float:
            return False, b"ERR First argument must be a number (log level)."
        if not 0 <= level < len(LEVELS):
            return False, b"ERR Invalid debug level."
        words = [as_argument(arg) for arg in args[1:]]
        log.log(LEVELS[int(level)], "%s", b" ".join(word for word in words if word is not None).decode("latin-1"))
        return None

    def sha1hex(self, *args: Any) -> Any:
        if len(args) != 1:
            return False, b"ERR wrong number of arguments"
        return hashlib.sha1(as_argument(args[0]) or b"").hexdigest().encode()

    def setresp(self, *args: Any) -> Any:
        if len(args) != 1:
            return False, b"ERR redis.setresp() requires one argument."
        if args[0] not in (2, 3):
            return False, b"ERR RESP version must be 2 or 3."
        run = self.run
        assert run is not None
        actor = self.actor
        assert actor is not None
        run.protocol = actor.protocol = int(args[0])
        run.sandbox.set_script_protocol(run.protocol)
        return None

    def set_repl(self, *args: Any) -> Any:
        """Accepted: what a script changes is always logged."""
        if len(args) != 1:
            return False, b"ERR redis.set_repl() requires two arguments."
        if type(args[0]) is not int or not 0 <= args[0] <= 3:
            return False, b"ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE."
        return None

    def acl_check_cmd(self, *args: Any) -> Any:
        if not args:
            return False, NOTHING
        argv = [as_argument(arg) or b"" for arg in args]
        command = self._find(self.server, argv)
        if isinstance(command, ReplyError):
            return False, b"ERR Invalid command passed to redis.acl_check_cmd()"
        actor = self.actor
        assert actor is not None
        return actor.user.denial(command, argv) is None


def as_argument(value: Any) -> bytes | None:
    """A Lua value as an argument of a command; None when it cannot be one."""
    if type(value) is bytes:
        return value
    if type(value) is int:
        return b"%d" % value if abs(value) < 10**17 else b"%.17g" % value
    if type(value) is float:
        return b"%.17g" % value if value == value or math.copysign(1, value) > 0 else b"-nan"
    return None


def truncated(number: float) -> int:
    """A Lua number as an integer reply, as a C program converts it."""
    return int(number) if -(2.0**63) <= number < 2.0**63 else -(1 << 63)
