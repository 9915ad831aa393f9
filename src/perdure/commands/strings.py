# cython: annotation_typing=True
"""Strings: SET, GET, INCR and their kin.

GET, SET without options, INCR, MGET and MSET are most of what clients send: their common path is one look-up and as few
calls as possible. A value read here may be the bytearray that a later write changes in place: replies are encoded
before that, whoever keeps a value longer copies it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from xxhash import xxh3_64_hexdigest

from perdure import errors, long_double
from perdure.args import INT_MAX, INT_MIN, UNITS, Words, deadline, integer, to_integer
from perdure.errors import ReplyError
from perdure.registry import DENYOOM, FAST, READ, WRITE, Args, Family, Flag
from perdure.resp import Map, Reply
from perdure.usage import KeySpec
from perdure_storage.errors import WrongType
from perdure_storage.events import GENERIC, STRING
from perdure_storage.keyspace import MAX_STRING, Keyspace
from perdure_storage.types.string import String, Value

COMMANDS = Family("string")
ONE: Final = 1
"""Where this is compiled, 1 << len(x) would be an integer of C, with 64 bits; this one has as many as it takes."""

# -- whole values --------------------------------------------------------------------------------------------------


@COMMANDS.command("GET key", READ | FAST, since="1.0.0", complexity="O(1)")
def get(db: Keyspace, args: Args) -> Reply:
    """Return the string at a key."""
    return db.string(args[0])


@COMMANDS.command(
    "SET key value [NX | XX | IFEQ comparison-value | IFNE comparison-value | IFDEQ comparison-digest | "
    "IFDNE comparison-digest] [GET] "
    "[EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
    WRITE | DENYOOM,
    since="1.0.0",
    complexity="O(1)",
    key_flags=("RW access update variable_flags",),
)
def set_(db: Keyspace, args: Args) -> Reply:
    """Make a string the value of a key, whatever was there."""
    if len(args) == 2:
        db.set_string(args[0], args[1])
        if db.wants:
            db.notify(STRING, b"set", args[0])
        return "OK"
    key, value = args[0], args[1]
    if len(args) == 4 and args[2] in UNITS:  # SET k v EX 10: what caches and sessions send
        _put(db, key, value, deadline(db.ds.now, args[2], args[3], "set"))
        return "OK"
    options = Options(args, 2, SET_WORDS)
    expire = options.deadline(db.ds.now, "set")
    if not options.condition and not options.get and not options.keep:
        _put(db, key, value, expire)
        return "OK"
    entry = db.lookup(key) if options.get else db.find(key)
    old: Value | None = None
    if type(entry) is String:
        old = entry.value
    elif entry is not None and (options.get or options.operand is not None):
        raise WrongType
    if options.refuses(entry is not None, old):
        return old if options.get else None
    if options.keep and entry is not None:
        expire = entry.expire
    _put(db, key, value, expire, kept=options.keep)
    return old if options.get else "OK"


@COMMANDS.command("SETNX key value", WRITE | DENYOOM | FAST, since="1.0.0", complexity="O(1)", key_flags=("OW insert",))
def setnx(db: Keyspace, args: Args) -> Reply:
    """Set a string unless the key exists."""
    if db.find(args[0]) is not None:
        return 0
    _put(db, args[0], args[1])
    return 1


@COMMANDS.command(
    "SETEX key seconds value", WRITE | DENYOOM, since="2.0.0", complexity="O(1)", key_flags=("OW update",)
)
def setex(db: Keyspace, args: Args) -> Reply:
    """Set a string that lives for some seconds."""
    _put(db, args[0], args[2], deadline(db.ds.now, b"EX", args[1], "setex"))
    return "OK"


@COMMANDS.command(
    "PSETEX key milliseconds value", WRITE | DENYOOM, since="2.6.0", complexity="O(1)", key_flags=("OW update",)
)
def psetex(db: Keyspace, args: Args) -> Reply:
    """Set a string that lives for some milliseconds."""
    _put(db, args[0], args[2], deadline(db.ds.now, b"PX", args[1], "psetex"))
    return "OK"


@COMMANDS.command(
    "GETSET key value",
    WRITE | DENYOOM | FAST,
    since="1.0.0",
    complexity="O(1)",
    deprecated_since="6.2.0",
    replaced_by="`SET` with the `GET` argument",
)
def getset(db: Keyspace, args: Args) -> Reply:
    """Set a string and return the one that was there."""
    old = db.string(args[0])
    _put(db, args[0], args[1])
    return old


@COMMANDS.command(
    "GETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
    WRITE | FAST,
    since="6.2.0",
    complexity="O(1)",
    key_flags=("RW access update",),
)
def getex(db: Keyspace, args: Args) -> Reply:
    """Return a string and change when it expires."""
    options = Options(args, 1, GETEX_WORDS)
    entry = db.lookup(args[0])
    if entry is None:
        return None
    if type(entry) is not String:
        raise WrongType
    expire = options.deadline(db.ds.now, "getex")
    if expire and expire <= db.ds.now:
        db.drop(entry)
    elif expire or (options.expiry == b"PERSIST" and entry.expire):
        db.set_expire(entry, expire)
        db.notify(GENERIC, b"expire" if expire else b"persist", args[0])
    return entry.value


@COMMANDS.command("GETDEL key", WRITE | FAST, since="6.2.0", complexity="O(1)", key_flags=("RW access delete",))
def getdel(db: Keyspace, args: Args) -> Reply:
    """Return a string and delete its key."""
    entry = db.lookup(args[0])
    if entry is None:
        return None
    if type(entry) is not String:
        raise WrongType
    db.drop(entry)
    return entry.value


@COMMANDS.command(
    "DELEX key [IFEQ comparison-value | IFNE comparison-value | IFDEQ comparison-digest | IFDNE comparison-digest]",
    WRITE | FAST,
    since="8.4.0",
    complexity="O(1); O(N) with a digest, N being the length of the string",
    key_flags=("RW delete",),
)
def delex(db: Keyspace, args: Args) -> Reply:
    """Delete a key, if its value compares as wanted."""
    if len(args) not in (1, 3):
        raise errors.wrong_arity(b"delex")
    entry = db.find(args[0])
    if entry is None:
        return 0
    if len(args) == 3:
        if type(entry) is not String:
            raise ReplyError("ERR Key should be of string type if conditions are specified")
        word = args[1].upper()
        if word not in COMPARISONS:
            raise ReplyError("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE")
        if _is_equal(entry.value, word, args[2]) is (word in UNEQUAL):
            return 0
    db.drop(entry)
    return 1


@COMMANDS.command("DIGEST key", READ | FAST, since="8.4.0", complexity="O(N), N being the length of the string")
def digest(db: Keyspace, args: Args) -> Reply:
    """Return the XXH3 hash of a string, 16 hexadecimal digits, to compare it by (IFDEQ, IFDNE)."""
    value = db.string(args[0])
    return None if value is None else _digest(value)


def _digest(value: Value) -> bytes:
    return xxh3_64_hexdigest(value).encode()


def _is_equal(value: Value, word: bytes, operand: bytes) -> bool:
    """Is this string, or for IFDEQ and IFDNE its digest, what it is compared with?"""
    if word in BY_DIGEST:
        _check_digest(operand)
        return _digest(value) == operand.lower()
    return value == operand


def _check_digest(raw: bytes) -> None:
    if len(raw) != DIGEST_DIGITS:
        raise ReplyError("ERR must be exactly 16 hexadecimal characters")


@COMMANDS.command("DELIFEQ key value", WRITE | FAST, since="9.0.0", complexity="O(1)", key_flags=("RW access delete",))
def delifeq(db: Keyspace, args: Args) -> Reply:
    """Delete a key if it holds exactly this string: releases a lock without a script (from Valkey)."""
    entry = db.find_string(args[0])
    if entry is None or entry.value != args[1]:
        return 0
    db.drop(entry)
    return 1


# -- many keys -----------------------------------------------------------------------------------------------------


@COMMANDS.command(
    "MGET key [key ...]", READ | FAST, since="1.0.0", complexity="O(N)", tips="request_policy:multi_shard"
)
def mget(db: Keyspace, args: Args) -> Reply:
    """Return the strings at several keys; null for a key that has none."""
    values: list[Reply] = []
    for key in args:
        try:
            values.append(db.string(key))
        except WrongType:
            values.append(None)
    return values


@COMMANDS.command(
    "MSET key value [key value ...]",
    WRITE | DENYOOM,
    since="1.0.1",
    complexity="O(N)",
    key_flags=("OW update",),
    tips="request_policy:multi_shard response_policy:all_succeeded",
)
def mset(db: Keyspace, args: Args) -> Reply:
    """Set several strings at once."""
    if len(args) % 2:
        raise errors.wrong_arity(b"mset")
    for at in range(0, len(args), 2):
        db.set_string(args[at], args[at + 1])
        if db.wants:
            db.notify(STRING, b"set", args[at])
    return "OK"


@COMMANDS.command(
    "MSETNX key value [key value ...]",
    WRITE | DENYOOM,
    since="1.0.1",
    complexity="O(N)",
    key_flags=("OW insert",),
    tips="request_policy:multi_shard response_policy:agg_min",
)
def msetnx(db: Keyspace, args: Args) -> Reply:
    """Set several strings, if none of the keys exists."""
    if len(args) % 2:
        raise errors.wrong_arity(b"msetnx")
    if any(db.find(key) is not None for key in args[::2]):
        return 0
    for key, value in zip(args[::2], args[1::2], strict=True):
        _put(db, key, value)
    return 1


def _msetex_keys(argv: Args) -> list[bytes]:
    return argv[2 : 2 + 2 * int(argv[1]) : 2] if argv[1].isdigit() else []


@COMMANDS.command(
    "MSETEX numkeys key value [key value ...] [NX | XX] "
    "[EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
    WRITE | DENYOOM | Flag.MOVABLEKEYS,
    since="8.4.0",
    complexity="O(N)",
    key_specs=(),
    keys=_msetex_keys,
)
def msetex(db: Keyspace, args: Args) -> Reply:
    """Set several strings with one time to live, if none, or all, of the keys exist."""
    count = args[0]
    if not count.isdigit() or not 0 < len(count) < 10 or not int(count):
        raise ReplyError("ERR invalid numkeys value")
    stop = 1 + 2 * int(count)
    if stop > len(args):
        raise ReplyError("ERR wrong number of key-value pairs")
    options = Options(args, stop, MSETEX_WORDS)
    expire = options.deadline(db.ds.now, "msetex")
    keys, values = args[1:stop:2], args[2:stop:2]
    if options.condition:
        wanted = options.condition == b"XX"
        if any((db.find(key) is not None) is not wanted for key in keys):
            return 0
    for key, value in zip(keys, values, strict=True):
        if options.keep:
            entry = db.find(key)
            expire = entry.expire if entry is not None else 0
        _put(db, key, value, expire, kept=options.keep)
    return 1


# -- options -------------------------------------------------------------------------------------------------------

EXPIRIES: Final = frozenset((*UNITS, b"KEEPTTL", b"PERSIST"))
BY_DIGEST: Final = frozenset((b"IFDEQ", b"IFDNE"))
UNEQUAL: Final = frozenset((b"IFNE", b"IFDNE"))
COMPARISONS: Final = frozenset((b"IFEQ", b"IFNE", *BY_DIGEST))
CONDITIONS: Final = frozenset((b"NX", b"XX", *COMPARISONS))
WITH_VALUE: Final = frozenset((*UNITS, *COMPARISONS))
DIGEST_DIGITS: Final = 16

SET_WORDS: Final = frozenset((*UNITS, *CONDITIONS, b"KEEPTTL", b"GET"))
GETEX_WORDS: Final = frozenset((*UNITS, b"PERSIST"))
MSETEX_WORDS: Final = frozenset((*UNITS, b"NX", b"XX", b"KEEPTTL"))


class Options:
    """The options of SET, GETEX and MSETEX. Of each kind one may be given, that one also twice, as in Redis.

    Raises the syntax error for what is not in `allowed`, contradicts, or lacks its value.
    """

    __slots__ = ("condition", "expiry", "get", "number", "operand")

    def __init__(self, args: Args, at: int, allowed: Collection[bytes]) -> None:
        self.condition = self.expiry = self.number = b""
        self.operand: bytes | None = None
        self.get = False
        for word in (words := Words(args, at)):
            if word not in allowed:
                raise errors.syntax()
            value = words.take() if word in WITH_VALUE else None
            if word == b"GET":
                self.get = True
            elif word in EXPIRIES:
                if self.expiry not in (b"", word):
                    raise errors.syntax()
                self.expiry, self.number = word, value or b""
            else:
                if self.condition not in (b"", word):
                    raise errors.syntax()
                self.condition, self.operand = word, value
                if word in BY_DIGEST:
                    _check_digest(value or b"")

    @property
    def keep(self) -> bool:
        """Does the key keep the expiry it has?"""
        return self.expiry == b"KEEPTTL"

    def deadline(self, now: int, command: str) -> int:
        """When the key is to expire, unix ms; 0 when no time was given."""
        return deadline(now, self.expiry, self.number, command) if self.expiry in UNITS else 0

    def refuses(self, exists: bool, value: Value | None) -> bool:
        """Does the condition forbid the change of a key with this string?"""
        if not self.condition:
            return False
        if self.condition == b"NX":
            return exists
        if self.condition == b"XX" or value is None:
            return not exists and self.condition not in UNEQUAL
        return _is_equal(value, self.condition, self.operand or b"") is (self.condition in UNEQUAL)


def _put(db: Keyspace, key: bytes, value: bytes, expire: int = 0, *, kept: bool = False) -> None:
    """SET with an absolute time (`kept`: it is the key's own): one in the past means that the key is gone at once."""
    if expire and expire <= db.ds.now:
        entry = db.find(key)
        if entry is not None:
            db.drop(entry)
        return
    db.set_string(key, value, expire)
    if db.wants:
        db.notify(STRING, b"set", key)
        if expire and not kept:
            db.notify(GENERIC, b"expire", key)


# -- parts ---------------------------------------------------------------------------------------------------------


@COMMANDS.command("STRLEN key", READ | FAST, since="2.2.0", complexity="O(1)", key_flags=("RO",))
def strlen(db: Keyspace, args: Args) -> Reply:
    """Return the length of a string."""
    value = db.string(args[0])
    return 0 if value is None else len(value)


@COMMANDS.command(
    "APPEND key value", WRITE | DENYOOM | FAST, since="2.0.0", complexity="O(1)", key_flags=("RW insert",)
)
def append(db: Keyspace, args: Args) -> Reply:
    """Add to the end of a string."""
    key, more = args
    entry = db.find_string(key)
    if entry is None:
        db.set_string(key, more)
    elif more:
        db.patch_string(entry, len(entry.value), more)
    else:
        db.set_expire(entry, entry.expire)  # nothing new, but for whoever watches the key: Redis counts it as a change
    if db.wants:
        db.notify(STRING, b"append", key)
    return len(more) if entry is None else len(entry.value)


@COMMANDS.command(
    "SETRANGE key offset value", WRITE | DENYOOM, since="2.2.0", complexity="O(1)", key_flags=("RW update",)
)
def setrange(db: Keyspace, args: Args) -> Reply:
    """Overwrite part of a string, zeros filling what lies before it."""
    key, raw_offset, part = args
    offset = integer(raw_offset)
    if offset < 0:
        raise errors.bad_offset()
    entry = db.find_string(key)
    if part:
        size = db.write_string(key, entry, offset, part)
        if db.wants:
            db.notify(STRING, b"setrange", key)
        return size
    return 0 if entry is None else len(entry.value)


def getrange(db: Keyspace, args: Args) -> Reply:
    """Return the part of a string between two positions, both included."""
    start, end = integer(args[1]), integer(args[2])
    value = db.string(args[0])
    if value is None or (start < 0 and end < 0 and start > end):
        return b""
    size = len(value)
    start = max(start + size if start < 0 else start, 0)
    end = max(end + size if end < 0 else end, 0)
    return value[start : end + 1]


COMMANDS.command("GETRANGE key start end", READ, since="2.4.0", complexity="O(N)")(getrange)
COMMANDS.command(
    "SUBSTR key start end", READ, since="1.0.0", complexity="O(N)", deprecated_since="2.0.0", replaced_by="`GETRANGE`"
)(getrange)

# -- numbers -------------------------------------------------------------------------------------------------------


def _add(db: Keyspace, key: bytes, increment: int) -> int:
    """Add to the integer at `key`; its time to live stays."""
    entry = db.find(key)
    if entry is None:
        db.set_string(key, b"%d" % increment)
        if db.wants:
            db.notify(STRING, b"incrby", key)
        return increment
    if type(entry) is not String:
        raise WrongType
    number = to_integer(entry.value)
    if number is None:
        raise errors.not_an_integer()
    total = number + increment
    if not INT_MIN <= total <= INT_MAX:
        raise errors.overflow()
    db.replace_string(entry, b"%d" % total)
    if db.wants:
        db.notify(STRING, b"incrby", key)
    return total


@COMMANDS.command("INCR key", WRITE | DENYOOM | FAST, since="1.0.0", complexity="O(1)")
def incr(db: Keyspace, args: Args) -> Reply:
    """Add one to an integer kept as a string."""
    return _add(db, args[0], 1)


@COMMANDS.command("DECR key", WRITE | DENYOOM | FAST, since="1.0.0", complexity="O(1)")
def decr(db: Keyspace, args: Args) -> Reply:
    """Subtract one from an integer kept as a string."""
    return _add(db, args[0], -1)


@COMMANDS.command("INCRBY key increment", WRITE | DENYOOM | FAST, since="1.0.0", complexity="O(1)")
def incrby(db: Keyspace, args: Args) -> Reply:
    """Add to an integer kept as a string."""
    return _add(db, args[0], integer(args[1]))


@COMMANDS.command("DECRBY key decrement", WRITE | DENYOOM | FAST, since="1.0.0", complexity="O(1)")
def decrby(db: Keyspace, args: Args) -> Reply:
    """Subtract from an integer kept as a string."""
    decrement = integer(args[1])
    if decrement == INT_MIN:
        raise ReplyError("ERR decrement would overflow")
    return _add(db, args[0], -decrement)


@COMMANDS.command("INCRBYFLOAT key increment", WRITE | DENYOOM | FAST, since="2.6.0", complexity="O(1)")
def incrbyfloat(db: Keyspace, args: Args) -> Reply:
    """Add to a decimal number kept as a string."""
    entry = db.find_string(args[0])
    value = long_double.parse(entry.value if entry is not None else b"0")
    increment = long_double.parse(args[1])
    if value is None or increment is None:
        raise errors.not_a_float()
    total = long_double.add(value, increment)
    if total is None:
        raise errors.would_be_nan()
    text = long_double.show(total)
    db.set_string(args[0], text, entry.expire if entry is not None else 0)
    db.notify(STRING, b"incrbyfloat", args[0])
    return text


# -- longest common subsequence --------------------------------------------------------------------------------------

CELL: Final = 4
"""Bytes that Redis takes for each pair of positions; it refuses when that exceeds the longest string."""


@COMMANDS.command(
    "LCS key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
    READ,
    since="7.0.0",
    complexity="O(N*M)",
    key_specs=(KeySpec(1, last=1, flags=("RO", "access")),),
)
def lcs(db: Keyspace, args: Args) -> Reply:
    """Compare two strings by their longest common subsequence."""
    try:
        first, second = (db.string(key) or b"" for key in args[:2])
    except WrongType:
        raise ReplyError("ERR The specified keys must contain string values") from None
    length = index = with_lengths = False
    least = 0
    for word in (words := Words(args, 2)):
        if word == b"LEN":
            length = True
        elif word == b"IDX":
            index = True
        elif word == b"WITHMATCHLEN":
            with_lengths = True
        elif word == b"MINMATCHLEN":
            least = integer(words.take())
        else:
            raise errors.syntax()
    if length and index:
        raise ReplyError("ERR If you want both the length and indexes, please just use IDX.")
    if (len(first) + 1) * (len(second) + 1) * CELL > MAX_STRING:
        raise ReplyError("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
    rows = _lcs_rows(first, second)
    if length:
        return len(second) - rows[-1].bit_count()
    runs = list(_lcs_runs(first, second, rows))
    if not index:
        return b"".join(first[at : at + size] for at, _, size in reversed(runs))
    matches: list[Reply] = []
    for at, other, size in runs:
        if size >= least:
            match: list[Reply] = [[at, at + size - 1], [other, other + size - 1]]
            matches.append([*match, size] if with_lengths else match)
    return Map([b"matches", matches, b"len", sum(size for _, _, size in runs)])


def _lcs_rows(first: Value, second: Value) -> list[int]:
    """The table of the textbook, a row per byte of `first` (and one before), each one integer.

    Bit j of row i is 0 where the subsequence of first[:i] and second[:j+1] is longer than that of second[:j]. All
    columns of a row are computed at once, carries doing the work: Hyyrö, "Bit-parallel LCS-length computation
    revisited", 2004.
    """
    places: dict[int, int] = {}
    for at, byte in enumerate(second):
        places[byte] = places.get(byte, 0) | 1 << at
    full = (ONE << len(second)) - 1
    row = full
    rows = [row]
    for byte in first:
        found = row & places.get(byte, 0)
        row = (row + found | row - found) & full
        rows.append(row)
    return rows


def _lcs_runs(first: Value, second: Value, rows: list[int]) -> Iterator[tuple[int, int, int]]:
    """(position in first, position in second, length) of the runs of equal bytes, walking back from the ends.

    Where both ways back are as good, Redis goes back in `second`.
    """
    i, j, size = len(first), len(second), 0
    while i and j:
        if first[i - 1] == second[j - 1]:
            i, j, size = i - 1, j - 1, size + 1
            continue
        if size:
            yield i, j, size
            size = 0
        if rows[i] >> j - 1 & 1:
            j -= 1
        else:
            i -= 1
    if size:
        yield i, j, size
