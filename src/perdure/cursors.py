"""Positions of SCAN, kept here because the wire only has room for a number.

A SCAN goes through the keys in their stored order, so its whole state is how far it has come: a position, which may be
half a kilobyte. The client gets a number for it, below 2**53 (a double holds it exactly) and unlike those of earlier
runs of the server. Positions are not used up: the same number may be sent again, and continues at the same place.

The oldest are forgotten when there are too many, and all of them when the server ends. A number that is not known any
more begins again from the start: elements may be returned twice then, which SCAN allows, but none that was there from
beginning to end is missed, which is what SCAN promises.
"""

from __future__ import annotations

from random import Random
from typing import Final

from perdure_storage.keyspace import Dataset

MAX_POSITIONS: Final = 65_536
MAX_BYTES: Final = 16 << 20
OVERHEAD: Final = 150
"""Bytes of memory of one position beside itself."""
RUN_BITS: Final = 21
COUNT_BITS: Final = 32


class ScanCursors:
    """Cursor numbers ↔ positions, the least recently used forgotten first. Position b"" is the start and the end: 0."""

    def __init__(self, random: Random, *, max_positions: int = MAX_POSITIONS, max_bytes: int = MAX_BYTES) -> None:
        self.max_positions = max_positions
        self.max_bytes = max_bytes
        self.used = 0
        self._run = random.randrange(1, 1 << RUN_BITS) << COUNT_BITS
        self._count = random.randrange(1 << COUNT_BITS)
        self._positions: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._positions)

    def keep(self, position: bytes) -> int:
        """The cursor that means this position."""
        if not position:
            return 0
        self._count = (self._count + 1) % (1 << COUNT_BITS)
        cursor = self._run | self._count
        positions = self._positions
        positions[cursor] = position
        self.used += OVERHEAD + len(position)
        while len(positions) > self.max_positions or self.used > self.max_bytes:
            oldest = next(iter(positions))
            self.used -= OVERHEAD + len(positions.pop(oldest))
        return cursor

    def find(self, cursor: int) -> bytes:
        """The position that a cursor means; the start when it is not known."""
        position = self._positions.pop(cursor, None)
        if position is None:
            return b""
        self._positions[cursor] = position
        return position


def cursors_of(dataset: Dataset) -> ScanCursors:
    """The open scans of a dataset."""
    if dataset.scans is None:
        dataset.scans = ScanCursors(dataset.random)
    found: ScanCursors = dataset.scans
    return found
