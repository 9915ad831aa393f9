"""Consumer groups of streams: XGROUP, XACK, XPENDING, XCLAIM and XAUTOCLAIM. XREADGROUP is a way of reading, in `streams`.

A group has the entries that it was given pending until they are acknowledged; they are in the tables and the log, so that
no crash loses one.
"""

from __future__ import annotations

from typing import Final

from perdure import errors
from perdure.args import INT_MAX, Words, integer, to_integer
from perdure.errors import ReplyError, whole
from perdure.registry import DENYOOM, FAST, LOADING, READ, STALE, WRITE, Args, Family
from perdure.resp import NULL_ARRAY, Reply
from perdure.stream_ids import id_text, parse_edge, parse_id, parse_ids, parse_interval
from perdure_storage.events import STREAM
from perdure_storage.keyspace import Keyspace
from perdure_storage.types.group import UNKNOWN, Group
from perdure_storage.types.stream import MAX_ID, Stream

COMMANDS = Family("stream")

ATTEMPTS: Final = 10
"""XAUTOCLAIM looks at so many pending entries for each one that it may claim."""
NO_KEY: Final = (
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option "
    "to create an empty stream automatically."
)


def _group_stream(db: Keyspace, key: bytes) -> Stream:
    stream = db.find_collection(key, Stream)
    if stream is None:
        raise ReplyError(NO_KEY)
    return stream


def _group_options(args: Args, word: str, *, mkstream: bool) -> tuple[bool, int]:
    """(MKSTREAM given, ENTRIESREAD or UNKNOWN) from args[3] on."""
    make, read = False, UNKNOWN
    for option in (words := Words(args, 3)):
        if mkstream and option == b"MKSTREAM":
            make = True
        elif option == b"ENTRIESREAD" and words.at < len(args):
            read = integer(words.take())
            if read < 0 and read != UNKNOWN:
                raise ReplyError("ERR value for ENTRIESREAD must be positive or -1")
        else:
            raise errors.misused("XGROUP", word)
    return make, read


@COMMANDS.command(
    "XGROUP CREATE key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]",
    WRITE | DENYOOM,
    since="5.0.0",
    complexity="O(1)",
    key_flags=("RW insert",),
    history=(("7.0.0", "Added the `entries_read` named argument."),),
)
def xgroup_create(db: Keyspace, args: Args) -> Reply:
    """Make a consumer group that begins behind an id; `$` is the last one."""
    key, name, raw = args[:3]
    make, read = _group_options(args, "CREATE", mkstream=True)
    stream = db.find_collection(key, Stream) if make else _group_stream(db, key)
    if len(args) > 6:
        raise errors.misused("XGROUP", "CREATE")
    if raw == b"$":
        last = stream.last if stream is not None else 0
    else:
        last = parse_id(raw)
    if stream is None:
        stream = db.create(Stream, key)
        stream.set_state(0, 0, 0)
    elif name in stream.groups:
        raise errors.busy_group()
    stream.create_group(name, last, read)
    db.notify(STREAM, b"xgroup-create", key)
    return "OK"


@COMMANDS.command(
    "XGROUP SETID key group <id | $> [ENTRIESREAD entries-read]",
    WRITE,
    since="5.0.0",
    complexity="O(1)",
    key_flags=("RW update",),
    history=(("7.0.0", "Added the optional `entries_read` argument."),),
)
def xgroup_setid(db: Keyspace, args: Args) -> Reply:
    """Let a group go on behind another id."""
    _, read = _group_options(args, "SETID", mkstream=False)
    stream, group = _stream_and_group(db, args)
    if len(args) > 5:
        raise errors.misused("XGROUP", "SETID")
    if args[2] == b"$":
        last = stream.last
    else:
        last = {b"-": 0, b"+": MAX_ID}[args[2]] if args[2] in (b"-", b"+") else parse_id(args[2])
    stream.set_group(group, last, read)
    db.notify(STREAM, b"xgroup-setid", args[0])
    return "OK"


def _stream_and_group(db: Keyspace, args: Args) -> tuple[Stream, Group]:
    stream = _group_stream(db, args[0])
    group = stream.groups.get(args[1])
    if group is None:
        raise errors.no_group(args[1], args[0])
    return stream, group


@COMMANDS.command(
    "XGROUP DESTROY key group",
    WRITE,
    since="5.0.0",
    complexity="O(N), N being the entries that are pending in the group",
    key_flags=("RW delete",),
)
def xgroup_destroy(db: Keyspace, args: Args) -> Reply:
    """Remove a consumer group; returns 1 if there was one."""
    stream = _group_stream(db, args[0])
    group = stream.groups.get(args[1])
    if group is None:
        return 0
    stream.destroy_group(group)
    db.notify(STREAM, b"xgroup-destroy", args[0])
    return 1


@COMMANDS.command(
    "XGROUP CREATECONSUMER key group consumer",
    WRITE | DENYOOM,
    since="6.2.0",
    complexity="O(1)",
    key_flags=("RW insert",),
)
def xgroup_createconsumer(db: Keyspace, args: Args) -> Reply:
    """Make a consumer; returns 0 if it was there."""
    stream, group = _stream_and_group(db, args)
    if args[2] in group.consumers:
        return 0
    stream.create_consumer(group, args[2], db.ds.now)
    db.notify(STREAM, b"xgroup-createconsumer", args[0])
    return 1


