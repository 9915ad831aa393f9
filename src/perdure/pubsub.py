"""Who is subscribed to what, and how a message gets to them.

Nothing here is durable: a message goes to those who listen at that moment. It leaves with the connection's replies, so
not before the log is as safe as the subscriber's level asks: whoever is told of a change will find it after a crash.

Replies and messages, in RESP2 as arrays, in RESP3 as pushes:

    subscribe channel n        n: subscriptions that the client has now (channels and patterns; shard channels apart)
    message channel text       pmessage pattern channel text       smessage channel text
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perdure.globs import Matcher, compile_glob
from perdure.resp import Push, Raw, encode2, encode3

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.session import Session

Listeners = dict["Session", None]


class Kind:
    """One of the three ways to subscribe: how its messages are called, and where a session keeps its own."""

    __slots__ = ("ended", "listeners", "message", "started")

    def __init__(self, prefix: bytes) -> None:
        self.started = prefix + b"subscribe"
        self.ended = prefix + b"unsubscribe"
        self.message = prefix + b"message"
        self.listeners: dict[bytes, Listeners] = {}
        """By channel or pattern, in order of subscription."""


class PubSub:
    """All subscriptions of a server. `deliver(session, bytes)` queues a message for a session."""

    def __init__(self, deliver: Callable[[Session, bytes], None]) -> None:
        self._deliver = deliver
        self.channels: Final = Kind(b"")
        self.patterns: Final = Kind(b"p")
        self.shard_channels: Final = Kind(b"s")
        self._matchers: dict[bytes, Matcher] = {}

    def names(self, session: Session, kind: Kind) -> dict[bytes, None]:
        """What the session is subscribed to in this way."""
        if kind is self.patterns:
            return session.patterns
        return session.channels if kind is self.channels else session.shard_channels

    def count(self, session: Session, kind: Kind) -> int:
        """The number told with each confirmation."""
        if kind is self.shard_channels:
            return len(session.shard_channels)
        return len(session.channels) + len(session.patterns)

    # -- subscribing ---------------------------------------------------------------------------------------------

    def subscribe(self, session: Session, kind: Kind, names: list[bytes]) -> Raw:
        """One confirmation for each name. Raises ReplyError for a pattern that is too long."""
        matchers = {name: compile_glob(name) for name in names} if kind is self.patterns else {}
        own = self.names(session, kind)
        told = []
        for name in names:
            if name not in own:
                own[name] = None
                kind.listeners.setdefault(name, {})[session] = None
                if matchers:
                    self._matchers[name] = matchers[name]
            told.append(session.encode(Push([kind.started, name, self.count(session, kind)])))
        return self._confirm(session, told)

    def unsubscribe(self, session: Session, kind: Kind, names: list[bytes]) -> Raw:
        """One confirmation for each name; without names for each subscription, or one that says there is none."""
        own = self.names(session, kind)
        told = []
        ended: list[bytes | None] = [*(names or own)] or [None]
        for name in ended:
            if name is not None and name in own:
                del own[name]
                self._forget(session, kind, name)
            told.append(session.encode(Push([kind.ended, name, self.count(session, kind)])))
        return self._confirm(session, told)

    def _confirm(self, session: Session, told: list[bytes]) -> Raw:
        """CLIENT REPLY OFF and SKIP do not hide what is a push."""
        session.update_gate()
        if session.reply_on and not session.skip_next:
            return Raw(b"".join(told))
        self._deliver(session, b"".join(told))
        return Raw()

    def drop(self, session: Session) -> None:
        """End all subscriptions of a session, without a word."""
        for kind in (self.channels, self.patterns, self.shard_channels):
            own = self.names(session, kind)
            for name in own:
                self._forget(session, kind, name)
            own.clear()

    def _forget(self, session: Session, kind: Kind, name: bytes) -> None:
        listeners = kind.listeners[name]
        del listeners[session]
        if not listeners:
            del kind.listeners[name]
            if kind is self.patterns:
                del self._matchers[name]

    # -- publishing ----------------------------------------------------------------------------------------------

    def publish(self, channel: bytes, text: bytes) -> int:
        """To those who listen to the channel, then to those whose pattern it matches; returns how many got it."""
        sent = self._send(self.channels.listeners.get(channel), [self.channels.message, channel, text])
        for pattern, matches in self._matchers.items():
            if matches(channel):
                listeners = self.patterns.listeners[pattern]
                sent += self._send(listeners, [self.patterns.message, pattern, channel, text])
        return sent

    def publish_in_shard(self, channel: bytes, text: bytes) -> int:
        """To those who listen to the shard channel."""
        listeners = self.shard_channels.listeners.get(channel)
        return self._send(listeners, [self.shard_channels.message, channel, text])

    def _send(self, listeners: Listeners | None, words: list[bytes]) -> int:
        if not listeners:
            return 0
        message = Push(words)
        encoded: dict[int, bytes] = {}
        for session in listeners:
            data = encoded.get(session.protocol)
            if data is None:
                data = encoded[session.protocol] = (encode3 if session.protocol == 3 else encode2)(message)
            self._deliver(session, data)
        return len(listeners)
