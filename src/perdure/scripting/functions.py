"""FCALL's functions: libraries of them, whose code is part of the data.

The dataset keeps the code (`Dataset.libraries`) and has it in log and tables. What stands here is what that code has
registered when it ran, and is made again whenever the dataset has read its libraries anew: at the start, and when it
went back to what is durable.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Any, Final

from perdure import errors
from perdure.errors import ReplyError
from perdure.resp import Reply, split_words
from perdure.scripting.bridge import Body
from perdure.scripting.running import ROOM, VERSION, Rules, Run, Stage
from perdure.scripting.sandbox import BadScript, Sandbox
from perdure.session import Session

log = logging.getLogger("perdure")

FLAGS: Final = ("no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys")
_NAME: Final = re.compile(rb"[a-zA-Z0-9_]+").fullmatch


class Function:
    """One function of a library; `owner` is the library's name."""

    __slots__ = ("body", "description", "flags", "name", "owner", "rules")

    def __init__(self, owner: bytes, registered: Any, body: Body) -> None:
        self.owner = owner
        self.name: bytes = registered[b"name"]
        self.description: bytes | None = registered[b"description"]
        self.flags: list[bytes] = list(registered[b"flags"].values())
        self.rules = Rules(frozenset(flag.decode() for flag in self.flags), declared=True)
        self.body = body


class Library:
    """A library that was loaded."""

    __slots__ = ("code", "functions", "name")

    def __init__(self, name: bytes, code: bytes, functions: list[Function]) -> None:
        self.name = name
        self.code = code
        self.functions = functions