@COMMANDS.command(
    "XGROUP DELCONSUMER key group consumer",
    WRITE,
    since="5.0.0",
    complexity="O(N), N being the entries that are pending for the consumer",
    key_flags=("RW delete",),
)
def xgroup_delconsumer(db: Keyspace, args: Args) -> Reply:
    """Remove a consumer; returns how many entries were pending for it."""
    stream, group = _stream_and_group(db, args)
    consumer = group.consumers.get(args[2])
    if consumer is None:
        return 0
    pending = stream.delete_consumer(group, consumer)
    db.notify(STREAM, b"xgroup-delconsumer", args[0])
    return pending


@COMMANDS.command("XGROUP HELP", LOADING | STALE, since="5.0.0", complexity="O(1)")
def xgroup_help(db: Keyspace, args: Args) -> Reply:
    """Return what XGROUP can do."""
    return [
        "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CREATE <key> <group> <id|$> [MKSTREAM] [ENTRIESREAD <count>]",
        "    Make a group that reads what comes behind the id; with MKSTREAM the stream too.",
        "CREATECONSUMER <key> <group> <consumer>",
        "    Make a consumer. Reading makes it as well.",
        "DELCONSUMER <key> <group> <consumer>",
        "    Remove a consumer, with what is pending for it.",
        "DESTROY <key> <group>",
        "    Remove a group, with its consumers.",
        "SETID <key> <group> <id|$> [ENTRIESREAD <count>]",
        "    Let a group go on behind the id.",
        "HELP",
        "    Return this text.",
    ]


# -- what is pending -----------------------------------------------------------------------------------------------


def _find_group(db: Keyspace, args: Args, *, reading: bool = False) -> tuple[Stream, Group]:
    stream = db.collection(args[0], Stream) if reading else db.find_collection(args[0], Stream)
    group = stream.groups.get(args[1]) if stream is not None else None
    if stream is None or group is None:
        raise ReplyError(f"NOGROUP No such key '{whole(args[0])}' or consumer group '{whole(args[1])}'")
    return stream, group


@COMMANDS.command(
    "XACK key group id [id ...]",
    WRITE | FAST,
    since="5.0.0",
    complexity="O(log N) for each entry",
    key_flags=("RW update",),
)
def xack(db: Keyspace, args: Args) -> Reply:
    """Acknowledge entries: they are pending no more. Returns how many were."""
    stream = db.find_collection(args[0], Stream)
    group = stream.groups.get(args[1]) if stream is not None else None
    if stream is None or group is None:
        return 0
    return stream.settle_pending(group, parse_ids(args[2:]))


@COMMANDS.command(
    "XPENDING key group [[IDLE min-idle-time] start end count [consumer]]",
    READ,
    since="5.0.0",
    complexity="O(log N + M), M being the entries returned, or those passed over by IDLE",
    tips="nondeterministic_output",
    history=(("6.2.0", "Added the `IDLE` option and exclusive range intervals."),),
)
def xpending(db: Keyspace, args: Args) -> Reply:
    """Return what is pending in a group: how much, or which entries."""
    if len(args) == 2:
        return _pending_summary(_find_group(db, args, reading=True)[1])
    if not 5 <= len(args) <= 8:
        raise errors.syntax()
    at, idle = 2, 0
    if args[2].upper() == b"IDLE":
        idle = integer(args[3])
        if len(args) < 7:
            raise errors.syntax()
        at = 4
    count = max(0, integer(args[at + 2]))
    low, high = parse_interval(args[at], args[at + 1])
    _, group = _find_group(db, args, reading=True)
    consumer = None
    if len(args) > at + 3:
        consumer = group.consumers.get(args[at + 3])
        if consumer is None:
            return []
    now, rows = db.ds.now, list[Reply]()
    for ident, item in group.between(low, high, consumer) if count else ():
        elapsed = now - item.delivered
        if idle and elapsed < idle:
            continue
        rows.append((id_text(ident), item.consumer.name, max(0, elapsed), item.count))
        if len(rows) == count:
            break
    return rows


def _pending_summary(group: Group) -> Reply:
    order = group.order
    if not order:
        return [0, None, None, NULL_ARRAY]
    busy = [(each.name, b"%d" % len(each.order)) for each in group.sorted_consumers() if each.order]
    return [len(order), id_text(order[0]), id_text(order[-1]), busy]


