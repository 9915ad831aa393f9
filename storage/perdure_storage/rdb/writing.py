"""Lengths and strings as bytes: the inverse of `reading`."""

from __future__ import annotations

from typing import Final

from perdure_storage.rdb.reading import as_integer

_INTS: Final = ((b"\xc0", 1), (b"\xc1", 2), (b"\xc2", 4))


def write_length(length: int) -> bytes:
    """REQUIRES: 0 <= length < 2**64."""
    if length < 0x40:
        return bytes((length,))
    if length < 0x4000:
        return bytes((0x40 | length >> 8, length & 0xFF))
    if length < 1 << 32:
        return b"\x80" + length.to_bytes(4, "big")
    return b"\x81" + length.to_bytes(8, "big")


def write_string(value: bytes, *, raw: bool = False) -> bytes:
    """A string, as a number if it is one of 32 bits and may be (`raw`: it may not)."""
    if not raw and len(value) <= 11 and (number := as_integer(value)) is not None:
        for head, width in _INTS:
            if -1 << 8 * width - 1 <= number < 1 << 8 * width - 1:
                return head + number.to_bytes(width, "little", signed=True)
    return write_length(len(value)) + value
