"""What a writing client does to its keys, command by command: see `crash_client.py`.

A step draws from `client.random`, leaves in `client.state` what must be there afterwards, and returns the command. States
are dicts of plain values that are replaced, never changed. `STEPS` says what can happen to a key that holds a kind of
value, `ADDING` what can begin with nothing, `WHOLE_KEYS` what can happen to any key, and `QUESTIONS` of what only the
server knows the outcome.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from perdure_tools.crash_client import Client

Argv = list[bytes]
Place = tuple[int, bytes]
"""Database and key."""
Id = tuple[int, int]

KEYS: Final = 12
FAR_MS: Final = 4_000_000_000_000


class Value(NamedTuple):
    """What a key holds: bytes, {field: (value, expire ms)}, a tuple of values, a frozenset of members, {member: score}, or
    a Log. A HyperLogLog is a kind of its own here, so that nothing else is done to it."""

    kind: str
    content: Any
    expire: int = 0


class Group(NamedTuple):
    """A consumer group: what it was given last, who reads, and {id: (consumer, times delivered)}. No times: the server's
    clock decides on them."""

    last: Id
    consumers: frozenset[bytes]
    pending: dict[Id, tuple[bytes, int]]


class Log(NamedTuple):
    """A stream: {id: fields and values}, the last id there was, the greatest one deleted, how many were added."""

    entries: dict[Id, tuple[bytes, ...]]
    last: Id
    deleted: Id
    added: int
    groups: dict[bytes, Group]


State = dict[Place, Value]

EMPTY: Final[dict[str, Any]] = {
    "string": b"", "hash": {}, "list": (), "set": frozenset(), "zset": {}, "stream": Log({}, (0, 0), (0, 0), 0, {}),
    "hll": b"",
}  # fmt: skip


Step = Callable[["Client", Place], Argv]


# -- strings -----------------------------------------------------------------------------------------------------------


def set_(client: Client, place: Place) -> Argv:
    value, expire = client.random.choice([client.value(), b"%d" % client.random.randrange(1000)]), far(client)
    client.put(place, "string", value, expire)
    return [b"SET", place[1], value, *([b"PXAT", b"%d" % expire] if expire else [])]


def append(client: Client, place: Place) -> Argv:
    value = client.value()
    client.put(place, "string", client.content(place, "string") + value)
    return [b"APPEND", place[1], value]


def overwrite(client: Client, place: Place, at: int, data: bytes) -> None:
    old = client.content(place, "string").ljust(at, b"\0")
    client.put(place, "string", old[:at] + data + old[at + len(data) :])


def setrange(client: Client, place: Place) -> Argv:
    at, data = client.random.randint(0, len(client.content(place, "string")) + 20), client.short()
    overwrite(client, place, at, data)
    return [b"SETRANGE", place[1], b"%d" % at, data]


def setbit(client: Client, place: Place) -> Argv:
    at, bit = client.random.randint(0, 8 * len(client.content(place, "string")) + 20), client.random.randrange(2)
    old = client.content(place, "string").ljust(at // 8 + 1, b"\0")[at // 8]
    mask = 0x80 >> at % 8
    overwrite(client, place, at // 8, bytes((old | mask if bit else old & ~mask,)))
    return [b"SETBIT", place[1], b"%d" % at, b"%d" % bit]


def bitfield(client: Client, place: Place) -> Argv:
    at, number = client.random.randint(0, 30), client.random.randrange(1 << 16)
    overwrite(client, place, 2 * at, number.to_bytes(2, "big"))
    return [b"BITFIELD", place[1], b"SET", b"u16", b"#%d" % at, b"%d" % number]


def bitop(client: Client, place: Place) -> Argv:
    value = bytes(byte ^ 0xFF for byte in client.content(place, "string"))
    if not value:
        return set_(client, place)
    client.put(place, "string", value, 0)
    return [b"BITOP", b"NOT", place[1], place[1]]


def incrby(client: Client, place: Place) -> Argv:
    old = client.content(place, "string") or b"0"
    if not old.isdigit() or (old[:1] == b"0" and old != b"0") or len(old) > 9:
        return set_(client, place)
    amount = client.random.randint(1, 50)
    client.put(place, "string", b"%d" % (int(old) + amount))
    return [b"INCRBY", place[1], b"%d" % amount]


# -- hashes ------------------------------------------------------------------------------------------------------------


def hset(client: Client, place: Place) -> Argv:
    fields = {b"f%d" % client.random.randrange(KEYS): client.value() for _ in range(client.random.choice([1, 1, 4]))}
    client.put(place, "hash", client.content(place, "hash") | {name: (value, 0) for name, value in fields.items()})
    return [b"HSET", place[1], *(word for pair in fields.items() for word in pair)]


def hincrby(client: Client, place: Place) -> Argv:
    content, amount = client.content(place, "hash"), client.random.randint(1, 50)
    old, expire = content.get(b"number", (b"0", 0))
    client.put(place, "hash", content | {b"number": (b"%d" % (int(old) + amount), expire)})
    return [b"HINCRBY", place[1], b"number", b"%d" % amount]


def hdel(client: Client, place: Place) -> Argv:
    content = client.content(place, "hash")
    gone = client.some(content)
    client.put(place, "hash", {name: pair for name, pair in content.items() if name not in gone})
    return [b"HDEL", place[1], *gone]


def hpexpireat(client: Client, place: Place) -> Argv:
    content, expire = client.content(place, "hash"), FAR_MS + client.random.randrange(1000)
    chosen = client.some(content)
    client.put(place, "hash", content | {name: (content[name][0], expire) for name in chosen})
    return [b"HPEXPIREAT", place[1], b"%d" % expire, b"FIELDS", b"%d" % len(chosen), *chosen]


def hpersist(client: Client, place: Place) -> Argv:
    content = client.content(place, "hash")
    chosen = client.some(content)
    client.put(place, "hash", content | {name: (content[name][0], 0) for name in chosen})
    return [b"HPERSIST", place[1], b"FIELDS", b"%d" % len(chosen), *chosen]


# -- lists -------------------------------------------------------------------------------------------------------------


def push(client: Client, place: Place) -> Argv:
    values, new = client.content(place, "list"), tuple(client.several())
    if client.random.random() < 0.5:
        client.put(place, "list", new[::-1] + values)
        return [b"LPUSH", place[1], *new]
    client.put(place, "list", values + new)
    return [b"RPUSH", place[1], *new]


def pop(client: Client, place: Place) -> Argv:
    values, count = client.content(place, "list"), client.random.choice([1, 1, 2, 3])
    if client.random.random() < 0.5:
        client.put(place, "list", values[count:])
        return [b"LPOP", place[1], b"%d" % count]
    client.put(place, "list", values[: max(0, len(values) - count)])
    return [b"RPOP", place[1], b"%d" % count]


def lset(client: Client, place: Place) -> Argv:
    values, new = client.content(place, "list"), client.value()
    at = client.random.randrange(len(values))
    client.put(place, "list", values[:at] + (new,) + values[at + 1 :])
    return [b"LSET", place[1], b"%d" % at, new]


def linsert(client: Client, place: Place) -> Argv:
    values, new = client.content(place, "list"), client.short()
    pivot = client.random.choice(values)
    at = values.index(pivot)
    client.put(place, "list", values[:at] + (new,) + values[at:])
    return [b"LINSERT", place[1], b"BEFORE", pivot, new]


def lrem(client: Client, place: Place) -> Argv:
    values = client.content(place, "list")
    gone = client.random.choice(values)
    client.put(place, "list", tuple(value for value in values if value != gone))
    return [b"LREM", place[1], b"0", gone]


def ltrim(client: Client, place: Place) -> Argv:
    values = client.content(place, "list")
    start = client.random.randrange(len(values))
    stop = client.random.randrange(start, len(values))
    client.put(place, "list", values[start : stop + 1])
    return [b"LTRIM", place[1], b"%d" % start, b"%d" % stop]


def lmove(client: Client, place: Place) -> Argv:
    other = client.another(place, "list", "none")
    if other is None:
        return push(client, place)
    values = client.content(place, "list")
    client.put(place, "list", values[:-1])
    client.put(other, "list", (values[-1], *client.content(other, "list")))
    return [b"LMOVE", place[1], other[1], b"RIGHT", b"LEFT"]


# -- sets --------------------------------------------------------------------------------------------------------------


def sadd(client: Client, place: Place) -> Argv:
    new = client.several()
    client.put(place, "set", client.content(place, "set") | frozenset(new))
    return [b"SADD", place[1], *new]


def srem(client: Client, place: Place) -> Argv:
    members = client.content(place, "set")
    gone = client.some(sorted(members))
    client.put(place, "set", members - frozenset(gone))
    return [b"SREM", place[1], *gone]


def smove(client: Client, place: Place) -> Argv:
    other, members = client.another(place, "set", "none"), client.content(place, "set")
    if other is None:
        return sadd(client, place)
    member = client.random.choice(sorted(members))
    client.put(place, "set", members - {member})
    client.put(other, "set", client.content(other, "set") | {member})
    return [b"SMOVE", place[1], other[1], member]


def sstore(client: Client, place: Place) -> Argv:
    """Into any key, whatever it holds: that goes, and its expiry with it."""
    other = client.another(place, "set", "none")
    if other is None:
        return sadd(client, place)
    target = (place[0], client.key())
    first, second = client.content(place, "set"), client.content(other, "set")
    word, members = client.random.choice(
        [(b"SUNIONSTORE", first | second), (b"SINTERSTORE", first & second), (b"SDIFFSTORE", first - second)]
    )
    client.put(target, "set", members, 0)
    return [word, target[1], place[1], other[1]]


# -- sorted sets -------------------------------------------------------------------------------------------------------


def zadd(client: Client, place: Place) -> Argv:
    scores = client.content(place, "zset")
    names = client.several() + client.random.sample(sorted(scores), min(len(scores), client.random.choice([0, 0, 2])))
    new = {name: client.random.choice([0.0, 0.1, -2.5, 1e300, float("inf"), 17.0]) for name in names}
    client.put(place, "zset", scores | new)
    return [b"ZADD", place[1], *(word for name, score in new.items() for word in (b"%r" % score, name))]


def zincrby(client: Client, place: Place) -> Argv:
    scores = client.content(place, "zset")
    name = client.random.choice([client.short(), *sorted(scores)])
    score = scores.get(name, 0.0) + 0.5
    client.put(place, "zset", scores | {name: score})
    return [b"ZINCRBY", place[1], b"0.5", name]


def zrem(client: Client, place: Place) -> Argv:
    scores = client.content(place, "zset")
    gone = client.some(sorted(scores))
    client.put(place, "zset", {name: score for name, score in scores.items() if name not in gone})
    return [b"ZREM", place[1], *gone]


def ranked(scores: dict[bytes, float]) -> list[tuple[float, bytes]]:
    return sorted((score, name) for name, score in scores.items())


def zpop(client: Client, place: Place) -> Argv:
    scores, count = client.content(place, "zset"), client.random.choice([1, 1, 3])
    client.put(place, "zset", {name: score for score, name in ranked(scores)[count:]})
    return [b"ZPOPMIN", place[1], b"%d" % count]


def zremrange(client: Client, place: Place) -> Argv:
    order = ranked(client.content(place, "zset"))
    start = client.random.randrange(len(order))
    stop = client.random.randrange(start, len(order))
    client.put(place, "zset", {name: score for score, name in order[:start] + order[stop + 1 :]})
    return [b"ZREMRANGEBYRANK", place[1], b"%d" % start, b"%d" % stop]


def zstore(client: Client, place: Place) -> Argv:
    other, target = client.another(place, "zset", "none"), (place[0], client.key())
    scores = client.content(place, "zset")
    if other is None:
        client.put(target, "zset", {name: score for score, name in ranked(scores)[1:]}, 0)
        return [b"ZRANGESTORE", target[1], place[1], b"1", b"-1"]
    more = client.content(other, "zset")
    united = {name: max(scores.get(name, more.get(name)), more.get(name, scores.get(name))) for name in scores | more}
    client.put(target, "zset", united, 0)
    return [b"ZUNIONSTORE", target[1], b"2", place[1], other[1], b"AGGREGATE", b"MAX"]


# -- streams -----------------------------------------------------------------------------------------------------------


def text(ident: Id) -> bytes:
    return b"%d-%d" % ident


def trimmed(log: Log, keep: int) -> Log:
    order = sorted(log.entries)
    return log._replace(entries={ident: log.entries[ident] for ident in order[max(0, len(order) - keep) :]})


def xadd(client: Client, place: Place) -> Argv:
    log: Log = client.content(place, "stream")
    ident = (log.last[0] + client.random.choice([0, 1]), log.last[1] + 1)
    fields = tuple(word for value in client.several() for word in (b"field", value))
    added = log._replace(entries=log.entries | {ident: fields}, last=ident, added=log.added + 1)
    trim: Argv = []
    if client.random.random() < 0.2:
        keep = client.random.randint(0, 20)
        added, trim = trimmed(added, keep), [b"MAXLEN", b"%d" % keep]
    client.put(place, "stream", added)
    return [b"XADD", place[1], *trim, text(ident), *fields]


def xtrim(client: Client, place: Place) -> Argv:
    log: Log = client.content(place, "stream")
    if client.random.random() < 0.5 or not log.entries:
        keep = client.random.randint(0, len(log.entries))
        client.put(place, "stream", trimmed(log, keep))
        return [b"XTRIM", place[1], b"MAXLEN", b"%d" % keep]
    low = client.random.choice(sorted(log.entries))
    stay = {ident: fields for ident, fields in log.entries.items() if ident >= low}
    client.put(place, "stream", log._replace(entries=stay))
    return [b"XTRIM", place[1], b"MINID", text(low)]


def xdel(client: Client, place: Place) -> Argv:
    log: Log = client.content(place, "stream")
    if not log.entries:
        return xadd(client, place)
    gone = client.some(log.entries)
    stay = {ident: fields for ident, fields in log.entries.items() if ident not in gone}
    client.put(place, "stream", log._replace(entries=stay, deleted=max(log.deleted, *gone)))
    return [b"XDEL", place[1], *map(text, gone)]


def xsetid(client: Client, place: Place) -> Argv:
    log: Log = client.content(place, "stream")
    last, added = (log.last[0] + client.random.randint(0, 2), log.last[1] + 1), log.added + client.random.randint(0, 3)
    client.put(place, "stream", log._replace(last=last, added=added))
    return [b"XSETID", place[1], text(last), b"ENTRIESADDED", b"%d" % added, b"MAXDELETEDID", text(log.deleted)]


def with_group(client: Client, place: Place, name: bytes, group: Group | None) -> None:
    log: Log = client.content(place, "stream")
    groups = {each: log.groups[each] for each in log.groups if each != name}
    client.put(place, "stream", log._replace(groups=groups if group is None else groups | {name: group}))


def some_group(client: Client, place: Place) -> tuple[bytes, Group] | None:
    log: Log = client.content(place, "stream")
    return client.random.choice(sorted(log.groups.items(), key=lambda item: item[0])) if log.groups else None


def xgroup_create(client: Client, place: Place) -> Argv:
    log: Log = client.content(place, "stream")
    name = b"group:%d" % client.random.randrange(3)
    position: Id = client.random.choice([(0, 0), *log.entries])
    if name in log.groups:
        with_group(client, place, name, log.groups[name]._replace(last=position))
        return [b"XGROUP", b"SETID", place[1], name, text(position)]
    with_group(client, place, name, Group(position, frozenset(), {}))
    return [b"XGROUP", b"CREATE", place[1], name, text(position), b"MKSTREAM"]


def xgroup_change(client: Client, place: Place) -> Argv:
    chosen = some_group(client, place)
    if chosen is None:
        return xgroup_create(client, place)
    name, group = chosen
    consumer = b"reader:%d" % client.random.randrange(3)
    what = client.random.randrange(4)
    if what == 0:
        with_group(client, place, name, None)
        return [b"XGROUP", b"DESTROY", place[1], name]
    if what == 1:
        left = {ident: item for ident, item in group.pending.items() if item[0] != consumer}
        with_group(client, place, name, group._replace(consumers=group.consumers - {consumer}, pending=left))
        return [b"XGROUP", b"DELCONSUMER", place[1], name, consumer]
    with_group(client, place, name, group._replace(consumers=group.consumers | {consumer}))
    return [b"XGROUP", b"CREATECONSUMER", place[1], name, consumer]


def xreadgroup(client: Client, place: Place) -> Argv:
    chosen, log = some_group(client, place), client.content(place, "stream")
    if chosen is None:
        return xgroup_create(client, place)
    name, group = chosen
    consumer, count = b"reader:%d" % client.random.randrange(3), client.random.choice([1, 2, 10])
    new = [ident for ident in sorted(log.entries) if ident > group.last][:count]
    noack = client.random.random() < 0.15
    given = {} if noack else dict.fromkeys(new, (consumer, 1))
    readers = group.consumers | {consumer}
    with_group(client, place, name, Group(max([group.last, *new]), readers, group.pending | given))
    words = [b"XREADGROUP", b"GROUP", name, consumer, b"COUNT", b"%d" % count, *([b"NOACK"] if noack else [])]
    return [*words, b"STREAMS", place[1], b">"]


def xack(client: Client, place: Place) -> Argv:
    chosen = some_group(client, place)
    if chosen is None or not chosen[1].pending:
        return xreadgroup(client, place)
    name, group = chosen
    gone = client.some(group.pending)
    left = {ident: item for ident, item in group.pending.items() if ident not in gone}
    with_group(client, place, name, group._replace(pending=left))
    return [b"XACK", place[1], name, *map(text, gone)]


def xclaim(client: Client, place: Place) -> Argv:
    chosen, log = some_group(client, place), client.content(place, "stream")
    if chosen is None or not log.entries:
        return xadd(client, place)
    name, group = chosen
    consumer, ident = b"reader:%d" % client.random.randrange(3), client.random.choice(sorted(log.entries))
    pending = group.pending | {ident: (consumer, 7)}
    with_group(client, place, name, group._replace(consumers=group.consumers | {consumer}, pending=pending))
    return [b"XCLAIM", place[1], name, consumer, b"0", text(ident), b"RETRYCOUNT", b"7", b"FORCE"]


def xautoclaim(client: Client, place: Place) -> Argv:
    """What has been deleted meanwhile is forgotten on the way."""
    chosen, log = some_group(client, place), client.content(place, "stream")
    if chosen is None:
        return xgroup_create(client, place)
    name, group = chosen
    consumer = b"reader:%d" % client.random.randrange(3)
    pending = {ident: (consumer, count + 1) for ident, (_, count) in group.pending.items() if ident in log.entries}
    with_group(client, place, name, group._replace(consumers=group.consumers | {consumer}, pending=pending))
    return [b"XAUTOCLAIM", place[1], name, consumer, b"0", b"-", b"COUNT", b"1000"]


# -- keys --------------------------------------------------------------------------------------------------------------


def far(client: Client) -> int:
    return FAR_MS + client.random.randrange(1000) if client.random.random() < 0.2 else 0


def del_(client: Client, place: Place) -> Argv:
    del client.state[place]
    return [client.random.choice([b"DEL", b"UNLINK"]), place[1]]


def rename(client: Client, place: Place) -> Argv:
    key = client.key()
    client.state[place[0], key] = client.state.pop(place)
    return [b"RENAME", place[1], key]


def copy(client: Client, place: Place) -> Argv:
    target = client.place()
    if target == place:
        return persist(client, place)
    client.state[target] = client.state[place]
    return [b"COPY", place[1], target[1], b"DB", b"%d" % target[0], b"REPLACE"]


def move(client: Client, place: Place) -> Argv:
    (database,) = {*client.databases} - {place[0]}
    if (database, place[1]) not in client.state:
        client.state[database, place[1]] = client.state.pop(place)
    return [b"MOVE", place[1], b"%d" % database]


def pexpireat(client: Client, place: Place) -> Argv:
    expire = FAR_MS + client.random.randrange(1000)
    client.state[place] = client.state[place]._replace(expire=expire)
    return [b"PEXPIREAT", place[1], b"%d" % expire]


def persist(client: Client, place: Place) -> Argv:
    client.state[place] = client.state[place]._replace(expire=0)
    return [b"PERSIST", place[1]]


def swapdb(client: Client, place: Place) -> Argv:
    first, second = client.databases
    turn = {first: second, second: first}
    client.state = {(turn[database], key): value for (database, key), value in client.state.items()}
    return [b"SWAPDB", b"%d" % first, b"%d" % second]


def flushdb(client: Client, place: Place) -> Argv:
    if client.random.random() < 0.7:
        return persist(client, place)
    client.state = {other: value for other, value in client.state.items() if other[0] != place[0]}
    return [b"FLUSHDB"]


def fleeting(client: Client) -> list[Argv]:
    """What expires soon, as a key or a field; nothing else happens to these keys, since who knows when."""
    database, expire = client.random.choice(client.databases), int(time.time() * 1000) + client.random.randint(20, 2000)
    value, when = client.value(), b"%d" % expire
    select = client.select(database)
    if client.random.random() < 0.6:
        key = b"fleeting:%d" % client.random.randrange(4)
        client.state[database, key] = Value("string", value, expire)
        return [*select, [b"SET", key, value, b"PXAT", when]]
    key = b"fleeting:hash"
    client.state[database, key] = Value("hash", {b"soon": (value, expire), b"stays": (value, 0)})
    hset = [b"HSET", key, b"soon", value, b"stays", value]
    hpexpireat = [b"HPEXPIREAT", key, when, b"FIELDS", b"1", b"soon"]
    return [*select, [b"MULTI"], [b"DEL", key], hset, hpexpireat, [b"EXEC"]]


KINDS: Final = ("string", "hash", "list", "set", "zset", "stream", "stream")
WHOLE_KEYS: Final[tuple[Step, ...]] = (
    del_, del_, rename, rename, copy, copy, move, pexpireat, persist, swapdb, flushdb,
)  # fmt: skip
"""Whatever is there. The last two change a whole database, and stand alone."""
ADDING: Final[dict[str, tuple[Step, ...]]] = {
    "string": (set_, set_, append, setrange, setbit, bitfield, incrby),
    "hash": (hset, hincrby),
    "list": (push,),
    "set": (sadd,),
    "zset": (zadd, zincrby),
    "stream": (xadd, xgroup_create),
}
"""What can begin with nothing."""
CHANGING: Final[dict[str, tuple[Step, ...]]] = {
    "string": (bitop,),
    "hash": (hset, hdel, hpexpireat, hpersist),
    "list": (push, push, pop, lset, linsert, lrem, ltrim, lmove),
    "set": (sadd, srem, smove, sstore),
    "zset": (zadd, zrem, zpop, zremrange, zstore),
    "stream": (xadd, xadd, xtrim, xdel, xsetid, xgroup_change, xreadgroup, xreadgroup, xreadgroup, xack, xclaim, xautoclaim),
    "hll": (del_, rename, copy),
}


# -- what replies mean --------------------------------------------------------------------------------------------------


def pairs(flat: list[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)


def scores_of(flat: list[bytes]) -> dict[bytes, float]:
    return {name: float(score) for name, score in pairs(flat)}


def ident(text: bytes) -> Id:
    ms, _, seq = text.partition(b"-")
    return int(ms), int(seq)


def log_of(flat: list[Any]) -> Log:
    """XINFO STREAM FULL as a Log."""
    told = dict(pairs(flat))
    entries = {ident(name): tuple(fields) for name, fields in told[b"entries"]}
    groups = {}
    for group in map(dict, map(pairs, told[b"groups"])):
        consumers = frozenset(dict(pairs(consumer))[b"name"] for consumer in group[b"consumers"])
        pending = {ident(name): (consumer, count) for name, consumer, _, count in group[b"pending"]}
        groups[group[b"name"]] = Group(ident(group[b"last-delivered-id"]), consumers, pending)
    last, deleted = ident(told[b"last-generated-id"]), ident(told[b"max-deleted-entry-id"])
    return Log(entries, last, deleted, told[b"entries-added"], groups)


# -- outcomes that only the server knows -------------------------------------------------------------------------------

Question = tuple[Argv, Callable[[Any], bool], Argv, Callable[[Any], Any]]
"""A command, what may come of it, the command that reads it back, and what its reply means."""


def pfadd(client: Client, place: Place) -> Question:
    old = client.content(place, "hll")

    def plausible(found: Any) -> bool:
        return isinstance(found, bytes) and found[:4] == b"HYLL" and found != old

    new = [client.short() for _ in range(client.random.choice([1, 20, 500]))]
    return [b"PFADD", place[1], *new], plausible, [b"GET", place[1]], bytes


def spop(client: Client, place: Place) -> Question | None:
    members = client.content(place, "set")
    if len(members) < 2:
        return None
    count = client.random.randint(1, len(members) - 1)

    def plausible(found: Any) -> bool:
        return isinstance(found, frozenset) and found < members and len(found) == len(members) - count

    return [b"SPOP", place[1], b"%d" % count], plausible, [b"SMEMBERS", place[1]], frozenset


def geoadd(client: Client, place: Place) -> Question:
    scores, name = client.content(place, "zset"), client.short()
    where = [b"%.6f" % client.random.uniform(-180, 180), b"%.6f" % client.random.uniform(-85, 85)]

    def plausible(found: Any) -> bool:
        return isinstance(found, dict) and found.keys() == scores.keys() | {name} and scores.items() <= found.items()

    return [b"GEOADD", place[1], *where, name], plausible, [b"ZRANGE", place[1], b"0", b"-1", b"WITHSCORES"], scores_of


def xadd_now(client: Client, place: Place) -> Question:
    log: Log = client.content(place, "stream")
    value = client.short()

    def plausible(found: Any) -> bool:
        if not isinstance(found, Log) or found.last <= log.last:
            return False
        return found == log._replace(
            entries=log.entries | {found.last: (b"field", value)}, last=found.last, added=log.added + 1
        )

    look = [b"XINFO", b"STREAM", place[1], b"FULL", b"COUNT", b"0"]
    return [b"XADD", place[1], b"*", b"field", value], plausible, look, log_of


QUESTIONS: Final[dict[str, tuple[Callable[[Client, Place], Question | None], ...]]] = {
    "hll": (pfadd,),
    "set": (spop,),
    "zset": (geoadd,),
    "stream": (xadd_now,),
}
STEPS: Final = {kind: ADDING.get(kind, ()) + CHANGING[kind] for kind in CHANGING}
