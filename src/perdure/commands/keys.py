"""Keys of any type: DEL, EXPIRE, RENAME, SCAN and their kin.

Most of these only need a key's record: they never bring the elements of a collection into memory (RECORD_ONLY).
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Final

from perdure import errors, lfu
from perdure.args import ScanOptions, deadline_or_past, integer_between, to_integer
from perdure.cursors import cursors_of
from perdure.errors import ReplyError
from perdure.globs import compile_glob, literal_prefix
from perdure.registry import DENYOOM, FAST, LOADING, READ, RECORD_ONLY, STALE, WRITE, Args, Family
from perdure.resp import Reply
from perdure.session import Session
from perdure_storage.events import GENERIC, MISS
from perdure_storage.keyspace import COLLECTIONS, Dataset, Keyspace
from perdure_storage.types.entry import Collection, Kind
from perdure_storage.types.string import String

COMMANDS = Family("generic")
DATABASES = Family("server")
SWAPPING = Family("server", context=True)

TYPE_NAMES: Final[dict[int, str]] = {
    Kind.GONE: "none",
    Kind.STRING: String.type_name,
    Kind.CHUNKED: String.type_name,
    **{kind: each.type_name for kind, each in COLLECTIONS.items()},
}

# -- being there ---------------------------------------------------------------------------------------------------


@COMMANDS.command(
    "DEL key [key ...]",
    WRITE | RECORD_ONLY,
    since="1.0.0",
    complexity="O(1) for each key, whatever its size",
    key_flags=("RM delete",),
    tips="request_policy:multi_shard response_policy:agg_sum",
)
def delete(db: Keyspace, args: Args) -> Reply:
    """Delete keys; returns how many there were."""
    if not db.wants:
        return sum(map(db.delete, args))
    gone = 0
    for key in args:
        if db.delete(key):
            db.notify(GENERIC, b"del", key)
            gone += 1
    return gone


COMMANDS.command(
    "UNLINK key [key ...]",
    WRITE | FAST | RECORD_ONLY,
    since="4.0.0",
    complexity="O(1) for each key, whatever its size",
    summary="Delete keys: the same as DEL, which does not wait for memory to be freed either",
    key_flags=("RM delete",),
    tips="request_policy:multi_shard response_policy:agg_sum",
)(delete)


@COMMANDS.command(
    "EXISTS key [key ...]",
    READ | FAST | RECORD_ONLY,
    since="1.0.0",
    complexity="O(1) for each key",
    key_flags=("RO",),
    history=(("3.0.3", "Accepts multiple `key` arguments."),),
    tips="request_policy:multi_shard response_policy:agg_sum",
)
def exists(db: Keyspace, args: Args) -> Reply:
    """Return how many of the keys exist; one named twice counts twice."""
    found = 0
    for key in args:
        if db.peek(key)[0]:
            found += 1
        else:
            db.missed(key)
    db.ds.hits += found
    return found


@COMMANDS.command("TYPE key", READ | FAST | RECORD_ONLY, since="1.0.0", complexity="O(1)", key_flags=("RO",))
def type_(db: Keyspace, args: Args) -> Reply:
    """Return the type of what a key holds, or none."""
    kind = db.peek(args[0])[0]
    if db.wants and not kind:
        db.notify(MISS, b"keymiss", args[0])
    return TYPE_NAMES[kind]


@COMMANDS.command(
    "TOUCH key [key ...]",
    READ | FAST | RECORD_ONLY,
    since="3.2.1",
    complexity="O(1) for each key",
    key_flags=("RO",),
    tips="request_policy:multi_shard response_policy:agg_sum",
)
def touch(db: Keyspace, args: Args) -> Reply:
    """Count keys as used just now; returns how many exist."""
    return sum(db.lookup(key) is not None for key in args)


# -- time to live --------------------------------------------------------------------------------------------------

NX_WITH_OTHERS: Final = "ERR NX and XX, GT or LT options at the same time are not compatible"
GT_WITH_LT: Final = "ERR GT and LT options at the same time are not compatible"

CONDITIONS: Final[dict[bytes, Callable[[int, int], bool]]] = {
    b"NX": lambda old, new: not old,
    b"XX": lambda old, new: old > 0,
    b"GT": lambda old, new: 0 < old < new,
    b"LT": lambda old, new: new < (old or inf),
}
"""May a key that expires at `old` (0: never) expire at `new` from now on?"""


def _expire(unit: bytes, command: str) -> Callable[[Keyspace, Args], Reply]:
    def handler(db: Keyspace, args: Args) -> Reply:
        """Let a key expire; a time in the past deletes it."""
        conditions = {word.upper() for word in args[2:]}
        for word in args[2:]:
            if word.upper() not in CONDITIONS:
                raise ReplyError(f"ERR Unsupported option {word[:1024].decode('latin-1')}")
        if b"NX" in conditions and len(conditions) > 1:
            raise ReplyError(NX_WITH_OTHERS)
        if b"GT" in conditions and b"LT" in conditions:
            raise ReplyError(GT_WITH_LT)
        when = deadline_or_past(db.ds.now, unit, args[1], command)
        entry = db.find(args[0])
        if entry is None or not all(CONDITIONS[word](entry.expire, when) for word in conditions):
            return 0
        if when <= db.ds.now:
            db.drop(entry)
        else:
            db.set_expire(entry, when)
            if db.wants:
                db.notify(GENERIC, b"expire", args[0])
        return 1

    return handler


for _unit, _name, _time, _since, _summary in (
    (b"EX", "EXPIRE", "seconds", "1.0.0", "Let a key expire after some seconds"),
    (b"PX", "PEXPIRE", "milliseconds", "2.6.0", "Let a key expire after some milliseconds"),
    (b"EXAT", "EXPIREAT", "unix-time-seconds", "1.2.0", "Let a key expire at a time, in seconds"),
    (b"PXAT", "PEXPIREAT", "unix-time-milliseconds", "2.6.0", "Let a key expire at a time, in milliseconds"),
):
    COMMANDS.command(
        f"{_name} key {_time} [NX | XX | GT | LT]",
        WRITE | FAST | RECORD_ONLY,
        since=_since,
        complexity="O(1)",
        summary=_summary,
        key_flags=("RW update",),
        history=(("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`."),),
    )(_expire(_unit, _name.lower()))


def _time_left(scale: int, absolute: bool) -> Callable[[Keyspace, Args], Reply]:
    def handler(db: Keyspace, args: Args) -> Reply:
        """Return when a key expires: -1 never, -2 there is no such key."""
        kind, expire = db.peek(args[0])
        if not kind:
            db.missed(args[0])
            return -2
        db.ds.hits += 1
        if not expire:
            return -1
        return (expire - (0 if absolute else db.ds.now) + scale // 2) // scale

    return handler


for _scale, _absolute, _name, _since, _summary in (
    (1000, False, "TTL", "1.0.0", "Return the seconds that a key has left"),
    (1, False, "PTTL", "2.6.0", "Return the milliseconds that a key has left"),
    (1000, True, "EXPIRETIME", "7.0.0", "Return when a key expires, in seconds"),
    (1, True, "PEXPIRETIME", "7.0.0", "Return when a key expires, in milliseconds"),
):
    COMMANDS.command(
        f"{_name} key",
        READ | FAST | RECORD_ONLY,
        since=_since,
        complexity="O(1)",
        summary=_summary,
        tips="" if _absolute else "nondeterministic_output",
    )(_time_left(_scale, _absolute))


@COMMANDS.command("PERSIST key", WRITE | FAST | RECORD_ONLY, since="2.2.0", complexity="O(1)", key_flags=("RW update",))
def persist(db: Keyspace, args: Args) -> Reply:
    """Let a key live for ever; returns 1 if it would have expired."""
    entry = db.find(args[0])
    if entry is None or not entry.expire:
        return 0
    db.set_expire(entry, 0)
    db.notify(GENERIC, b"persist", args[0])
    return 1


# -- other names, other databases ----------------------------------------------------------------------------------


INT32: Final = (1 << 31) - 1


def _database(ds: Dataset, raw: bytes) -> Keyspace:
    index = integer_between(raw, -INT32 - 1, INT32)
    if not 0 <= index < len(ds.databases):
        raise errors.bad_db_index()
    return ds.databases[index]


@COMMANDS.command(
    "RENAME key newkey",
    WRITE | RECORD_ONLY,
    since="1.0.0",
    complexity="O(1)",
    key_flags=("RW access delete", "OW update"),
)
def rename(db: Keyspace, args: Args) -> Reply:
    """Give what a key holds another name, in place of what was there."""
    entry = db.find(args[0])
    if entry is None:
        raise errors.no_such_key()
    if args[0] != args[1]:
        db.delete(args[1])
        _rename(db, entry, args[1])
    return "OK"


def _rename(db: Keyspace, entry: Any, new_key: bytes) -> None:
    old_key = entry.key
    db.move(entry, db, new_key)
    db.notify(GENERIC, b"rename_from", old_key)
    db.notify(GENERIC, b"rename_to", new_key)


@COMMANDS.command(
    "RENAMENX key newkey",
    WRITE | FAST | RECORD_ONLY,
    since="1.0.0",
    complexity="O(1)",
    key_flags=("RW access delete", "OW insert"),
)
def renamenx(db: Keyspace, args: Args) -> Reply:
    """Give what a key holds another name, unless there is something."""
    entry = db.find(args[0])
    if entry is None:
        raise errors.no_such_key()
    if db.peek(args[1])[0]:
        return 0
    _rename(db, entry, args[1])
    return 1


@COMMANDS.command(
    "COPY source destination [DB destination-db] [REPLACE]",
    WRITE | DENYOOM,
    since="6.2.0",
    complexity="O(N), N being the elements of a collection",
    key_flags=("RO access", "OW update"),
)
def copy(db: Keyspace, args: Args) -> Reply:
    """Copy what a key holds to another one; returns 0 if there is something already."""
    source, destination, target, replace = args[0], args[1], db, False
    at = 2
    while at < len(args):
        word = args[at].upper()
        if word == b"DB" and at + 1 < len(args):
            at += 1
            target = _database(db.ds, args[at])
        elif word == b"REPLACE":
            replace = True
        else:
            raise errors.syntax()
        at += 1
    if source == destination and target is db:
        raise ReplyError("ERR source and destination objects are the same")
    entry = db.lookup(source)
    if entry is None or (not replace and target.peek(destination)[0]):
        return 0
    if isinstance(entry, Collection) and not entry.loaded:
        entry.load(db.ds.snapshot)
    target.delete(destination)
    entry.copy(target, destination)
    target.notify(GENERIC, b"copy_to", destination)
    return 1


@COMMANDS.command(
    "MOVE key db", WRITE | FAST | RECORD_ONLY, since="1.0.0", complexity="O(1)", key_flags=("RW access update",)
)
def move(db: Keyspace, args: Args) -> Reply:
    """Move a key to another database; returns 0 if there is one of this name already."""
    target = _database(db.ds, args[1])
    if target is db:
        raise ReplyError("ERR source and destination objects are the same")
    entry = db.find(args[0])
    if entry is None or target.peek(args[0])[0]:
        return 0
    db.move(entry, target, args[0])
    db.notify(GENERIC, b"move_from", args[0])
    target.notify(GENERIC, b"move_to", args[0])
    return 1


# -- which keys there are ------------------------------------------------------------------------------------------


@COMMANDS.command(
    "KEYS pattern",
    READ,
    since="1.0.0",
    acl="dangerous",
    complexity="O(N), N being the keys that start like the pattern",
    tips="request_policy:all_shards nondeterministic_output_order",
)
def keys(db: Keyspace, args: Args) -> Reply:
    """Return all keys that match a pattern."""
    pattern = args[0]
    matches, prefix = compile_glob(pattern), literal_prefix(pattern)
    if prefix == pattern:
        return [prefix] if db.peek(prefix)[0] else []
    if prefix or not db.complete:
        return [key for key, _ in db.scan(prefix) if matches(key)]
    now = db.ds.now
    return [key for key, entry in db.hot.items() if entry.kind and not 0 < entry.expire <= now and matches(key)]


@COMMANDS.command(
    "SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]",
    READ,
    since="2.8.0",
    complexity="O(1) for each call, O(N) for all, N being the keys that start like the pattern",
    tips="nondeterministic_output request_policy:special",
)
def scan(db: Keyspace, args: Args) -> Reply:
    """Return a page of keys, and the cursor of the next page. At most `count` keys are looked at for it.

    Keys that are there from the first page to the last are returned. See `perdure.cursors`.
    """
    options = ScanOptions(args, keyspace=True)
    cursors = cursors_of(db.ds)
    prefix = literal_prefix(options.match) if options.match is not None else b""
    position, found = db.scan_page(cursors.find(options.cursor), prefix, options.count)
    names = [key for key, kind in found if options.type is None or TYPE_NAMES[kind].encode() == options.type]
    if options.match is not None:
        names = [*filter(compile_glob(options.match), names)]
    return [b"%d" % cursors.keep(position), names]


@COMMANDS.command(
    "RANDOMKEY", READ, since="1.0.0", complexity="O(1)", tips="request_policy:all_shards nondeterministic_output"
)
def randomkey(db: Keyspace, args: Args) -> Reply:
    """Return some key, about evenly chosen."""
    return db.random_key(db.ds.random)


@DATABASES.command(
    "DBSIZE",
    READ | FAST,
    since="1.0.0",
    complexity="O(1)",
    acl="keyspace",
    tips="request_policy:all_shards response_policy:agg_sum",
)
def dbsize(db: Keyspace, args: Args) -> Reply:
    """Return the number of keys; one whose time has come counts until the sweep has passed."""
    return db.keys


# -- what Redis would make of a value -------------------------------------------------------------------------------

SHARED: Final = 10_000
"""Redis keeps one object for each smaller number, and says so with this count of references."""
SHARED_REFERENCES: Final = (1 << 31) - 1


def _there(db: Keyspace, key: bytes) -> Any:
    """The entry, without being used by it; None where there is none."""
    if not db.peek(key)[0]:
        return None
    entry = db.hot.get(key)
    if entry is None:
        entry = db.find(key)
    return entry


@COMMANDS.command(
    "OBJECT ENCODING key",
    READ | RECORD_ONLY,
    since="2.2.3",
    complexity="O(1)",
    key_flags=("RO",),
    tips="nondeterministic_output",
)
def object_encoding(db: Keyspace, args: Args) -> Reply:
    """Return how Redis would keep the value in memory."""
    entry = _there(db, args[0])
    return None if entry is None else entry.encoding().encode()


@COMMANDS.command(
    "OBJECT REFCOUNT key",
    READ | RECORD_ONLY,
    since="2.2.3",
    complexity="O(1)",
    key_flags=("RO",),
    tips="nondeterministic_output",
)
def object_refcount(db: Keyspace, args: Args) -> Reply:
    """Return how many references Redis would have to the value: one, but small numbers are shared."""
    entry = _there(db, args[0])
    if entry is None:
        return None
    limits = db.ds.limits
    if limits.maxmemory and limits.maxmemory_policy.endswith(("lru", "lfu")):  # each has a clock of its own then
        return 1
    number = to_integer(entry.value) if type(entry) is String and entry.encoding() == "int" else None
    return SHARED_REFERENCES if number is not None and 0 <= number < SHARED else 1


@COMMANDS.command(
    "OBJECT IDLETIME key",
    READ | RECORD_ONLY,
    since="2.2.3",
    complexity="O(1)",
    key_flags=("RO",),
    tips="nondeterministic_output",
)
def object_idletime(db: Keyspace, args: Args) -> Reply:
    """Return the seconds since the key was last used; 0 for one that was not in memory."""
    entry = _there(db, args[0])
    if entry is None:
        return None
    if lfu.is_lfu(db.ds.limits.maxmemory_policy):
        raise ReplyError(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching "
            "between policies at runtime LRU and LFU data will take some time to adjust."
        )
    return max(0, db.ds.tick - lfu.seconds(entry.tick))


@COMMANDS.command(
    "OBJECT FREQ key",
    READ | RECORD_ONLY,
    since="4.0.0",
    complexity="O(1)",
    key_flags=("RO",),
    tips="nondeterministic_output",
)
def object_freq(db: Keyspace, args: Args) -> Reply:
    """Return the logarithmic counter of the key's uses, under an LFU policy."""
    entry = _there(db, args[0])
    if entry is None:
        return None
    if lfu.is_lfu(db.ds.limits.maxmemory_policy):
        return lfu.counter(entry.tick, db.ds.tick, db.ds.limits.lfu_decay_time)
    raise ReplyError(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching "
        "between policies at runtime LRU and LFU data will take some time to adjust."
    )


