"""The parts that every value is made of, read with nothing taken for granted.

    length   00xxxxxx                 6 bits                     string   length, then so many bytes
             01xxxxxx u8              14 bits                             11000000 i8
             10000000 u32, big-endian                                     11000001 i16
             10000001 u64, big-endian                                     11000010 i32, little-endian
             11xxxxxx                 not a length                        11000011 length, length, compressed bytes
"""

from __future__ import annotations

import re
from struct import Struct
from typing import Final

from perdure_storage.rdb.lzf import decompress

MAX_STRING: Final = 512 << 20
MAX_UNPACKED: Final = 1 << 30
"""So many bytes a compressed string may become: a list's longest value, packed, and some."""
DOUBLE: Final = Struct("<d")
_INT_WIDTHS: Final = {0xC0: 1, 0xC1: 2, 0xC2: 4}
_COMPRESSED: Final = 0xC3


class BadPayload(ValueError):
    """These bytes are not a value, and why."""


class EmptyValue(BadPayload):
    """A collection without elements, which no key holds: some old versions wrote such. It has been read to its end."""


class Reader:
    """Takes bytes from the front. Every method raises BadPayload where they do not suffice, or make no sense."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.data = data
        self.at = at
        self.end = len(data) if end is None else end

    @property
    def left(self) -> int:
        """How many bytes there still are."""
        return self.end - self.at

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        at = self.at
        if count > self.end - at:
            raise BadPayload(f"{count} bytes are to follow, {self.end - at} do")
        self.at = at + count
        return self.data[at : at + count]

    def byte(self) -> int:
        at = self.at
        if at >= self.end:
            raise BadPayload("it ends too early")
        self.at = at + 1
        return self.data[at]

    def unsigned(self, width: int) -> int:
        """A little-endian number of `width` bytes."""
        return int.from_bytes(self.take(width), "little")

    def signed(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little", signed=True)

    def length(self) -> int:
        """A number as it stands before what is counted by it."""
        return self._length(self.byte())

    def _length(self, first: int) -> int:
        if first < 0x40:
            return first
        if first < 0x80:
            return (first & 0x3F) << 8 | self.byte()
        if first == 0x80:
            return int.from_bytes(self.take(4), "big")
        if first == 0x81:
            return int.from_bytes(self.take(8), "big")
        raise BadPayload(f"{first:#x} where a length belongs")

    def count(self, least_bytes: int = 1) -> int:
        """A length, of things that take at least so many bytes each: more than can follow are a lie."""
        count = self.length()
        if count * least_bytes > self.left:
            raise BadPayload(f"{count} elements are to follow in {self.left} bytes")
        return count

    def string(self, longest: int = MAX_STRING) -> bytes:
        """A string in any of its forms."""
        first = self.byte()
        width = _INT_WIDTHS.get(first)
        if width is not None:
            return b"%d" % self.signed(width)
        if first != _COMPRESSED:
            return self.take(bounded(self._length(first), longest))
        packed, size = self.length(), bounded(self.length(), longest)
        found = decompress(self.take(packed), size)
        if found is None:
            raise BadPayload("a compressed string that cannot be decompressed")
        return found

    def blob(self) -> bytes:
        """A string that is a packed collection: it may be longer than what a value may be."""
        return self.string(MAX_UNPACKED)

    def double(self) -> float:
        """A binary double."""
        value: float = DOUBLE.unpack(self.take(8))[0]
        return value


def bounded(length: int, longest: int = MAX_STRING) -> int:
    """The length of a string, if there can be one."""
    if length > longest:
        raise BadPayload(f"a string of {length} bytes")
    return length


_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]{0,19}").fullmatch
_DOUBLE: Final = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?|[+-]?inf(?:inity)?").fullmatch


def as_integer(raw: bytes) -> int | None:
    """The number that these bytes are the shortest way to write, if it has 64 bits."""
    if not 0 < len(raw) <= 20 or _INTEGER(raw) is None:
        return None
    value = int(raw)
    return value if -(1 << 63) <= value < 1 << 63 else None


def integer(raw: bytes) -> int:
    """The same where there has to be one."""
    value = as_integer(raw)
    if value is None:
        raise BadPayload(f"{raw[:30]!r} where a number belongs")
    return value


def score(raw: bytes) -> float:
    """A score in digits."""
    if len(raw) > 350 or _DOUBLE(raw) is None:
        raise BadPayload(f"{raw[:30]!r} where a score belongs")
    return float(raw)
