"""Bitmaps: strings seen as bits, bit 0 being the highest of the first byte. Bits behind the end are zero.

Nothing here loops over bits: a slice of a string becomes one integer (`int.from_bytes`), and integers count, combine
and find bits at memory speed. What is written goes through `write_string`, which changes a long string in place and
logs only the part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from operator import and_, or_, xor
from typing import Final, NamedTuple

from perdure import errors
from perdure.args import bit, bit_offset, bitfield_type, integer
from perdure.errors import ReplyError
from perdure.registry import DENYOOM, FAST, READ, WRITE, Args, Family
from perdure.resp import Reply
from perdure_storage.events import STRING
from perdure_storage.keyspace import Keyspace
from perdure_storage.types.string import Value

COMMANDS = Family("bitmap")

CHUNK: Final = 1 << 16
BLANK: Final = (bytes(CHUNK), b"\xff" * CHUNK)
"""A chunk of nothing but zeros, of nothing but ones."""

# -- one bit -------------------------------------------------------------------------------------------------------


@COMMANDS.command("SETBIT key offset value", WRITE | DENYOOM, since="2.2.0", complexity="O(1)")
def setbit(db: Keyspace, args: Args) -> Reply:
    """Set or clear one bit of a string and return what it was."""
    key, raw_offset, raw_bit = args
    at, shift = divmod(bit_offset(raw_offset), 8)
    wanted = bit(raw_bit)
    mask = 0x80 >> shift
    entry = db.find_string(key)
    inside = entry is not None and at < len(entry.value)
    byte = entry.value[at] if entry is not None and inside else 0
    changed = byte | mask if wanted else byte & ~mask
    if changed != byte or not inside:
        db.write_string(key, entry, at, bytes((changed,)))
        db.notify(STRING, b"setbit", key)
    return int(byte & mask != 0)


@COMMANDS.command("GETBIT key offset", READ | FAST, since="2.2.0", complexity="O(1)")
def getbit(db: Keyspace, args: Args) -> Reply:
    """Return one bit of a string."""
    at, shift = divmod(bit_offset(args[1]), 8)
    value = db.string(args[0])
    return value[at] >> 7 - shift & 1 if value is not None and at < len(value) else 0


# -- ranges --------------------------------------------------------------------------------------------------------


class Span(NamedTuple):
    """`start end BIT` or BYTE, as given: negative from the end, both included. `ended`: was an end given?"""

    start: int = 0
    end: int = -1
    in_bits: bool = False
    ended: bool = False

    @property
    def backward(self) -> bool:
        return self.start < 0 and self.end < 0 and self.start > self.end

    def bits(self, size: int) -> tuple[int, int]:
        """(first bit, bit behind the last) within `size` bytes; nothing in between when they are out of order there.

        A place before the beginning is the beginning, so `-3 -5` has one byte where there are no more than three. BITPOS
        counts it, as in Redis; BITCOUNT does not (`backward`).
        """
        total = size * 8 if self.in_bits else size
        first = max(self.start + total if self.start < 0 else self.start, 0)
        last = min(max(self.end + total if self.end < 0 else self.end, 0), total - 1)
        return (first, last + 1) if self.in_bits else (first * 8, last * 8 + 8)


def _span(args: Args, *, unit_before_end: bool = False) -> Span:
    """`[start [end [BYTE | BIT]]]`. BITPOS complains of a bad unit before a bad end."""
    if len(args) > 3:
        raise errors.syntax()
    start = integer(args[0]) if args else 0
    if unit_before_end:
        _in_bits(args)
    end = integer(args[1]) if len(args) > 1 else -1
    return Span(start, end, _in_bits(args), len(args) > 1)


def _in_bits(args: Args) -> bool:
    unit = args[2].upper() if len(args) == 3 else b"BYTE"
    if unit not in (b"BIT", b"BYTE"):
        raise errors.syntax()
    return unit == b"BIT"


def _pieces(value: Value, first: int, stop: int) -> Iterator[tuple[int, bytes, int]]:
    """(number of the first bit, bytes, mask) of the chunks that hold the bits from `first` up to `stop`.

    The mask has the bits that belong to the range; it is -1 when all of them do.
    """
    low, high = first >> 3, (stop + 7) >> 3
    for at in range(low, high, CHUNK):
        piece = bytes(value[at : min(at + CHUNK, high)])
        mask = -1
        if at == low and first & 7:
            mask = (1 << len(piece) * 8 - (first & 7)) - 1
        if at + CHUNK >= high and stop & 7:
            mask &= -1 << 8 - (stop & 7)
        yield at * 8, piece, mask


@COMMANDS.command("BITCOUNT key [start end [BYTE | BIT]]", READ, since="2.6.0", complexity="O(N)")
def bitcount(db: Keyspace, args: Args) -> Reply:
    """Count the ones in a string, or in part of it."""
    if len(args) == 2:
        raise errors.syntax()
    span = _span(args[1:])
    value = db.string(args[0])
    if not value or span.backward:
        return 0
    total = 0
    for _, piece, mask in _pieces(value, *span.bits(len(value))):
        if mask != -1:
            total += (int.from_bytes(piece, "big") & mask).bit_count()
        elif piece != BLANK[0]:
            total += int.from_bytes(piece, "little").bit_count()  # twice as fast as "big"
    return total


@COMMANDS.command("BITPOS key bit [start [end [BYTE | BIT]]]", READ, since="2.8.7", complexity="O(N)")
def bitpos(db: Keyspace, args: Args) -> Reply:
    """Find the first one, or zero, in a string or in part of it."""
    wanted = integer(args[1])
    if wanted not in (0, 1):
        raise ReplyError("ERR The bit argument must be 1 or 0.")
    span = _span(args[2:], unit_before_end=True)
    value = db.string(args[0])
    if value is None:
        return -wanted
    first, stop = span.bits(len(value))
    if first >= stop:
        return -1
    for place, piece, mask in _pieces(value, first, stop):
        if piece == BLANK[not wanted]:
            continue
        width = len(piece) * 8
        number = int.from_bytes(piece, "big")
        found = (number if wanted else ~number & (1 << width) - 1) & mask
        if found:
            return place + width - found.bit_length()
    return -1 if wanted or span.ended else stop


# -- combining -----------------------------------------------------------------------------------------------------


def _ones(numbers: list[int]) -> int:
    """The bits that are set in exactly one of the numbers."""
    once = twice = 0
    for number in numbers:
        twice |= once & number
        once |= number
    return once & ~twice


OPERATIONS: Final[dict[bytes, Callable[[list[int]], int]]] = {
    b"AND": lambda numbers: reduce(and_, numbers),
    b"OR": lambda numbers: reduce(or_, numbers),
    b"XOR": lambda numbers: reduce(xor, numbers),
    b"DIFF": lambda numbers: numbers[0] & ~reduce(or_, numbers[1:]),
    b"DIFF1": lambda numbers: ~numbers[0] & reduce(or_, numbers[1:]),
    b"ANDOR": lambda numbers: numbers[0] & reduce(or_, numbers[1:]),
    b"ONE": _ones,
}
"""What becomes of the same slice of each string (NOT apart). Little-endian, so that shorter strings end in zeros."""

BITOP_CHUNK: Final = 8192
"""Integers of this size stay in the processor's cache: two times faster than megabytes."""
INVERSE: Final = bytes(range(255, -1, -1))


