"""Streams: XADD, XRANGE, XREAD and XREADGROUP, and what XINFO tells of them. Consumer groups are in `groups`.

When a consumer asked for entries and there were none, that is remembered in memory only: its idle time may be longer
after a restart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final

from perdure import errors
from perdure.args import INT_MAX, Words, integer, to_integer
from perdure.errors import ReplyError, whole
from perdure.registry import BLOCKING, DENYOOM, FAST, LOADING, READ, RECORD_ONLY, STALE, WRITE, Args, Family
from perdure.resp import NULL_ARRAY, Reply, Rows
from perdure.session import Park
from perdure.stream_ids import id_text, parse_id, parse_ids, parse_interval
from perdure_storage.events import STREAM
from perdure_storage.keyspace import Keyspace
from perdure_storage.types.entry import Kind
from perdure_storage.types.group import UNKNOWN, Consumer, Group, Pending
from perdure_storage.types.stream import MASK, MAX_ID, Fields, Stream

COMMANDS = Family("stream")

FOREVER_MS: Final = 1 << 50
"""Nobody waits that long."""
BLOCKED_COUNT: Final = 1000
"""How many entries a client gets that had to wait, when it did not say."""


def _rows(entries: Sequence[tuple[int, Fields]]) -> list[Reply]:
    """Entries as every command returns them."""
    return [(id_text(ident), fields) for ident, fields in entries]


# -- adding and trimming -------------------------------------------------------------------------------------------


class _Options:
    """What XADD and XTRIM share. `at` is where the options end; `id` is None for `*`, `seq` None for `ms-*`."""

    __slots__ = ("approximate", "at", "id", "limit", "make", "maxlen", "minid", "seq")

    def __init__(self) -> None:
        self.at = 1
        self.id: int | None = None
        self.seq: int | None = 0
        self.make = True
        self.maxlen: int | None = None
        self.minid: int | None = None
        self.approximate = False
        self.limit: int | None = None

    def read(self, args: Args, adding: bool) -> None:
        """From args[1] on; XADD's end with the id."""
        while self.at < len(args):
            raw = args[self.at]
            if adding and raw == b"*":
                break
            word, more = raw.upper(), self.at + 1 < len(args)
            if word in (b"MAXLEN", b"MINID") and more:
                self._threshold(args, word)
            elif word == b"LIMIT" and more:
                self.limit = integer(args[self.at + 1])
                if self.limit < 0:
                    raise ReplyError("ERR The LIMIT argument must be >= 0.")
                self.at += 2
            elif adding and word == b"NOMKSTREAM":
                self.make = False
                self.at += 1
            elif adding:
                self.read_id(raw)
                break
            else:
                raise errors.syntax()
        self._check(adding)

    def _threshold(self, args: Args, word: bytes) -> None:
        if self.trims:
            raise ReplyError("ERR syntax error, MAXLEN and MINID options at the same time are not compatible")
        at = self.at + 1
        self.approximate = False
        if at + 1 < len(args) and args[at] in (b"~", b"="):
            self.approximate = args[at] == b"~"
            at += 1
        if word == b"MAXLEN":
            self.maxlen = integer(args[at])
            if self.maxlen < 0:
                raise ReplyError("ERR The MAXLEN argument must be >= 0.")
        else:
            self.minid = parse_id(args[at])
        self.at = at + 1

    def read_id(self, raw: bytes) -> None:
        """Not `*`."""
        if raw.endswith(b"-*"):
            self.id, self.seq = parse_id(raw[:-2]) if b"-" not in raw[:-2] else parse_id(raw), None
        else:
            self.id = parse_id(raw)

    @property
    def trims(self) -> bool:
        return self.maxlen is not None or self.minid is not None

    def _check(self, adding: bool) -> None:
        if self.limit and not self.trims:
            raise ReplyError("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")
        if not adding and not self.trims:
            raise ReplyError("ERR syntax error, XTRIM must be called with a trimming strategy")
        if self.limit is not None and not self.approximate:
            raise ReplyError("ERR syntax error, LIMIT cannot be used without the special ~ option")

    def trim(self, stream: Stream) -> int:
        """How many entries went."""
        if self.approximate:
            limit = self.limit
            if limit is None:
                limit = min(100 * stream.db.ds.limits.stream_node_max_entries, 1_000_000) or 10_000
            count = stream.whole_nodes(keep=self.maxlen or 0, minid=self.minid, limit=limit)
        elif self.minid is not None:
            count = stream.older_than(self.minid)
        else:
            count = max(0, stream.size - (self.maxlen or 0))
        return stream.drop_first(count)


