"""Keyspace notifications: what happens to keys, published to channels.

    __keyspace@<db>__:<key>      <event>       letter K
    __keyevent@<db>__:<event>    <key>         letter E

`notify-keyspace-events` says which of the two, and which kinds of events. Events are published once the change they
tell of is in the log, in order; those of a change that was undone never are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from perdure_storage import events
from perdure_storage.events import Event

if TYPE_CHECKING:
    from perdure.pubsub import PubSub

KINDS: Final[dict[str, int]] = {
    "g": events.GENERIC, "$": events.STRING, "l": events.LIST, "s": events.SET, "h": events.HASH, "z": events.ZSET,
    "x": events.EXPIRED, "e": events.EVICTED, "t": events.STREAM, "d": events.MODULE, "n": events.NEW, "m": events.MISS,
}  # fmt: skip
"""The kind of event for each letter of the directive."""
ALL: Final = "g$lshzxetd"
"""What the letter A stands for."""


class Notifications:
    """Publishes events by the letters of `notify-keyspace-events`. `kinds`: which events have to be collected."""

    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub
        self.kinds = 0
        self._by_key = self._by_event = False

    def configure(self, letters: str) -> None:
        """As the directive says."""
        self._by_key, self._by_event = "K" in letters, "E" in letters
        wanted = letters.replace("A", ALL)
        self.kinds = sum({KINDS[letter] for letter in wanted if letter in KINDS})
        if not (self._by_key or self._by_event):
            self.kinds = 0

    def publish(self, happened: Iterable[Event]) -> None:
        """Tell whoever listens."""
        publish = self._pubsub.publish
        for name, index, key in happened:
            if self._by_key:
                publish(b"__keyspace@%d__:%b" % (index, key), name)
            if self._by_event:
                publish(b"__keyevent@%d__:%b" % (index, name), key)
