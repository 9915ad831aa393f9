"""SLOWLOG: the slowest of what ran lately, as the client would be reminded of it.

Entries keep the start of few arguments: the log must not pin large values in memory.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from perdure.redaction import redacted

if TYPE_CHECKING:
    from perdure.registry import Command
    from perdure.session import Argv, Session

ARGUMENTS_MAX: Final = 32
ARGUMENT_BYTES_MAX: Final = 128
NEVER: Final = 1 << 62


class SlowEntry(NamedTuple):
    id: int
    unix_s: int
    microseconds: int
    argv: list[bytes]
    address: bytes
    client: bytes


class SlowLog:
    """The last `capacity` commands that took `threshold_ns` or longer, the newest first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.threshold_ns = NEVER
        self.entries: deque[SlowEntry] = deque()
        self._next_id = 0

    def add(self, session: Session, command: Command, argv: Argv, nanoseconds: int) -> None:
        """`command` ran for so long."""
        if command.skip_slowlog or not self.capacity:
            return
        shown = [shortened(arg) for arg in redacted(command, argv)[:ARGUMENTS_MAX]]
        if len(argv) > ARGUMENTS_MAX:
            shown[-1] = b"... (%d more arguments)" % (len(argv) - ARGUMENTS_MAX + 1)
        now_s, micros = session.ds.now // 1000, nanoseconds // 1000
        self.entries.appendleft(SlowEntry(self._next_id, now_s, micros, shown, session.address.encode(), session.name))
        self._next_id += 1
        self.trim()

    def resize(self, capacity: int) -> None:
        self.capacity = capacity
        self.trim()

    def trim(self) -> None:
        while len(self.entries) > self.capacity:
            self.entries.pop()


def shortened(arg: bytes) -> bytes:
    if len(arg) <= ARGUMENT_BYTES_MAX:
        return arg
    return arg[:ARGUMENT_BYTES_MAX] + b"... (%d more bytes)" % (len(arg) - ARGUMENT_BYTES_MAX)


def threshold_ns(microseconds: int) -> int:
    """What `slowlog-log-slower-than` means to dispatch; negative: never."""
    return microseconds * 1000 if microseconds >= 0 else NEVER
