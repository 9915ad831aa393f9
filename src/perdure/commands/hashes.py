# cython: annotation_typing=True
"""Hashes: HSET, HGETALL and their kin, and fields that expire one by one.

A field whose time has come is removed before any command sees the hash: HLEN, HKEYS and HRANDFIELD never count it.
Redis does, until its own sweep has passed.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from math import inf
from typing import Final

from perdure import errors, long_double, sampling
from perdure.args import INT_MAX, INT_MIN, UNITS, ScanOptions, integer, integer_between, to_integer
from perdure.args import cursor as parse_cursor
from perdure.errors import ReplyError
from perdure.globs import compile_glob
from perdure.registry import DENYOOM, FAST, READ, RECORD_ONLY, WRITE, Args, Family
from perdure.resp import Pairs, Reply
from perdure_storage.events import HASH
from perdure_storage.keyspace import Keyspace
from perdure_storage.types.hash import Hash

COMMANDS = Family("hash")

# -- fields and values ---------------------------------------------------------------------------------------------


@COMMANDS.command(
    "HSET key field value [field value ...]",
    WRITE | DENYOOM | FAST,
    since="2.0.0",
    complexity="O(1) for each field",
    key_flags=("RW update",),
    history=(("4.0.0", "Accepts multiple `field` and `value` arguments."),),
)
def hset(db: Keyspace, args: Args) -> Reply:
    """Set fields of a hash; returns how many are new. What they had of a time to live is gone."""
    if len(args) == 3:
        added = db.edit_hash(args[0]).set(args[1], args[2])
        if db.wants:
            db.notify(HASH, b"hset", args[0])
        return 1 if added else 0
    return _set_many(db, args, b"hset")


@COMMANDS.command(
    "HMSET key field value [field value ...]",
    WRITE | DENYOOM | FAST,
    since="2.0.0",
    complexity="O(1) for each field",
    key_flags=("RW update",),
    deprecated_since="4.0.0",
    replaced_by="`HSET` with multiple field-value pairs",
)
def hmset(db: Keyspace, args: Args) -> Reply:
    """Set fields of a hash."""
    _set_many(db, args, b"hmset")
    return "OK"


def _set_many(db: Keyspace, args: Args, name: bytes) -> int:
    if not len(args) & 1:
        raise errors.wrong_arity(name)
    entry = db.edit_hash(args[0])
    added = sum(entry.set(args[at], args[at + 1]) for at in range(1, len(args), 2))
    db.notify(HASH, b"hset", args[0])
    return added


@COMMANDS.command(
    "HSETNX key field value",
    WRITE | DENYOOM | FAST,
    since="2.0.0",
    complexity="O(1)",
    key_flags=("RW insert",),
)
def hsetnx(db: Keyspace, args: Args) -> Reply:
    """Set a field unless it exists."""
    entry = db.find_hash(args[0])
    if entry is not None and args[1] in entry.values:
        return 0
    db.edit_hash(args[0]).set(args[1], args[2])
    db.notify(HASH, b"hset", args[0])
    return 1


@COMMANDS.command("HGET key field", READ | FAST | RECORD_ONLY, since="2.0.0", complexity="O(1)")
def hget(db: Keyspace, args: Args) -> Reply:
    """Return the value of a field."""
    fields = db.few(args[0], Hash)
    return None if fields is None else fields.get(args[1])


@COMMANDS.command(
    "HMGET key field [field ...]", READ | FAST | RECORD_ONLY, since="2.0.0", complexity="O(1) for each field"
)
def hmget(db: Keyspace, args: Args) -> Reply:
    """Return the values of fields, null for those that do not exist."""
    fields = db.few(args[0], Hash)
    return [None] * (len(args) - 1) if fields is None else [*map(fields.get, args[1:])]


@COMMANDS.command("HGETALL key", READ, since="2.0.0", complexity="O(N)", tips="nondeterministic_output_order")
def hgetall(db: Keyspace, args: Args) -> Reply:
    """Return all fields with their values."""
    entry = db.hash(args[0])
    return {} if entry is None else entry.values


@COMMANDS.command("HKEYS key", READ, since="2.0.0", complexity="O(N)", tips="nondeterministic_output_order")
def hkeys(db: Keyspace, args: Args) -> Reply:
    """Return all fields."""
    entry = db.hash(args[0])
    return [] if entry is None else [*entry.values]


@COMMANDS.command("HVALS key", READ, since="2.0.0", complexity="O(N)", tips="nondeterministic_output_order")
def hvals(db: Keyspace, args: Args) -> Reply:
    """Return all values."""
    entry = db.hash(args[0])
    return [] if entry is None else [*entry.values.values()]


@COMMANDS.command("HLEN key", READ | FAST | RECORD_ONLY, since="2.0.0", complexity="O(1)", key_flags=("RO",))
def hlen(db: Keyspace, args: Args) -> Reply:
    """Return the number of fields."""
    entry = db.find(args[0])
    if type(entry) is Hash and not entry.loaded and not 0 < entry.logged_due <= db.ds.now:
        db.ds.hits += 1
        return entry.size  # no field has expired: the record knows the size
    entry = db.hash(args[0])
    return 0 if entry is None else entry.size


@COMMANDS.command("HSTRLEN key field", READ | FAST | RECORD_ONLY, since="3.2.0", complexity="O(1)", key_flags=("RO",))
def hstrlen(db: Keyspace, args: Args) -> Reply:
    """Return the length of a field's value."""
    fields = db.few(args[0], Hash)
    return 0 if fields is None else len(fields.get(args[1]) or b"")


