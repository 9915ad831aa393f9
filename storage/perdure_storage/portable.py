"""Keys of the dataset as values that any program may read, and back: between `types` and `rdb`.

An entry is told in full, a value is put in as ordinary changes: the log gets the effects that commands would have made.
"""

from __future__ import annotations

from typing import Any, Final

from perdure_storage.keyspace import Keyspace
from perdure_storage.rdb import (
    ConsumerValue,
    GroupValue,
    HashValue,
    ListValue,
    SetValue,
    StreamValue,
    StringValue,
    Value,
    ZSetValue,
    dump,
)
from perdure_storage.types.entry import Collection
from perdure_storage.types.group import Group
from perdure_storage.types.hash import Hash
from perdure_storage.types.list import List
from perdure_storage.types.set import Set
from perdure_storage.types.stream import Stream
from perdure_storage.types.zset import ZSet

PACKED: Final = frozenset(("listpack", "intset"))
"""Encodings of which Redis writes a value in one piece."""


def payload_of(entry: Any) -> bytes:
    """What DUMP answers for a key. Loads a collection that is not in memory."""
    return dump(value_of(entry), packed=entry.encoding() in PACKED)


def value_of(entry: Any) -> Value:
    """What a key holds. Loads a collection that is not in memory; nothing in it is shared with what is returned."""
    if isinstance(entry, Collection) and not entry.loaded:
        entry.load(entry.db.ds.snapshot)
    match entry:
        case List():
            return ListValue(entry.values())
        case Set():
            return SetValue(dict(entry.values))
        case ZSet():
            return ZSetValue(dict(entry.values))
        case Hash():
            return HashValue(dict(entry.values), dict(entry.ttl))
        case Stream():
            return _stream_value(entry)
        case _:
            return StringValue(bytes(entry.value))


def place(db: Keyspace, key: bytes, value: Value, expire: int = 0) -> Any:
    """Put a value at a free key, to expire at `expire` (unix ms, 0: never); returns its entry. Raises TooLarge."""
    match value:
        case StringValue():
            db.set_string(key, value.value, expire)
            return db.hot[key]
        case ListValue():
            made: Any = db.create(List, key)
            made.push_right(value.values)
        case SetValue():
            made = db.create(Set, key)
            made.add(value.members)
        case ZSetValue():
            made = db.create(ZSet, key)
            made.fill(value.scores.items())
        case HashValue():
            made = db.create(Hash, key)
            for field, content in value.fields.items():
                made.set(field, content, value.expiries.get(field, 0))
        case StreamValue():
            made = db.create(Stream, key)
            _fill_stream(made, value)
    if expire:
        db.set_expire(made, expire)
    return made


# -- streams -------------------------------------------------------------------------------------------------------


def _stream_value(stream: Stream) -> StreamValue:
    groups = [_group_value(group) for group in stream.groups.values()]
    return StreamValue(stream.between(0, stream.last), stream.last, stream.deleted, stream.added, groups)


def _group_value(group: Group) -> GroupValue:
    consumers = [ConsumerValue(each.name, each.last_seen, each.active) for each in group.sorted_consumers()]
    pending = {ident: (item.consumer.name, item.delivered, item.count) for ident, item in group.between(0, 1 << 128)}
    return GroupValue(group.name, group.last, group.read, consumers, pending)


def _fill_stream(stream: Stream, value: StreamValue) -> None:
    stream.deleted, stream.added = value.deleted, value.added - len(value.entries)
    for ident, fields in value.entries:
        stream.append(ident, fields)
    stream.set_state(value.last, value.deleted, value.added)
    for each in value.groups:
        group = stream.create_group(each.name, each.last, each.read)
        items: dict[bytes, list[tuple[int, int, int]]] = {}
        for ident, (name, delivered, count) in each.pending.items():
            items.setdefault(name, []).append((ident, delivered, count))
        for told in each.consumers:
            consumer = stream.create_consumer(group, told.name, told.seen, told.active)
            stream.put_pending(group, consumer, items.get(told.name, ()))
