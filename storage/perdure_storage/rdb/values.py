"""What a payload holds, in Python's own types. Two values are equal when Redis could not tell them apart.

Times are unix ms (0: never), ids of stream entries integers `ms << 64 | seq`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(slots=True)
class StringValue:
    value: bytes


@dataclass(slots=True)
class ListValue:
    values: list[bytes]


@dataclass(slots=True)
class SetValue:
    """`members` is a dict for its order: what is read is the same in every process."""

    members: dict[bytes, None]


@dataclass(slots=True)
class ZSetValue:
    scores: dict[bytes, float]


@dataclass(slots=True)
class HashValue:
    """`expiries` has the fields that expire."""

    fields: dict[bytes, bytes]
    expiries: dict[bytes, int] = field(default_factory=dict)


@dataclass(slots=True)
class ConsumerValue:
    """seen: when it last asked; active: when it last got something (0: never)."""

    name: bytes
    seen: int
    active: int


@dataclass(slots=True)
class GroupValue:
    """last: the id it has read up to; read: how many entries that were (-1: unknown).

    pending: id → (name of the consumer, when it was delivered, how often).
    """

    name: bytes
    last: int
    read: int
    consumers: list[ConsumerValue]
    pending: dict[int, tuple[bytes, int, int]]


@dataclass(slots=True)
class StreamValue:
    """entries: (id, (field, value, field, value, ...)) in order; last: the greatest id there ever was; deleted: the
    greatest one taken out by name (0: none); added: how many entries there ever were."""

    entries: list[tuple[int, tuple[bytes, ...]]]
    last: int
    deleted: int
    added: int
    groups: list[GroupValue]


Value: TypeAlias = StringValue | ListValue | SetValue | ZSetValue | HashValue | StreamValue
