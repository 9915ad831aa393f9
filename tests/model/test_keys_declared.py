"""A command touches no key that its arguments do not declare: access control, residency and COMMAND GETKEYS rely on it.

Every method of a Keyspace that takes a key is watched while a handler runs. Compiled classes cannot be watched: where
they are in use, these tests run in a process without them.
"""

from __future__ import annotations

import inspect
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Final

import pytest
from tests.model import families
from tests.model.differential import COMMAND_STRATEGIES, LocalServer, Program, explore, steps
from tests.model.examples import EXAMPLES, KEYS

from perdure.key_uses import key_uses
from perdure.registry import Command
from perdure_storage import keyspace
from perdure_storage.effects import KEY_LEVEL

assert families
COMPILED: Final = str(keyspace.__file__).endswith(".so")
watches = pytest.mark.skipif(COMPILED, reason="compiled classes cannot be watched: done by the first test")

UNDECLARED: Final = {
    b"keys": "looks at all keys",
    b"scan": "looks at all keys",
    b"randomkey": "chooses one",
    b"flushdb": "removes all; one by one those that its transaction has made",
    b"flushall": "removes all; one by one those that its transaction has made",
    **dict.fromkeys(
        (b"exec", b"eval", b"eval_ro", b"evalsha", b"evalsha_ro", b"fcall", b"fcall_ro"),
        "runs others, each with its own keys",
    ),
    b"sort": "BY and GET name keys by patterns: who may not read all keys may not use them",
    b"sort_ro": "BY and GET name keys by patterns: who may not read all keys may not use them",
}
"""Commands that touch keys which are not among their arguments, and why that is so."""
NOT_CALLED: Final = {
    b"client|pause": "needs a server that runs",
    b"client|unpause": "needs a server that runs",
    b"discard": "is called after MULTI, by random programs",
    b"exec": "is called after MULTI, by random programs",
    b"function|restore": "needs a payload: tests/commands has it",
    b"info": "needs a server that runs",
    b"migrate": "needs another server: tests/commands has it",
    b"monitor": "its replies never end",
    b"quit": "hangs up",
    b"restore": "needs a payload: there is a test for it",
    b"restore-asking": "needs a payload: there is a test for it",
    b"shutdown": "ends the process",
}
"""Commands without an example, and why that is so."""
REFUSED: Final = {
    "there is no ACL file": "acl|load acl|save",
    "there is no password": "auth",
    "needs tracking, and with it a connection": "client|caching",
    "there is no cluster": """
        asking readonly readwrite cluster|addslots cluster|addslotsrange cluster|bumpepoch
        cluster|count-failure-reports cluster|countkeysinslot cluster|delslots cluster|delslotsrange cluster|failover
        cluster|flushslots cluster|forget cluster|getkeysinslot cluster|info cluster|links cluster|meet cluster|myid
        cluster|myshardid cluster|nodes cluster|replicas cluster|replicate cluster|reset cluster|saveconfig
        cluster|set-config-epoch cluster|setslot cluster|shards cluster|slaves cluster|slots""",
    "nothing has taken long": "latency|graph",
    "there is no configuration file": "config|rewrite",
    "is switched off": "debug",
    "no script is running": "function|kill script|kill",
    "needs a policy that counts uses": "object|freq",
}
"""Why an example may be refused."""


