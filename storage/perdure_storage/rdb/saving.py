"""Values → bytes, in the forms that redis-server 7.0 reads.

Small collections are written packed, as Redis keeps them, larger ones element by element: whoever reads them need not
unpack all to add one. `packed` says which; it is for the caller, who knows the limits, to decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perdure_storage.rdb.loading import PACKED_NODE
from perdure_storage.rdb.packed import join_listpack, listpack_element, write_intset, write_listpack
from perdure_storage.rdb.reading import DOUBLE, as_integer
from perdure_storage.rdb.stream import write_stream
from perdure_storage.rdb.values import HashValue, ListValue, SetValue, StreamValue, StringValue, Value, ZSetValue
from perdure_storage.rdb.writing import write_length, write_string

NODE_BYTES: Final = 8192
"""So much of a list goes into one node; a longer value has one of its own."""


def write_value(value: Value, *, packed: bool) -> tuple[int, bytes]:
    """(number of the type, body)."""
    match value:
        case StringValue():
            return 0, write_string(value.value)
        case ListValue():
            nodes = [*_list_nodes(value.values)]
            return 18, write_length(len(nodes)) + b"".join(nodes)
        case SetValue():
            return _set(value, packed)
        case ZSetValue():
            return _zset(value, packed)
        case HashValue():
            return _hash(value, packed)
        case StreamValue():
            return 19, write_stream(value)


def _list_nodes(values: list[bytes]) -> Iterator[bytes]:
    """Values in runs, each as it stands in a node."""
    node: list[bytes] = []
    size = 0
    for value in values:
        element = listpack_element(value)
        if node and size + len(element) > NODE_BYTES:
            yield _node(node)
            node, size = [], 0
        node.append(element)
        size += len(element)
    if node:
        yield _node(node)


def _node(elements: list[bytes]) -> bytes:
    return write_length(PACKED_NODE) + write_string(join_listpack(elements), raw=True)


def _set(value: SetValue, packed: bool) -> tuple[int, bytes]:
    members = value.members
    if packed:
        numbers = [number for number in map(as_integer, members) if number is not None]
        if len(numbers) == len(members):
            return 11, write_string(write_intset(numbers), raw=True)
    return 2, write_length(len(members)) + b"".join(map(write_string, members))


def _zset(value: ZSetValue, packed: bool) -> tuple[int, bytes]:
    ranked = sorted(value.scores.items(), key=lambda pair: (pair[1], pair[0]))
    if packed:
        flat = [part for member, score in ranked for part in (member, score_digits(score))]
        return 17, write_string(write_listpack(flat), raw=True)
    parts = [part for member, score in reversed(ranked) for part in (write_string(member), DOUBLE.pack(score))]
    return 5, write_length(len(ranked)) + b"".join(parts)


def score_digits(score: float) -> bytes:
    """The shortest digits that give this double."""
    if score.is_integer() and abs(score) < 1 << 53 and (score or str(score) == "0.0"):
        return b"%d" % score
    return repr(score).encode()


def _hash(value: HashValue, packed: bool) -> tuple[int, bytes]:
    fields, expiries = value.fields, value.expiries
    if expiries:
        least = min(expiries.values())
        parts = [least.to_bytes(8, "little"), write_length(len(fields))]
        for field, content in fields.items():
            expire = expiries.get(field, 0)
            parts += write_length(expire - least + 1 if expire else 0), write_string(field), write_string(content)
        return 24, b"".join(parts)
    flat = [part for pair in fields.items() for part in pair]
    if packed:
        return 16, write_string(write_listpack(flat), raw=True)
    return 4, write_length(len(fields)) + b"".join(map(write_string, flat))
