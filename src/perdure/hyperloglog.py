"""HyperLogLog in Redis' own form, so that values move both ways: a string of 16 bytes of header and 16384 registers.

    "HYLL", encoding (0 dense, 1 sparse), 3 bytes zero, count (8 bytes, little-endian; highest bit: it is stale)

Dense: 6 bits a register, the lowest bits of the first byte come first. Sparse: runs of equal registers,

    00xxxxxx            1 to 64 registers are 0 (ZERO)
    01xxxxxx yyyyyyyy   1 to 16384 registers are 0 (XZERO)
    1vvvvvxx            1 to 4 registers are v + 1 (VAL)

An element's hash chooses the register; its value is the longest run of zeros, and one, that the rest of a hash began
with. The count comes from how many registers have each value: Otmar Ertl, "New cardinality estimation algorithms for
HyperLogLog sketches", 2017.
"""

from __future__ import annotations

from math import inf, sqrt
from typing import Final, TypeAlias

P: Final = 14
REGISTERS: Final = 1 << P
BITS: Final = 6
Q: Final = 64 - P
HEADER: Final = 16
DENSE, SPARSE = 0, 1
DENSE_SIZE: Final = HEADER + REGISTERS * BITS // 8
ENCODING_AT, STALE_AT = 4, 15
STALE: Final = 0x80
VAL_MAX: Final = 32
"""The greatest value that a sparse register can have."""
VAL_RUN: Final = 4
ZERO_RUN: Final = 64
ALPHA: Final = 0.721347520444481703680
SEED: Final = 0xADC83B19

Value: TypeAlias = "bytes | bytearray"


class Broken(Exception):
    """The runs do not make up 16384 registers."""


def looks_right(value: Value) -> bool:
    """Is it one, as far as header and length tell?"""
    if len(value) < HEADER or value[:4] != b"HYLL" or value[ENCODING_AT] > SPARSE:
        return False
    return value[ENCODING_AT] == SPARSE or len(value) == DENSE_SIZE


def empty() -> bytearray:
    """No element yet: one run of zeros."""
    return bytearray(b"HYLL\1" + bytes(HEADER - 5) + _zeros(REGISTERS))


def is_dense(value: Value) -> bool:
    return value[ENCODING_AT] == DENSE


# -- elements ------------------------------------------------------------------------------------------------------

_M: Final = 0xC6A4A7935BD1E995
_64: Final = (1 << 64) - 1


def murmur(data: bytes, seed: int = SEED) -> int:
    """MurmurHash64A (Austin Appleby, public domain), little-endian."""
    size = len(data)
    whole = size & ~7
    hashed = seed ^ size * _M & _64
    for at in range(0, whole, 8):
        word = int.from_bytes(data[at : at + 8], "little") * _M & _64
        hashed = (hashed ^ (word ^ word >> 47) * _M & _64) * _M & _64
    if size & 7:
        hashed = (hashed ^ int.from_bytes(data[whole:], "little")) * _M & _64
    hashed = (hashed ^ hashed >> 47) * _M & _64
    return hashed ^ hashed >> 47


def place(element: bytes) -> tuple[int, int]:
    """(register, value) of an element."""
    hashed = murmur(element)
    rest = hashed >> P | 1 << Q
    return hashed & REGISTERS - 1, (rest & -rest).bit_length()


# -- dense ---------------------------------------------------------------------------------------------------------


def dense_get(value: Value, index: int) -> int:
    """One register."""
    at, shift = divmod(index * BITS, 8)
    at += HEADER
    return int.from_bytes(value[at : at + 2], "little") >> shift & 63


def dense_put(value: Value, index: int, count: int) -> tuple[int, bytes]:
    """(position, bytes) to write so that the register becomes `count`."""
    at, shift = divmod(index * BITS, 8)
    at += HEADER
    word = value[at : at + 2]
    number = int.from_bytes(word, "little") & ~(63 << shift) | count << shift
    return at, number.to_bytes(len(word), "little")


def _table(shift: int) -> bytes:
    """What bytes become when shifted (left if positive) within a register."""
    return bytes((byte << shift if shift > 0 else byte >> -shift) & 63 for byte in range(256))


_TABLES: Final = {shift: _table(shift) for shift in (0, -6, 2, -4, 4, -2)}


def _either(first: bytes, second: bytes) -> bytes:
    both = int.from_bytes(first, "little") | int.from_bytes(second, "little")
    return both.to_bytes(len(first), "little")


def _unpack(value: Value) -> bytearray:
    """Dense registers, a byte each: three bytes hold four of them, and all such groups are done at once."""
    low, middle, high = [bytes(value[HEADER + part :: 3]) for part in range(3)]
    registers = bytearray(REGISTERS)
    registers[0::4] = low.translate(_TABLES[0])
    registers[1::4] = _either(low.translate(_TABLES[-6]), middle.translate(_TABLES[2]))
    registers[2::4] = _either(middle.translate(_TABLES[-4]), high.translate(_TABLES[4]))
    registers[3::4] = high.translate(_TABLES[-2])
    return registers


def pack(header: Value, registers: Value) -> bytearray:
    """A dense one with the count of `header`, from a byte for each register."""
    packed = bytearray(DENSE_SIZE)
    packed[:HEADER] = header[:HEADER]
    packed[ENCODING_AT] = DENSE
    r0, r1, r2, r3 = [int.from_bytes(registers[part::4], "little") for part in range(4)]
    size = REGISTERS // 4
    ones = int.from_bytes(b"\1" * size, "little")  # to mask each byte: what is shifted must not reach the next one
    packed[HEADER::3] = (r0 | (r1 & ones * 3) << 6).to_bytes(size, "little")
    packed[HEADER + 1 :: 3] = (r1 >> 2 & ones * 15 | (r2 & ones * 15) << 4).to_bytes(size, "little")
    packed[HEADER + 2 :: 3] = (r2 >> 4 & ones * 3 | r3 << 2).to_bytes(size, "little")
    return packed