@COMMANDS.command(
    "BITOP <AND | OR | XOR | NOT | DIFF | DIFF1 | ANDOR | ONE> destkey key [key ...]",
    WRITE | DENYOOM,
    since="2.6.0",
    complexity="O(N)",
)
def bitop(db: Keyspace, args: Args) -> Reply:
    """Combine strings bit by bit and store the result."""
    word, target, *keys = args
    word = word.upper()
    operation = OPERATIONS.get(word)
    if operation is None and word != b"NOT":
        raise errors.syntax()
    if operation is None and len(keys) != 1:
        raise ReplyError("ERR BITOP NOT must be called with a single source key.")
    if word in (b"DIFF", b"DIFF1", b"ANDOR") and len(keys) < 2:
        raise ReplyError(f"ERR BITOP {word.decode()} must be called with at least two source keys.")
    values = [db.string(key) or b"" for key in keys]
    size = max(map(len, values))
    if not size:
        entry = db.find(target)
        if entry is not None:
            db.drop(entry)
        return 0
    if operation is None:
        db.set_string(target, bytes(values[0].translate(INVERSE)))
        db.notify(STRING, b"set", target)
        return size
    pieces = []
    for at in range(0, size, BITOP_CHUNK):
        width = min(BITOP_CHUNK, size - at)
        number = operation([int.from_bytes(value[at : at + width], "little") for value in values])
        pieces.append(number.to_bytes(width, "little"))
    db.set_string(target, b"".join(pieces))
    db.notify(STRING, b"set", target)
    return size


# -- fields --------------------------------------------------------------------------------------------------------


