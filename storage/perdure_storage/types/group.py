"""Consumer groups of a stream, as they are in memory: who has been given which entries and has not acknowledged them.

What is pending stands once in the group (`pending`), and its id twice in order: in the group and in its consumer. Only
`Stream` changes them, since each change goes to the log: see `types/stream.py`, and there for the rows too.

Ids are the integers of `types/stream.py`, times unix ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from sortedcontainers import SortedList

GROUP_COST: Final = 740
CONSUMER_COST: Final = 680
PENDING_COST: Final = 170
"""Bytes of memory of each, beside names. Measured."""

UNKNOWN: Final = -1
"""`Group.read` when nobody can tell."""


class Pending:
    """An entry that was delivered `count` times, the last time to `consumer` at `delivered`."""

    __slots__ = ("consumer", "count", "delivered")

    def __init__(self, consumer: Consumer, delivered: int, count: int) -> None:
        self.consumer = consumer
        self.delivered = delivered
        self.count = count


class Consumer:
    """A reader of a group. `number` is its name in rows and log.

    seen: when it last asked for anything, as the log has it; active: when it last got something. `polled` is later than
    `seen` when it has asked since and got nothing: only memory knows.
    """

    __slots__ = ("active", "name", "number", "order", "polled", "seen")

    def __init__(self, name: bytes, number: int, seen: int, active: int) -> None:
        self.name = name
        self.number = number
        self.seen = self.polled = seen
        self.active = active
        self.order: SortedList[int] = SortedList()

    @property
    def last_seen(self) -> int:
        return max(self.seen, self.polled)


class Group:
    """`last` is the id of the last entry delivered, `read` how many entries there were up to it (or UNKNOWN)."""

    __slots__ = ("by_number", "consumers", "last", "name", "number", "order", "pending", "read")

    def __init__(self, name: bytes, number: int, last: int, read: int) -> None:
        self.name = name
        self.number = number
        self.last = last
        self.read = read
        self.consumers: dict[bytes, Consumer] = {}
        self.by_number: dict[int, Consumer] = {}
        self.pending: dict[int, Pending] = {}
        self.order: SortedList[int] = SortedList()

    def sorted_consumers(self) -> list[Consumer]:
        """By name, as Redis tells of them."""
        return [self.consumers[name] for name in sorted(self.consumers)]

    def free_number(self) -> int:
        """A number for another consumer: greater than that of the youngest one."""
        return next(reversed(self.by_number), 0) + 1

    def join(self, consumer: Consumer) -> None:
        """A consumer that was not there."""
        self.consumers[consumer.name] = self.by_number[consumer.number] = consumer

    def leave(self, consumer: Consumer) -> None:
        """REQUIRES: nothing is pending for it."""
        del self.consumers[consumer.name], self.by_number[consumer.number]

    def put(self, consumer: Consumer, items: Iterable[tuple[int, int, int]]) -> int:
        """(id, delivered, count) are pending for `consumer` from now on; returns how many are new in the group."""
        pending = self.pending
        new: list[int] = []
        theirs: list[int] = []
        for ident, delivered, count in items:
            item = pending.get(ident)
            if item is None:
                pending[ident] = Pending(consumer, delivered, count)
                new.append(ident)
                theirs.append(ident)
                continue
            if item.consumer is not consumer:
                item.consumer.order.remove(ident)
                item.consumer = consumer
                theirs.append(ident)
            item.delivered = delivered
            item.count = count
        self.order.update(new)
        consumer.order.update(theirs)
        return len(new)

    def take(self, ident: int) -> bool:
        """It is pending no more; False if it was not."""
        item = self.pending.pop(ident, None)
        if item is None:
            return False
        self.order.remove(ident)
        item.consumer.order.remove(ident)
        return True

    def between(self, low: int, high: int, consumer: Consumer | None = None) -> Iterator[tuple[int, Pending]]:
        """What is pending from id `low` up to and including `high`, in order; of one consumer, or of all.

        REQUIRES: nothing changes meanwhile.
        """
        order = self.order if consumer is None else consumer.order
        pending = self.pending
        for ident in order.irange(low, high):
            yield ident, pending[ident]

    def contents(self) -> list[Any]:
        """The containers that may be large."""
        found: list[Any] = [self.pending, *self.order._lists]
        for consumer in self.consumers.values():
            found += consumer.order._lists
        return found

    def check(self) -> None:
        """Assert that what is said above is true."""
        assert list(self.order) == sorted(self.pending), "the order of a group is not what is pending"
        held: dict[int, Consumer] = {}
        for consumer in self.consumers.values():
            for ident in consumer.order:
                assert ident not in held, "two consumers have the same entry"
                held[ident] = consumer
        assert {ident: item.consumer for ident, item in self.pending.items()} == held, "consumers do not add up"
        assert list(self.by_number.values()) == list(self.consumers.values()), "consumers by number are others"
        assert list(self.by_number) == sorted(self.by_number), "the youngest consumer has not the greatest number"
