"""Collections in one piece of bytes: listpack, ziplist, zipmap, intset. Read, and for listpack and intset also written.

Whoever reads gets all elements as bytes, numbers in decimal digits, as Redis would show them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from struct import Struct
from typing import Final

from perdure_storage.rdb.reading import MAX_STRING, BadPayload, Reader, as_integer, bounded

END: Final = 0xFF
UNKNOWN: Final = 0xFFFF
"""Stands for a count that 16 bits are too few for."""

LISTPACK: Final = Struct("<IH")
ZIPLIST: Final = Struct("<IIH")
INTSET: Final = Struct("<II")

_LISTPACK_INTS: Final = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}
_ZIPLIST_INTS: Final = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}
_INTSET_CODES: Final = {2: "h", 4: "i", 8: "q"}

# -- listpack ------------------------------------------------------------------------------------------------------


def read_listpack(raw: bytes) -> list[bytes]:
    """    bytes u32, count u16, elements, 0xFF
    element: encoding and content, then the length of those, so that it can be walked backwards"""
    end = len(raw) - 1
    if end < LISTPACK.size or raw[end] != END:
        raise BadPayload("a listpack without an end")
    size, count = LISTPACK.unpack_from(raw)
    if size != end + 1:
        raise BadPayload(f"a listpack of {end + 1} bytes that says {size}")
    found: list[bytes] = []
    at = LISTPACK.size
    while at < end:
        first = raw[at]
        start = at + 1
        if first < 0x80:
            stop = start
            element = b"%d" % first
        elif first < 0xC0:
            stop = start + (first & 0x3F)
            element = raw[start:stop]
        elif first < 0xE0:
            stop = start + 1
            number = (first & 0x1F) << 8 | raw[start]  # at worst the end's byte
            element = b"%d" % (number - 8192 if number & 4096 else number)
        elif first < 0xF0:
            start += 1
            stop = start + ((first & 0x0F) << 8 | raw[start - 1])
            element = raw[start:stop]
        elif first == 0xF0:
            start += 4
            stop = start + bounded(int.from_bytes(raw[start - 4 : start], "little"))
            element = raw[start:stop]
        elif first in _LISTPACK_INTS:
            stop = start + _LISTPACK_INTS[first]
            element = b"%d" % int.from_bytes(raw[start:stop], "little", signed=True)
        else:
            raise BadPayload(f"an element of the unknown kind {first:#x}")
        back = _back(stop - at)
        at = stop + len(back)
        if at > end or raw[stop:at] != back:
            raise BadPayload("an element of a listpack that is not as long as it says")
        found.append(element)
    if count not in (len(found), UNKNOWN):
        raise BadPayload(f"a listpack of {len(found)} elements that says {count}")
    return found


def _back(size: int) -> bytes:
    """A length to be read backwards: 7 bits a byte, the high bit says that more come before."""
    if size < 128:
        return bytes((size,))
    width = 2 if size < 16383 else 3 if size < 2097151 else 4 if size < 268435455 else 5
    return bytes((size >> 7 * (width - 1), *(size >> 7 * at & 127 | 128 for at in range(width - 2, -1, -1))))


def listpack_element(element: bytes | int) -> bytes:
    """An element as it stands in a listpack."""
    number = element if isinstance(element, int) else as_integer(element)
    if number is None:
        assert isinstance(element, bytes)
        size = len(element)
        if size < 64:
            content = bytes((0x80 | size,)) + element
        elif size < 4096:
            content = bytes((0xE0 | size >> 8, size & 0xFF)) + element
        else:
            content = b"\xf0" + size.to_bytes(4, "little") + element
    elif 0 <= number < 128:
        content = bytes((number,))
    elif -4096 <= number < 4096:
        content = bytes((0xC0 | number >> 8 & 0x1F, number & 0xFF))
    else:
        kind = next(kind for kind, width in _LISTPACK_INTS.items() if -1 << 8 * width - 1 <= number < 1 << 8 * width - 1)
        content = bytes((kind,)) + number.to_bytes(_LISTPACK_INTS[kind], "little", signed=True)
    return content + _back(len(content))


def write_listpack(elements: Iterable[bytes | int]) -> bytes:
    """A listpack. REQUIRES: numbers have 64 bits, and all together less than 4 GB."""
    return join_listpack([*map(listpack_element, elements)])


def join_listpack(parts: list[bytes]) -> bytes:
    """A listpack of what `listpack_element` has made."""
    body = b"".join(parts)
    return LISTPACK.pack(LISTPACK.size + len(body) + 1, min(len(parts), UNKNOWN)) + body + b"\xff"


# -- ziplist -------------------------------------------------------------------------------------------------------


def read_ziplist(raw: bytes) -> list[bytes]:
    """    bytes u32, place of the last entry u32, count u16, entries, 0xFF
    entry: size of the one before (u8, or 0xFE u32), encoding, content"""
    end = len(raw) - 1
    if end < ZIPLIST.size or raw[end] != END:
        raise BadPayload("a ziplist without an end")
    size, tail, count = ZIPLIST.unpack_from(raw)
    if size != end + 1:
        raise BadPayload(f"a ziplist of {end + 1} bytes that says {size}")
    reader = Reader(raw, ZIPLIST.size, end)
    found: list[bytes] = []
    last, before = ZIPLIST.size, 0
    while reader.left:
        start = reader.at
        previous = reader.byte()
        if (reader.unsigned(4) if previous == 0xFE else previous) != before:
            raise BadPayload("a ziplist that cannot be walked backwards")
        found.append(_ziplist_element(reader))
        last, before = start, reader.at - start
    if tail != last or count not in (len(found), UNKNOWN):
        raise BadPayload(f"a ziplist of {len(found)} entries that says {count}, the last at {last}, not {tail}")
    return found


def _ziplist_element(reader: Reader) -> bytes:
    kind = reader.byte()
    if kind < 0x40:
        return reader.take(kind)
    if kind < 0x80:
        return reader.take((kind & 0x3F) << 8 | reader.byte())
    if kind == 0x80:
        return reader.take(bounded(int.from_bytes(reader.take(4), "big")))
    if kind in _ZIPLIST_INTS:
        return b"%d" % reader.signed(_ZIPLIST_INTS[kind])
    if 0xF1 <= kind <= 0xFD:
        return b"%d" % ((kind & 0x0F) - 1)
    raise BadPayload(f"an entry of the unknown kind {kind:#x}")


# -- zipmap --------------------------------------------------------------------------------------------------------


def read_zipmap(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """    count u8 (0xFE: unknown), then for each field its length, itself, length of the value, unused u8, the value and
    the unused bytes, 0xFF. A length is a u8, or 0xFE u32."""
    reader = Reader(raw)
    count, number = reader.byte(), 0
    while (size := _zipmap_length(reader)) is not None:
        field = reader.take(size)
        size = _zipmap_length(reader)
        if size is None:
            raise BadPayload("a field without a value")
        unused = reader.byte()
        value = reader.take(size)
        reader.take(unused)
        number += 1
        yield field, value
    if reader.left or (count < 0xFE and count != number):
        raise BadPayload(f"a zipmap of {number} fields that says {count}")


def _zipmap_length(reader: Reader) -> int | None:
    """None at the end."""
    first = reader.byte()
    if first == END:
        return None
    return bounded(reader.unsigned(4), MAX_STRING) if first == 0xFE else first


# -- intset --------------------------------------------------------------------------------------------------------


def read_intset(raw: bytes) -> list[int]:
    """    bytes of each number u32, count u32, numbers in rising order"""
    if len(raw) < INTSET.size:
        raise BadPayload("an intset without a head")
    width, count = INTSET.unpack_from(raw)
    if width not in _INTSET_CODES or len(raw) != INTSET.size + width * count:
        raise BadPayload(f"an intset of {count} numbers of {width} bytes each in {len(raw)} bytes")
    numbers = [*Struct(f"<{count}{_INTSET_CODES[width]}").unpack_from(raw, INTSET.size)]
    if any(low >= high for low, high in pairwise(numbers)):
        raise BadPayload("an intset out of order")
    return numbers


def write_intset(numbers: Iterable[int]) -> bytes:
    """An intset of different numbers. REQUIRES: they have 64 bits."""
    ordered = sorted(numbers)
    width = 2
    while ordered and not -1 << 8 * width - 1 <= ordered[0] <= ordered[-1] < 1 << 8 * width - 1:
        width *= 2
    return INTSET.pack(width, len(ordered)) + Struct(f"<{len(ordered)}{_INTSET_CODES[width]}").pack(*ordered)