@COMMANDS.command(
    "XADD key [NOMKSTREAM] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> field value [field value ...]",
    WRITE | DENYOOM | FAST,
    since="5.0.0",
    complexity="O(1), and O(N) for N entries trimmed",
    key_flags=("RW update",),
    tips="nondeterministic_output",
    history=(
        ("6.2.0", "Added the `NOMKSTREAM` option, `MINID` trimming strategy and the `LIMIT` option."),
        ("7.0.0", "Added support for the `<ms>-*` explicit ID form."),
    ),
)
def xadd(db: Keyspace, args: Args) -> Reply:
    """Put an entry behind the last one of a stream and return its id. Trims in passing."""
    options: _Options | None = None
    at = 1
    given: int | None = None
    seq: int | None = 0
    if args[1] != b"*":
        options = _Options()
        options.read(args, adding=True)
        at, given, seq = options.at, options.id, options.seq
    fields = tuple(args[at + 1 :])
    if not fields or len(fields) & 1:
        raise errors.wrong_arity(b"xadd")
    if given == 0 and seq is not None:
        raise ReplyError("ERR The ID specified in XADD must be greater than 0-0")
    stream = db.find_collection(args[0], Stream)
    if stream is None and options is not None and not options.make:
        return None
    ident = _next_id(stream.last if stream is not None else 0, given, seq, db.ds.now)
    if stream is None:
        stream = db.create(Stream, args[0])
    stream.append(ident, fields)
    if db.wants:
        db.notify(STREAM, b"xadd", args[0])
    if options is not None and options.trims and options.trim(stream):
        db.notify(STREAM, b"xtrim", args[0])
    return id_text(ident)


def _next_id(last: int, given: int | None, seq: int | None, now: int) -> int:
    """The new entry's id, greater than `last` even when the clock was set back."""
    if last == MAX_ID:
        raise ReplyError("ERR The stream has exhausted the last possible ID, unable to add more items")
    if given is None:
        return max(now << 64, last + 1)
    if seq is None and given >> 64 == last >> 64 and last & MASK < MASK:
        return last + 1
    if given <= last:
        raise ReplyError("ERR The ID specified in XADD is equal or smaller than the target stream top item")
    return given


@COMMANDS.command(
    "XTRIM key <MAXLEN | MINID> [= | ~] threshold [LIMIT count]",
    WRITE,
    since="5.0.0",
    complexity="O(N), N being the entries that go",
    key_flags=("RW delete",),
    tips="nondeterministic_output",
    history=(("6.2.0", "Added the `MINID` trimming strategy and the `LIMIT` option."),),
)
def xtrim(db: Keyspace, args: Args) -> Reply:
    """Take the first entries away, down to a length or up to an id; returns how many went."""
    options = _Options()
    options.read(args, adding=False)
    stream = db.find_collection(args[0], Stream)
    gone = 0 if stream is None else options.trim(stream)
    if gone:
        db.notify(STREAM, b"xtrim", args[0])
    return gone


@COMMANDS.command(
    "XDEL key id [id ...]",
    WRITE | FAST,
    since="5.0.0",
    complexity="O(log N) for each entry, and O(M) to close up, M being the entries on the shorter side",
    key_flags=("RW delete",),
)
def xdel(db: Keyspace, args: Args) -> Reply:
    """Take entries out; returns how many there were."""
    stream = db.find_collection(args[0], Stream)
    if stream is None:
        return 0
    gone = stream.delete(parse_ids(args[1:]))
    if gone:
        db.notify(STREAM, b"xdel", args[0])
    return gone