class Field(NamedTuple):
    """An integer of `width` bits within a string, from bit `offset` on."""

    signed: bool
    width: int
    offset: int

    def read(self, value: Value) -> int:
        low, high = self.offset >> 3, (self.offset + self.width + 7) >> 3
        number = int.from_bytes(bytes(value[low:high]).ljust(high - low, b"\0"), "big")
        number = number >> high * 8 - self.offset - self.width & (1 << self.width) - 1
        return number - (1 << self.width) if self.signed and number >> self.width - 1 else number

    def merged(self, value: Value, number: int) -> tuple[int, bytes]:
        """(position, bytes) to overwrite so that the field in `value` becomes `number`."""
        low, high = self.offset >> 3, (self.offset + self.width + 7) >> 3
        shift = high * 8 - self.offset - self.width
        mask = (1 << self.width) - 1
        around = int.from_bytes(bytes(value[low:high]).ljust(high - low, b"\0"), "big") & ~(mask << shift)
        return low, (around | (number & mask) << shift).to_bytes(high - low, "big")

    def fit(self, number: int, overflow: bytes) -> int | None:
        """`number` as it goes into the field; None when it does not and must FAIL."""
        low, high = (-1 << self.width - 1, (1 << self.width - 1) - 1) if self.signed else (0, (1 << self.width) - 1)
        if low <= number <= high:
            return number
        if overflow == b"FAIL":
            return None
        if overflow == b"SAT":
            return high if number > high else low
        number &= (1 << self.width) - 1
        return number - (1 << self.width) if self.signed and number > high else number


class FieldStep(NamedTuple):
    """One step of BITFIELD: GET, SET to `number` or INCRBY `number`."""

    action: bytes
    field: Field
    number: int
    overflow: bytes


STEPS: Final = {b"GET": 2, b"SET": 3, b"INCRBY": 3}
"""How many arguments follow."""


def _steps(args: Args) -> Iterator[FieldStep]:
    overflow = b"WRAP"
    at = 0
    while at < len(args):
        action = args[at].upper()
        if action == b"OVERFLOW" and at + 1 < len(args):
            overflow = args[at + 1].upper()
            if overflow not in (b"WRAP", b"SAT", b"FAIL"):
                raise ReplyError("ERR Invalid OVERFLOW type specified")
            at += 2
            continue
        count = STEPS.get(action, len(args))
        if at + count >= len(args):
            raise errors.syntax()
        signed, width = bitfield_type(args[at + 1])
        field = Field(signed, width, bit_offset(args[at + 2], width))
        number = integer(args[at + 3]) if count == 3 else 0
        yield FieldStep(action, field, number, overflow)
        at += count + 1


@COMMANDS.command(
    "BITFIELD key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] "
    "<SET encoding offset value | INCRBY encoding offset increment> ...]",
    WRITE | DENYOOM,
    since="3.2.0",
    complexity="O(1) for each subcommand",
    key_flags=("RW access update variable_flags",),
)
def bitfield(db: Keyspace, args: Args) -> Reply:
    """Read, set and add to integers of any width within a string."""
    key = args[0]
    steps = list(_steps(args[1:]))
    writes = [step.field for step in steps if step.action != b"GET"]
    if not writes:
        value = db.string(key) or b""
        return [step.field.read(value) for step in steps]
    size = max((field.offset + field.width + 7) >> 3 for field in writes)
    entry = db.find_string(key)
    grown = changed = False
    if entry is None or len(entry.value) < size:  # the string grows also when a FAIL then keeps it all zeros
        db.write_string(key, entry, size - 1, b"\0")
        entry = db.find_string(key)
        grown = True
    assert entry is not None
    replies: list[Reply] = []
    for action, field, number, overflow in steps:
        old = field.read(entry.value)
        if action == b"GET":
            replies.append(old)
            continue
        if action == b"INCRBY":
            number += old
        elif not field.signed:
            number &= (1 << 64) - 1  # what SET is given is an unsigned 64-bit number there: -1 is its greatest
        fitting = field.fit(number, overflow)
        if fitting is None:
            replies.append(None)
            continue
        if fitting != old:
            db.patch_string(entry, *field.merged(entry.value, fitting))
        changed = changed or grown or fitting != old
        replies.append(fitting if action == b"INCRBY" else old)
    if changed:
        db.notify(STRING, b"setbit", key)
    return replies


@COMMANDS.command(
    "BITFIELD_RO key [GET encoding offset ...]", READ | FAST, since="6.0.0", complexity="O(1) for each subcommand"
)
def bitfield_ro(db: Keyspace, args: Args) -> Reply:
    """Read integers of any width within a string."""
    steps = list(_steps(args[1:]))
    if any(step.action != b"GET" for step in steps):
        raise ReplyError("ERR BITFIELD_RO only supports the GET subcommand")
    value = db.string(args[0]) or b""
    return [step.field.read(value) for step in steps]
