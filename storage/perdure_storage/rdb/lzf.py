"""LZF, with which Redis compresses strings: http://oldhome.schmorp.de/marc/liblzf.html

    000xxxxx  bytes                  x + 1 bytes as they are
    xxxyyyyy  u8                     x + 2 bytes from y * 256 + u8 + 1 bytes before the end of what there is so far
    111yyyyy  u8 u8                  the same, but the first u8 + 9 bytes

It is only read here: a value that is not compressed is as good a value.
"""

from __future__ import annotations

from typing import Final

GROWTH: Final = 88
"""Three bytes stand for 264 at most."""


def decompress_in_python(packed: bytes, size: int) -> bytes | None:
    """The `size` bytes that `packed` stands for, or None when it does not."""
    if size > GROWTH * len(packed):
        return None
    out = bytearray()
    at, end = 0, len(packed)
    try:
        while at < end:
            control = packed[at]
            at += 1
            if control < 32:
                out += packed[at : at + control + 1]
                at += control + 1
                continue
            count = control >> 5
            if count == 7:
                count += packed[at]
                at += 1
            start = len(out) - ((control & 31) << 8) - packed[at] - 1
            at += 1
            count += 2
            if start < 0:
                return None
            run = out[start : start + count]
            while len(run) < count:  # it repeats what it is itself only adding
                run += run[: count - len(run)]
            out += run
            if len(out) > size:
                return None
    except IndexError:
        return None
    return bytes(out) if at == end and len(out) == size else None


try:  # the same in C, where a compiler was present at installation
    from perdure_storage._fast import decompress as decompress
except ImportError:
    decompress = decompress_in_python