class Watch:
    """Notes which keys each call of a handler touches, and keeps what is `wrong` with them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wrong: list[str] = []
        self.calls: list[set[bytes]] = []
        for name, method in inspect.getmembers(keyspace.Keyspace, inspect.isfunction):
            parameters = list(inspect.signature(method).parameters)
            places = [parameters.index(word) for word in ("key", "new_key") if word in parameters]
            if places:
                monkeypatch.setattr(keyspace.Keyspace, name, self.noting(method, places[0]))

    def noting(self, method: Callable[..., Any], place: int) -> Callable[..., Any]:
        @wraps(method)
        def noted(*args: Any, **options: Any) -> Any:
            if self.calls and len(args) > place:
                self.calls[-1].add(bytes(args[place]))
            return method(*args, **options)

        return noted

    def server(self) -> LocalServer:
        """One whose handlers are watched."""
        local = LocalServer()
        for command in all_commands(local):
            command.handler = self.judging(command, local)
        return local

    def judging(self, command: Command, local: LocalServer) -> Callable[[Any, list[bytes]], Any]:
        handler, effects = command.handler, local.engine.dataset.effects

        def judged(context: Any, args: list[bytes]) -> Any:
            before = len(effects)
            self.calls.append(set())
            try:
                return handler(context, args)
            finally:
                touched = self.calls.pop()
                argv = [*command.name.split(b"|"), *args]
                if command.name not in UNDECLARED:
                    changed = {effect[2] for effect in effects[before:] if effect[0] in KEY_LEVEL}
                    self.judge(command, argv, touched, changed)

        return judged

    def judge(self, command: Command, argv: list[bytes], touched: set[bytes], changed: set[bytes]) -> None:
        if not touched <= set(command.keys(argv)):
            self.wrong.append(f"{argv!r:.300} touches {touched - set(command.keys(argv))!r:.300}")
        declared = {use.key for use in key_uses(command, argv) if {"RW", "OW", "RM"} & {*use.flags}}
        if not changed <= declared:
            self.wrong.append(f"{argv!r:.300} changes {changed - declared!r:.300}")


def all_commands(local: LocalServer) -> Iterator[Command]:
    for command in local.server.commands.values():
        yield from command.subcommands.values() if command.subcommands else [command]


def lines(text: str) -> list[list[bytes]]:
    """Requests, a line each, words as in a shell, with Python's escapes."""
    whole = text.replace("\\\n", "").splitlines()
    return [[word.encode().decode("unicode_escape").encode() for word in shlex.split(line)] for line in whole if line]


def name_of(argv: list[bytes], names: set[bytes]) -> bytes:
    both = b"|".join(argv[:2]).lower()
    return both if both in names else argv[0].lower()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


@contextmanager
def populated(watch: Watch) -> Iterator[LocalServer]:
    local = watch.server()
    for argv in lines(KEYS):
        assert local.ask(*argv)[0] != "-", argv
    assert watch.wrong == []
    yield local
    local.close()


@pytest.mark.skipif(not COMPILED, reason="here they can be watched")
def test_in_a_process_without_compiled_modules() -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    root = Path(__file__).parents[2]
    done = subprocess.run(words, env={**os.environ, "PERDURE_PURE": "1"}, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]


def test_every_command_has_an_example() -> None:
    names = {command.name for command in all_commands(LocalServer())}
    shown = {name_of(argv, names) for argv in lines(EXAMPLES)}
    assert sorted(names - shown - NOT_CALLED.keys()) == []
    assert sorted(shown - names) == []
    assert sorted((NOT_CALLED.keys() | UNDECLARED.keys()) - names) == []


@watches
@pytest.mark.parametrize("argv", [] if COMPILED else lines(EXAMPLES), ids=lambda argv: b" ".join(argv).decode()[:40])
def test_an_example_touches_what_it_declares(watch: Watch, argv: list[bytes]) -> None:
    with populated(watch) as local:
        names = {command.name for command in all_commands(local)}
        answer = local.ask(*argv)
        assert answer[0] != "-" or name_of(argv, names).decode() in " ".join(REFUSED.values()).split(), answer
        assert watch.wrong == []


@watches
def test_random_programs_touch_what_they_declare(watch: Watch) -> None:
    def check(program: Program) -> None:
        with populated(watch) as local:
            for step in program:
                if not isinstance(step, str) and local.knows(step[0]):
                    local.ask(*step)
                    assert watch.wrong == []

    explore(50, check, program=steps(*sorted(COMMAND_STRATEGIES)))


@watches
def test_restore_touches_what_it_declares(watch: Watch) -> None:
    with populated(watch) as local:
        for name in (b"RESTORE", b"RESTORE-ASKING"):
            assert local.ask(name, b"new" + name, b"0", local.ask(b"DUMP", b"hash")[1])[0] == "+"
        assert watch.wrong == []


@watches
def test_a_command_that_touches_another_key_is_noticed(watch: Watch) -> None:
    with populated(watch) as local:
        command = local.server.commands[b"get"]
        command.handler = watch.judging(command, local)
        handler = command.handler

        def careless(db: Any, args: list[bytes]) -> Any:
            db.delete(b"hash")
            return handler(db, args)

        command.handler = careless
        watched = watch.judging(command, local)
        command.handler = watched
        local.ask(b"GET", b"string")
        assert watch.wrong == ["[b'get', b'string'] touches {b'hash'}", "[b'get', b'string'] changes {b'hash'}"]
