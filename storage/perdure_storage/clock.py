"""The only door to time.

`now_ms` starts as wall time and then moves with the boot-time clock alone, so a stepped wall clock neither expires
a lock early nor freezes expiry while the process lives; time in suspend counts. Across a restart wall time counts.
"""

from __future__ import annotations

import time
from typing import Protocol

_MONOTONIC = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """What the engine asks of time. All values are ints."""

    def now_ms(self) -> int:
        """Unix milliseconds as this process counts them: never steps, never goes back."""

    def now_us(self) -> int:
        """The same in microseconds."""

    def wall_ms(self) -> int:
        """What the machine's wall clock says, for people and for noticing steps."""


class SystemClock:
    """The machine's clocks, anchored at construction."""

    __slots__ = ("_offset_ns",)

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.clock_gettime_ns(_MONOTONIC)

    def now_ms(self) -> int:
        return (time.clock_gettime_ns(_MONOTONIC) + self._offset_ns) // 1_000_000

    def now_us(self) -> int:
        return (time.clock_gettime_ns(_MONOTONIC) + self._offset_ns) // 1_000

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000
