"""Who is waiting, for what, and in which order they are served.

Clients waiting for a key are served in order of arrival when it changes, each by running its command again; what that
changes may wake others, until nothing more is ready (as Redis serves blocked clients between commands).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from perdure.session import Park, Session, Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Wakeups:
    """`rerun(session)` runs the parked command again and returns whether it got a reply (False: parked still).

    `by_key` says who waits for which key, in order of arrival; the hot path asks whether it is empty.
    """

    def __init__(self, rerun: Callable[[Session], bool], reply: Callable[[Session, Any], None]) -> None:
        self._rerun = rerun
        self._reply = reply
        self.by_key: dict[Watched, dict[Session, None]] = {}
        self._parked: dict[Session, None] = {}
        self._unkind: dict[Watched, int] = {}
        """How many of those who wait for a key want to be told of anything that happens to it (`Park.kind` is 0)."""
        self.signaled: deque[Watched] = deque()

    def __bool__(self) -> bool:
        """Does anybody wait for a key?"""
        return bool(self.by_key)

    def __len__(self) -> int:
        return len(self._parked)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._parked)

    def keys(self) -> list[Watched]:
        """Keys that somebody waits for."""
        return list(self.by_key)

    @property
    def keys_that_may_go(self) -> int:
        """How many keys somebody waits for who is also told when they are gone."""
        return len(self._unkind)

    def add(self, session: Session, park: Park) -> None:
        """`session` waits from now on."""
        session.parked = park
        self._parked[session] = None
        if park.keys and park.db is not None:
            park.marks = [(park.db.space, key) for key in park.keys]
            for mark in park.marks:
                waiting = self.by_key.setdefault(mark, {})
                if not park.kind and session not in waiting:
                    self._unkind[mark] = self._unkind.get(mark, 0) + 1
                waiting[session] = None

    def remove(self, session: Session) -> Park | None:
        """`session` waits no more; returns what it waited for."""
        park, session.parked = session.parked, None
        self._parked.pop(session, None)
        if park is not None:
            for mark in park.marks:
                self._forget(mark, session, park)
        return park

    def follow(self, session: Session) -> None:
        """The parked session's database is another space now (it was flushed, or swapped with another)."""
        park = self.remove(session)
        assert park is not None
        park.db = session.db
        self.add(session, park)
        for mark in park.marks:
            self.signal(mark)

    def _forget(self, mark: Watched, session: Session, park: Park) -> None:
        waiting = self.by_key.get(mark)
        if waiting is not None and session in waiting:
            del waiting[session]
            if not waiting:
                del self.by_key[mark]
            if not park.kind:
                self._unkind[mark] -= 1
                if not self._unkind[mark]:
                    del self._unkind[mark]

    def signal(self, mark: Watched) -> None:
        """The key has changed; `serve` will see to those who wait for it."""
        if mark in self.by_key:
            self.signaled.append(mark)

    def serve(self) -> None:
        """Run the commands of those whose key was signaled, in order of arrival, until nothing is left to do."""
        while self.signaled:
            mark = self.signaled.popleft()
            held: int | None = None
            for session in list(self.by_key.get(mark, ())):
                park = session.parked
                if park is None or park.db is None:
                    continue
                if park.kind:
                    if held is None:
                        held = park.db.peek(mark[1])[0]
                    if not held and mark not in self._unkind:
                        break  # the rest of a long queue
                    if held != park.kind:
                        continue
                self._rerun(session)
                held = None

    def poll(self, now_ms: int) -> None:
        """Time passes: end what has waited long enough, run again what says it is ready."""
        for session in list(self._parked):
            park = session.parked
            if park is None:
                continue
            if park.ready is not None and park.ready():
                if park.answer is None:
                    self._rerun(session)
                else:
                    self.remove(session)
                    self._reply(session, park.answer())
            elif park.deadline_ms and park.deadline_ms <= now_ms:
                self.remove(session)
                self._reply(session, park.on_timeout)

    def next_deadline(self) -> int:
        """The earliest deadline (0: none)."""
        return min((s.parked.deadline_ms for s in self._parked if s.parked and s.parked.deadline_ms), default=0)
