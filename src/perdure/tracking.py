"""Client-side caching (CLIENT TRACKING): who has read which key, and who is told that it has changed.

A client chooses between two ways:

* By default each key that it reads is remembered with the client's number. The first change of the key is told to all
  who have read it, and they are forgotten: whoever wants to be told again has to read it again.
* With BCAST nothing is remembered. At the end of each tick the keys that have changed in it are told, in one message
  for each prefix, to those who have named that prefix.

What is told, as a push of RESP3, or to the RESP2 client that another one redirects to, if it is subscribed:

    invalidate [key ...]                          message __redis__:invalidate [key ...]
    invalidate null                               all keys: FLUSHALL, FLUSHDB, SWAPDB
    tracking-redir-broken id                      to the one who redirects, when the other has gone

A change is told when it is in the log, and like a reply the message leaves no sooner than its receiver's level of
durability allows. A client is told of its own changes behind the reply to the command that made them.

Keys count the same in all databases, as in Redis. Numbers of clients stay in the table when their clients have gone:
numbers are never used again, and those of nobody are passed by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Final

from perdure.resp import Push, encode2, encode3
from perdure_storage.effects import DELETE, KEY_LEVEL

if TYPE_CHECKING:
    from perdure.registry import Command
    from perdure.session import Argv, Session
    from perdure_storage.effects import Effect

Change = tuple[int, bool]
"""The last effect on a key: its position in the transaction, and whether the key is gone because its time had come."""

CHANNEL: Final = b"__redis__:invalidate"
SCRIPTS: Final = frozenset((b"eval", b"evalsha", b"fcall", b"eval_ro", b"evalsha_ro", b"fcall_ro"))
"""They read if their commands do: then the keys that they declare, as Redis 7.0 has it, besides those of the commands."""


class Tracking:
    """What one client has asked for. `caching`: it has said CLIENT CACHING for the next command."""

    __slots__ = ("bcast", "broken", "caching", "noloop", "optin", "optout", "prefixes", "redirect")

    def __init__(
        self,
        *,
        redirect: int = 0,
        bcast: bool = False,
        optin: bool = False,
        optout: bool = False,
        noloop: bool = False,
        prefixes: Iterable[bytes] = (),
    ) -> None:
        self.redirect = redirect
        self.bcast = bcast
        self.optin = optin
        self.optout = optout
        self.noloop = noloop
        self.prefixes = list(prefixes)
        self.caching = False
        self.broken = False
        """Has the client that we redirect to gone, and was that noticed?"""

    @property
    def remembers(self) -> bool:
        """Are the keys that the next command reads to be remembered?"""
        return not self.bcast and (self.caching if self.optin else not (self.optout and self.caching))


class Invalidation:
    """These keys have changed, or (None) all; encoded once for all receivers."""

    __slots__ = ("_message", "_push", "keys")

    def __init__(self, keys: list[bytes] | None) -> None:
        self.keys = keys
        self._push = self._message = b""

    @property
    def push(self) -> bytes:
        """For RESP3."""
        if not self._push:
            self._push = encode3(Push([b"invalidate", self.keys]))
        return self._push

    @property
    def message(self) -> bytes:
        """For a RESP2 client that is subscribed."""
        if not self._message:
            self._message = encode2(Push([b"message", CHANNEL, self.keys]))
        return self._message


class Caches:
    """What is known of the caches of all clients.

    `sessions`: those connected, by number. `push(session, bytes)` queues a message. `soon()` sees to it that
    `broadcast` is called at the end of the tick. `discard(table)` frees a table bit by bit. The hot path asks whether
    `trackers` is empty: without one, changes cost nothing.
    """

    def __init__(
        self,
        sessions: dict[int, Session],
        push: Callable[[Session, bytes], None],
        soon: Callable[[], None],
        discard: Callable[[dict[bytes, set[int]]], None],
    ) -> None:
        self._sessions = sessions
        self._push = push
        self._soon = soon
        self._discard = discard
        self.trackers: dict[Session, Tracking] = {}
        self.readers: dict[bytes, set[int]] = {}
        """The numbers of those who have read a key since it changed, by key, in the order of first reading."""
        self.items = 0
        """How many numbers that is altogether."""
        self.prefixes: dict[bytes, dict[Session, None]] = {}
        """Who wants to be told of all keys that start like that."""
        self.changed_in_tick: dict[bytes, Session | None] = {}
        """What `broadcast` will tell; with the client that has changed it, if it tracks."""
        self.script_reads = False
        """Has the script that runs read a key?"""
        self.max_keys = 0
        self._running: Session | None = None
        self._behind: list[bytes] = []
        self._inside: list[tuple[Session, bytes, int]] = []
        """What an open transaction has read, each key with how many effects there were then."""

    # -- who tracks ----------------------------------------------------------------------------------------------

    def start(self, session: Session, tracking: Tracking) -> None:
        """From now on the client tracks, as `tracking` says. Prefixes that it had named before stay."""
        if session.tracking is not None:
            tracking.prefixes = [*dict.fromkeys((*session.tracking.prefixes, *tracking.prefixes))]
        session.tracking = tracking
        self.trackers[session] = tracking
        for prefix in tracking.prefixes:
            self.prefixes.setdefault(prefix, {})[session] = None
        session.update_gate()

    def stop(self, session: Session) -> None:
        """The client tracks no more."""
        tracking, session.tracking = session.tracking, None
        if tracking is None:
            return
        for prefix in tracking.prefixes:
            group = self.prefixes[prefix]
            del group[session]
            if not group:
                del self.prefixes[prefix]
        del self.trackers[session]
        if not self.trackers:  # nobody sees changes any more
            self._forget_all()
        session.update_gate()

    # -- a client that tracks runs a command -----------------------------------------------------------------------

    def begin(self, session: Session) -> None:
        """`session`, which tracks, runs a command: changes are its own until `end`."""
        if len(self.readers) > self.max_keys:
            self.trim()
        self._running = session

    def remember(self, session: Session, command: Command, argv: Argv) -> None:
        """`session` has run this command: the keys are remembered if it reads them, and if the client wants that."""
        for key in self._read_by(session, command, argv):
            self._add(session, key)

    def remember_inside(self, session: Session, command: Command, argv: Argv) -> None:
        """The same inside a transaction or a script, whose changes are told at its end: those of a key that were made
        before it was read are nothing to be told of."""
        position = len(session.ds.effects)
        self._inside += [(session, key, position) for key in self._read_by(session, command, argv)]

    def _read_by(self, session: Session, command: Command, argv: Argv) -> list[bytes]:
        """The keys that the command has read and that its client wants to have remembered."""
        reads = command.readonly
        if command.name in SCRIPTS:
            reads, self.script_reads = self.script_reads, False
        tracking = session.tracking
        return command.keys(argv) if reads and tracking is not None and tracking.remembers else []

    def _add(self, session: Session, key: bytes) -> None:
        numbers = self.readers.get(key)
        if numbers is None:
            numbers = self.readers[key] = set()
        if session.id not in numbers:
            numbers.add(session.id)
            self.items += 1

    def end(self) -> bytes:
        """The command has run; returns what its client is told of its own changes, to go out behind the reply."""
        if self._inside:
            self.changed({})
        behind = b"".join(self._behind)
        self._running = None
        self._behind.clear()
        return behind

    # -- changes -------------------------------------------------------------------------------------------------

    def stale(self, effects: Iterable[Effect], now: int) -> dict[bytes, Change]:
        """The keys that these effects change."""
        return {
            effect[2]: (position, effect[0] == DELETE and 0 < effect[3] <= now)
            for position, effect in enumerate(effects)
            if effect[0] in KEY_LEVEL
        }

    def changed(self, keys: dict[bytes, Change]) -> None:
        """These keys have changed, as `stale` says it: tell whoever has read them."""
        running = self._running
        inside, self._inside = self._inside, []
        for session, key, position in inside:
            if key in keys and keys[key][0] >= position:
                self._add(session, key)
        for key, (_, expired) in keys.items():
            numbers = self.readers.pop(key, None)
            if numbers is not None:
                self.items -= len(numbers)
                self._tell_readers(key, numbers, None if expired else running)
        for session, key, position in inside:
            if key not in keys or keys[key][0] < position:
                self._add(session, key)
        if self.prefixes and keys:
            for key, (_, expired) in keys.items():
                self.changed_in_tick[key] = None if expired else running
            self._soon()

    def _tell_readers(self, key: bytes, numbers: set[int], changer: Session | None) -> None:
        invalidation = Invalidation([key])
        for number in sorted(numbers):
            session = self._sessions.get(number)
            if session is None or session not in self.trackers:
                continue
            tracking = self.trackers[session]
            if not tracking.bcast and (session is not changer or not tracking.noloop):
                self._tell(session, invalidation)

    def broadcast(self) -> None:
        """The tick ends: tell what has changed in it to those who have named a prefix."""
        changed, self.changed_in_tick = self.changed_in_tick, {}
        for prefix, group in sorted(self.prefixes.items(), key=lambda item: item[0]):
            keys = sorted(key for key in changed if key.startswith(prefix))
            everything = Invalidation(keys)
            for session in group:
                told = everything
                if self.trackers[session].noloop:
                    told = Invalidation([key for key in keys if changed[key] is not session])
                if told.keys:
                    self._tell(session, told)

    def flushed(self) -> None:
        """All keys may have changed."""
        self._forget_all()
        everything = Invalidation(None)
        for session in self.trackers:
            self._tell(session, everything)

    def _forget_all(self) -> None:
        if self.readers:
            self._discard(self.readers)
            self.readers = {}
        self.items = 0

    # -- the size of the table -------------------------------------------------------------------------------------

    def limit(self, max_keys: int) -> None:
        """`tracking-table-max-keys`: 0 is no limit."""
        self.max_keys = max_keys or 1 << 62
        self.trim()

    def trim(self) -> None:
        """Forget the keys that were read first, telling those who have read them that they have changed.

        Some more than there are too many, since finding the first ones costs one walk over what was forgotten before.
        """
        excess = len(self.readers) - self.max_keys
        if excess > 0:
            for key in list(islice(self.readers, excess + self.max_keys // 100)):
                numbers = self.readers.pop(key)
                self.items -= len(numbers)
                self._tell_readers(key, numbers, None)

    # -- telling -------------------------------------------------------------------------------------------------

    def _tell(self, session: Session, invalidation: Invalidation) -> None:
        """To the client or to the one that it redirects to; nothing when that is not one to be told."""
        receiver, tracking = session, self.trackers[session]
        if tracking.redirect:
            found = self._sessions.get(tracking.redirect)
            if found is None or found.closing:
                tracking.broken = True
                if session.protocol == 3:
                    self._send(session, encode3(Push([b"tracking-redir-broken", tracking.redirect])))
                return
            receiver = found
        if receiver.protocol == 3:
            self._send(receiver, invalidation.push)
        elif tracking.redirect and (receiver.channels or receiver.patterns or receiver.shard_channels):
            self._send(receiver, invalidation.message)

    def _send(self, receiver: Session, data: bytes) -> None:
        if receiver is self._running:
            self._behind.append(data)
        else:
            self._push(receiver, data)