@COMMANDS.command("HEXISTS key field", READ | FAST | RECORD_ONLY, since="2.0.0", complexity="O(1)", key_flags=("RO",))
def hexists(db: Keyspace, args: Args) -> Reply:
    """Return 1 if the field exists."""
    fields = db.few(args[0], Hash)
    return 1 if fields is not None and args[1] in fields else 0


@COMMANDS.command(
    "HDEL key field [field ...]",
    WRITE | FAST,
    since="2.0.0",
    complexity="O(1) for each field",
    key_flags=("RW delete",),
    history=(("2.4.0", "Accepts multiple `field` arguments."),),
)
def hdel(db: Keyspace, args: Args) -> Reply:
    """Remove fields; returns how many there were. The key goes with the last one."""
    entry = db.find_hash(args[0])
    if entry is None:
        return 0
    removed = sum(map(entry.delete, args[1:]))
    if removed:
        db.notify(HASH, b"hdel", args[0])
    db.settle(entry)
    return removed


# -- numbers -------------------------------------------------------------------------------------------------------


@COMMANDS.command("HINCRBY key field increment", WRITE | DENYOOM | FAST, since="2.0.0", complexity="O(1)")
def hincrby(db: Keyspace, args: Args) -> Reply:
    """Add to the integer in a field; its time to live stays."""
    increment = integer(args[2])
    entry, field = db.find_hash(args[0]), args[1]
    raw = None if entry is None else entry.values.get(field)
    number = 0 if raw is None else integer(raw, errors.hash_not_an_integer)
    total = number + increment
    if not INT_MIN <= total <= INT_MAX:
        raise errors.overflow()
    _keep_ttl(entry or db.edit_hash(args[0]), field, b"%d" % total)
    db.notify(HASH, b"hincrby", args[0])
    return total


@COMMANDS.command("HINCRBYFLOAT key field increment", WRITE | DENYOOM | FAST, since="2.6.0", complexity="O(1)")
def hincrbyfloat(db: Keyspace, args: Args) -> Reply:
    """Add to the decimal number in a field; its time to live stays."""
    increment = long_double.parse(args[2])
    if increment is None:
        raise errors.not_a_float()
    if increment[1] == long_double.INFINITE:
        raise ReplyError("ERR value is NaN or Infinity")
    entry, field = db.find_hash(args[0]), args[1]
    raw = None if entry is None else entry.values.get(field)
    number = long_double.parse(b"0" if raw is None else raw)
    if number is None:
        raise errors.hash_not_a_float()
    total = long_double.add(number, increment)
    if total is None:
        raise errors.would_be_nan()
    text = long_double.show(total)
    _keep_ttl(entry or db.edit_hash(args[0]), field, text)
    db.notify(HASH, b"hincrbyfloat", args[0])
    return text


def _keep_ttl(entry: Hash, field: bytes, value: bytes) -> None:
    entry.set(field, value, entry.ttl.get(field, 0))


# -- random fields, pages ------------------------------------------------------------------------------------------


