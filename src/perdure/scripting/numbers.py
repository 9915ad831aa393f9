"""The libraries `bit` and `struct` of scripts, as Redis has them.

Errors are `Complaint`s: the sandbox raises their text in the script, at the line that called.

`bit`: numbers are rounded and taken modulo 2^32; results are signed. `struct`: a format is read character by character,

    < >     little endian, big endian                           x        a byte of padding
    !n      align numbers to n bytes at most                    b h i l  integers of 1, 2, 4, 8 bytes (B H I L T unsigned)
    in In   integers of n bytes                                 f d      floats of 4 and 8 bytes
    s       a string and a zero byte                            cn       n bytes; c0: as many as the string has, or
                                                                         as the number before it said
"""

from __future__ import annotations

import logging
import math
import re
import struct
from collections.abc import Callable, Iterator
from functools import reduce, wraps
from operator import and_, or_, xor
from typing import Any, Final

from perdure.scripting.bytecode import Unsafe

log = logging.getLogger("perdure")

WORD: Final = 0xFFFFFFFF
LONG: Final = 0xFFFFFFFFFFFFFFFF
LIKE_A_NUMBER: Final = re.compile(
    rb"[ \t\n\v\f\r]*([-+]?(?:(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|inf(?:inity)?|nan"
    rb"|(0x(?:[\da-f]+\.?[\da-f]*|\.[\da-f]+)(?:p[-+]?\d+)?)))[ \t\n\v\f\r]*(?:\0|\Z)",
    re.IGNORECASE,
).match
INTEGER_MAX: Final = 32
"""Bytes of the longest integer of `struct`."""
TOO_SHORT: Final = "bad argument #2 to 'unpack' (data string too short)"
SIZE_MAX: Final = (1 << 31) - 1
FORMAT_MAX: Final = 20_000
"""Characters of a format: reading them cannot be interrupted."""
RESULTS_MAX: Final = 7000
"""So many fit on Lua's stack."""


TYPES: Final = {
    "NoneType": "nil", "bool": "boolean", "bytes": "string", "float": "number", "int": "number", "_LuaFunction": "function",
    "_LuaCoroutineFunction": "thread", "_LuaTable": "table", "_LuaThread": "thread",
}  # fmt: skip
"""Lua's names of types, by those that their values have in Python."""


class Complaint(Exception):
    """What is wrong with a script's arguments."""