@COMMANDS.command(
    "XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
    WRITE | DENYOOM | FAST,
    since="5.0.0",
    complexity="O(1)",
    key_flags=("RW update",),
    history=(("7.0.0", "Added the `entries_added` and `max_deleted_entry_id` arguments."),),
)
def xsetid(db: Keyspace, args: Args) -> Reply:
    """Say what the last id of a stream was."""
    last = parse_id(args[1])
    added, deleted = UNKNOWN, 0
    for word in (words := Words(args, 2)):
        if word == b"ENTRIESADDED" and words.at < len(args):
            added = integer(words.take())
            if added < 0:
                raise ReplyError("ERR entries_added must be positive")
        elif word == b"MAXDELETEDID" and words.at < len(args):
            deleted = parse_id(words.take())
            if last < deleted:
                raise ReplyError("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id")
        else:
            raise errors.syntax()
    stream = db.find_collection(args[0], Stream)
    if stream is None:
        raise errors.no_such_key()
    if last < stream.deleted:
        raise ReplyError("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id")
    if stream.size and last < stream.newest:
        raise ReplyError("ERR The ID specified in XSETID is smaller than the target stream top item")
    if stream.size and added != UNKNOWN and stream.size > added:
        raise ReplyError("ERR The entries_added specified in XSETID is smaller than the target stream length")
    stream.set_state(last, deleted or stream.deleted, stream.added if added == UNKNOWN else added)
    db.notify(STREAM, b"xsetid", args[0])
    return "OK"


# -- reading -------------------------------------------------------------------------------------------------------


@COMMANDS.command("XLEN key", READ | FAST | RECORD_ONLY, since="5.0.0", complexity="O(1)", key_flags=("RO",))
def xlen(db: Keyspace, args: Args) -> Reply:
    """Return the number of entries of a stream."""
    return db.size_of(args[0], Stream)


@COMMANDS.command(
    "XRANGE key start end [COUNT count]",
    READ,
    since="5.0.0",
    complexity="O(log N + M), M being the entries returned",
    history=(("6.2.0", "Added exclusive ranges."),),
)
def xrange_(db: Keyspace, args: Args) -> Reply:
    """Return the entries between two ids."""
    return _range(db, args, args[1], args[2], back=False)


@COMMANDS.command(
    "XREVRANGE key end start [COUNT count]",
    READ,
    since="5.0.0",
    complexity="O(log N + M), M being the entries returned",
    history=(("6.2.0", "Added exclusive ranges."),),
)
def xrevrange(db: Keyspace, args: Args) -> Reply:
    """Return the entries between two ids, the last one first."""
    return _range(db, args, args[2], args[1], back=True)


def _range(db: Keyspace, args: Args, start: bytes, end: bytes, *, back: bool) -> Reply:
    low, high = parse_interval(start, end)
    count = MAX_ID
    for word in (words := Words(args, 3)):
        if word != b"COUNT":
            raise errors.syntax()
        count = max(0, integer(words.take()))
    stream = db.collection(args[0], Stream)
    if stream is None:
        return []
    return _rows(stream.between(low, high, count, back=back)) if count else NULL_ARRAY


