"""Random elements of a collection, in time that does not grow with it: HRANDFIELD, SRANDMEMBER, SPOP, ZRANDMEMBER."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from random import Random
from typing import Final, Protocol

from perdure import errors
from perdure_storage.types.order import Order

FEW: Final = 64
"""Elements up to which counting to one is quicker than keeping an order (see `types.order`)."""
MAX_CHOICES: Final = 10_000_000
"""Elements that one command may return with repetitions: more would only take memory."""


class Ordered(Protocol):
    """A collection that can put its elements in an order."""

    size: int
    order: Order | None

    def ordered(self) -> Order:
        """The order, made if there is none yet: O(n)."""


def one(entry: Ordered, names: Collection[bytes], random: Random) -> bytes:
    """An element of `entry`, whose elements are `names`. REQUIRES: there is one."""
    if entry.order is not None or entry.size > FEW:
        return entry.ordered().pick(random)
    return next(islice(names, random.randrange(entry.size), None))


def check_count(count: int) -> None:
    """Can `-count` elements be returned? Raises ReplyError."""
    if -count > MAX_CHOICES:
        raise errors.TooLong(-count * len(b"$0\r\n\r\n"))


def some(entry: Ordered, names: Collection[bytes], count: int, random: Random) -> list[bytes]:
    """`count` different elements in no order, or `-count` with repetitions. Raises ReplyError when too many."""
    if count < 0:
        check_count(count)
        if entry.size <= FEW:
            return random.choices([*names], k=-count)
        pick = entry.ordered().pick
        return [pick(random) for _ in range(-count)]
    if count >= entry.size:
        return [*names]
    if count * 3 > entry.size or entry.size <= FEW:
        return random.sample([*names], count)
    pick = entry.ordered().pick
    found: dict[bytes, None] = {}
    while len(found) < count:
        found[pick(random)] = None
    return [*found]
