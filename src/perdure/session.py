"""One client's state, without its socket: what commands of the connection family see as `ctx`.

`gate` is the one flag the hot path asks: it is set while anything about this session makes a command's admission more
than a table look-up (not authenticated, not allowed everything, in MULTI, subscribed, replies switched off, paused, ...).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from perdure.resp import encode2, encode3

if TYPE_CHECKING:
    from perdure.acl import User
    from perdure.registry import Command
    from perdure.server import Server
    from perdure.tracking import Tracking
    from perdure_storage.keyspace import Keyspace

Argv = list[bytes]
Watched = tuple[int, bytes]


class Level(IntEnum):
    """How safe the log must be before a reply leaves."""

    NO = 0
    EVERYSEC = 1
    ALWAYS = 2


class Park:
    """Why a client is waiting; a handler returns one instead of a reply.

    When one of `keys` changes, or `ready` says yes, the command runs again, and may return another Park (the first
    one's deadline stays); with `answer`, that gives the reply instead. `ready` is asked whenever something may have
    changed, and may push on what it waits for. With `kind` a key is of interest only while it holds a value of that
    kind, and then the command gets what it wants. With `again` that is called with the database, instead of running the
    command. At `deadline_ms` (0: never) the reply is `on_timeout`. Inside MULTI and scripts nothing waits: `at_once` is
    the reply (if not given: `on_timeout`).
    """

    __slots__ = (
        "again",
        "answer",
        "argv",
        "at_once",
        "db",
        "deadline_ms",
        "keys",
        "kind",
        "marks",
        "on_timeout",
        "ready",
        "reason",
        "since_ms",
    )

    def __init__(
        self,
        reason: str,
        *,
        keys: tuple[bytes, ...] = (),
        kind: int = 0,
        deadline_ms: int = 0,
        on_timeout: Any = None,
        at_once: Any = ...,
        ready: Callable[[], bool] | None = None,
        answer: Callable[[], Any] | None = None,
        again: Callable[[Keyspace], Any] | None = None,
    ) -> None:
        self.reason = reason
        self.keys = keys
        self.kind = kind
        self.deadline_ms = deadline_ms
        self.on_timeout = on_timeout
        self.at_once = on_timeout if at_once is ... else at_once
        self.ready = ready
        self.answer = answer
        self.again = again
        self.argv: Argv = []
        self.since_ms = 0
        self.db: Keyspace | None = None
        self.marks: list[Watched] = []

    @property
    def unblockable(self) -> bool:
        """Does the client wait because its command says so, and not because we are not ready for it?"""
        return self.reason not in ("pause", "loading", "shutdown", "migrate", "save", "others")


NO_REPLY: Final = b""


class Session:
    """See the module. Handlers with `ctx` may read and set everything here; `peer` is the connection, or None in
    process."""

    __slots__ = (
        "active_ms",
        "address",
        "authenticated",
        "backlog",
        "bytes_in",
        "bytes_out",
        "channels",
        "closing",
        "commands",
        "created_ms",
        "db",
        "ds",
        "encode",
        "gate",
        "id",
        "in_exec",
        "last_command",
        "level",
        "lib_name",
        "lib_ver",
        "local_address",
        "monitoring",
        "multi",
        "multi_broken",
        "multi_bytes",
        "name",
        "no_evict",
        "no_touch",
        "out",
        "parked",
        "patterns",
        "peer",
        "pending",
        "pending_bytes",
        "protocol",
        "reply_on",
        "server",
        "shard_channels",
        "skip_next",
        "tracking",
        "user",
        "watch_broken",
        "watched",
    )  # fmt: skip

    def __init__(self, server: Server, ident: int) -> None:
        self.server = server
        self.ds = server.dataset
        self.db: Keyspace = server.dataset.databases[0]
        self.id = ident
        self.protocol = 2
        self.encode: Callable[[Any], bytes] = encode2
        self.out: list[bytes] = []
        self.pending: deque[tuple[int, bytes, int]] = deque()
        self.pending_bytes = 0
        self.parked: Park | None = None
        self.backlog: deque[Argv] = deque()
        self.level: Level | None = None
        self.user: User = server.acl.default
        self.authenticated = self.user.open
        self.name = b""
        self.lib_name = self.lib_ver = b""
        self.multi: list[tuple[Command, Argv]] | None = None
        self.multi_broken = False
        self.multi_bytes = 0
        self.watched: dict[Watched, tuple[int, bool]] = {}
        """What WATCH has named: number of the database, and whether the key was there."""
        self.watch_broken = False
        self.reply_on = True
        self.skip_next = 0
        self.no_evict = self.no_touch = self.monitoring = False
        self.channels: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.shard_channels: dict[bytes, None] = {}
        self.tracking: Tracking | None = None
        self.peer: Any = None
        self.address = self.local_address = ""
        self.created_ms = self.active_ms = server.dataset.now
        self.last_command: Command | None = None
        self.commands = 0
        self.closing = False
        self.in_exec = False
        self.bytes_in = self.bytes_out = 0
        self.gate = False
        self.update_gate()

    def update_gate(self) -> None:
        """Recompute `gate` after anything it depends on was changed."""
        self.gate = bool(
            not self.authenticated
            or not self.user.unrestricted
            or self.multi is not None
            or not self.reply_on
            or self.skip_next
            or self.channels
            or self.patterns
            or self.shard_channels
            or self.no_touch
            or self.tracking is not None
        )

    def set_protocol(self, version: int) -> None:
        """RESP2 or RESP3 from the next reply on."""
        self.protocol = version
        self.encode = encode3 if version == 3 else encode2

    def select(self, index: int) -> None:
        """Make database `index` the one that commands see. REQUIRES: it exists."""
        self.db = self.ds.databases[index]

    def reset(self) -> None:
        """Back to what a fresh connection is, as RESET does; the password must be given again."""
        self.discard()
        self.server.pubsub_drop(self)
        self.select(0)
        self.set_protocol(2)
        self.name = b""
        self.level = None
        self.reply_on, self.skip_next = True, 0
        self.no_evict = self.no_touch = False
        self.server.monitors.discard(self)
        self.monitoring = False
        self.server.caches.stop(self)
        self.set_user(self.server.acl.default, self.server.acl.default.open)

    def set_user(self, user: User, authenticated: bool) -> None:
        """Who the client is, and whether it has proved it: until then requests have to be small."""
        self.user = user
        self.authenticated = authenticated
        if self.peer is not None:
            self.peer.trust(authenticated)
        self.update_gate()

    def discard(self) -> None:
        """Leave MULTI and forget what is watched."""
        self.multi = None
        self.multi_broken = False
        self.multi_bytes = 0
        self.unwatch()
        self.update_gate()

    def watch(self, key: bytes) -> None:
        """Make EXEC fail if `key` changes before it."""
        db = self.db
        found = db.find(key)
        if self.ds.effects and not self.in_exec:  # it was due: its deletion is not the change we are to be told of
            self.server.finish()
        mark = (db.space, key)
        if mark not in self.watched:
            self.watched[mark] = (db.index, found is not None)
            self.server.watchers.setdefault(mark, set()).add(self)

    def watch_follows(self, mark: Watched, db: Keyspace) -> None:
        """The database of a watched key is another space now."""
        key = mark[1]
        index, existed = self.watched.pop(mark)
        watchers = self.server.watchers
        watchers[mark].discard(self)
        if not watchers[mark]:
            del watchers[mark]
        self.watched[(db.space, key)] = (index, existed)
        watchers.setdefault((db.space, key), set()).add(self)

    def watches_expired(self) -> bool:
        """Has the time of a watched key come, unnoticed until now? It is deleted then."""
        before = self.ds.expired_keys
        for (_, key), (index, existed) in self.watched.items():
            if existed:
                self.ds.databases[index].find(key)
        return self.ds.expired_keys != before

    def unwatch(self) -> None:
        watchers = self.server.watchers
        for mark in self.watched:
            sessions = watchers[mark]
            sessions.discard(self)
            if not sessions:
                del watchers[mark]
        self.watched.clear()
        self.watch_broken = False

    @property
    def is_local(self) -> bool:
        """Does the client run on this machine?"""
        return self.address.startswith(("/", "127.", "[::1]"))

    def may(self, allowed: str) -> bool:
        """Is the client among those for whom something is allowed: `no`, `yes` for all, `local` for this machine's?"""
        return allowed == "yes" or (allowed == "local" and self.is_local)

    @property
    def durability(self) -> Level:
        """The level in force for this connection's replies."""
        return self.level if self.level is not None else self.server.level