class _Reading:
    """One XREAD or XREADGROUP: what it wants, and how it gets it, at once or after a wait.

    after: for each key the id behind which to read; None for what no consumer of the group has been given. claim_ms: what
    has been pending for so long is wanted as well (-1: no); due: when the next of that will be.
    """

    __slots__ = ("after", "claim_ms", "consumer", "count", "deadline", "due", "group", "keys", "noack", "waiting")

    def __init__(self) -> None:
        self.keys: Args = []
        self.after: list[int | None] = []
        self.group: bytes | None = None
        self.consumer = b""
        self.count = 0
        self.claim_ms = -1
        self.due = 0
        self.noack = False
        self.deadline: int | None = None
        self.waiting = False

    def __call__(self, db: Keyspace) -> Reply | Park:
        """The entries, or a wait for some."""
        if self.waiting and self.group is not None:
            self._check_groups(db)
        found: list[Reply] = []
        self.due = 0
        for key, after in zip(self.keys, self.after, strict=True):
            stream = db.find(key)
            if type(stream) is not Stream:
                continue  # while one waits a key may come to be anything
            if not stream.loaded:
                stream.load(db.ds.snapshot)
            rows = self._entries(stream, after) if self.group is None else self._delivered(stream, after)
            if rows is not None:
                found += (key, rows)
        if found:
            return Rows(found)
        if self.deadline is None:
            return NULL_ARRAY
        if not self.waiting:
            self.waiting = True
            self.count = self.count or BLOCKED_COUNT
        kind = Kind.STREAM.value if self.group is None else 0
        keys = tuple(self.keys)
        park = Park("stream", keys=keys, kind=kind, deadline_ms=self.deadline, on_timeout=NULL_ARRAY, again=self)
        if self.due:
            park.ready = partial(_has_come, db, self.due)
        return park

    def _check_groups(self, db: Keyspace) -> None:
        for key in self.keys:
            stream = db.find_collection(key, Stream) if db.peek(key)[0] == Kind.STREAM else None
            if stream is None:
                raise ReplyError("UNBLOCKED the stream key no longer exists")
            if self.group not in stream.groups:
                raise ReplyError("NOGROUP the consumer group this client was blocked on no longer exists")

    def _entries(self, stream: Stream, after: int | None) -> list[Reply] | None:
        assert after is not None
        if stream.newest <= after:
            return None
        return _rows(stream.between(after + 1, MAX_ID, self.count or MAX_ID))

    def _delivered(self, stream: Stream, after: int | None) -> list[Reply] | None:
        assert self.group is not None
        group, now = stream.groups[self.group], stream.db.ds.now
        consumer = stream.consumer_for(group, self.consumer, now)
        if after is not None:
            return self._history(stream, group, consumer, after)
        claimed = self._claimed(stream, group, consumer) if self.claim_ms >= 0 else []
        room = (self.count or MAX_ID) - len(claimed)
        entries = stream.between(group.last + 1, MAX_ID, room) if room and stream.newest > group.last else []
        if not entries and not claimed:
            return None
        stream.pass_over(group, [ident for ident, _ in entries])
        if not self.noack:
            stream.put_pending(group, consumer, [(ident, now, 1) for ident, _ in entries])
        stream.set_consumer(group, consumer, now, consumer.active if self.noack and not claimed else now)
        if self.claim_ms < 0:
            return _rows(entries)
        return [*claimed, *((id_text(ident), fields, 0, 0) for ident, fields in entries)]

    def _claimed(self, stream: Stream, group: Group, consumer: Consumer) -> list[Reply]:
        """What has been pending for long, the longest first, and is the consumer's from now on: entries with how long, and
        how often they were delivered before. Those that are no more stay pending."""
        now = stream.db.ds.now
        rows: list[Reply] = []
        items: list[tuple[int, int, int]] = []
        for delivered, ident in sorted((item.delivered, ident) for ident, item in group.pending.items()):
            fields = stream.get(ident)
            if fields is None:
                continue
            if now - delivered < self.claim_ms:
                due = delivered + self.claim_ms
                self.due = min(self.due or due, due)
                break
            count = group.pending[ident].count
            rows.append((id_text(ident), fields, max(0, now - delivered), count))
            items.append((ident, now, min(count + 1, INT_MAX)))
            if len(rows) == self.count:
                break
        stream.put_pending(group, consumer, items)
        return rows

    def _history(self, stream: Stream, group: Group, consumer: Consumer, after: int) -> list[Reply]:
        """What is pending for the consumer, and counts as delivered once more."""
        rows: list[Reply] = []
        again: list[tuple[int, int, int]] = []
        now = stream.db.ds.now
        for ident, item in group.between(after + 1, MAX_ID, consumer):
            fields = stream.get(ident)
            if fields is None:
                rows.append((id_text(ident), NULL_ARRAY))
            else:
                rows.append((id_text(ident), fields))
                again.append((ident, now, min(item.count + 1, INT_MAX)))
            if len(rows) == self.count:
                break
        if again:
            stream.put_pending(group, consumer, again)
            stream.set_consumer(group, consumer, now, consumer.active)
        return rows


def _has_come(db: Keyspace, due: int) -> bool:
    return db.ds.now >= due


