"""HyperLogLog: PFADD, PFCOUNT, PFMERGE. The strings are Redis' own, see `perdure.hyperloglog`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import chain
from typing import Final

from perdure import hyperloglog as hll
from perdure.errors import ReplyError, whole
from perdure.hyperloglog import Broken
from perdure.registry import ADMIN, DENYOOM, FAST, READ, WRITE, Args, Family
from perdure.resp import Reply
from perdure.usage import KeySpec
from perdure_storage.events import STRING
from perdure_storage.keyspace import Keyspace
from perdure_storage.types.string import String

COMMANDS = Family("hyperloglog")

_not_one: Final = partial(ReplyError, "WRONGTYPE Key is not a valid HyperLogLog string value.")
_broken: Final = partial(ReplyError, "INVALIDOBJ Corrupted HLL object detected")


def _find(db: Keyspace, key: bytes) -> String | None:
    entry = db.find_string(key)
    if entry is not None and not hll.looks_right(entry.value):
        raise _not_one()
    return entry


def _read(db: Keyspace, key: bytes) -> bytes | bytearray | None:
    value = db.string(key)
    if value is not None and not hll.looks_right(value):
        raise _not_one()
    return value


def _registers(value: bytes | bytearray) -> bytearray:
    try:
        return hll.registers_of(value)
    except Broken:
        raise _broken() from None


def _put(db: Keyspace, key: bytes, entry: String | None, value: bytes | bytearray) -> None:
    db.set_string(key, value, entry.expire if entry is not None else 0)


def _set_many(value: bytearray, places: Iterable[tuple[int, int]], max_bytes: int) -> tuple[bytearray, int]:
    """(the value with these registers raised, how many of them were lower)."""
    raised, left = 0, iter(places)
    try:
        if not hll.is_dense(value):
            for index, count in left:
                done = hll.sparse_put(value, index, count, max_bytes)
                if done is None:
                    left = chain([(index, count)], left)
                    break
                raised += done
            else:
                return value, raised
            value = hll.to_dense(value)
    except Broken:
        raise _broken() from None
    for index, count in left:
        if hll.dense_get(value, index) < count:
            at, part = hll.dense_put(value, index, count)
            value[at : at + len(part)] = part
            raised += 1
    return value, raised


@COMMANDS.command(
    "PFADD key [element [element ...]]",
    WRITE | DENYOOM | FAST,
    since="2.8.9",
    complexity="O(1) for each element",
    key_flags=("RW insert",),
)
def pfadd(db: Keyspace, args: Args) -> Reply:
    """Add elements; returns 1 if the count may have changed, or the key is new."""
    key, places = args[0], [*map(hll.place, args[1:])]
    entry = _find(db, key)
    if entry is not None and hll.is_dense(entry.value):
        changed = _raise_dense(db, entry, places)
    else:
        start = bytearray(entry.value) if entry is not None else hll.empty()
        value, raised = _set_many(start, places, db.ds.limits.hll_sparse_max_bytes)
        changed = entry is None or raised > 0
        if changed:
            value[hll.STALE_AT] |= hll.STALE
            _put(db, key, entry, value)
    if changed:
        db.notify(STRING, b"pfadd", key)
    return 1 if changed else 0


def _raise_dense(db: Keyspace, entry: String, places: list[tuple[int, int]]) -> bool:
    """Each register that rises is a patch of two bytes: what the log gets is small."""
    changed = False
    for index, count in places:
        if hll.dense_get(entry.value, index) < count:
            db.patch_string(entry, *hll.dense_put(entry.value, index, count))
            changed = True
    if changed and not entry.value[hll.STALE_AT] & hll.STALE:
        db.patch_string(entry, hll.STALE_AT, bytes((entry.value[hll.STALE_AT] | hll.STALE,)))
    return changed


@COMMANDS.command(
    "PFCOUNT key [key ...]",
    READ,
    since="2.8.9",
    complexity="O(1) with one key whose count is known, O(N) for N keys",
    key_flags=("RW access",),
)
def pfcount(db: Keyspace, args: Args) -> Reply:
    """Return about how many different elements were added to one or several; one remembers its count."""
    if len(args) > 1:
        return hll.estimate(_union(db, args)[0])
    value = _read(db, args[0])
    if value is None:
        return 0
    count = hll.cached(value)
    if count is None:
        count = hll.estimate(_registers(value))
        entry = db.find_string(args[0])
        assert entry is not None
        db.patch_string(entry, 8, count.to_bytes(8, "little", signed=count < 0))
    return count


def _union(db: Keyspace, keys: Args) -> tuple[bytearray, bool]:
    """(the registers of all together, whether any of them is dense)."""
    union, dense = bytearray(hll.REGISTERS), False
    for key in keys:
        value = _read(db, key)
        if value is not None:
            union = hll.union(union, _registers(value))
            dense = dense or hll.is_dense(value)
    return union, dense


@COMMANDS.command(
    "PFMERGE destkey [sourcekey [sourcekey ...]]",
    WRITE | DENYOOM,
    since="2.8.9",
    complexity="O(N), N being the keys",
    key_specs=(
        KeySpec(1, flags=("RW", "access", "insert")),
        KeySpec(2, last=-1, flags=("RO", "access")),
    ),
)
def pfmerge(db: Keyspace, args: Args) -> Reply:
    """Add to the first what the others have."""
    union, dense = _union(db, args)
    entry = _find(db, args[0])
    value = bytearray(entry.value) if entry is not None else hll.empty()
    if dense:
        value = hll.pack(value, union)
    else:
        places = [(index, count) for index, count in enumerate(union) if count]
        value, _ = _set_many(value, places, db.ds.limits.hll_sparse_max_bytes)
    value[hll.STALE_AT] |= hll.STALE
    _put(db, args[0], entry, value)
    db.notify(STRING, b"pfadd", args[0])
    return "OK"


# -- for Redis' own tests ------------------------------------------------------------------------------------------


@COMMANDS.command(
    "PFDEBUG subcommand key",
    WRITE | DENYOOM | ADMIN,
    since="2.8.9",
    complexity="O(1)",
    key_specs=(KeySpec(2, flags=("RW", "access")),),
)
def pfdebug(db: Keyspace, args: Args) -> Reply:
    """Look into one: GETREG, DECODE, ENCODING, TODENSE."""
    word, key = args[0].upper(), args[1]
    entry = _find(db, key)
    if entry is None:
        raise ReplyError("ERR The specified key does not exist")
    if word == b"ENCODING":
        return "dense" if hll.is_dense(entry.value) else "sparse"
    if word == b"DECODE":
        if hll.is_dense(entry.value):
            raise ReplyError("ERR HLL encoding is not sparse")
        return hll.describe(entry.value)
    if word not in (b"GETREG", b"TODENSE"):
        raise ReplyError(f"ERR Unknown PFDEBUG subcommand '{whole(args[0])}'")
    registers = _registers(entry.value)
    sparse = not hll.is_dense(entry.value)
    if sparse:
        _put(db, key, entry, hll.pack(entry.value, registers))
    return list(registers) if word == b"GETREG" else int(sparse)


@COMMANDS.command("PFSELFTEST", ADMIN, since="2.8.9", complexity="N/A")
def pfselftest(db: Keyspace, args: Args) -> Reply:
    """Try registers and estimates out."""
    registers = bytearray(index * 31 % 64 for index in range(hll.REGISTERS))
    if hll.registers_of(hll.pack(hll.empty(), registers)) != registers:
        raise ReplyError("TESTFAILED dense registers do not come back")
    value = hll.empty()
    registers = bytearray(hll.REGISTERS)
    for number in range(1, 10_001):
        index, count = hll.place(b"%d" % number)
        registers[index] = max(registers[index], count)
        value, _ = _set_many(value, [(index, count)], db.ds.limits.hll_sparse_max_bytes)
        if number in (10, 100, 1000, 10_000) and abs(hll.estimate(registers) - number) > number * 0.05 + 1:
            raise ReplyError(f"TESTFAILED too much error at {number}")
    if hll.registers_of(value) != registers:
        raise ReplyError("TESTFAILED registers differ between the encodings")
    return "OK"