class Libraries:
    """All libraries, and the interpreter in which their functions are."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._sandbox: Sandbox | None = None
        self._source: dict[bytes, bytes] | None = None
        self._libraries: dict[bytes, Library] = {}
        self._functions: dict[bytes, Function] = {}

    @property
    def sandbox(self) -> Sandbox:
        if self._sandbox is None:
            self._sandbox = Sandbox(
                self.stage.host(), self.stage.call, for_functions=True, room=ROOM, version=VERSION, flags=FLAGS
            )
        return self._sandbox

    @property
    def vm_bytes(self) -> int:
        return self._sandbox.memory if self._sandbox is not None else 0

    @property
    def kept_bytes(self) -> int:
        return sum(len(name) + len(code) + 100 for name, code in self._kept.items())

    @property
    def _kept(self) -> dict[bytes, bytes]:
        return self.stage.server.dataset.libraries

    # -- what there is -------------------------------------------------------------------------------------------

    def all(self) -> dict[bytes, Library]:
        """The libraries by name."""
        if self._source is not self._kept:
            self._load_kept()
        return self._libraries

    def functions(self) -> dict[bytes, Function]:
        """The functions by name in lower case."""
        if self._source is not self._kept:
            self._load_kept()
        return self._functions

    def _load_kept(self) -> None:
        """The dataset's libraries are others than before: what is here follows."""
        self._forget_all()
        self._source = self._kept
        for name, code in self._kept.items():
            try:
                self._install([self._loaded(name, code)])
            except ReplyError as error:  # it was loaded once, so this is another version of us, or a damaged name
                log.error("library %s of functions cannot be used: %s", name.decode("latin-1"), error.text)

    def _forget_all(self) -> None:
        self._libraries, self._functions = {}, {}
        self._sandbox = None

    # -- changing ------------------------------------------------------------------------------------------------

    def load(self, code: bytes, *, replace: bool) -> bytes:
        """FUNCTION LOAD; returns the library's name. Raises ReplyError, and then all is as before."""
        name = library_name(code)
        if name in self.all() and not replace:
            raise ReplyError(f"ERR Library '{errors.whole(name)}' already exists")
        library = self._loaded(name, code)
        self._refuse_collisions([library])
        self._keep([library])
        return name

    def restore(self, codes: Iterable[bytes], *, flush: bool, replace: bool) -> None:
        """FUNCTION RESTORE. Raises ReplyError, and then all is as before."""
        present = {} if flush else self.all()
        sandbox = self.sandbox
        loaded: dict[bytes, Library] = {}
        for code in codes:
            name = library_name(code)
            if name in loaded or (name in present and not replace):
                raise ReplyError(f"ERR Library {errors.whole(name)} already exists")
            loaded[name] = self._loaded(name, code)
        self._refuse_collisions(list(loaded.values()), flush=flush)
        if flush:
            self.flush()
            self._sandbox = sandbox  # what has been loaded lives there
        self._keep(list(loaded.values()))

    def delete(self, name: bytes) -> None:
        """FUNCTION DELETE. Raises ReplyError when there is none."""
        if name not in self.all():
            raise ReplyError("ERR Library not found")
        self._uninstall(name)
        self.stage.server.dataset.drop_libraries(name)

    def flush(self) -> None:
        """FUNCTION FLUSH."""
        if self._kept:
            self.stage.server.dataset.drop_libraries(*self._kept)
        self._source = self._kept
        self._forget_all()

    def _loaded(self, name: bytes, code: bytes) -> Library:
        """Run the code of a library and see what it registers. Raises ReplyError."""
        sandbox = self.sandbox
        text = code[code.index(b"\n") :]
        with self.stage.loading():
            try:
                registered = sandbox.load_library(text)
            except BadScript as bad:
                if bad.compiled:
                    raise ReplyError(f"ERR Error registering functions: {bad.problem}") from None
                raise ReplyError(f"ERR Error compiling function: {bad.problem}") from None
        if not registered:
            raise ReplyError("ERR No functions registered")
        return Library(name, code, [Function(name, each, sandbox.bridge.body(each[b"run"])) for each in registered])

    def _refuse_collisions(self, libraries: list[Library], *, flush: bool = False) -> None:
        """Two functions of one name, whatever the case of its letters, cannot be. Raises ReplyError."""
        replaced = {library.name for library in libraries}
        taken = {} if flush else dict(self.functions())
        taken = {name: function for name, function in taken.items() if function.owner not in replaced}
        for library in libraries:
            for function in library.functions:
                key = function.name.lower()
                if key in taken:
                    raise ReplyError(f"ERR Function {errors.whole(function.name)} already exists")
                taken[key] = function

    def _keep(self, libraries: list[Library]) -> None:
        for library in libraries:
            self.stage.server.dataset.set_library(library.name, library.code)
        self._install(libraries)

    def _install(self, libraries: list[Library]) -> None:
        for library in libraries:
            self._uninstall(library.name)
            self._libraries[library.name] = library
            for function in library.functions:
                self._functions[function.name.lower()] = function

    def _uninstall(self, name: bytes) -> None:
        gone = self._libraries.pop(name, None)
        for function in gone.functions if gone is not None else ():
            del self._functions[function.name.lower()]

    # -- running -------------------------------------------------------------------------------------------------

    def find(self, name: bytes) -> Function:
        """The function of this name. Raises ReplyError."""
        functions = self.functions()
        found = functions.get(name) or functions.get(name.lower())
        if found is None:
            raise ReplyError("ERR Function not found")
        return found

    def run(self, caller: Session, function: Function, count: int, args: list[bytes], *, read_only: bool) -> Reply:
        """Call it; of `args`, FCALL's, the first `count` behind name and number are keys."""
        run = Run(caller, function.name.decode("latin-1"), function.rules, read_only, True)
        run.command = [b"fcall_ro" if read_only else b"fcall", *args]
        return self.stage.perform(run, self.sandbox, function.body, count, args[2:])


def library_name(code: bytes) -> bytes:
    """What the first line of a library says it is called. Raises ReplyError."""
    if not code.startswith(b"#!"):
        raise ReplyError("ERR Missing library metadata")
    line, newline, _ = code.partition(b"\n")
    words = split_words(line)
    if not newline or not words:
        raise ReplyError("ERR Invalid library metadata")
    name: bytes | None = None
    for word in words[1:]:
        if not word.lower().startswith(b"name="):
            raise ReplyError(f"ERR Invalid metadata value given: {errors.whole(word)}")
        if name is not None:
            raise ReplyError("ERR Invalid metadata value, name argument was given multiple times")
        name = word[5:]
    if name is None:
        raise ReplyError("ERR Library name was not given")
    if not _NAME(name):
        raise ReplyError(
            "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long"
        )
    engine = words[0][2:]
    if engine.lower() != b"lua":
        raise ReplyError(f"ERR Engine '{errors.whole(engine)}' not found")
    return name