def _reading(db: Keyspace, args: Args, *, grouped: bool) -> _Reading:
    """The options, and where to begin. Everything is checked then."""
    asked = _Reading()
    streams: Args = []
    for word in (words := Words(args)):
        more = len(args) - words.at
        if word == b"BLOCK" and more:
            asked.deadline = _deadline(db, words.take())
        elif word == b"COUNT" and more:
            asked.count = max(0, integer(words.take()))
        elif word == b"STREAMS" and more:
            streams = words.take_many(more)
        elif word == b"GROUP" and more >= 2:
            if not grouped:
                raise ReplyError("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.")
            asked.group, asked.consumer = words.take_many(2)
        elif word == b"CLAIM" and more:
            if not grouped:
                raise ReplyError("ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead.")
            idle = to_integer(words.take())
            if idle is None:
                raise ReplyError("ERR min-idle-time is not an integer")
            if idle < 0:
                raise ReplyError("ERR min-idle-time must be a positive integer")
            asked.claim_ms = idle
        elif word == b"NOACK":
            if not grouped:
                raise ReplyError("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.")
            asked.noack = True
        else:
            raise errors.syntax()
    if len(streams) & 1:
        raise ReplyError("ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.")
    if not streams:
        raise errors.syntax()
    if grouped and asked.group is None:
        raise ReplyError("ERR Missing GROUP option for XREADGROUP")
    half = len(streams) // 2
    asked.keys = streams[:half]
    for key, raw in zip(asked.keys, streams[half:], strict=True):
        stream = db.collection(key, Stream)
        asked.after.append(_after(stream, raw) if asked.group is None else _after_of_group(stream, raw, key, asked))
    return asked


def _deadline(db: Keyspace, raw: bytes) -> int:
    """BLOCK's milliseconds as a time; 0 is never."""
    wait = to_integer(raw)
    if wait is None:
        raise ReplyError("ERR timeout is not an integer or out of range")
    if wait < 0:
        raise errors.negative_timeout()
    return db.ds.now + wait if 0 < wait < FOREVER_MS else 0


def _after(stream: Stream | None, raw: bytes) -> int:
    if raw == b"$":
        return stream.last if stream is not None else 0
    if raw == b"+":
        return stream.newest - 1 if stream is not None and stream.size else stream.last if stream is not None else 0
    if raw == b">":
        raise ReplyError(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
        )
    return parse_id(raw)


def _after_of_group(stream: Stream | None, raw: bytes, key: bytes, asked: _Reading) -> int | None:
    group = asked.group
    assert group is not None
    if stream is None or group not in stream.groups:
        raise ReplyError(
            f"NOGROUP No such key '{whole(key)}' or consumer group '{whole(group)}' in XREADGROUP with GROUP option"
        )
    if raw == b"$":
        raise ReplyError(
            "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer "
            "by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty "
            "result set."
        )
    if raw == b">":
        return None
    ident = parse_id(raw)
    return ident if ident < MAX_ID else None


@COMMANDS.command(
    "XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
    READ | BLOCKING,
    since="5.0.0",
    complexity="O(log N + M) for each stream, M being the entries returned",
)
def xread(db: Keyspace, args: Args) -> Reply | Park:
    """Return the entries of streams behind given ids, waiting for some if asked to."""
    return _reading(db, args, grouped=False)(db)


@COMMANDS.command(
    "XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [CLAIM min-idle-time] [NOACK]"
    " STREAMS key [key ...] id [id ...]",
    WRITE | BLOCKING,
    since="5.0.0",
    name="XREADGROUP",
    complexity="O(log N + M) for each stream, M being the entries returned; with CLAIM O(P log P), P being what is pending",
    key_flags=("RO access",),
    history=(("8.4.0", "Added the `CLAIM` option."),),
)
def xreadgroup(db: Keyspace, args: Args) -> Reply | Park:
    """Return entries that no consumer of the group was given yet, or those that are pending for this one.

    With CLAIM first those that have been pending for `min-idle-time` ms for whomsoever, each with that time and the number
    of its deliveries (new ones: 0, 0).
    """
    return _reading(db, args, grouped=True)(db)


# -- removing with regard to groups --------------------------------------------------------------------------------

REFERENCES: Final = (b"KEEPREF", b"DELREF", b"ACKED")