@COMMANDS.command(
    "HRANDFIELD key [count [WITHVALUES]]",
    READ,
    since="6.2.0",
    complexity="O(1) for each field returned; O(N) the first time that a hash of more than 64 fields is asked",
    tips="nondeterministic_output",
)
def hrandfield(db: Keyspace, args: Args) -> Reply:
    """Return random fields: up to `count` different ones, or exactly `-count` with repetitions."""
    if len(args) == 1:
        entry = db.hash(args[0])
        return None if entry is None else sampling.one(entry, entry.values, db.ds.random)
    count = integer_between(args[1], -INT_MAX, INT_MAX)
    if len(args) > 3 or (len(args) == 3 and args[2].upper() != b"WITHVALUES"):
        raise errors.syntax()
    if len(args) == 3 and abs(count) > INT_MAX // 2:
        raise errors.out_of_range()
    entry = db.hash(args[0])
    if entry is None or not count:
        return []
    fields = sampling.some(entry, entry.values, count, db.ds.random)
    if len(args) < 3:
        return fields
    values = entry.values
    return Pairs([*chain.from_iterable((field, values[field]) for field in fields)])


@COMMANDS.command(
    "HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
    READ,
    since="2.8.0",
    complexity="O(1) for each call, O(N) for all; O(N) the first time that a large hash is asked",
    tips="nondeterministic_output",
)
def hscan(db: Keyspace, args: Args) -> Reply:
    """Return a page of fields with their values, and the cursor of the next page.

    A small hash comes whole, as in Redis. Fields that are there from the first page to the last are returned.
    """
    parse_cursor(args[1])  # Redis asks for the rest only when there is a hash
    entry = db.hash(args[0])
    if entry is None:
        return [b"0", []]
    options = ScanOptions(args[1:], fields=True)
    values = entry.values
    if entry.size <= db.ds.limits.hash_max_listpack_entries:
        cursor, fields = 0, [*values]
    else:
        cursor, fields = entry.ordered().page(options.cursor, options.count)
    if options.match is not None:
        fields = [*filter(compile_glob(options.match), fields)]
    if not options.novalues:
        fields = [*chain.from_iterable((field, values[field]) for field in fields)]
    return [b"%d" % cursor, fields]


# -- fields that expire --------------------------------------------------------------------------------------------

NO_FIELD: Final = -2
NO_TTL: Final = -1
REFUSED: Final = 0
DONE: Final = 1
DELETED: Final = 2

MAX_EXPIRE: Final = (1 << 46) - 1
"""The last millisecond at which Redis lets a field expire: in the year 4199."""

CONDITIONS: Final[dict[bytes, Callable[[int, int], bool]]] = {
    b"NX": lambda old, new: not old,
    b"XX": lambda old, new: old > 0,
    b"GT": lambda old, new: 0 < old < new,
    b"LT": lambda old, new: new < (old or inf),
}
"""May a field that expires at `old` (0: never) expire at `new` from now on?"""


def _fields(args: Args, at: int, bad_count: str) -> Args:
    """The fields of `FIELDS numfields field [field ...]`, which is all that is left from `at` on."""
    if len(args) <= at + 1 or args[at].upper() != b"FIELDS":
        raise ReplyError("ERR Mandatory argument FIELDS is missing or not at the right position")
    count = to_integer(args[at + 1])
    if count is None or count < 1:
        raise ReplyError(bad_count)
    if count != len(args) - at - 2:
        raise ReplyError("ERR The `numfields` parameter must match the number of arguments")
    return args[at + 2 :]


NOT_POSITIVE: Final = "ERR Number of fields must be a positive integer"


def _deadline(now: int, unit: bytes, raw: bytes, command: str) -> int:
    """When a field is to expire, unix ms."""
    value = integer(raw)
    if value < 0:
        raise ReplyError("ERR invalid expire time, must be >= 0")
    scale, relative = UNITS[unit]
    when = value * scale + (now if relative else 0)
    if when > MAX_EXPIRE:
        raise errors.invalid_expire(command)
    return when


def _expire_field(entry: Hash, field: bytes, when: int) -> int:
    """Let a field expire then; in the past: now."""
    if when <= entry.db.ds.now:
        entry.delete(field)
        return DELETED
    entry.expire_field(field, when)
    return DONE