def complaining(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, its complaints returned as a pair (False, text)."""

    @wraps(function)
    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except (Complaint, Unsafe) as complaint:
            return False, str(complaint).encode("latin-1", "replace")
        except Exception:
            log.exception("%s, called by a script, failed", function)
            return False, b"internal error, see the server's log"

    return call


def number(args: tuple[Any, ...], at: int, name: str) -> int | float:
    """The argument at this place, which has to be a number or look like one."""
    value = args[at] if at < len(args) else None
    if type(value) is int or type(value) is float:
        return value
    if type(value) is bytes:
        read = read_number(value)
        if read is not None:
            return read
    got = "no value" if at >= len(args) else lua_type(value)
    raise Complaint(f"bad argument #{at + 1} to '{name}' (number expected, got {got})")


def read_number(value: bytes) -> float | None:
    """The number that Lua sees in a string: as strtod does, up to a zero byte."""
    found = LIKE_A_NUMBER(value)
    if found is None:
        return None
    try:
        return float.fromhex(found[1].decode()) if found[2] else float(found[1])
    except OverflowError:
        return math.inf


def text(args: tuple[Any, ...], at: int, name: str) -> bytes:
    """The argument at this place, which has to be a string or a number."""
    value = args[at] if at < len(args) else None
    if type(value) is bytes:
        return value
    if type(value) is int or type(value) is float:
        return b"%.14g" % value if value == value or math.copysign(1, value) > 0 else b"-nan"
    got = "no value" if at >= len(args) else lua_type(value)
    raise Complaint(f"bad argument #{at + 1} to '{name}' (string expected, got {got})")


def lua_type(value: Any) -> str:
    return TYPES.get(type(value).__name__, "userdata")


def whole(value: int | float) -> int:
    """A number as an integer, cut towards zero; what is none is 0."""
    return int(value) if math.isfinite(value) else 0


# -- bit -----------------------------------------------------------------------------------------------------------


ROUNDING: Final = 6755399441055744.0
"""2^52 + 2^51: the sum of a number and this has its integer in the lower bits."""


def word(args: tuple[Any, ...], at: int, name: str) -> int:
    """The argument at this place, modulo 2^32. What is beyond 2^51 loses bits, as in the library of C."""
    value = number(args, at, name)
    if type(value) is int and abs(value) < 1 << 51:
        return value & WORD
    return int.from_bytes(struct.pack("<d", value + ROUNDING)[:4], "little")


def signed(value: int) -> int:
    value &= WORD
    return value - (1 << 32) if value >> 31 else value


def folding(name: str, fold: Callable[[int, int], int]) -> Callable[..., int]:
    def call(*args: Any) -> int:
        words = [word(args, at, name) for at in (0, *range(len(args) - 1, 0, -1))]
        return signed(reduce(fold, words))

    return call


def shifting(name: str, shift: Callable[[int, int], int]) -> Callable[..., int]:
    def call(*args: Any) -> int:
        return signed(shift(word(args, 0, name), word(args, 1, name) & 31))

    return call


def tohex(*args: Any) -> bytes:
    value = word(args, 0, "tohex")
    digits = signed(word(args, 1, "tohex")) if len(args) > 1 else 8
    count = min(abs(digits), 8)
    shown = f"{value:08x}"[8 - count :]
    return (shown.upper() if digits < 0 else shown).encode()


BIT: Final[dict[bytes, Callable[..., Any]]] = {
    name.encode(): complaining(function)
    for name, function in {
        "tobit": lambda *args: signed(word(args, 0, "tobit")),
        "bnot": lambda *args: signed(~word(args, 0, "bnot")),
        "band": folding("band", and_),
        "bor": folding("bor", or_),
        "bxor": folding("bxor", xor),
        "lshift": shifting("lshift", lambda value, by: value << by),
        "rshift": shifting("rshift", lambda value, by: value >> by),
        "arshift": shifting("arshift", lambda value, by: signed(value) >> by),
        "rol": shifting("rol", lambda value, by: value << by | value >> (32 - by)),
        "ror": shifting("ror", lambda value, by: value >> by | value << (32 - by)),
        "bswap": lambda *args: signed(int.from_bytes(word(args, 0, "bswap").to_bytes(4, "little"), "big")),
        "tohex": tohex,
    }.items()
}

# -- struct --------------------------------------------------------------------------------------------------------

SIZES: Final = {"b": 1, "B": 1, "h": 2, "H": 2, "l": 8, "L": 8, "T": 8, "i": 4, "I": 4, "f": 4, "d": 8, "x": 1}


class Item:
    """One thing that a format asks for: `padding` bytes before it, then `size` bytes of kind `code`."""

    __slots__ = ("code", "little", "padding", "size")

    def __init__(self, code: str, size: int, padding: int, little: bool) -> None:
        self.code = code
        self.size = size
        self.padding = padding
        self.little = little


class Format:
    """Reads a format; what its items are aligned to depends on `offset`, which the caller keeps. There is nothing behind
    `end`."""

    def __init__(self, args: tuple[Any, ...], name: str) -> None:
        written, _, _ = text(args, 0, name).partition(b"\0")
        if len(written) > FORMAT_MAX:
            raise Complaint("format too long")
        self._text = written.decode("latin-1")
        self._name = name
        self.offset = 0
        self.end: int | float = math.inf

    def __iter__(self) -> Iterator[Item]:
        little, alignment, at = True, 1, 0
        written = self._text
        while at < len(written):
            code = written[at]
            at += 1
            stop = at
            while stop < len(written) and written[stop].isdecimal() and written[stop].isascii():
                stop += 1
            digits = written[at:stop] if code in "iIc!" else ""
            at += len(digits)
            given = int(digits[:12]) if digits else -1
            if given > SIZE_MAX:
                raise Complaint("integral size overflow")
            if code in "iI" and given > INTEGER_MAX:
                raise Complaint(f"integral size {given} is larger than limit of {INTEGER_MAX}")
            if self.offset > self.end:
                raise Complaint(TOO_SHORT)
            if code in "<>":
                little = code != ">"
            elif code == "!":
                alignment = 8 if given < 0 else given
                if not alignment or alignment & (alignment - 1):
                    raise Complaint(f"alignment {alignment} is not a power of 2")
            elif code == "s":
                yield Item(code, 0, 0, little)
            elif code == "c":
                yield Item(code, 1 if given < 0 else given, 0, little)
            elif code in SIZES:
                size = SIZES[code] if given < 0 else given
                step = min(size, alignment)
                padding = step - (self.offset & (step - 1)) & (step - 1) if step > 1 else 0
                yield Item(code, size, padding, little)
            elif code != " " and not (self._name == "size" and code.isalnum() and code.isascii()):
                raise Complaint(f"bad argument #1 to '{self._name}' (invalid format option '{code}')")


def pack(*args: Any) -> bytes:
    out = bytearray()
    at = 1
    form = Format(args, "pack")
    args += (None,)
    for item in form:
        out += bytes(item.padding)
        code = item.code
        if code == "x":
            out.append(0)
        elif code in "sc":
            value = text(args, at, "pack")
            size = item.size if code == "c" and item.size else len(value)
            if len(value) < size:
                raise Complaint(f"bad argument #{at + 2} to 'pack' (string too short)")
            out += value[:size]
            if code == "s":
                out.append(0)
            at += 1
        elif code in "fd":
            out += packed_float(number(args, at, "pack"), code, item.little)
            at += 1
        else:
            bits = long_word(number(args, at, "pack")) & ((1 << 8 * item.size) - 1)
            out += bits.to_bytes(item.size, "little" if item.little else "big")
            at += 1
        form.offset = len(out)
    return bytes(out)


def long_word(value: int | float) -> int:
    """A number as 64 bits, as C converts it: what is too large for them is 0, what is too small or none the least."""
    if value != value or value < -(2.0**63):
        return 1 << 63
    return int(value) & LONG if value < 2.0**64 else 0


def packed_float(value: int | float, code: str, little: bool) -> bytes:
    order = "<" if little else ">"
    try:
        return struct.pack(order + code, value)
    except OverflowError:
        return struct.pack(order + code, math.copysign(math.inf, value))


def unpack(*args: Any) -> tuple[Any, ...]:
    """The values, and the position behind them."""
    form = Format(args, "unpack")
    data = text(args, 1, "unpack")
    first = whole(number(args, 2, "unpack")) if len(args) > 2 and args[2] is not None else 1
    if not first:
        raise Complaint("bad argument #3 to 'unpack' (offset must be 1 or greater)")
    at = form.offset = first - 1 & LONG
    form.end = len(data)
    found: list[Any] = []
    for item in form:
        at += item.padding
        code, size = item.code, item.size
        if at + size > len(data):
            raise Complaint(TOO_SHORT)
        if code == "c" and not size:
            before = found.pop() if found else None
            read = read_number(before) if type(before) is bytes else before
            if read is None:
                raise Complaint("format 'c0' needs a previous size")
            size = whole(read)
            if size < 0 or at + size > len(data):
                raise Complaint(TOO_SHORT)
        if code == "s":
            stop = data.find(b"\0", at)
            if stop < 0:
                raise Complaint("unfinished string in data")
            found.append(data[at:stop])
            size = stop - at + 1
        elif code == "c":
            found.append(data[at : at + size])
        elif code in "fd":
            found.append(struct.unpack(("<" if item.little else ">") + code, data[at : at + size])[0])
        elif code != "x":
            found.append(unpacked_integer(data[at : at + size], item))
        at += size
        form.offset = at
    found.append(float(((at + 1 & LONG) ^ 1 << 63) - (1 << 63)))
    if len(found) > RESULTS_MAX:
        raise Complaint("too many results to unpack")
    return tuple(found)


def unpacked_integer(raw: bytes, item: Item) -> float:
    value = int.from_bytes(raw, "little" if item.little else "big") & LONG
    if item.code.islower():
        sign = -1 << (8 * item.size - 1) % 64 & LONG  # of more than 8 bytes C takes this bit, too
        if value & sign:
            value |= sign
        if value >> 63:
            value -= 1 << 64
    return float(value)


def size(*args: Any) -> int:
    form = Format(args, "size")
    for item in form:
        if item.code == "s" or (item.code == "c" and not item.size):
            shown = "s" if item.code == "s" else "c0"
            raise Complaint(f"bad argument #1 to 'size' (option '{shown}' has no fixed size)")
        form.offset += item.padding + item.size
    return form.offset


PACK: Final = complaining(pack)
SIZE: Final = complaining(size)
UNPACK: Final = complaining(unpack)
