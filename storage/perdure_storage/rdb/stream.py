"""Streams: entries in listpacks, each under the id of its first one, then state and consumer groups.

    nodes     count, then for each 16 and the id (ms u64, seq u64, both big-endian), listpack
    state     entries there are, last ms, last seq
              first ms, first seq, deleted ms, deleted seq, entries there ever were              from form 2 (7.0) on
    groups    count, then for each its name, last ms, last seq, entries read (from form 2 on)
              pending: count, then for each its id (as above), delivered u64, how often
              consumers: count, then for each its name, seen u64, active u64 (from form 3 (7.2) on)
                         pending for it: count, ids

The listpack of a node: entries that are there, entries deleted, number of fields, fields, 0. Then for each entry

    flags, ms and seq less those of the node's id, [number of fields], fields and values, number of elements so far

where flags are 1 (deleted) and 2 (its fields are those of the node, only values follow).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from perdure_storage.rdb.packed import join_listpack, listpack_element, read_listpack
from perdure_storage.rdb.reading import BadPayload, Reader, integer
from perdure_storage.rdb.values import ConsumerValue, GroupValue, StreamValue
from perdure_storage.rdb.writing import write_length, write_string

DELETED: Final = 1
SAME_FIELDS: Final = 2
U64: Final = (1 << 64) - 1
MAX_READ: Final = (1 << 63) - 1
UNKNOWN: Final = -1
NODE_ENTRIES: Final = 100
NODE_BYTES: Final = 4096

Entry = tuple[int, tuple[bytes, ...]]


def read_stream(form: int) -> Callable[[Reader], StreamValue]:
    """Reads streams of this form: 1, 2 or 3."""

    def read(reader: Reader) -> StreamValue:
        entries: list[Entry] = []
        before = 0
        for _ in range(reader.count(17)):
            start = _node_id(reader)
            for entry in _entries(start, read_listpack(reader.blob())):
                if entry[0] <= before:
                    raise BadPayload("entries of a stream out of order")
                before = entry[0]
                entries.append(entry)
        size, last = reader.length(), _id(reader)
        if size != len(entries) or before > last:
            raise BadPayload(f"a stream of {len(entries)} entries that says {size}, or one behind the last")
        deleted, added = 0, size
        if form > 1:
            _id(reader)
            deleted, added = _id(reader), reader.length()
        if added < size or added > MAX_READ:  # `deleted` may be behind `last`: XSETID sets the one without the other
            raise BadPayload("a stream that has more entries than there ever were")
        value = StreamValue(entries, last, deleted, added, [])
        for _ in range(reader.count(5)):
            value.groups.append(_group(reader, value, form))
        if len({group.name for group in value.groups}) < len(value.groups):
            raise BadPayload("two groups of the same name")
        return value

    return read


def _id(reader: Reader) -> int:
    return reader.length() << 64 | reader.length()


def _raw_id(reader: Reader) -> int:
    return int.from_bytes(reader.take(16), "big")


def _node_id(reader: Reader) -> int:
    raw = reader.string()
    if len(raw) != 16:
        raise BadPayload(f"an id of {len(raw)} bytes")
    return int.from_bytes(raw, "big")


def _entries(start: int, elements: list[bytes]) -> Iterator[Entry]:
    """The entries of a node that are not deleted."""
    node = iter(elements)
    try:
        live, deleted = integer(next(node)), integer(next(node))
        fields = _take(node, integer(next(node)), len(elements))
        if next(node) != b"0":
            raise BadPayload("a node without the end of its fields")
        found = gone = 0
        for flags in map(integer, node):
            if flags not in range(4):
                raise BadPayload(f"an entry with flags {flags}")
            ms = (start >> 64) + integer(next(node)) & U64
            seq = (start & U64) + integer(next(node)) & U64
            if flags & SAME_FIELDS:
                values = _take(node, len(fields), len(elements))
                taken = 3 + len(values)
                flat = tuple(part for pair in zip(fields, values, strict=True) for part in pair)
            else:
                flat = tuple(_take(node, 2 * integer(next(node)), len(elements)))
                taken = 4 + len(flat)
            if integer(next(node)) != taken:
                raise BadPayload("an entry that is not as long as it says")
            if flags & DELETED:
                gone += 1
                continue
            found += 1
            yield ms << 64 | seq, flat
    except StopIteration:
        raise BadPayload("a node that ends too early") from None
    if (found, gone) != (live, deleted):
        raise BadPayload(f"a node of {found} entries and {gone} deleted ones that says {live} and {deleted}")


def _take(elements: Iterator[bytes], count: int, most: int) -> list[bytes]:
    """So many elements. Raises StopIteration when there are not."""
    if not 0 <= count <= most:
        raise BadPayload(f"{count} elements in a node of {most}")
    return [next(elements) for _ in range(count)]


def _group(reader: Reader, stream: StreamValue, form: int) -> GroupValue:
    name, last = reader.string(), _id(reader)
    read = reader.length() if form > 1 else _position(stream, last)
    if read == U64:
        read = UNKNOWN
    elif read > MAX_READ:
        raise BadPayload(f"a group that has read {read} entries")
    deliveries: dict[int, tuple[int, int]] = {}
    size = reader.count(25)
    for _ in range(size):
        ident = _raw_id(reader)
        deliveries[ident] = _time(reader), reader.length()
    consumers: dict[bytes, ConsumerValue] = {}
    owners: dict[int, bytes] = {}
    held = 0
    for _ in range(reader.count(10)):
        consumer = ConsumerValue(reader.string(), _time(reader), 0)
        consumer.active = _time(reader, may_be_never=True) if form > 2 else consumer.seen
        if consumer.name in consumers:
            raise BadPayload("two consumers of the same name")
        consumers[consumer.name] = consumer
        for _ in range(reader.count(16)):
            owners[_raw_id(reader)] = consumer.name
            held += 1
    if not len(deliveries) == size == len(owners) == held or deliveries.keys() != owners.keys():
        raise BadPayload("what is pending in a group is not what its consumers have")
    if any(count > MAX_READ for _, count in deliveries.values()):
        raise BadPayload("an entry that was delivered more often than can be")
    pending = {ident: (owners[ident], *delivery) for ident, delivery in sorted(deliveries.items())}
    return GroupValue(name, last, read, [*consumers.values()], pending)


def _time(reader: Reader, *, may_be_never: bool = False) -> int:
    """Unix ms; 0 for never, which is -1 there."""
    value = reader.signed(8)
    if value == -1 and may_be_never:
        return 0
    if value < 0:
        raise BadPayload(f"a time of {value}")
    return value


def _position(stream: StreamValue, ident: int) -> int:
    """How many entries there ever were up to this id, where that can be told: form 1 does not say.

    REQUIRES: nothing was ever taken out, which is what form 1 lets one believe."""
    if not stream.added or ident == stream.last:
        return stream.added
    first = stream.entries[0][0]
    if ident > first:
        return UNKNOWN
    return 1 if ident == first else 0


# -- writing -------------------------------------------------------------------------------------------------------


def write_stream(stream: StreamValue, most_entries: int = NODE_ENTRIES, most_bytes: int = NODE_BYTES) -> bytes:
    """A stream in form 2, which has no place for `ConsumerValue.active`."""
    nodes = [*_nodes(stream.entries, most_entries, most_bytes)]
    first = stream.entries[0][0] if stream.entries else 0
    parts = [write_length(len(nodes)), *nodes, write_length(len(stream.entries))]
    parts += map(_written_id, (stream.last, first, stream.deleted))
    parts += write_length(stream.added), write_length(len(stream.groups))
    for group in stream.groups:
        parts += write_string(group.name), _written_id(group.last), write_length(group.read & U64)
        parts.append(write_length(len(group.pending)))
        theirs: dict[bytes, list[bytes]] = {consumer.name: [] for consumer in group.consumers}
        for ident, (name, delivered, count) in group.pending.items():
            raw = ident.to_bytes(16, "big")
            parts += raw, delivered.to_bytes(8, "little"), write_length(count)
            theirs[name].append(raw)
        parts.append(write_length(len(theirs)))
        for consumer in group.consumers:
            raws = theirs[consumer.name]
            parts += write_string(consumer.name), consumer.seen.to_bytes(8, "little"), write_length(len(raws)), *raws
    return b"".join(parts)


def _written_id(ident: int) -> bytes:
    return write_length(ident >> 64) + write_length(ident & U64)


def _nodes(entries: list[Entry], most_entries: int, most_bytes: int) -> Iterator[bytes]:
    """Entries in runs, each as it stands in a node with its id."""
    at = 0
    while at < len(entries):
        start, flat = entries[at]
        fields = flat[::2]
        packed: list[bytes] = []
        room, stop = most_bytes or 1 << 30, min(len(entries), at + (most_entries or 1 << 62))
        first = at
        while at < stop and (room > 0 or at == first):
            parts = _packed_entry(start, fields, *entries[at])
            room -= sum(map(len, parts))
            packed += parts
            at += 1
        head: list[bytes | int] = [at - first, 0, len(fields), *fields, 0]
        listpack = join_listpack([*map(listpack_element, head), *packed])
        yield write_string(start.to_bytes(16, "big"), raw=True) + write_string(listpack, raw=True)


def _packed_entry(start: int, node_fields: tuple[bytes, ...], ident: int, flat: tuple[bytes, ...]) -> list[bytes]:
    """The elements of an entry in the node that begins with id `start`."""
    seq = (ident & U64) - (start & U64)
    seq -= (seq + (1 << 63) >> 64) << 64  # as 64 bits with a sign
    ms = (ident >> 64) - (start >> 64)
    ms -= (ms + (1 << 63) >> 64) << 64
    same = flat[::2] == node_fields
    elements: list[bytes | int] = [SAME_FIELDS if same else 0, ms, seq]
    elements += flat[1::2] if same else (len(flat) // 2, *flat)
    elements.append(len(elements))
    return [*map(listpack_element, elements)]
