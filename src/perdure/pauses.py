"""CLIENT PAUSE: nothing is changed for a while, or nobody is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perdure.errors import ReplyError
from perdure.scripting.scripts import shebang

if TYPE_CHECKING:
    from perdure.registry import Command
    from perdure.scripting.running import Rules
    from perdure.server import Server
    from perdure.session import Argv, Session

TOLD_ON: Final = frozenset((b"pfcount", b"publish", b"spublish"))
"""They do not write, but replicas of Redis have to see them."""


class Pause:
    """The pause in force, if `until_ms` is not 0; with `everything` for all commands but CLIENT, else for those that
    may change something."""

    __slots__ = ("everything", "until_ms")

    def __init__(self) -> None:
        self.until_ms = 0
        self.everything = False

    def begin(self, until_ms: int, everything: bool) -> None:
        """The longer and the stricter of two pauses counts."""
        self.everything = everything or (self.everything and bool(self.until_ms))
        self.until_ms = max(until_ms, self.until_ms)

    def end(self) -> None:
        self.until_ms = 0
        self.everything = False

    def holds(self, session: Session, command: Command, argv: Argv) -> bool:
        """Has this command to wait? REQUIRES: a pause is in force."""
        server = session.server
        if command.name == b"exec":
            return self.everything or any(may_change(server, *queued) for queued in session.multi or ())
        return (self.everything and not command.name.startswith(b"client")) or may_change(server, command, argv)


def may_change(server: Server, command: Command, argv: Argv) -> bool:
    """May the command change data, or something that replicas would have to see? A script may unless it says not."""
    if command.write or command.name in TOLD_ON:
        return True
    rules_of = RULES.get(command.name)
    if rules_of is None:
        return False
    try:
        return not rules_of(server, argv[1]).no_writes
    except ReplyError:
        return False  # it will be refused


def _of_digest(server: Server, digest: bytes) -> Rules:
    return server.scripts.find(digest).rules


def _of_text(server: Server, text: bytes) -> Rules:
    return shebang(text)[0]


def _of_function(server: Server, name: bytes) -> Rules:
    return server.libraries.find(name).rules


RULES: Final = {b"eval": _of_text, b"evalsha": _of_digest, b"fcall": _of_function}
"""Where to ask what a script declares."""
