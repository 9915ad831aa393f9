"""Argument bytes → numbers, times, option words; or a ReplyError that says what Redis would say.

Redis is strict with integers (no plus, no leading zeros, no blanks). Floats may be what C's strtod takes, hexadecimal
and `inf` too, but with no leading blanks, not NaN, and nothing that leaves the range of a double in either direction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from math import ceil, inf
from typing import Final, TypeAlias

from perdure import errors
from perdure.errors import ReplyError

INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 63) - 1
UINT_MAX: Final = (1 << 64) - 1

Wording: TypeAlias = Callable[[], ReplyError]
"""Makes the error to raise."""

# -- integers ------------------------------------------------------------------------------------------------------


def integer(raw: bytes | bytearray, wrong: Wording = errors.not_an_integer) -> int:
    """A signed 64-bit integer, written as a program writes it."""
    value = to_integer(raw)
    if value is None:
        raise wrong()
    return value


def to_integer_in_python(raw: bytes | bytearray) -> int | None:
    """A signed 64-bit integer, or None when the bytes are anything else (a value that may be no number)."""
    if len(raw) > 20:
        return None
    try:
        value = int(raw)
    except ValueError:
        return None
    return value if b"%d" % value == raw and INT_MIN <= value <= INT_MAX else None


try:  # the same in C, where a compiler was present at installation
    from perdure._fast import to_integer as to_integer
except ImportError:
    to_integer = to_integer_in_python


def integer_between(raw: bytes, low: int, high: int, text: str = "") -> int:
    """An integer in a range. `text`: the error for one outside of it, and for what is none."""
    value = integer(raw, partial(ReplyError, text) if text else errors.not_an_integer)
    if not low <= value <= high:
        raise ReplyError(text or f"ERR value is out of range, value must between {low} and {high}")
    return value


def positive(raw: bytes) -> int:
    """A count that may be zero: COUNT, LIMIT and the like."""
    value = integer(raw)
    if value < 0:
        raise errors.must_be_positive()
    return value


def unsigned(raw: bytes, wrong: Wording = errors.not_an_integer) -> int:
    """An unsigned 64-bit integer, as in stream IDs; strtoull's leading blanks, zeros and plus are fine."""
    if _UNSIGNED(raw) is None:
        raise wrong()
    value = int(raw)
    if value > UINT_MAX:
        raise wrong()
    return value


def numkeys(raw: bytes, keys_left: int) -> int:
    """How many keys follow. REQUIRES: the command wants at least one."""
    count = integer(raw, errors.bad_numkeys)
    if count <= 0:
        raise errors.bad_numkeys()
    if count > keys_left:
        raise errors.syntax()
    return count


def bit(raw: bytes) -> int:
    """0 or 1."""
    if raw == b"0" or raw == b"1":
        return raw[0] & 1
    raise errors.bad_bit()


def bit_offset(raw: bytes, width: int = 0, max_bytes: int = 512 << 20) -> int:
    """The number of a bit in a string of at most `max_bytes`; with `width`, `#n` counts in units of so many bits."""
    times = 1
    if width and raw.startswith(b"#"):
        raw, times = raw[1:], width
    offset = integer(raw, errors.bad_bit_offset) * times
    if not 0 <= offset < max_bytes * 8:
        raise errors.bad_bit_offset()
    return offset


def bitfield_type(raw: bytes) -> tuple[bool, int]:
    """`i16` → (True, 16), `u8` → (False, 8): signed, and how many bits."""
    signed = raw[:1] == b"i"
    bits = to_integer(raw[1:])
    if (not signed and raw[:1] != b"u") or bits is None or not 1 <= bits <= 63 + signed:
        raise errors.bad_bitfield_type()
    return signed, bits


# -- floats --------------------------------------------------------------------------------------------------------


def number(raw: bytes | bytearray, wrong: Wording = errors.not_a_float) -> float:
    """A double. Infinities only where they are spelled out; never NaN."""
    value = to_number(raw)
    if value is None:
        raise wrong()
    return value


def to_number(raw: bytes | bytearray) -> float | None:
    """A double, or None when the bytes are anything else."""
    if raw.isdigit() and len(raw) < 300:
        return float(raw)
    match = _FLOAT(raw)
    if match is None:
        return None
    digits: bytes | None = match["hex"]
    if digits is None:
        value = float(raw)
        digits = match["decimal"]
    else:
        try:
            value = float.fromhex(raw.decode())
        except (OverflowError, ValueError):
            return None
    if digits is not None and (value in (inf, -inf) or (value == 0 and digits.strip(b"0."))):
        return None
    return value


