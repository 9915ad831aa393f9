"""The elements of a large collection in a list: to pick one at random, and to walk all of them in pages, while elements
come and go. A dict can do neither without counting its way to the place.

    names   every element once, and some that have been taken away since: those are in `gone`
    hand    a place in `names` that moves on with each `drop`, cutting out what is gone

A cut moves the last name to the place that became free, so names only ever move towards the front. `page` walks from
the back to the front: what it has not come to yet can therefore not slip past it, and an element that was there all the
time is seen at least once (one that was moved, twice).

Cost: 8 bytes and O(1) for each element, O(n) once when the order is made. A collection makes one when it is first asked
for, and loses it when it leaves memory; `epoch` tells the cursors of one order from those of the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Final

EPOCH_BITS: Final = 21
PLACE_BITS: Final = 32
PLACE_MASK: Final = (1 << PLACE_BITS) - 1


class Order:
    """See the module. REQUIRES: told of every element that is added or taken away."""

    __slots__ = ("epoch", "gone", "hand", "names")

    def __init__(self, names: Iterable[bytes], random: Random) -> None:
        self.names = list(names)
        self.gone: dict[bytes, None] = {}
        self.hand = 0
        self.epoch = random.randrange(1, 1 << EPOCH_BITS)

    def add(self, name: bytes) -> None:
        """`name` was not an element and now is."""
        if name in self.gone:
            del self.gone[name]
        else:
            self.names.append(name)

    def drop(self, name: bytes) -> None:
        """`name` is no element any more."""
        gone, names = self.gone, self.names
        gone[name] = None
        for _ in range(2):  # two looks for each that goes: at most about half of the names can be gone
            if not names:
                return
            hand = self.hand if self.hand < len(names) else 0
            if names[hand] in gone:
                self._cut(hand)
                self.hand = hand
            else:
                self.hand = hand + 1

    def _cut(self, at: int) -> None:
        names = self.names
        del self.gone[names[at]]
        last = names.pop()
        if at < len(names):
            names[at] = last

    def pick(self, random: Random) -> bytes:
        """An element, each as likely as any other. REQUIRES: there is one."""
        names, gone = self.names, self.gone
        while True:
            at = int(random.random() * len(names))
            name = names[at]
            if name not in gone:
                return name
            self._cut(at)

    def page(self, cursor: int, limit: int) -> tuple[int, list[bytes]]:
        """(next cursor, elements) after looking at up to `limit` names. Cursors are below 2**53; 0 begins and ends.

        A cursor of another order begins again.
        """
        stop = len(self.names)
        if cursor >> PLACE_BITS == self.epoch:
            stop = min(stop, cursor & PLACE_MASK)
        start = max(0, stop - limit)
        gone = self.gone
        found = [name for name in self.names[start:stop] if name not in gone]
        return (self.epoch << PLACE_BITS | start if start else 0), found

    def check(self, elements: Iterable[bytes]) -> None:
        """Assert that what is said above is true of `elements`."""
        elements = set(elements)
        assert len(set(self.names)) == len(self.names), "a name is there twice"
        assert set(self.names) - set(self.gone) == elements, "names are not the elements"
        assert set(self.gone) <= set(self.names), "something is gone that was not there"