def _reference_options(args: Args, at: int) -> tuple[bytes, list[int]]:
    """(one of REFERENCES, ids) from args[at] on."""
    policy, idents = b"KEEPREF", list[int]()
    for word in (words := Words(args, at)):
        if word in REFERENCES:
            policy = word
        elif word == b"IDS":
            count = integer(words.take())
            if count < 1:
                raise ReplyError("ERR Number of IDs must be a positive integer")
            if count > len(args) - words.at:
                raise ReplyError("ERR The `numids` parameter must match the number of arguments")
            idents = parse_ids(words.take_many(count))
        else:
            raise errors.syntax()
    if not idents:
        raise errors.syntax()
    return policy, idents


def _remove(stream: Stream, policy: bytes, idents: list[int]) -> list[int]:
    """Take entries out; for each -1 (it was not there), 1 (it went), or 2 (a group still needs it, ACKED only)."""
    told: list[int] = []
    going: list[int] = []
    gone: set[int] = set()
    for ident in idents:
        if ident in gone or stream.place(ident) < 0:
            told.append(-1)
        elif policy == b"ACKED" and _is_needed(stream, ident):
            told.append(2)
        else:
            told.append(1)
            gone.add(ident)
            going.append(ident)
    if policy == b"DELREF":  # also where the entry itself is gone already
        for group in stream.groups.values():
            stream.settle_pending(group, idents)
    if stream.delete(going):
        stream.db.notify(STREAM, b"xdel", stream.key)
    return told


def _is_needed(stream: Stream, ident: int) -> bool:
    return any(group.last < ident or ident in group.pending for group in stream.groups.values())


@COMMANDS.command(
    "XDELEX key [KEEPREF | DELREF | ACKED] IDS numids id [id ...]",
    WRITE | FAST,
    since="8.2.0",
    complexity="O(log N) for each entry, times the groups unless KEEPREF",
    key_flags=("RW delete",),
)
def xdelex(db: Keyspace, args: Args) -> Reply:
    """Take entries out, from the groups' pending entries too, or only where no group needs them."""
    policy, idents = _reference_options(args, 1)
    stream = db.find_collection(args[0], Stream)
    return [-1] * len(idents) if stream is None else list[Reply](_remove(stream, policy, idents))


@COMMANDS.command(
    "XACKDEL key group [KEEPREF | DELREF | ACKED] IDS numids id [id ...]",
    WRITE | FAST,
    since="8.2.0",
    complexity="O(log N) for each entry, times the groups unless KEEPREF",
    key_flags=("RW delete",),
)
def xackdel(db: Keyspace, args: Args) -> Reply:
    """Acknowledge entries and take them out, as XDELEX does; -1 for one that was not pending."""
    policy, idents = _reference_options(args, 2)
    stream = db.find_collection(args[0], Stream)
    group = stream.groups.get(args[1]) if stream is not None else None
    if stream is None or group is None:
        return [-1] * len(idents)
    told: list[Reply] = []
    for ident in idents:
        if stream.settle_pending(group, (ident,)):
            told.append(2 if _remove(stream, policy, [ident]) == [2] else 1)
        else:
            told.append(-1)
    return told


# -- telling -------------------------------------------------------------------------------------------------------


@COMMANDS.command(
    "XINFO STREAM key [FULL [COUNT count]]",
    READ,
    since="5.0.0",
    complexity="O(1)",
    history=(
        ("6.0.0", "Added the `FULL` modifier."),
        ("7.0.0", "Added the `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, `entries-read` and"
                  " `lag` fields"),
        ("7.2.0", "Added the `active-time` field, and changed the meaning of `seen-time`."),
    ),
)  # fmt: skip
def xinfo_stream(db: Keyspace, args: Args) -> Reply:
    """Return what there is to say about a stream."""
    stream = db.collection(args[0], Stream)
    if stream is None:
        raise errors.no_such_key()
    full = len(args) > 1
    count = 10
    if full:
        if len(args) not in (2, 4) or args[1].upper() != b"FULL" or (len(args) == 4 and args[2].upper() != b"COUNT"):
            raise errors.misused("XINFO", "STREAM")
        if len(args) == 4:
            count = integer(args[3])
            count = 10 if count < 0 else count or MAX_ID
    told: dict[bytes, Reply] = {
        b"length": stream.size,
        b"radix-tree-keys": len(stream.nodes),
        b"radix-tree-nodes": len(stream.nodes) + 1,
        b"last-generated-id": id_text(stream.last),
        b"max-deleted-entry-id": id_text(stream.deleted),
        b"entries-added": stream.added,
        b"recorded-first-entry-id": id_text(stream.first),
    }
    if full:
        told[b"entries"] = _rows(stream.between(0, MAX_ID, count))
        told[b"groups"] = [_whole_group(stream, stream.groups[name], count) for name in sorted(stream.groups)]
    else:
        told[b"groups"] = len(stream.groups)
        told[b"first-entry"] = next(iter(_rows(stream.between(0, MAX_ID, 1))), None)
        told[b"last-entry"] = next(iter(_rows(stream.between(0, MAX_ID, 1, back=True))), None)
    return told


