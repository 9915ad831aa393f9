"""Streams: entries in the order of their ids, and the consumer groups that read them.

An id is a time in ms and a sequence number, each a u64: in memory the integer `ms << 64 | seq`, in rows and effects
two numbers. A stream also stays when its last entry goes: `last` is why ids never go back, whatever the clock does.

Rows, all under the id of the key (u64), big-endian in row keys and little-endian in contents:

    STREAMS  (id)                                 last (ms, seq), deleted (ms, seq), added u64
             (id, ms, seq)                        msgpack array: field, value, field, value, ...
    GROUPS   (id, group u32)                      last (ms, seq), read i64, then the name
             (id, group u32, 1 u8, consumer u32)  seen u64, active u64, then the name
             (id, group u32, 2 u8, ms, seq)       consumer u32, delivered u64, count u64: pending

Every change is O(1) in rows and log, but for what removes many things at once: each of them is named.

In memory two lists side by side, ids and fields, with room in front (`head`): both ends are O(1), amortized, and any
id is found by bisection; taking one from the middle moves the shorter side. `nodes` are runs of entries as Redis
would keep them in one piece of memory: `~` trims whole ones. They are made anew when a stream comes into memory.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from perdure_storage.codec import pack, unpack
from perdure_storage.effects import (
    CONSUMER_DEL,
    CONSUMER_SET,
    FREE,
    GROUP_DEL,
    GROUP_SET,
    PENDING_DEL,
    PENDING_PUT,
    STREAM_ADD,
    STREAM_DEL,
    STREAM_SET,
)
from perdure_storage.errors import Corruption
from perdure_storage.events import STREAM
from perdure_storage.tables import GROUPS, STREAMS, Rows, Snapshot, Table
from perdure_storage.types.entry import Collection, Element, Kind, LoadSteps
from perdure_storage.types.group import CONSUMER_COST, GROUP_COST, PENDING_COST, UNKNOWN, Consumer, Group, Pending

if TYPE_CHECKING:
    from perdure_storage.keyspace import Keyspace

MASK: Final = (1 << 64) - 1
MAX_ID: Final = (1 << 128) - 1
MAX_READ: Final = (1 << 63) - 1

HEAD_KEY: Final = Struct(">Q")
ENTRY_KEY: Final = Struct(">QQQ")
HEAD: Final = Struct("<QQQQQ")
GROUP_KEY: Final = Struct(">QI")
GROUP: Final = Struct("<QQq")
CONSUMER_KEY: Final = Struct(">QIBI")
CONSUMER: Final = Struct("<QQ")
PENDING_KEY: Final = Struct(">QIBQQ")
PENDING: Final = Struct("<IQQ")
CONSUMER_TAG: Final = 1
PENDING_TAG: Final = 2

ENTRY_COST: Final = 115
VALUE_COST: Final = 48
"""Bytes of memory of an entry, and of each of its fields and values, beside the bytes themselves. Measured."""
NODE_MAX_BYTES: Final = 1 << 30
MANY: Final = 1000
"""When more entries go than twice what stays, and more than so many: that moves to a new id, the rest is garbage."""

Fields = tuple[bytes, ...]
"""field, value, field, value, ..."""
_end: Final = attrgetter("end")


def split(ident: int) -> tuple[int, int]:
    """(ms, seq) of an id."""
    return ident >> 64, ident & MASK


def flat(idents: Iterable[int]) -> list[int]:
    """ms, seq, ms, seq, ..."""
    found: list[int] = []
    for ident in idents:
        found += (ident >> 64, ident & MASK)
    return found


def joined(numbers: Iterable[int]) -> Iterator[int]:
    """The inverse of `flat`."""
    each = iter(numbers)
    return (ms << 64 | seq for ms, seq in zip(each, each, strict=True))


class Node:
    """A run of entries: ids up to `end`, `live` of them still there of `total`, and about so many `bytes`."""

    __slots__ = ("bytes", "end", "live", "total")

    def __init__(self) -> None:
        self.end = self.live = self.total = self.bytes = 0


class Stream(Collection):
    """`ids` is None until loaded. REQUIRES for all but the record: `loaded`.

    `ids[head:]` and `fields[head:]` are the entries. last: the greatest id there ever was; deleted: the greatest one
    taken out by name (0: none); added: how many entries there ever were.
    """

    __slots__ = ("added", "deleted", "fields", "groups", "head", "ids", "last", "nodes")
    kind = Kind.STREAM.value
    type_name = "stream"
    may_be_empty = True

    ids: list[int] | None

    def __init__(self, db: Keyspace, key: bytes, lsn: int, expire: int, ident: int, *, new: bool = True) -> None:
        super().__init__(db, key, lsn, expire, ident, new=new)
        self.ids = [] if new else None
        self.fields: list[Any] = []
        self.head = 0
        self.last = self.deleted = self.added = 0
        self.nodes: list[Node] = []
        self.groups: dict[bytes, Group] = {}

    @property
    def loaded(self) -> bool:
        return self.ids is not None

    def contents(self) -> list[Any]:
        return [self.ids or [], self.fields, *(each for group in self.groups.values() for each in group.contents())]

    def encoding(self) -> str:
        return "stream"

    # -- reading -------------------------------------------------------------------------------------------------

    @property
    def first(self) -> int:
        """The id of the first entry (0: there is none)."""
        assert self.ids is not None
        return self.ids[self.head] if self.size else 0

    @property
    def newest(self) -> int:
        """The id of the last entry that is there (0: there is none)."""
        assert self.ids is not None
        return self.ids[-1] if self.size else 0

    def place(self, ident: int) -> int:
        """Where the entry is in `ids` and `fields`; -1 when it is not there."""
        ids = self.ids
        assert ids is not None
        at = bisect_left(ids, ident, self.head)
        return at if at < len(ids) and ids[at] == ident else -1

    def get(self, ident: int) -> Fields | None:
        """The fields of an entry, None when it is not there."""
        at = self.place(ident)
        if at < 0:
            return None
        fields: Fields = self.fields[at]
        return fields

    def between(self, low: int, high: int, limit: int = MAX_ID, *, back: bool = False) -> list[tuple[int, Fields]]:
        """Up to `limit` entries with low <= id <= high, the first ones, or going `back` from the last one."""
        ids = self.ids
        assert ids is not None
        start = bisect_left(ids, low, self.head)
        stop = bisect_right(ids, high, start)
        if back:
            start = max(start, stop - limit)
            found = list(zip(ids[start:stop], self.fields[start:stop], strict=True))
            found.reverse()
            return found
        stop = min(stop, start + limit)
        return list(zip(ids[start:stop], self.fields[start:stop], strict=True))

    def gap_from(self, ident: int) -> bool:
        """Has an entry that is not older than `ident` been taken out by name, so that counting on is not possible?

        When all that is left is younger than that one, Redis counts on all the same, and so do we.
        """
        deleted = self.deleted
        return bool(self.size) and deleted > 0 and ident <= deleted and self.first <= deleted

    def entries_up_to(self, ident: int) -> int:
        """How many entries there ever were up to `ident`, without counting; UNKNOWN when that cannot be told."""
        if not self.added:
            return 0
        if ident == self.last or (not self.size and ident < self.last):
            return self.added
        if ident > self.last:
            return UNKNOWN
        first = self.first
        if not self.deleted or self.deleted < first:
            if ident < first:
                return self.added - self.size
            if ident == first:
                return self.added - self.size + 1
        return UNKNOWN

    def lag(self, group: Group) -> int | None:
        """How many entries the group has still before it; None when that cannot be told."""
        if not self.added:
            return 0
        read = group.read
        if read == UNKNOWN or self.gap_from(group.last):
            read = self.entries_up_to(group.last)
        return None if read == UNKNOWN else self.added - read

    # -- entries -------------------------------------------------------------------------------------------------

    def append(self, ident: int, fields: Fields) -> None:
        """Put an entry behind the last one. REQUIRES: ident > last."""
        self._place(ident, fields)
        self.last = ident
        self.added += 1
        deleted = self.deleted
        self.touch().effects.append(
            (
                STREAM_ADD, self.id, ident >> 64, ident & MASK, deleted >> 64, deleted & MASK, self.added, *fields,
            )
        )  # fmt: skip

    def _place(self, ident: int, fields: Fields) -> None:
        ids = self.ids
        assert ids is not None
        ids.append(ident)
        self.fields.append(fields)
        self.size += 1
        size = sum(map(len, fields))
        self.grow(ENTRY_COST + VALUE_COST * len(fields) + size)
        self._note(ident, size)

    def _note(self, ident: int, size: int) -> None:
        """An entry of so many bytes came last: into the last node, or into a new one."""
        nodes, limits = self.nodes, self.db.ds.limits
        node = nodes[-1] if nodes else None
        most = limits.stream_node_max_entries
        if (
            node is None
            or (most and node.total >= most)
            or node.bytes + size >= (limits.stream_node_max_bytes or NODE_MAX_BYTES)
        ):
            node = Node()
            nodes.append(node)
        node.end = ident
        node.live += 1
        node.total += 1
        node.bytes += size

    def delete(self, idents: Iterable[int]) -> int:
        """Take entries out by name; returns how many there were. What is pending of them stays so."""
        gone = [ident for ident in idents if self._displace(ident)]
        if gone:
            self.deleted = max(self.deleted, max(gone))
            self.touch().effects.append((STREAM_DEL, self.id, *flat(gone)))
            self._log_state()
        return len(gone)

    def _displace(self, ident: int) -> bool:
        """Take an entry from memory, moving the shorter side."""
        ids, fields = self.ids, self.fields
        assert ids is not None
        at = self.place(ident)
        if at < 0:
            return False
        self._forget(fields[at])
        head = self.head
        if at - head < len(ids) - at:
            ids[head + 1 : at + 1] = ids[head:at]
            fields[head + 1 : at + 1] = fields[head:at]
            fields[head] = None
            self.head = head + 1
            self._close_up()
        else:
            del ids[at], fields[at]
        self.size -= 1
        place = bisect_left(self.nodes, ident, key=_end)
        node = self.nodes[place]
        node.live -= 1
        if not node.live:
            del self.nodes[place]
        return True

    def _forget(self, fields: Fields) -> None:
        self.grow(-ENTRY_COST - VALUE_COST * len(fields) - sum(map(len, fields)))

    def _close_up(self) -> None:
        """Give back the room in front when it is more than half."""
        head, ids = self.head, self.ids
        assert ids is not None
        if head > 64 and head * 2 > len(ids):
            del ids[:head], self.fields[:head]
            self.head = 0

    def drop_first(self, count: int) -> int:
        """Trim: take the first `count` entries away; returns `count`. REQUIRES: 0 <= count <= size."""
        if not count:
            return 0
        ids, fields, nodes, head = self.ids, self.fields, self.nodes, self.head
        assert ids is not None
        gone = ids[head : head + count]
        for each in fields[head : head + count]:
            self._forget(each)
        fields[head : head + count] = [None] * count
        self.head = head + count
        self.size -= count
        left, whole = count, 0
        while left and nodes[whole].live <= left:
            left -= nodes[whole].live
            whole += 1
        del nodes[:whole]
        if left:
            nodes[0].live -= left
        self._close_up()
        if count > MANY and count > 2 * (self.size + sum(len(group.pending) for group in self.groups.values())):
            self._move_to_new_id()
        else:
            self.touch().effects.append((STREAM_DEL, self.id, *flat(gone)))
        return count

    def older_than(self, ident: int) -> int:
        """How many entries have a smaller id."""
        assert self.ids is not None
        return bisect_left(self.ids, ident, self.head) - self.head

    def whole_nodes(self, *, keep: int = 0, minid: int | None = None, limit: int = 0) -> int:
        """How many entries the first nodes have that can go as a whole: so that `keep` stay, or none with an id from
        `minid` on goes; and not more than `limit` (0: any number)."""
        gone = 0
        for node in self.nodes:
            if limit and gone + node.live > limit:
                break
            if self.size - gone - node.live < keep if minid is None else node.end >= minid:
                break
            gone += node.live
        return gone

    def set_state(self, last: int, deleted: int, added: int) -> None:
        """XSETID, and the beginning of an empty stream."""
        self.last, self.deleted, self.added = last, deleted, added
        self._log_state()

    def _log_state(self) -> None:
        self.touch().effects.append((STREAM_SET, self.id, *split(self.last), *split(self.deleted), self.added))

    # -- groups --------------------------------------------------------------------------------------------------

    def create_group(self, name: bytes, last: int, read: int, number: int = 0) -> Group:
        """REQUIRES: there is none of this name."""
        number = number or max((group.number for group in self.groups.values()), default=0) + 1
        group = self.groups[name] = Group(name, number, last, read)
        self.grow(GROUP_COST + len(name))
        self.set_group(group, last, read)
        return group

    def set_group(self, group: Group, last: int, read: int) -> None:
        """Another position."""
        group.last, group.read = last, read
        self.touch().effects.append((GROUP_SET, self.id, group.number, group.name, *split(last), read))

    def destroy_group(self, group: Group) -> None:
        """With its consumers and all that is pending: each is named in the log."""
        for consumer in list(group.consumers.values()):
            self.delete_consumer(group, consumer)
        del self.groups[group.name]
        self.grow(-GROUP_COST - len(group.name))
        self.touch().effects.append((GROUP_DEL, self.id, group.number))

    def consumer_for(self, group: Group, name: bytes, now: int) -> Consumer:
        """The consumer of this name, made if need be, seen now."""
        consumer = group.consumers.get(name)
        if consumer is None:
            self.db.notify(STREAM, b"xgroup-createconsumer", self.key)
            return self.create_consumer(group, name, now)
        consumer.polled = now
        return consumer

    def create_consumer(self, group: Group, name: bytes, seen: int, active: int = 0, number: int = 0) -> Consumer:
        """REQUIRES: there is none of this name."""
        consumer = Consumer(name, number or group.free_number(), seen, active)
        group.join(consumer)
        self.grow(CONSUMER_COST + len(name))
        self.set_consumer(group, consumer, seen, active)
        return consumer

    def set_consumer(self, group: Group, consumer: Consumer, seen: int, active: int) -> None:
        """When it was here, and when it got something."""
        consumer.seen = consumer.polled = seen
        consumer.active = active
        self.touch().effects.append((CONSUMER_SET, self.id, group.number, consumer.number, consumer.name, seen, active))

    def delete_consumer(self, group: Group, consumer: Consumer) -> int:
        """With what is pending for it; returns how much that was."""
        count = self.settle_pending(group, list(consumer.order))
        group.leave(consumer)
        self.grow(-CONSUMER_COST - len(consumer.name))
        self.touch().effects.append((CONSUMER_DEL, self.id, group.number, consumer.number))
        return count

    def put_pending(self, group: Group, consumer: Consumer, items: Sequence[tuple[int, int, int]]) -> None:
        """(id, delivered, count): these are pending for this consumer from now on, whoever had them."""
        if not items:
            return
        self.grow(PENDING_COST * group.put(consumer, items))
        numbers: list[int] = []
        for ident, delivered, count in items:
            numbers += (ident >> 64, ident & MASK, delivered, count)
        self.touch().effects.append((PENDING_PUT, self.id, group.number, consumer.number, *numbers))

    def settle_pending(self, group: Group, idents: Iterable[int]) -> int:
        """These are pending no more; returns how many were."""
        gone = [ident for ident in idents if group.take(ident)]
        if gone:
            self.touch().effects.append((PENDING_DEL, self.id, group.number, *flat(gone)))
            self.grow(-PENDING_COST * len(gone))
        return len(gone)

    def pass_over(self, group: Group, idents: Iterable[int]) -> None:
        """The group has been given these entries: its position moves on, and what it has read is counted on where
        that is possible."""
        last, read = group.last, group.read
        for ident in idents:
            if ident <= last:
                continue
            last = ident
            if read != UNKNOWN and not self.gap_from(ident):
                read = min(read + 1, MAX_READ)
            elif self.added:
                read = self.entries_up_to(ident)
        if last != group.last:
            self.set_group(group, last, read)

    # -- as effects ----------------------------------------------------------------------------------------------

    def told(self) -> Iterator[tuple[Any, ...]]:
        """Effects, without the id, that make this stream out of nothing."""
        assert self.ids is not None
        deleted = split(self.deleted)
        before = self.added - self.size
        for number, at in enumerate(range(self.head, len(self.ids)), 1):
            yield STREAM_ADD, *split(self.ids[at]), *deleted, max(0, before + number), *self.fields[at]
        yield STREAM_SET, *split(self.last), *deleted, self.added
        for group in self.groups.values():
            yield GROUP_SET, group.number, group.name, *split(group.last), group.read
            for consumer in group.consumers.values():
                yield CONSUMER_SET, group.number, consumer.number, consumer.name, consumer.seen, consumer.active
                items: list[int] = []
                for ident in consumer.order:
                    pending = group.pending[ident]
                    items += (*split(ident), pending.delivered, pending.count)
                if items:
                    yield PENDING_PUT, group.number, consumer.number, *items

    def _move_to_new_id(self) -> None:
        ds = self.touch()
        ds.effects.append((FREE, self.id, self.kind))
        self.id = ds.new_id()
        ds.effects += [(number, self.id, *rest) for number, *rest in self.told()]

    def copy(self, target: Keyspace, key: bytes) -> None:
        made = target.create(Stream, key)
        made.expire = self.expire
        target.expires += 1 if self.expire else 0
        for number, *rest in self.told():
            Stream.replays[number](made, *rest)

    # -- rows ----------------------------------------------------------------------------------------------------

    def load_steps(self, snapshot: Snapshot, rows_per_step: int) -> LoadSteps:
        return self._load_steps(snapshot, rows_per_step)

    def _load_steps(self, snapshot: Snapshot, rows_per_step: int) -> Iterator[None]:
        made = Stream(self.db, b"", 0, 0, 0)
        waiting: dict[Consumer, list[int]] = {}
        weight = 0
        try:
            for count, (number, *rest) in enumerate(_rows(snapshot, self.id), 1):
                made._take_row(number, rest, waiting)
                if count % rows_per_step == 0:
                    weight += made.forget_weight()
                    yield
        finally:
            weight += made.forget_weight()
        if self.ids is not None:
            return  # it has been loaded meanwhile, and perhaps changed
        for group in made.groups.values():
            group.order.update(group.pending)
        for consumer, idents in waiting.items():
            consumer.order.update(idents)
        self.fields, self.head, self.nodes, self.groups = made.fields, 0, made.nodes, made.groups
        self.last, self.deleted, self.added = made.last, made.deleted, made.added
        self.ids = made.ids
        self.size = made.size
        self.came_in(weight)

    def forget_weight(self) -> int:
        """What has grown here is counted elsewhere, later; returns it."""
        weight, self.weight = self.weight, 0
        self.db.used -= weight
        return weight

    def _take_row(self, number: int, rest: Sequence[Any], waiting: dict[Consumer, list[int]]) -> None:
        """Take in what a row says; what is pending is put in order later."""
        if number == STREAM_ADD:
            self._place(rest[0] << 64 | rest[1], rest[2])
        elif number == PENDING_PUT:
            group = self._group(rest[0])
            consumer = group.by_number[rest[1]]
            ((ident, delivered, count),) = rest[2]
            group.pending[ident] = Pending(consumer, delivered, count)
            waiting.setdefault(consumer, []).append(ident)
            self.grow(PENDING_COST)
        elif number == STREAM_SET:
            ms, seq, deleted_ms, deleted_seq, self.added = rest
            self.last, self.deleted = ms << 64 | seq, deleted_ms << 64 | deleted_seq
        elif number == GROUP_SET:
            at, name, ms, seq, read = rest
            self.groups[name] = Group(name, at, ms << 64 | seq, read)
            self.grow(GROUP_COST + len(name))
        else:
            at, consumer_number, name, seen, active = rest
            self._group(at).join(Consumer(name, consumer_number, seen, active))
            self.grow(CONSUMER_COST + len(name))

    def _group(self, number: int) -> Group:
        return next(group for group in self.groups.values() if group.number == number)

    tables = (STREAMS, GROUPS)
    side_tables = (GROUPS,)

    def elements(self) -> Iterator[Element]:
        assert self.ids is not None
        yield b"stream", *split(self.last), *split(self.deleted), self.added
        for at in range(self.head, len(self.ids)):
            yield b"entry", *split(self.ids[at]), *self.fields[at]
        for group in self.groups.values():
            yield b"group", group.name, *split(group.last), group.read
            for consumer in group.consumers.values():
                yield b"consumer", group.name, consumer.name, consumer.seen, consumer.active
            for ident, item in group.pending.items():
                yield b"pending", group.name, item.consumer.name, *split(ident), item.delivered, item.count

    @staticmethod
    def stored(snapshot: Snapshot, ident: int) -> Iterator[Element]:
        group_name = b""
        names: dict[int, bytes] = {}
        for number, *rest in _rows(snapshot, ident):
            if number == STREAM_ADD:
                yield b"entry", *rest[:2], *rest[2]
            elif number == STREAM_SET:
                yield b"stream", *rest
            elif number == GROUP_SET:
                group_name = rest[1]
                yield b"group", *rest[1:]
            elif number == CONSUMER_SET:
                names[rest[1]] = rest[2]
                yield b"consumer", group_name, *rest[2:]
            else:
                for item, delivered, count in rest[2]:
                    yield b"pending", group_name, names[rest[1]], *split(item), delivered, count

    @staticmethod
    def plain(elements: Iterator[Element]) -> dict[str, Any]:
        entries: list[tuple[int, list[Any]]] = []
        groups: dict[bytes, dict[str, Any]] = {}
        told: dict[str, Any] = {"value": []}
        for what, *rest in elements:
            if what == b"entry":
                entries.append((rest[0] << 64 | rest[1], [[*rest[at : at + 2]] for at in range(2, len(rest), 2)]))
            elif what == b"stream":
                told |= {"last_id": _text(*rest[:2]), "max_deleted_id": _text(*rest[2:4]), "entries_added": rest[4]}
            else:
                group = groups.setdefault(rest[0], {"name": rest[0]} | {"consumers": [], "pending": []})
                if what == b"group":
                    group |= {"last_id": _text(*rest[1:3]), "entries_read": None if rest[3] == UNKNOWN else rest[3]}
                elif what == b"consumer":
                    group["consumers"].append({"name": rest[1], "seen_ms": rest[2], "active_ms": rest[3]})
                else:
                    group["pending"].append((rest[2] << 64 | rest[3], rest[1], rest[4], rest[5]))
        entries.sort()
        told["value"] = [{"id": _text(*split(ident)), "fields": fields} for ident, fields in entries]
        for _, group in sorted(groups.items()):
            group["consumers"].sort(key=lambda consumer: consumer["name"])
            group["pending"] = [
                {"id": _text(*split(ident)), "consumer": name, "delivered_ms": delivered, "count": count}
                for ident, name, delivered, count in sorted(group["pending"])
            ]
            told.setdefault("groups", []).append(group)
        return told

    @staticmethod
    def weigh_row(table: Table, row_key: bytes, content: bytes) -> int:
        number, *rest = _row(table, row_key, content)
        if number == STREAM_ADD and (not isinstance(rest[2], tuple) or len(rest[2]) % 2):
            raise ValueError("an entry that is not made of fields and values")
        return 1 if number == STREAM_ADD else 0

    def check(self) -> None:
        """Assert that what is said above is true."""
        ids = self.ids
        assert ids is not None and len(ids) == len(self.fields) == self.head + self.size, "lists of different lengths"
        live = ids[self.head :]
        assert live == sorted(set(live)), "ids out of order"
        assert not live or live[-1] <= self.last, "an entry behind the last one"
        assert sum(node.live for node in self.nodes) == self.size and all(node.live > 0 for node in self.nodes)
        assert [node.end for node in self.nodes] == sorted(node.end for node in self.nodes)
        for group in self.groups.values():
            group.check()


def _text(ms: int, seq: int) -> str:
    return f"{ms}-{seq}"


def _row(table: Table, row_key: bytes, content: bytes) -> tuple[Any, ...]:
    """What a row says: the number of the effect that makes it, and the items. Raises struct.error and ValueError.

    What is pending is (group, consumer, [(id, delivered, count)]), an entry (ms, seq, fields).
    """
    if table == STREAMS:
        if len(row_key) == HEAD_KEY.size:
            return STREAM_SET, *HEAD.unpack(content)
        _, ms, seq = ENTRY_KEY.unpack(row_key)
        return STREAM_ADD, ms, seq, unpack(content)
    if len(row_key) == GROUP_KEY.size:
        ms, seq, read = GROUP.unpack_from(content)
        return GROUP_SET, GROUP_KEY.unpack(row_key)[1], content[GROUP.size :], ms, seq, read
    if row_key[GROUP_KEY.size] == CONSUMER_TAG:
        _, group, _, number = CONSUMER_KEY.unpack(row_key)
        return CONSUMER_SET, group, number, content[CONSUMER.size :], *CONSUMER.unpack_from(content)
    _, group, tag, ms, seq = PENDING_KEY.unpack(row_key)
    if tag != PENDING_TAG:
        raise ValueError(f"a row of kind {tag}")
    number, delivered, count = PENDING.unpack(content)
    return PENDING_PUT, group, number, [(ms << 64 | seq, delivered, count)]


def _rows(snapshot: Snapshot, ident: int) -> Iterator[tuple[Any, ...]]:
    """What the rows under `ident` say, each group before its consumers, and these before what is pending.

    Raises Corruption where something is missing.
    """
    start, stop = HEAD_KEY.pack(ident), HEAD_KEY.pack(ident + 1)
    consumers: set[tuple[int, int]] = set()
    group = 0
    for row_key, content in snapshot.scan(STREAMS, start, stop):
        if len(row_key) > len(start) and not group:
            raise Corruption("streams", f"id {ident}", "entries without the row of their stream")
        group = -1
        yield _row(STREAMS, row_key, content)
    for row_key, content in snapshot.scan(GROUPS, start, stop):
        said = _row(GROUPS, row_key, content)
        if said[0] == GROUP_SET:
            group = said[1]
        elif said[1] != group:
            raise Corruption("groups", row_key.hex(), "a row of a group that is not there")
        elif said[0] == CONSUMER_SET:
            consumers.add(said[1:3])
        elif said[1:3] not in consumers:
            raise Corruption("groups", row_key.hex(), "an entry is pending for a consumer that is not there")
        yield said


# -- effects ---------------------------------------------------------------------------------------------------------


def fold_add(
    rows: list[Rows], ident: int, ms: int, seq: int, deleted_ms: int, deleted_seq: int, added: int, *fields: bytes
) -> None:
    """STREAM_ADD as row changes."""
    table = rows[STREAMS]
    table[ENTRY_KEY.pack(ident, ms, seq)] = pack(fields)
    table[HEAD_KEY.pack(ident)] = HEAD.pack(ms, seq, deleted_ms, deleted_seq, added)


def fold_del(rows: list[Rows], ident: int, *numbers: int) -> None:
    """STREAM_DEL as row changes."""
    table, each = rows[STREAMS], iter(numbers)
    for ms, seq in zip(each, each, strict=True):
        table[ENTRY_KEY.pack(ident, ms, seq)] = None


def fold_set(rows: list[Rows], ident: int, *state: int) -> None:
    """STREAM_SET as row changes."""
    rows[STREAMS][HEAD_KEY.pack(ident)] = HEAD.pack(*state)


def fold_group(rows: list[Rows], ident: int, group: int, name: bytes, ms: int, seq: int, read: int) -> None:
    """GROUP_SET as row changes."""
    rows[GROUPS][GROUP_KEY.pack(ident, group)] = GROUP.pack(ms, seq, read) + name


def fold_group_del(rows: list[Rows], ident: int, group: int) -> None:
    """GROUP_DEL as row changes."""
    rows[GROUPS][GROUP_KEY.pack(ident, group)] = None


def fold_consumer(rows: list[Rows], ident: int, group: int, consumer: int, name: bytes, seen: int, active: int) -> None:
    """CONSUMER_SET as row changes."""
    row_key = CONSUMER_KEY.pack(ident, group, CONSUMER_TAG, consumer)
    rows[GROUPS][row_key] = CONSUMER.pack(seen, active) + name


def fold_consumer_del(rows: list[Rows], ident: int, group: int, consumer: int) -> None:
    """CONSUMER_DEL as row changes."""
    rows[GROUPS][CONSUMER_KEY.pack(ident, group, CONSUMER_TAG, consumer)] = None


def fold_pending(rows: list[Rows], ident: int, group: int, consumer: int, *numbers: int) -> None:
    """PENDING_PUT as row changes."""
    table, each = rows[GROUPS], iter(numbers)
    for ms, seq, delivered, count in zip(each, each, each, each, strict=True):
        table[PENDING_KEY.pack(ident, group, PENDING_TAG, ms, seq)] = PENDING.pack(consumer, delivered, count)


def fold_pending_del(rows: list[Rows], ident: int, group: int, *numbers: int) -> None:
    """PENDING_DEL as row changes."""
    table, each = rows[GROUPS], iter(numbers)
    for ms, seq in zip(each, each, strict=True):
        table[PENDING_KEY.pack(ident, group, PENDING_TAG, ms, seq)] = None


def replay_add(value: Stream, ms: int, seq: int, deleted_ms: int, deleted_seq: int, added: int, *fields: bytes) -> None:
    """STREAM_ADD on a value in memory."""
    value.deleted, value.added = deleted_ms << 64 | deleted_seq, added - 1
    value.append(ms << 64 | seq, fields)


def replay_del(value: Stream, *numbers: int) -> None:
    """STREAM_DEL on a value in memory. It says nothing about `deleted`: a STREAM_SET follows where that changes."""
    deleted = value.deleted
    value.delete(joined(numbers))
    value.deleted = deleted


def replay_set(value: Stream, ms: int, seq: int, deleted_ms: int, deleted_seq: int, added: int) -> None:
    """STREAM_SET on a value in memory."""
    value.set_state(ms << 64 | seq, deleted_ms << 64 | deleted_seq, added)


def replay_group(value: Stream, number: int, name: bytes, ms: int, seq: int, read: int) -> None:
    """GROUP_SET on a value in memory."""
    group = value.groups.get(name)
    if group is None:
        value.create_group(name, ms << 64 | seq, read, number)
    else:
        value.set_group(group, ms << 64 | seq, read)


def replay_group_del(value: Stream, number: int) -> None:
    """GROUP_DEL on a value in memory."""
    value.destroy_group(value._group(number))


def replay_consumer(value: Stream, group_number: int, number: int, name: bytes, seen: int, active: int) -> None:
    """CONSUMER_SET on a value in memory."""
    group = value._group(group_number)
    consumer = group.consumers.get(name)
    if consumer is None:
        value.create_consumer(group, name, seen, active, number)
    else:
        value.set_consumer(group, consumer, seen, active)


def replay_consumer_del(value: Stream, group_number: int, number: int) -> None:
    """CONSUMER_DEL on a value in memory."""
    group = value._group(group_number)
    value.delete_consumer(group, group.by_number[number])


def replay_pending(value: Stream, group_number: int, number: int, *numbers: int) -> None:
    """PENDING_PUT on a value in memory."""
    group, each = value._group(group_number), iter(numbers)
    items = [
        (ms << 64 | seq, delivered, count) for ms, seq, delivered, count in zip(each, each, each, each, strict=True)
    ]
    value.put_pending(group, group.by_number[number], items)


def replay_pending_del(value: Stream, group_number: int, *numbers: int) -> None:
    """PENDING_DEL on a value in memory."""
    value.settle_pending(value._group(group_number), joined(numbers))


Stream.folds = {
    STREAM_ADD: fold_add,
    STREAM_DEL: fold_del,
    STREAM_SET: fold_set,
    GROUP_SET: fold_group,
    GROUP_DEL: fold_group_del,
    CONSUMER_SET: fold_consumer,
    CONSUMER_DEL: fold_consumer_del,
    PENDING_PUT: fold_pending,
    PENDING_DEL: fold_pending_del,
}
Stream.replays = {
    STREAM_ADD: replay_add,
    STREAM_DEL: replay_del,
    STREAM_SET: replay_set,
    GROUP_SET: replay_group,
    GROUP_DEL: replay_group_del,
    CONSUMER_SET: replay_consumer,
    CONSUMER_DEL: replay_consumer_del,
    PENDING_PUT: replay_pending,
    PENDING_DEL: replay_pending_del,
}
