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

import lupa.lua51

from perdure.scripting import numbers
from perdure.scripting.bytecode import improve
from perdure.scripting.convert import FAILED

log = logging.getLogger("perdure")

LuaError: Final = lupa.lua51.LuaError
OutOfMemory: Final = lupa.lua51.LuaMemoryError
INTERNAL: Final = b"ERR internal error, see the server's log"
PERIOD: Final = 100_000
"""Instructions of the interpreter between two looks at the clock: about a millisecond."""


class BadScript(Exception):
    """The text is no script, or it is a library's that did not run to its end (`compiled`).

    `problem` is what Lua says, its bytes as characters (latin-1)."""

    def __init__(self, problem: bytes, *, compiled: bool = False) -> None:
        self.compiled = compiled
        self.problem = problem.decode("latin-1")
        super().__init__(self.problem)


class Sandbox:
    """One interpreter. `host` has the callables that scripts reach through `redis` and the libraries."""

    def __init__(
        self,
        host: Mapping[bytes, Any],
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
            max_memory=1 << 40,
        )
        self.new_table: Callable[..., Any] = lua.table_from
        self._room = room
        parts = {b"patterns": "patterns", b"cjson": "cjson", b"cmsgpack": "cmsgpack"}
        table = lua.table_from(
            {
                **{name: value if name == b"call" else guarded(value) for name, value in host.items()},
                b"bit": lua.table_from(numbers.BIT),
                b"improve": numbers.complaining(improve),
                b"struct_pack": numbers.PACK,
                b"struct_size": numbers.SIZE,
                b"struct_unpack": numbers.UNPACK,
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
        self.set_protocol: Callable[[int], None] = entry[b"set_protocol"]
        self.set_script_protocol: Callable[[int], None] = entry[b"set_script_protocol"]
        self._leave_room()

    def _chunk(self, name: str) -> Any:
        text = files(__package__).joinpath("lua", f"{name}.lua").read_bytes()
        return self._lua.compile(text, name=b"=perdure:" + name.encode())

    def compile(self, text: bytes) -> Callable[..., Any]:
        """A script, ready to run: see compile_script in sandbox.lua. Raises BadScript."""
        try:
            found = self._compile(text)
        except OutOfMemory:
            raise BadScript(b"not enough memory") from None
        if type(found) is tuple:
            raise BadScript(found[1])
        self._leave_room()
        body: Callable[..., Any] = found
        return body

    def load_library(self, text: bytes) -> list[Any]:
        """What the code of a library registers: tables with name, flags, description, run. Raises BadScript."""
        try:
            found = self._load_library(text)
        except (OutOfMemory, LuaError) as error:
            self.recover()
            problem = "not enough memory" if isinstance(error, OutOfMemory) else str(error).partition("\n")[0]
            raise BadScript(b"ERR " + problem.encode("latin-1", "replace"), compiled=True) from None
        if type(found) is tuple:
            self.recover()
            raise BadScript(found[1], compiled=found[2])
        self._leave_room()
        return list(found.values())

    def recover(self) -> None:
        """After a script that was ended or ran out of memory: the next one finds everything as it should be."""
        self._rearm()
        self._lua.gccollect()

    @property
    def memory(self) -> int:
        """Bytes that the interpreter has allocated."""
        used: int = self._lua.get_memory_used()
        return used

    def _leave_room(self) -> None:
        """What is kept (compiled scripts) does not count against what a script may allocate."""
        self._lua.set_max_memory(self.memory + self._room)


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Nothing is raised into Lua: an exception there would be an object of Python."""

    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except OutOfMemory:
            return b"ERR not enough memory", FAILED
        except Exception:
            log.exception("%s, called by a script, failed", function)
            return INTERNAL, FAILED

    return call


def _nothing(thing: object, name: object, setting: bool) -> NoReturn:
    raise AttributeError("scripts see nothing of Python")