@COMMANDS.command("OBJECT HELP", LOADING | STALE, since="6.2.0", complexity="O(1)")
def object_help(db: Keyspace, args: Args) -> Reply:
    """Return what OBJECT can do."""
    return [
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    Return how Redis would keep the value in memory.",
        "FREQ <key>",
        "    Return the logarithmic counter of the key's uses, under an LFU policy.",
        "IDLETIME <key>",
        "    Return the seconds since the key was last used.",
        "REFCOUNT <key>",
        "    Return how many references Redis would have to the value.",
        "HELP",
        "    Return this text.",
    ]


# -- whole databases -----------------------------------------------------------------------------------------------


def _flush(databases: list[Keyspace], args: Args) -> Reply:
    if len(args) > 1 or (args and args[0].upper() not in (b"ASYNC", b"SYNC")):
        raise errors.syntax()
    full = [db for db in databases if db.keys]
    for db in full:
        db.clear()
    if not full:  # who remembers that there are no such keys (CLIENT TRACKING) is told all the same
        databases[0].ds.log_spaces()
    return "OK"


@DATABASES.command(
    "FLUSHDB [ASYNC | SYNC]",
    WRITE,
    since="1.0.0",
    complexity="O(1)",
    acl="keyspace dangerous",
    tips="request_policy:all_shards response_policy:all_succeeded",
)
def flushdb(db: Keyspace, args: Args) -> Reply:
    """Delete all keys of the database. Memory and disk are given back bit by bit."""
    return _flush([db], args)


@DATABASES.command(
    "FLUSHALL [ASYNC | SYNC]",
    WRITE,
    since="1.0.0",
    complexity="O(1)",
    acl="keyspace dangerous",
    tips="request_policy:all_shards response_policy:all_succeeded",
)
def flushall(db: Keyspace, args: Args) -> Reply:
    """Delete all keys of all databases. Memory and disk are given back bit by bit."""
    reply = _flush(db.ds.databases, args)
    db.ds.emptied_lsn = db.ds.lsn
    return reply


@SWAPPING.command("SWAPDB index1 index2", WRITE | FAST, since="4.0.0", complexity="O(1)", acl="keyspace dangerous")
def swapdb(ctx: Session, args: Args) -> Reply:
    """Let two databases change places, for all clients at once."""
    first, second = map(to_integer, args)
    for index, which in ((first, "first"), (second, "second")):
        if index is None or not -INT32 - 1 <= index <= INT32:
            raise ReplyError(f"ERR invalid {which} DB index")
    assert first is not None and second is not None
    count = len(ctx.ds.databases)
    if not (0 <= first < count and 0 <= second < count):
        raise errors.bad_db_index()
    if first != second:
        ctx.server.swap_databases(first, second)
    return "OK"
