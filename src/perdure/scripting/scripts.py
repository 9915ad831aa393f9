"""EVAL's scripts: compiled once, kept by the digest of their text until SCRIPT FLUSH."""

from __future__ import annotations

import hashlib
from typing import Final

from perdure import errors
from perdure.errors import ReplyError
from perdure.resp import Reply
from perdure.scripting.bridge import Body
from perdure.scripting.running import ROOM, VERSION, Rules, Run, Stage
from perdure.scripting.sandbox import BadScript, Sandbox
from perdure.session import Session

FLAGS: Final = frozenset(("no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys"))


class Script:
    """A script as it is kept."""

    __slots__ = ("body", "name", "rules", "sandbox", "size")

    def __init__(self, name: str, size: int, rules: Rules, sandbox: Sandbox, body: Body) -> None:
        self.name = name
        self.size = size
        self.rules = rules
        self.sandbox = sandbox
        self.body = body


class Scripts:
    """The cache, and the interpreter in which its scripts are."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.by_digest: dict[bytes, Script] = {}
        self._by_text: dict[bytes, Script] = {}
        self._sandbox: Sandbox | None = None

    @property
    def sandbox(self) -> Sandbox:
        """Made when the first script comes: an interpreter takes a few milliseconds and half a megabyte."""
        if self._sandbox is None:
            self._sandbox = Sandbox(
                self.stage.host(), self.stage.call, for_functions=False, room=ROOM, version=VERSION
            )
        return self._sandbox

    @property
    def vm_bytes(self) -> int:
        return self._sandbox.memory if self._sandbox is not None else 0

    @property
    def kept_bytes(self) -> int:
        """What the texts take, roughly."""
        return sum(script.size + 100 for script in self.by_digest.values())

    def add(self, text: bytes) -> Script:
        """Keep a script, if it is not kept already. Raises ReplyError when it does not compile."""
        found = self._by_text.get(text)
        if found is not None:
            return found
        rules, lua = shebang(text)
        try:
            body = self.sandbox.compile(lua)
        except BadScript as bad:
            raise ReplyError(f"ERR Error compiling script (new function): {bad.problem}") from None
        name = hashlib.sha1(text, usedforsecurity=False).hexdigest()
        script = self._by_text[text] = self.by_digest[name.encode()] = Script(
            name, len(text), rules, self.sandbox, body
        )
        return script

    def find(self, digest: bytes) -> Script:
        """The script with this digest. Raises ReplyError when it is not kept."""
        found = self.by_digest.get(digest) or self.by_digest.get(digest.lower())
        if found is None:
            raise errors.no_script()
        return found

    def flush(self) -> None:
        """Forget all scripts, and the interpreter with them."""
        self.by_digest.clear()
        self._by_text.clear()
        self._sandbox = None

    def run(self, caller: Session, script: Script, count: int, args: list[bytes], read_only: bool) -> Reply:
        """Run it with the first `count` of `args` as KEYS, the others as ARGV."""
        run = Run(caller, script.name, script.rules, read_only, False)
        return self.stage.perform(run, script.sandbox, script.body, count, args)


def shebang(text: bytes) -> tuple[Rules, bytes]:
    """What the first line of a script declares, and the script without it. Raises ReplyError."""
    if not text.startswith(b"#!"):
        return COMPATIBLE, text
    line, newline, _ = text.partition(b"\n")
    if not newline:
        raise ReplyError("ERR Invalid script shebang")
    engine, *options = line.split(b" ")
    if engine != b"#!lua":
        raise ReplyError(f"ERR Unexpected engine in script shebang: {errors.whole(engine)}")
    flags: set[str] = set()
    for option in options:
        if not option:
            continue
        if not option.startswith(b"flags="):
            raise ReplyError(f"ERR Unknown lua shebang option: {errors.whole(option)}")
        declared = option.removeprefix(b"flags=")
        for flag in declared.split(b",") if declared else ():
            word = flag.decode("latin-1")
            if word not in FLAGS:
                raise ReplyError(f"ERR Unexpected flag in script shebang: {word}")
            flags.add(word)
    return Rules(frozenset(flags), declared=True), text[len(line) :]


COMPATIBLE: Final = Rules()
"""What a script without a shebang may do: as before there were any."""