NEVER: Final = -1
"""What XINFO says of a consumer that has got nothing yet."""


def _first(group: Group, consumer: Consumer | None, count: int) -> Iterator[tuple[int, Pending]]:
    return islice(group.between(0, MAX_ID, consumer), min(count, INT_MAX))


def _read(group: Group) -> int | None:
    return None if group.read == UNKNOWN else group.read


def _whole_group(stream: Stream, group: Group, count: int) -> dict[bytes, Reply]:
    """A group in XINFO STREAM FULL."""
    return {
        b"name": group.name,
        b"last-delivered-id": id_text(group.last),
        b"entries-read": _read(group),
        b"lag": stream.lag(group),
        b"pel-count": len(group.pending),
        b"pending": [
            (id_text(ident), item.consumer.name, item.delivered, item.count)
            for ident, item in _first(group, None, count)
        ],
        b"consumers": [
            {
                b"name": consumer.name,
                b"seen-time": consumer.last_seen,
                b"active-time": consumer.active or NEVER,
                b"pel-count": len(consumer.order),
                b"pending": [
                    (id_text(ident), item.delivered, item.count) for ident, item in _first(group, consumer, count)
                ],
            }
            for consumer in group.sorted_consumers()
        ],
    }  # fmt: skip


@COMMANDS.command(
    "XINFO GROUPS key",
    READ,
    since="5.0.0",
    complexity="O(N), N being the groups",
    history=(("7.0.0", "Added the `entries-read` and `lag` fields"),),
)
def xinfo_groups(db: Keyspace, args: Args) -> Reply:
    """Return what there is to say about the groups of a stream."""
    stream = db.collection(args[0], Stream)
    if stream is None:
        raise errors.no_such_key()
    return [
        {
            b"name": name,
            b"consumers": len(group.consumers),
            b"pending": len(group.pending),
            b"last-delivered-id": id_text(group.last),
            b"entries-read": _read(group),
            b"lag": stream.lag(group),
        }
        for name, group in sorted(stream.groups.items())
    ]


@COMMANDS.command(
    "XINFO CONSUMERS key group",
    READ,
    since="5.0.0",
    complexity="O(N), N being the consumers",
    tips="nondeterministic_output",
    history=(("7.2.0", "Added the `inactive` field, and changed the meaning of `idle`."),),
)
def xinfo_consumers(db: Keyspace, args: Args) -> Reply:
    """Return what there is to say about the consumers of a group."""
    stream = db.collection(args[0], Stream)
    if stream is None:
        raise errors.no_such_key()
    group = stream.groups.get(args[1])
    if group is None:
        raise errors.no_group(args[1], args[0])
    now = db.ds.now
    return [
        {
            b"name": each.name,
            b"pending": len(each.order),
            b"idle": max(0, now - each.last_seen),
            b"inactive": max(0, now - each.active) if each.active else NEVER,
        }
        for each in group.sorted_consumers()
    ]


@COMMANDS.command("XINFO HELP", LOADING | STALE, since="5.0.0", complexity="O(1)")
def xinfo_help(db: Keyspace, args: Args) -> Reply:
    """Return what XINFO can do."""
    return [
        "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CONSUMERS <key> <group>",
        "    Tell about the consumers of a group.",
        "GROUPS <key>",
        "    Tell about the groups of a stream.",
        "STREAM <key> [FULL [COUNT <count>]]",
        "    Tell about a stream; with FULL also of entries, groups, consumers, and what is pending.",
        "HELP",
        "    Return this text.",
    ]
