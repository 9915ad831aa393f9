"""An interpreter of Lua 5.1 with walls around what runs in it; `lua/sandbox.lua` is the other side of this file.

This is the only module that knows lupa. Into Lua go bytes, numbers, booleans and tables of these; Python's callables
are held by closures of sandbox.lua alone. `attribute_filter` refuses whatever a script would ask of an object of
Python if it ever got hold of one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from typing import Any, Final, NoReturn
from weakref import proxy

import lupa.lua51

from perdure.scripting import numbers
from perdure.scripting.bridge import Body, Serve, connect
from perdure.scripting.bytecode import improve

log = logging.getLogger("perdure")

LuaError: Final = lupa.lua51.LuaError
OutOfMemory: Final = lupa.lua51.LuaMemoryError
INTERNAL: Final = b"ERR internal error, see the server's log"
NO_MEMORY: Final = b"ERR not enough memory"
NO_LIMIT: Final = 1 << 40
MARGIN: Final = 1 << 20
PERIOD: Final = 1000
"""Instructions of the interpreter between two calls of the hook, each hundredth of which looks at the clock: about every
millisecond."""


class BadScript(Exception):
    """The text is no script, or it is a library's that did not run to its end (`compiled`).

    `problem` is what Lua says, its bytes as characters (latin-1)."""

    def __init__(self, problem: bytes, *, compiled: bool = False) -> None:
        self.compiled = compiled
        self.problem = problem.decode("latin-1")
        super().__init__(self.problem)


class Sandbox:
    """One interpreter. `host` has the callables that scripts reach through `redis` and the libraries, but for redis.call,
    which asks `serve`."""

    def __init__(
        self,
        host: Mapping[bytes, Any],
        serve: Serve,
        *,
        for_functions: bool,
        room: int,
        version: tuple[bytes, int],
        flags: Iterable[str] = (),
    ) -> None:
        self._lua = lua = lupa.lua51.LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            attribute_filter=_nothing,
            max_memory=NO_LIMIT,
        )
        self._room = room
        self._limit = NO_LIMIT
        self._used_after = 0
        self._used_before = 0
        self.protocol = 2
        self.bridge = bridge = connect(lua, serve)
        self._used: Callable[[], int] = bridge.used
        self._set_limit: Callable[[int], None] = lua.set_max_memory
        guarded = self._guarded
        parts = {b"patterns": "patterns", b"cjson": "cjson", b"cmsgpack": "cmsgpack"}
        table = lua.table_from(
            {
                **{name: value if name == b"tick" else guarded(value) for name, value in host.items()},
                **bridge.host,
                b"bit": lua.table_from({name: guarded(value) for name, value in numbers.BIT.items()}),
                b"improve": numbers.complaining(improve),
                b"struct_pack": guarded(numbers.PACK),
                b"struct_size": guarded(numbers.SIZE),
                b"struct_unpack": guarded(numbers.UNPACK),
                **{name: self._chunk(part) for name, part in parts.items()},
                b"seed": int.from_bytes(os.urandom(6)),
                b"flags": lua.table_from({flag.encode(): True for flag in flags}),
                b"script_protocol": 2,
                b"room": room,
            },
        )
        entry = self._chunk("sandbox")(table, for_functions, *version, PERIOD)
        self._compile = entry[b"compile_script"]
        self._load_library = entry[b"load_library"]
        self._rearm = entry[b"rearm"]
        self._set_protocol: Callable[[int], None] = entry[b"set_protocol"]
        self.set_script_protocol: Callable[[int], None] = entry[b"set_script_protocol"]
        lua.gccollect()
        self._base = self._used()

    # -- memory ----------------------------------------------------------------------------------------------------
    #
    # An allocation that fails where Lua has nobody to tell it (lupa pushes an argument, makes a table) ends the process.
    # So what a script's calls give back is measured, with a margin; and between scripts either no limit is in force or
    # one that is far away. It stays from script to script, as setting it takes as long as a small script, until less
    # than three quarters of the room are below it.

    def enter(self, given: int) -> None:
        """A script begins: it may allocate so much, and what it is given."""
        free = self._limit - self._used_before
        if given > MARGIN or free < self._room - self._room // 4 or free > self._room + self._room // 4:
            self._limit = self._used() + self._room + given
            self._set_limit(self._limit)

    def lift(self) -> None:
        """The script is to end: there is room for saying so."""
        self._limit = NO_LIMIT
        self._set_limit(NO_LIMIT)

    def leave(self) -> None:
        """It has ended."""
        self._used_before = used = self._used()
        if used > self._used_after + self._room // 8 or self._limit - used < self._room // 2:
            self.lift()
            self._lua.gccollect()
            self._used_after = self._used()

    def has_room(self, size: int) -> bool:
        """May a script be given so many bytes?"""
        used, margin = self._used(), MARGIN
        return used + size < self._limit - margin

    def new_table(self, values: Any, **how: Any) -> Any:
        """A Lua table. What it takes counts, but it is made in any case."""
        self._set_limit(NO_LIMIT)
        try:
            return self._lua.table_from(values, **how)
        finally:
            self._set_limit(self._limit)

    def set_protocol(self, version: int) -> None:
        """The protocol of the client that the next scripts reply to."""
        self.protocol = version
        self._set_protocol(version)

    def _guarded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Nothing is raised into Lua: an exception there would be an object of Python."""
        sandbox = proxy(self)  # the interpreter goes as soon as it is dropped, since nobody collects cycles

        def call(*args: Any) -> Any:
            try:
                found = function(*args) if sandbox.has_room(0) else None
                if sandbox.has_room(len(found) if type(found) is bytes else 0):
                    return found
            except Exception:
                log.exception("%s, called by a script, failed", function)
                return False, INTERNAL
            return False, NO_MEMORY

        return call

    def _chunk(self, name: str) -> Any:
        text = files(__package__).joinpath("lua", f"{name}.lua").read_bytes()
        return self._lua.compile(text, name=b"=perdure:" + name.encode())

    def compile(self, text: bytes) -> Body:
        """A script, ready to run: see compile_script in sandbox.lua. Raises BadScript."""
        self.lift()
        try:
            found = self._compile(text)
        except OutOfMemory:
            raise BadScript(b"not enough memory") from None
        if type(found) is tuple:
            raise BadScript(found[1])
        body: Body = self.bridge.body(found)
        return body

    def load_library(self, text: bytes) -> list[Any]:
        """What the code of a library registers: tables with name, flags, description, run. Raises BadScript."""
        self.enter(len(text))
        try:
            found = self._load_library(text)
        except (OutOfMemory, LuaError) as error:
            self.recover()
            problem = "not enough memory" if isinstance(error, OutOfMemory) else str(error).partition("\n")[0]
            raise BadScript(b"ERR " + problem.encode("latin-1", "replace"), compiled=True) from None
        finally:
            self.leave()
        if type(found) is tuple:
            self.recover()
            raise BadScript(found[1], compiled=found[2])
        return list(found.values())

    def recover(self) -> None:
        """After a script that was ended or ran out of memory: the next one finds everything as it should be."""
        self.lift()
        self._rearm()
        self._lua.gccollect()

    @property
    def memory(self) -> int:
        """Bytes that scripts have made the interpreter allocate. Collects garbage."""
        self._lua.gccollect()
        return max(0, self._used() - self._base)


def _nothing(thing: object, name: object, setting: bool) -> NoReturn:
    raise AttributeError("scripts see nothing of Python")
