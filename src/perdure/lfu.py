"""How often keys are used, for the LFU policies: a counter of 8 bits that grows with the logarithm of the uses and decays.

It lives where LRU keeps its clock, in `Entry.tick`: either seconds (as everywhere), or `COUNTED | minutes << 8 | counter`.
Nothing is converted when the policy changes: each reader takes either form. Only `dispatch` counts, on the paths for
which `server.gate` is set, so that other policies pay nothing.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

COUNTED: Final = 1 << 56
INITIAL: Final = 5
"""What a new key begins with: enough not to be the first to go."""
MOST: Final = 255


def is_lfu(policy: str) -> bool:
    return policy.endswith("lfu")


def counter(tick: int, now_s: int, decay_minutes: int) -> int:
    """The counter as it is by now, lowered by one for each `decay_minutes` without a use (0: never)."""
    minutes, count = (tick >> 8 & (1 << 40) - 1, tick & MOST) if tick & COUNTED else (tick // 60, INITIAL)
    return max(0, count - max(0, now_s // 60 - minutes) // decay_minutes) if decay_minutes else count


def word(count: int, now_s: int) -> int:
    """What `tick` holds for a key counted now."""
    return COUNTED | now_s // 60 << 8 | count


def counted(tick: int) -> int:
    """The same moment and counter in the form with a counter."""
    return tick if tick & COUNTED else word(INITIAL, tick)


def used(tick: int, now_s: int, config: Any, random: Random) -> int:
    """The next `tick` of a key that is used: the further its counter is, the less likely it grows."""
    count = counter(tick, now_s, config.lfu_decay_time)
    if count < MOST and random.random() * (max(0, count - INITIAL) * config.lfu_log_factor + 1) < 1:
        count += 1
    return word(count, now_s)


def seconds(tick: int) -> int:
    """When the key was last used, on LRU's clock."""
    return (tick >> 8 & (1 << 40) - 1) * 60 if tick & COUNTED else tick
