"""Where time goes: a histogram for each command, and the events that took too long.

A histogram is a list of counts. Its buckets are four to an octave of nanoseconds, so what is read from it is at most a
quarter too much. Compiled modules count without Python: see latency.pxd.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

BUCKETS: Final = 256
SAMPLES_MAX: Final = 160
"""Of one event, as in Redis."""
NEVER: Final = 1 << 62


def bucket_of(nanoseconds: int) -> int:
    """The index of the bucket that counts such a time."""
    nanoseconds = max(nanoseconds, 8)
    bits = nanoseconds.bit_length()
    return bits << 2 | nanoseconds >> (bits - 3) & 3


def highest_of(bucket: int) -> int:
    """The longest time, in nanoseconds, that the bucket counts."""
    bits, quarter = bucket >> 2, bucket & 3
    return ((5 + quarter) << (bits - 3)) - 1


def percentile(histogram: list[int], percent: float) -> int:
    """Nanoseconds which so many percent of what was counted did not exceed. REQUIRES: something was counted."""
    wanted = max(1, round(sum(histogram) * percent / 100))
    seen = 0
    for bucket, count in enumerate(histogram):
        seen += count
        if count and seen >= wanted:
            return highest_of(bucket)
    raise AssertionError("more were wanted than were counted")


def cumulative(histogram: list[int]) -> Iterator[tuple[int, int]]:
    """(microseconds, how many took no longer) for powers of two, where that number grows."""
    limit, below, seen = 1, 0, 0
    for bucket, count in enumerate(histogram):
        if count:
            while highest_of(bucket) > limit * 1000:
                if below != seen:
                    yield limit, seen
                    below = seen
                limit *= 2
            seen += count
    if below != seen:
        yield limit, seen


class Sample(NamedTuple):
    unix_s: int
    milliseconds: int


class Latency:
    """The events that took `threshold_ms` or longer (0: none are kept), at most one a second of each: the longest."""

    def __init__(self, threshold_ms: int) -> None:
        self.threshold_ms = threshold_ms
        self.events: dict[str, deque[Sample]] = {}
        self.longest_ms: dict[str, int] = {}

    @property
    def threshold_ns(self) -> int:
        return self.threshold_ms * 1_000_000 or NEVER

    def note(self, event: str, nanoseconds: int, now_ms: int) -> None:
        """`event` took so long."""
        if nanoseconds < self.threshold_ns:
            return
        sample = Sample(now_ms // 1000, nanoseconds // 1_000_000)
        samples = self.events.setdefault(event, deque(maxlen=SAMPLES_MAX))
        self.longest_ms[event] = max(self.longest_ms.get(event, 0), sample.milliseconds)
        if samples and samples[-1].unix_s == sample.unix_s:
            sample = max(samples.pop(), sample)
        samples.append(sample)

    def forget(self, event: str) -> bool:
        """False when there is no such event."""
        self.longest_ms.pop(event, None)
        return self.events.pop(event, None) is not None