def timeout_ms(raw: bytes) -> int:
    """Seconds to wait, with a fraction perhaps, in milliseconds; 0 is for ever."""
    seconds = number(raw, errors.bad_timeout)
    if seconds < 0:
        raise errors.negative_timeout()
    if seconds * 1000 > INT_MAX:
        raise ReplyError("ERR timeout is out of range")
    return ceil(seconds * 1000)


_UNSIGNED: Final = re.compile(rb"[ \t\n\v\f\r]*\+?[0-9]{1,100}").fullmatch
_FLOAT: Final = re.compile(
    rb"""[+-]? (?:
         0x (?P<hex> [0-9a-f]+ (?: \.[0-9a-f]* )? | \.[0-9a-f]+ ) (?: p[+-]?[0-9]+ )?
       | (?P<decimal> [0-9]+ (?: \.[0-9]* )? | \.[0-9]+ ) (?: e[+-]?[0-9]+ )?
       | inf (?: inity )? )""",
    re.VERBOSE | re.IGNORECASE,
).fullmatch

# -- times ---------------------------------------------------------------------------------------------------------

UNITS: Final = {b"EX": (1000, True), b"PX": (1, True), b"EXAT": (1000, False), b"PXAT": (1, False)}
"""Option words of a time: milliseconds in its unit, and whether it counts from now."""


def deadline(now: int, unit: bytes, raw: bytes, command: str) -> int:
    """When something expires, in absolute unix milliseconds. A time to live has to be positive.

    `unit` is one of UNITS; `command` is for the error ("set").
    """
    value = integer(raw)
    if value <= 0:
        raise errors.invalid_expire(command)
    return _in_ms(now, unit, value, command)


def deadline_or_past(now: int, unit: bytes, raw: bytes, command: str) -> int:
    """Like `deadline`, for EXPIRE and its kin, where a time in the past deletes."""
    return _in_ms(now, unit, integer(raw), command)


def _in_ms(now: int, unit: bytes, value: int, command: str) -> int:
    scale, relative = UNITS[unit]
    base = now if relative else 0
    if not INT_MIN <= value * scale <= INT_MAX - base:
        raise errors.invalid_expire(command)
    return value * scale + base


# -- option words --------------------------------------------------------------------------------------------------


class Words:
    """Walks through option words: iterate to get them in upper case, `take` what belongs to the word at hand.

    for word in (words := Words(args, 2)):
        if word == b"COUNT":
            count = integer(words.take())
        else:
            raise errors.syntax()
    """

    __slots__ = ("_args", "at")

    def __init__(self, args: list[bytes], at: int = 0) -> None:
        self._args = args
        self.at = at
        """Index of the argument that comes next."""

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self.at >= len(self._args):
            raise StopIteration
        self.at += 1
        return self._args[self.at - 1].upper()

    def take(self) -> bytes:
        """The next argument, as it is; a syntax error if there is none."""
        if self.at >= len(self._args):
            raise errors.syntax()
        self.at += 1
        return self._args[self.at - 1]

    def take_many(self, count: int) -> list[bytes]:
        """The next `count` arguments."""
        found = self._args[self.at : self.at + count]
        if len(found) < count:
            raise errors.syntax()
        self.at += count
        return found


class ScanOptions:
    """What SCAN, HSCAN, SSCAN and ZSCAN have been asked: args from the cursor on.

    `match`: a glob pattern, None for everything. `type` only with `keyspace` (SCAN), `novalues` only with `fields`
    (HSCAN).
    """

    __slots__ = ("count", "cursor", "match", "novalues", "type")

    def __init__(self, args: list[bytes], *, keyspace: bool = False, fields: bool = False) -> None:
        self.cursor = cursor(args[0])
        self.count = 10
        self.match: bytes | None = None
        self.type: bytes | None = None
        self.novalues = False
        for word in (words := Words(args, 1)):
            if word == b"COUNT":
                self.count = integer(words.take())
                if self.count < 1:
                    raise errors.syntax()
            elif word == b"MATCH":
                pattern = words.take()
                self.match = None if pattern == b"*" else pattern
            elif word == b"TYPE" and keyspace:
                self.type = words.take().lower()
            elif word == b"NOVALUES" and fields:
                self.novalues = True
            else:
                raise errors.syntax()


def cursor(raw: bytes) -> int:
    """A position in a scan, 64 bits. A negative one counts from the end of that range, as strtoul has it."""
    if _CURSOR(raw) is None or len(raw) > 100:
        raise errors.invalid_cursor()
    value = int(raw or b"0")
    if abs(value) > UINT_MAX:
        raise errors.invalid_cursor()
    return value & UINT_MAX


_CURSOR: Final = re.compile(rb"[+-]?[0-9]+|").fullmatch