# -- sparse --------------------------------------------------------------------------------------------------------


def _run(value: bytearray, at: int) -> tuple[int, int, int]:
    """(value, registers, bytes) of the run that begins there."""
    byte = value[at]
    if byte & 0x80:
        return (byte >> 2 & 31) + 1, (byte & 3) + 1, 1
    if byte & 0x40:
        more = value[at + 1] if at + 1 < len(value) else 0
        return 0, ((byte & 63) << 8 | more) + 1, 2
    return 0, byte + 1, 1


def _zeros(count: int) -> bytes:
    if count > ZERO_RUN:
        return bytes(((count - 1) >> 8 | 0x40, count - 1 & 255))
    return bytes((count - 1,)) if count else b""


def _part(value: int, count: int) -> bytes:
    """What is left of a run that is split."""
    if not value:
        return _zeros(count)
    return bytes(((value - 1) << 2 | count - 1 | 0x80,)) if count else b""


def sparse_put(value: bytearray, index: int, count: int, max_bytes: int) -> bool | None:
    """Raise a register to `count`: True if it was lower, False if not; None where only a dense one can.

    Redis' steps one by one, since what it writes depends on them: a run is split, and equal neighbours that fit
    into one opcode are joined, looking at five opcodes only. Raises Broken.
    """
    if count > VAL_MAX:
        return None
    before = at = HEADER
    first, size = 0, len(value)
    while at < size:
        old, length, width = _run(value, at)
        if index < first + length:
            break
        first += length
        before = at
        at += width
    else:
        raise Broken
    if old >= count:
        return False
    split = _part(old, index - first) + _part(count, 1) + _part(old, first + length - index - 1)
    grown = len(split) - width
    if grown > 0 and size + grown > max_bytes:
        return None
    value[at : at + width] = split
    _join(value, before)
    return True


def _join(value: bytearray, at: int) -> None:
    for _ in range(5):
        following = at + (2 if value[at] & 0xC0 == 0x40 else 1)
        if following >= len(value):
            return
        one, other = value[at], value[following]
        count = (one & 3) + (other & 3) + 2
        if one & other & 0x80 and one >> 2 == other >> 2 and count <= VAL_RUN:
            value[at : following + 1] = _part((one >> 2 & 31) + 1, count)
        else:
            at = following


def registers_of(value: Value) -> bytearray:
    """A byte for each register. Raises Broken."""
    if is_dense(value):
        return _unpack(value)
    runs, registers = bytearray(value), bytearray(REGISTERS)
    at, first, size = HEADER, 0, len(runs)
    while at < size:
        count, length, width = _run(runs, at)
        if first + length > REGISTERS:
            raise Broken
        if count:
            for index in range(first, first + length):
                registers[index] = count
        first += length
        at += width
    if first != REGISTERS:
        raise Broken
    return registers


def to_dense(value: Value) -> bytearray:
    """The same registers and count, dense. Raises Broken."""
    return pack(value, registers_of(value))


def describe(value: Value) -> bytes:
    """The runs of a sparse one, as PFDEBUG DECODE shows them."""
    runs, words, at = bytearray(value), [], HEADER
    while at < len(runs):
        count, length, width = _run(runs, at)
        if count:
            words.append(b"v:%d,%d" % (count, length))
        else:
            words.append((b"Z:%d" if width == 2 else b"z:%d") % length)
        at += width
    return b" ".join(words)


# -- counting ------------------------------------------------------------------------------------------------------

_HIGH: Final = int.from_bytes(b"\x80" * REGISTERS, "little")
"""The highest bit of each byte, which no register has."""


def union(first: Value, second: Value) -> bytearray:
    """The greater one of each two registers, of a byte each: all at once, in whole numbers of 16384 bytes."""
    a, b = int.from_bytes(first, "little"), int.from_bytes(second, "little")
    not_less = (a | _HIGH) - b & _HIGH  # no byte borrows from the next one
    mask = (not_less >> 7) * 255
    return bytearray((b ^ (a ^ b) & mask).to_bytes(REGISTERS, "little"))


def estimate(registers: Value) -> int:
    """How many different elements have made these registers."""
    m = float(REGISTERS)
    having = _histogram(registers)
    z = m * _tau((m - having[Q + 1]) / m)
    for count in range(Q, 0, -1):
        z = (z + having[count]) * 0.5
    z += m * _sigma(having[0] / m)
    if not z:
        return -1 << 63  # registers that no hash can make: what C makes of an infinity
    exact = ALPHA * m * m / z
    return int(exact) + (exact - int(exact) >= 0.5)


def _histogram(registers: Value) -> list[int]:
    """How many registers have each value that a hash can make."""
    having, left = [0] * (Q + 2), REGISTERS
    for count in range(Q + 2):
        having[count] = registers.count(count)
        left -= having[count]
        if not left:
            break
    return having


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z, last = 1.0, 1 - x, inf
    while z != last:
        x = sqrt(x)
        last = z
        y *= 0.5
        z -= (1 - x) ** 2 * y
    return z / 3


def _sigma(x: float) -> float:
    if x == 1.0:
        return inf
    y, z, last = 1.0, x, inf
    while z != last:
        x *= x
        last = z
        z += x * y
        y += y
    return z


def cached(value: Value) -> int | None:
    """The count in the header; None when it is stale."""
    return None if value[STALE_AT] & STALE else int.from_bytes(value[8:HEADER], "little")