def _expire(unit: bytes, command: str) -> Callable[[Keyspace, Args], Reply]:
    def handler(db: Keyspace, args: Args) -> Reply:
        """Let fields expire; a time in the past removes them."""
        entry = db.find_hash(args[0])
        when = _deadline(db.ds.now, unit, args[1], command)
        condition = CONDITIONS.get(args[2].upper())
        fields = _fields(args, 3 if condition else 2, "ERR Parameter `numFields` should be greater than 0")
        if entry is None:
            return [NO_FIELD] * len(fields)
        replies = []
        for field in fields:
            if field not in entry.values:
                replies.append(NO_FIELD)
            elif condition is not None and not condition(entry.ttl.get(field, 0), when):
                replies.append(REFUSED)
            else:
                replies.append(_expire_field(entry, field, when))
        if DONE in replies or DELETED in replies:
            db.notify(HASH, b"hexpire" if DONE in replies else b"hdel", args[0])
        db.settle(entry)
        return replies

    return handler


for _unit, _name, _time, _summary in (
    (b"EX", "HEXPIRE", "seconds", "Let fields of a hash expire after some seconds"),
    (b"PX", "HPEXPIRE", "milliseconds", "Let fields of a hash expire after some milliseconds"),
    (b"EXAT", "HEXPIREAT", "unix-time-seconds", "Let fields of a hash expire at a time, in seconds"),
    (b"PXAT", "HPEXPIREAT", "unix-time-milliseconds", "Let fields of a hash expire at a time, in milliseconds"),
):
    COMMANDS.command(
        f"{_name} key {_time} [NX | XX | GT | LT] <FIELDS numfields field [field ...]>",
        WRITE | DENYOOM | FAST,
        since="7.4.0",
        complexity="O(1) for each field",
        summary=_summary,
        key_flags=("RW update",),
    )(_expire(_unit, _name.lower()))


