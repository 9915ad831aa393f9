"""What all clients together take in memory (`maxmemory-clients`): the largest are closed when it is too much.

A client is measured before its requests run and when its replies are handed to the socket, which is when what it takes
can have grown. While there is no limit nobody is measured, and `watching` says so.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from perdure.clients import kept_for, memory_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.config import Config
    from perdure.session import Argv, Session

log = logging.getLogger("perdure")

FEW: Final = 200
SELDOM_MS: Final = 1000


class ClientMemory:
    """The clients' memory. `kill(session)` closes a connection at once."""

    def __init__(self, config: Config, sessions: dict[int, Session], kill: Callable[[Session], None]) -> None:
        self._config = config
        self._sessions = sessions
        self._kill = kill
        self._measured: dict[Session, int] = {}
        self._total = 0
        self._limit = 0
        self.watching = False
        self.evicted = 0
        self.taken = 0
        """Bytes that all clients took when they were last looked at, for `maxmemory`."""
        self._looked_ms = 0
        config.on_change("maxmemory-clients", self.configure)
        config.on_change("maxmemory", self.configure)
        self.configure()

    def configure(self, value: Any = None) -> None:
        """The limit was set, or the memory that it is a share of."""
        share = self._config.maxmemory_clients
        self._limit = share if share >= 0 else self._config.maxmemory * -share // 100
        self.watching = self._limit > 0
        self._measured.clear()
        self._total = 0
        if self.watching:
            for session in self._sessions.values():
                if not session.closing:
                    self._note(session, memory_of(session))
            self._enforce()

    def measure(self, session: Session, requests: list[Argv] | None = None) -> bool:
        """Note what the client takes now, with requests that are about to run; false when it was closed for it."""
        if session.closing:
            return False
        taken = memory_of(session)
        if requests:
            taken += sum(sum(map(len, argv)) for argv in requests)
        self._note(session, taken)
        self._enforce()
        return not session.closing

    def take_stock(self) -> int:
        """Look at all clients; returns what they take."""
        self.taken = sum(map(kept_for, self._sessions.values()))
        return self.taken

    def look_around(self, now_ms: int) -> None:
        """The same, but more seldom when they are many."""
        if len(self._sessions) <= FEW or now_ms - self._looked_ms >= SELDOM_MS:
            self._looked_ms = now_ms
            self.take_stock()

    def forget(self, session: Session) -> None:
        """The client is gone."""
        self._total -= self._measured.pop(session, 0)

    def _note(self, session: Session, taken: int) -> None:
        self._total += taken - self._measured.get(session, 0)
        self._measured[session] = taken

    def _enforce(self) -> None:
        """Close the largest clients until the others fit."""
        if self._total <= self._limit:
            return
        for session, taken in sorted(self._measured.items(), key=lambda item: item[1], reverse=True):
            if self._total <= self._limit:
                break
            if not session.no_evict and not session.closing:
                log.warning("client %d (%s) is closed: it takes %d bytes of memory", session.id, session.address, taken)
                self.evicted += 1
                self.forget(session)
                self._kill(session)