class _Claim:
    """XCLAIM's options."""

    __slots__ = ("count", "delivered", "force", "idents", "justid", "last")

    def __init__(self, args: Args, now: int) -> None:
        self.idents: list[int] = []
        at = 4
        while at < len(args) and (ident := _maybe_id(args[at])) is not None:
            self.idents.append(ident)
            at += 1
        self.force = self.justid = False
        self.last = 0
        self.count: int | None = None
        delivered = -1
        for word in (words := Words(args, at)):
            more = words.at < len(args)
            if word == b"FORCE":
                self.force = True
            elif word == b"JUSTID":
                self.justid = True
            elif word in (b"IDLE", b"TIME") and more:
                delivered = _claim_number(words.take(), word.decode())
                if word == b"IDLE":
                    delivered = now - delivered
            elif word == b"RETRYCOUNT" and more:
                count = _claim_number(words.take(), "RETRYCOUNT")
                self.count = count if count >= 0 else None
            elif word == b"LASTID" and more:
                self.last = parse_id(words.take())
            else:
                raise ReplyError(f"ERR Unrecognized XCLAIM option '{whole(args[words.at - 1])}'")
        self.delivered = delivered if 0 <= delivered <= now else now


def _maybe_id(raw: bytes) -> int | None:
    try:
        return parse_id(raw)
    except ReplyError:
        return None


def _claim_number(raw: bytes, word: str) -> int:
    number = to_integer(raw)
    if number is None:
        raise ReplyError(f"ERR Invalid {word} option argument for XCLAIM")
    return number


def _min_idle(raw: bytes, command: str) -> int:
    idle = to_integer(raw)
    if idle is None:
        raise ReplyError(f"ERR Invalid min-idle-time argument for {command}")
    return max(0, idle)


@COMMANDS.command(
    "XCLAIM key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count]"
    " [FORCE] [JUSTID] [LASTID lastid]",
    WRITE | FAST,
    since="5.0.0",
    complexity="O(log N) for each entry",
    key_flags=("RW update",),
    tips="nondeterministic_output",
)
def xclaim(db: Keyspace, args: Args) -> Reply:
    """Make entries that are pending for too long those of another consumer, and return them."""
    stream, group = _find_group(db, args)
    min_idle, now = _min_idle(args[3], "XCLAIM"), db.ds.now
    asked = _Claim(args, now)
    if asked.last > group.last:
        stream.set_group(group, asked.last, group.read)
    rows: list[Reply] = []
    claimed: dict[int, int] = {}
    lost: list[int] = []
    for ident in asked.idents:
        fields, item = stream.get(ident), group.pending.get(ident)
        if fields is None:
            lost.append(ident)
            continue
        if ident in claimed:
            if min_idle and now - asked.delivered < min_idle:
                continue
            count = claimed[ident]
        elif item is not None:
            if min_idle and now - item.delivered < min_idle:
                continue
            count = item.count
        elif asked.force:
            count = 1
        else:
            continue
        if asked.count is not None:
            count = asked.count
        elif not asked.justid:
            count = min(count + 1, INT_MAX)
        claimed[ident] = count
        rows.append(id_text(ident) if asked.justid else (id_text(ident), fields))
    stream.settle_pending(group, lost)
    _hand_over(stream, group, args[2], [(ident, asked.delivered, count) for ident, count in claimed.items()])
    return rows


def _hand_over(stream: Stream, group: Group, name: bytes, items: list[tuple[int, int, int]]) -> None:
    """(id, delivered, count) become pending for the consumer `name`, which is made and seen also without any."""
    now = stream.db.ds.now
    consumer = stream.consumer_for(group, name, now)
    if items:
        stream.put_pending(group, consumer, items)
        stream.set_consumer(group, consumer, now, now)


@COMMANDS.command(
    "XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]",
    WRITE | FAST,
    since="6.2.0",
    complexity="O(1) if COUNT is small",
    key_flags=("RW delete",),
    tips="nondeterministic_output",
    history=(("7.0.0", "Added an element to the reply array, the ids of deleted entries that were pending"),),
)
def xautoclaim(db: Keyspace, args: Args) -> Reply:
    """Claim what is pending for too long, from an id on; returns where to go on, entries, and ids that are no more."""
    min_idle = _min_idle(args[3], "XAUTOCLAIM")
    start = parse_edge(args[4], 0, 1, "start")
    left, justid = 100, False
    for word in (words := Words(args, 5)):
        if word == b"COUNT" and words.at < len(args):
            left = to_integer(words.take()) or 0
            if not 1 <= left <= INT_MAX // 16:
                raise ReplyError("ERR COUNT must be > 0")
        elif word == b"JUSTID":
            justid = True
        else:
            raise errors.syntax()
    stream, group = _find_group(db, args)
    attempts, now, cursor = ATTEMPTS * left, db.ds.now, 0
    rows: list[Reply] = []
    claimed: list[tuple[int, int, int]] = []
    lost: list[int] = []
    for ident, item in group.between(start, MAX_ID):
        if not attempts or not left:
            cursor = ident
            break
        attempts -= 1
        fields = stream.get(ident)
        if fields is None:
            lost.append(ident)
        elif min_idle and now - item.delivered < min_idle:
            continue
        else:
            claimed.append((ident, now, item.count if justid else min(item.count + 1, INT_MAX)))
            rows.append(id_text(ident) if justid else (id_text(ident), fields))
        left -= 1
    stream.settle_pending(group, lost)
    _hand_over(stream, group, args[2], claimed)
    return [id_text(cursor), rows, [id_text(ident) for ident in lost]]