def _time_left(scale: int, absolute: bool) -> Callable[[Keyspace, Args], Reply]:
    def handler(db: Keyspace, args: Args) -> Reply:
        """Return for each field when it expires: -1 never, -2 there is no such field."""
        entry = db.hash(args[0])
        fields = _fields(args, 1, NOT_POSITIVE)
        if entry is None:
            return [NO_FIELD] * len(fields)
        base = 0 if absolute else db.ds.now
        values, ttl = entry.values, entry.ttl
        return [
            NO_FIELD if field not in values else -(-(ttl[field] - base) // scale) if field in ttl else NO_TTL
            for field in fields
        ]

    return handler


for _scale, _absolute, _name, _summary in (
    (1000, False, "HTTL", "Return the seconds that fields of a hash have left"),
    (1, False, "HPTTL", "Return the milliseconds that fields of a hash have left"),
    (1000, True, "HEXPIRETIME", "Return when fields of a hash expire, in seconds"),
    (1, True, "HPEXPIRETIME", "Return when fields of a hash expire, in milliseconds"),
):
    COMMANDS.command(
        f"{_name} key <FIELDS numfields field [field ...]>",
        READ | FAST,
        since="7.4.0",
        complexity="O(1) for each field",
        summary=_summary,
        tips="" if _absolute else "nondeterministic_output",
    )(_time_left(_scale, _absolute))


@COMMANDS.command(
    "HPERSIST key <FIELDS numfields field [field ...]>",
    WRITE | FAST,
    since="7.4.0",
    complexity="O(1) for each field",
    key_flags=("RW update",),
)
def hpersist(db: Keyspace, args: Args) -> Reply:
    """Let fields of a hash live for ever."""
    entry = db.find_hash(args[0])
    fields = _fields(args, 1, NOT_POSITIVE)
    if entry is None:
        return [NO_FIELD] * len(fields)
    replies = [_persist(entry, field) for field in fields]
    if DONE in replies:
        db.notify(HASH, b"hpersist", args[0])
    return replies


def _persist(entry: Hash, field: bytes) -> int:
    if field not in entry.values:
        return NO_FIELD
    if field not in entry.ttl:
        return NO_TTL
    entry.expire_field(field, 0)
    return DONE


@COMMANDS.command(
    "HGETDEL key <FIELDS numfields field [field ...]>",
    WRITE | FAST,
    since="8.0.0",
    complexity="O(1) for each field",
    key_flags=("RW access delete",),
)
def hgetdel(db: Keyspace, args: Args) -> Reply:
    """Return the values of fields and remove them."""
    entry = db.hash(args[0])
    fields = _fields(args, 1, NOT_POSITIVE)
    if entry is None:
        return [None] * len(fields)
    replies = []
    for field in fields:
        replies.append(entry.values.get(field))
        entry.delete(field)
    if any(value is not None for value in replies):
        db.notify(HASH, b"hdel", args[0])
    db.settle(entry)
    return replies


@COMMANDS.command(
    "HGETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST] "
    "<FIELDS numfields field [field ...]>",
    WRITE | FAST,
    since="8.0.0",
    complexity="O(1) for each field",
    key_flags=("RW access update",),
)
def hgetex(db: Keyspace, args: Args) -> Reply:
    """Return the values of fields and change when they expire."""
    entry = db.hash(args[0])
    unit = args[1].upper()
    when = -1
    at = 1
    if unit == b"PERSIST":
        at, when = 2, 0
    elif unit in UNITS:
        at, when = 3, _deadline(db.ds.now, unit, args[2], "hgetex")
    fields = _fields(args, at, NOT_POSITIVE)
    if entry is None:
        return [None] * len(fields)
    replies: list[Reply] = []
    done: set[int] = set()
    for field in fields:
        value = entry.values.get(field)
        replies.append(value)
        if value is None or when < 0:
            continue
        done.add(_persist(entry, field) if unit == b"PERSIST" else _expire_field(entry, field, when))
    if DELETED in done:
        db.notify(HASH, b"hdel", args[0])
    elif DONE in done:
        db.notify(HASH, b"hpersist" if unit == b"PERSIST" else b"hexpire", args[0])
    db.settle(entry)
    return replies


@COMMANDS.command(
    "HSETEX key [FNX | FXX] "
    "[EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL] "
    "<FIELDS numfields field value [field value ...]>",
    WRITE | DENYOOM | FAST,
    since="8.0.0",
    complexity="O(1) for each field",
    key_flags=("RW update",),
)
def hsetex(db: Keyspace, args: Args) -> Reply:
    """Set fields with a time to live, if none of them (FNX) or all of them (FXX) exist; returns 1 if so."""
    condition, unit, when, pairs = _setex_options(db.ds.now, args)
    entry = db.find_hash(args[0])
    known = {} if entry is None else entry.values
    if condition and any((field in known) is (condition == b"FNX") for field in pairs[::2]):
        return 0
    if unit in UNITS and when <= db.ds.now:  # they expire at once
        if entry is not None:
            deleted = [entry.delete(field) for field in pairs[::2]]
            if any(deleted):
                db.notify(HASH, b"hdel", args[0])
            db.settle(entry)
        return 1
    entry = entry or db.edit_hash(args[0])
    for at in range(0, len(pairs), 2):
        field = pairs[at]
        entry.set(field, pairs[at + 1], entry.ttl.get(field, 0) if unit == b"KEEPTTL" else when)
    db.notify(HASH, b"hset", args[0])
    if when:
        db.notify(HASH, b"hexpire", args[0])
    return 1


def _setex_options(now: int, args: Args) -> tuple[bytes, bytes, int, Args]:
    """(FNX or FXX, option word of the time, when, fields and values)."""
    condition = unit = b""
    when, at = 0, 1
    while at < len(args):
        word = args[at].upper()
        at += 1
        if word in (b"FNX", b"FXX"):
            if condition:
                raise ReplyError("ERR Only one of FXX or FNX arguments can be specified")
            condition = word
        elif word in UNITS or word == b"KEEPTTL":
            if unit:
                raise ReplyError("ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified")
            unit = word
            if word in UNITS:
                if at >= len(args):
                    raise errors.not_an_integer()
                when = _deadline(now, word, args[at], "hsetex")
                at += 1
        elif word == b"FIELDS" and at < len(args):
            count = to_integer(args[at])
            if count is None or count < 1:
                raise ReplyError("ERR invalid number of fields")
            if len(args) - at - 1 != 2 * count:
                raise errors.wrong_arity(b"hsetex")
            return condition, unit, when, args[at + 1 :]
        else:
            raise ReplyError(f"ERR unknown argument: {errors.shown(args[at - 1])}")
    raise errors.wrong_arity(b"hsetex")
