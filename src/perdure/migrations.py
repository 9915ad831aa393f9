"""MIGRATE: keys on their way to another server, while this one goes on with everything else.

    gather   the keys are serialized as they are now; from here on commands that may change them wait ("held")
    carry    in a thread of its own: connect, RESTORE them all there, read the replies; it sees no key, only bytes
    settle   back in the loop: keys that the target has taken are deleted here, as one change, and the client is answered

A key that changes all the same (nobody declares FLUSHALL's keys, or all of a script's) is not deleted: what is here is
then newer than what is there, and the client is told. So after a crash, an error, or a client that has gone away a key
may be in both places, but never in none.

Inside MULTI and scripts nothing can wait: the server does, as Redis always does.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Sequence
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from hiredis import HiredisError, Reader
from hiredis import ReplyError as Refusal

from perdure.errors import ReplyError, shown
from perdure.session import Park
from perdure_storage.events import GENERIC
from perdure_storage.portable import payload_of

if TYPE_CHECKING:
    from perdure.registry import Args, Command
    from perdure.resp import Reply
    from perdure.server import Server
    from perdure.session import Session, Watched
    from perdure_storage.keyspace import Dataset, Keyspace

log = logging.getLogger("perdure")

KEPT_S: Final = 10.0
"""So long a connection is kept for the next MIGRATE to the same server."""
KEPT_MAX: Final = 64
CHUNK: Final = 1 << 16
BATCH: Final = 1000
BATCH_BYTES: Final = 1 << 20

Address = tuple[bytes, int]


class Order:
    """What MIGRATE has been told."""

    def __init__(self, address: Address, index: int, timeout_ms: int) -> None:
        self.address = address
        self.index = index
        self.timeout = timeout_ms / 1000
        self.copy = self.replace = False
        self.credentials: list[bytes] = []


class Parcel:
    """A key as it was when it was serialized."""

    def __init__(self, db: Keyspace, entry: Any) -> None:
        self.space = db.space
        self.key: bytes = entry.key
        self.expire: int = entry.expire
        self.payload = payload_of(entry)
        self._entry, self._lsn = entry, entry.lsn

    def is_now(self, entry: Any) -> bool:
        """Is that still what the key holds? An entry that has been out of memory meanwhile is compared in full."""
        if entry is self._entry and entry.lsn == self._lsn:
            return True
        return entry.expire == self.expire and payload_of(entry) == self.payload


class Link:
    """A connection to a target. `index`: the database selected there, -1 when nobody knows."""

    def __init__(self, address: Address, timeout: float) -> None:
        self.index = 0
        self.used = monotonic()
        host, port = address
        self._socket = socket.create_connection((host.decode(), port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = Reader()

    def send(self, data: bytes, timeout: float) -> None:
        """Raises OSError; `timeout` is for each piece."""
        self._socket.settimeout(timeout)
        view = memoryview(data)
        while view:
            view = view[self._socket.send(view[:CHUNK]) :]

    def reply(self) -> Any:
        """The next reply, a Refusal for an error. Raises OSError."""
        try:
            while (reply := self._reader.gets()) is False:
                data = self._socket.recv(CHUNK)
                if not data:
                    raise ConnectionResetError
                self._reader.feed(data)
        except HiredisError as error:
            raise ConnectionError from error
        return reply

    def close(self) -> None:
        self._socket.close()


class Migration:
    """One MIGRATE under way. `taken`: the parcels that the target has; `refusal`: why not all."""

    def __init__(self, order: Order, parcels: Sequence[Parcel], now: int) -> None:
        self.order = order
        self.parcels = parcels
        self.taken: list[Parcel] = []
        self.refusal: ReplyError | None = None
        self.reply: Reply = None
        self._now = now
        self._doing = ""

    def carry(self, link: Link | None) -> Link | None:
        """Have the target take the parcels, over this connection or a new one; returns the one to keep.

        Blocks. Touches nothing but this object. A kept connection may have died of old age: then a new one is tried.
        """
        order, reused = self.order, link is not None
        if link is None:
            try:
                link = Link(order.address, order.timeout)
            except (socket.gaierror, TimeoutError, UnicodeError):
                self.refusal = ReplyError("IOERR error or timeout connecting to the client")
                return None
            except OSError:  # Redis notices a refused connection when it writes
                self.refusal = ReplyError("IOERR error or timeout writing to target instance")
                return None
        try:
            self._talk(link)
        except OSError as error:
            link.close()
            if reused and not self.taken and self.refusal is None and not isinstance(error, TimeoutError):
                return self.carry(None)
            if self.refusal is None:
                self.refusal = ReplyError(f"IOERR error or timeout {self._doing} to target instance")
            return None
        link.index = order.index if self.refusal is None else -1
        link.used = monotonic()
        return link

    def _talk(self, link: Link) -> None:
        """Send the parcels and hear what becomes of them, some at a time: a target may stop listening until its replies
        are read. Raises OSError."""
        order = self.order
        greetings = [_request(b"AUTH", *order.credentials)] if order.credentials else []
        if link.index != order.index:
            greetings.append(_request(b"SELECT", b"%d" % order.index))
        lost: Refusal | None = None
        parcels = iter(self.parcels)
        while batch := _some(parcels):
            self._doing = "writing"
            link.send(b"".join([*greetings, *map(self._restore, batch)]), order.timeout)
            self._doing = "reading"
            for _ in greetings:
                reply = link.reply()
                if isinstance(reply, Refusal) and lost is None:
                    lost = reply  # and all that is behind it
            greetings = []
            for parcel in batch:
                reply = link.reply()
                refused = lost or (reply if isinstance(reply, Refusal) else None)
                if refused is None:
                    self.taken.append(parcel)
                elif self.refusal is None:
                    self.refusal = ReplyError(f"ERR Target instance replied with error: {refused}")

    def _restore(self, parcel: Parcel) -> bytes:
        left = max(1, parcel.expire - self._now) if parcel.expire else 0
        words = [b"REPLACE"] if self.order.replace else []
        return _request(b"RESTORE", parcel.key, b"%d" % left, parcel.payload, *words)

    def settle(self, ds: Dataset) -> None:
        """Delete what the target has taken, and know the reply."""
        changed: list[Parcel] = []
        for parcel in () if self.order.copy else self.taken:
            db = ds.spaces.get(parcel.space)
            entry = db.find(parcel.key) if db is not None else None
            if db is None or entry is None:
                continue
            if parcel.is_now(entry):
                db.delete(parcel.key)
                db.notify(GENERIC, b"del", parcel.key)
            else:
                changed.append(parcel)
        self.reply = self.refusal or "OK"
        if changed and self.refusal is None:
            self.reply = ReplyError(
                f"ERR '{shown(changed[0].key)}' was changed while it was being migrated: the target has it as it was, "
                "and it was not deleted here"
            )


def _some(parcels: Iterator[Parcel]) -> list[Parcel]:
    """The next parcels, up to a number and a size."""
    found: list[Parcel] = []
    size = 0
    for parcel in parcels:
        found.append(parcel)
        size += len(parcel.payload)
        if len(found) >= BATCH or size >= BATCH_BYTES:
            break
    return found


def _request(*argv: bytes) -> bytes:
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in argv)


class Migrations:
    """All of a server's: which keys they hold, and the connections that are kept."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._links: dict[Address, Link] = {}
        self._held: set[Watched] = set()

    @property
    def kept(self) -> int:
        """How many connections are kept."""
        return len(self._links)

    def __bool__(self) -> bool:
        """Are any keys held?"""
        return bool(self._held)

    def holds(self, command: Command, session: Session, argv: Args) -> bool:
        """Does this have to wait, since it may change a key on its way?"""
        calls = session.multi or () if command.name == b"exec" else ((command, argv),)
        space, held = session.db.space, self._held
        return any(
            (space, key) in held for each, words in calls if not each.readonly for key in each.keys(words)
        )

    def run(self, migration: Migration) -> Reply:
        """Now, the server waiting; returns the reply."""
        self._keep(migration, migration.carry(self._link(migration)))
        migration.settle(self._server.dataset)
        return migration.reply

    def start(self, session: Session, migration: Migration) -> Park:
        """In a thread, the client waiting."""
        server = self._server
        marks = set() if migration.order.copy else {(each.space, each.key) for each in migration.parcels}
        self._held |= marks
        server.update_gate()
        link = self._link(migration)

        def carry() -> None:
            kept = None
            try:
                kept = migration.carry(link)
            except Exception as error:
                log.exception("MIGRATE failed")
                migration.refusal = ReplyError(f"ERR internal error in 'migrate': {type(error).__name__}")
            try:
                server.loop.call_soon_threadsafe(land, kept)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

        def land(kept: Link | None) -> None:
            self._keep(migration, kept)
            self._held -= marks
            server.update_gate()
            if not server.in_tick:
                server.begin_tick()
            migration.settle(server.dataset)
            failure = server.finish() if server.dataset.effects else None
            if failure is not None:
                migration.reply = failure
            if server.wakeups.signaled:
                server.wakeups.serve()
            server.poll()

        Thread(target=carry, name="migrate", daemon=True).start()
        return Park("migrate", ready=lambda: migration.reply is not None, again=lambda db: migration.reply)

    # -- connections ---------------------------------------------------------------------------------------------

    def _link(self, migration: Migration) -> Link | None:
        """A connection to the target that is nobody's at present."""
        return self._links.pop(migration.order.address, None)

    def _keep(self, migration: Migration, link: Link | None) -> None:
        if link is None:
            return
        address = migration.order.address
        for stale in [each for each, kept in self._links.items() if each == address or monotonic() - kept.used > KEPT_S]:
            self._links.pop(stale).close()
        while len(self._links) >= KEPT_MAX:
            self._links.pop(next(iter(self._links))).close()
        self._links[address] = link

    def close_idle(self) -> None:
        """Close connections that nobody has needed for a while."""
        for address, link in list(self._links.items()):
            if monotonic() - link.used > KEPT_S:
                del self._links[address]
                link.close()
