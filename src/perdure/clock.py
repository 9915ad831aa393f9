"""The clock that durations are measured with. Compiled modules read it without Python: see clock.pxd."""

from time import perf_counter_ns as nanoseconds

__all__ = ["nanoseconds"]
