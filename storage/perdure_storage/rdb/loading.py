"""Bytes → values: one function for each type of value that an RDB file knows (`READERS`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from math import inf
from typing import Final

from perdure_storage.rdb.packed import read_intset, read_listpack, read_ziplist, read_zipmap
from perdure_storage.rdb.reading import BadPayload, EmptyValue, Reader, integer, score
from perdure_storage.rdb.stream import read_stream
from perdure_storage.rdb.values import HashValue, ListValue, SetValue, StringValue, Value, ZSetValue

VERSION_MAX: Final = 12
VALKEY_VERSION: Final = 80
"""Where Valkey 9 went its own way: the numbers of types from 22 on have other meanings since."""
MODULES: Final = (6, 7)
PLAIN_NODE: Final = 1
PACKED_NODE: Final = 2
EXPIRE_LIMIT: Final = 1 << 48
"""Fields of a hash expire before that."""
MODULE_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def read_value(kind: int, reader: Reader, version: int) -> Value:
    """The value of this type that comes next. Raises BadPayload. REQUIRES: `is_known(version)`."""
    read = (VALKEY_READERS if version == VALKEY_VERSION else READERS).get(kind)
    if read is not None:
        return read(reader)
    if kind in MODULES:
        raise BadPayload(f"a value of the module {module_name(reader.length())}, which only Redis with it can read")
    raise BadPayload(f"a value of the unknown type {kind}")


def is_known(version: int) -> bool:
    """Can values of this version of the format be read?"""
    return version <= VERSION_MAX or version == VALKEY_VERSION


def module_name(ident: int) -> str:
    """Nine letters of 6 bits each; the 10 bits behind them are a version."""
    return "".join(MODULE_LETTERS[ident >> shift & 63] for shift in range(58, 4, -6))


def _string(reader: Reader) -> StringValue:
    return StringValue(reader.string())


# -- lists ---------------------------------------------------------------------------------------------------------


def _list(reader: Reader) -> ListValue:
    """    count, strings"""
    return _list_of([reader.string() for _ in range(reader.count())])


def _list_of(values: list[bytes]) -> ListValue:
    _not_empty(values)
    return ListValue(values)


def _not_empty(elements: Sized) -> None:
    if not elements:
        raise EmptyValue("a collection without elements")


def _packed_list(reader: Reader) -> ListValue:
    return _list_of(read_ziplist(reader.blob()))


def _list_of_ziplists(reader: Reader) -> ListValue:
    """    count, ziplists"""
    values: list[bytes] = []
    for _ in range(reader.count()):
        values += read_ziplist(reader.blob())
    return _list_of(values)


def _list_of_listpacks(reader: Reader) -> ListValue:
    """    count, nodes        node: 1 and a single value, or 2 and a listpack"""
    values: list[bytes] = []
    for _ in range(reader.count(2)):
        container = reader.length()
        if container == PACKED_NODE:
            values += read_listpack(reader.blob())
        elif container == PLAIN_NODE:
            values.append(reader.string())
            if not values[-1]:
                raise BadPayload("a node without anything")
        else:
            raise BadPayload(f"a node of the unknown kind {container}")
    return _list_of(values)


# -- sets ----------------------------------------------------------------------------------------------------------


def _set(reader: Reader) -> SetValue:
    """    count, strings"""
    return _set_of([reader.string() for _ in range(reader.count())])


def _set_of(members: list[bytes]) -> SetValue:
    _not_empty(members)
    found = SetValue(dict.fromkeys(members))
    if len(found.members) < len(members):
        raise BadPayload("a set with a member twice")
    return found


def _set_of_integers(reader: Reader) -> SetValue:
    return _set_of([b"%d" % number for number in read_intset(reader.blob())])


def _packed_set(reader: Reader) -> SetValue:
    return _set_of(read_listpack(reader.blob()))


# -- sorted sets ---------------------------------------------------------------------------------------------------


def _zset(reader: Reader) -> ZSetValue:
    """    count, then for each member itself and its score: a double"""
    return _zset_of([(reader.string(), reader.double()) for _ in range(reader.count(9))])


def _zset_in_digits(reader: Reader) -> ZSetValue:
    """The same with scores in digits: u8 length and so many, or 253 NaN, 254 infinite, 255 the same below zero."""
    return _zset_of([(reader.string(), _score_in_digits(reader)) for _ in range(reader.count(2))])


def _score_in_digits(reader: Reader) -> float:
    size = reader.byte()
    if size >= 253:
        return {253: inf - inf, 254: inf, 255: -inf}[size]
    return score(reader.take(size))


def _zset_of(pairs: list[tuple[bytes, float]]) -> ZSetValue:
    _not_empty(pairs)
    found = ZSetValue(dict(pairs))
    if len(found.scores) < len(pairs):
        raise BadPayload("a sorted set with a member twice")
    if any(value != value for value in found.scores.values()):
        raise BadPayload("a score that is not a number")
    return found


def _packed_zset(unpack: Callable[[bytes], list[bytes]]) -> Callable[[Reader], ZSetValue]:
    """    member, score, member, score, ..."""

    def read(reader: Reader) -> ZSetValue:
        flat = unpack(reader.blob())
        return _zset_of([*zip(_members(flat, 2), map(score, flat[1::2]), strict=True)])

    return read


# -- hashes --------------------------------------------------------------------------------------------------------


def _members(flat: list[bytes], group: int) -> list[bytes]:
    """The first of each group of elements."""
    if len(flat) % group:
        raise BadPayload(f"{len(flat)} elements, which come in groups of {group}")
    return flat[::group]


def _hash(reader: Reader) -> HashValue:
    """    count, then for each field itself and its value"""
    return _hash_of([(reader.string(), reader.string()) for _ in range(reader.count(2))])


def _hash_of(pairs: Iterable[tuple[bytes, bytes]], expiries: Iterable[int] = ()) -> HashValue:
    pairs = [*pairs]
    _not_empty(pairs)
    found = HashValue(dict(pairs))
    if len(found.fields) < len(pairs):
        raise BadPayload("a hash with a field twice")
    for (field, _), expire in zip(pairs, expiries, strict=False):
        if not 0 <= expire < EXPIRE_LIMIT:
            raise BadPayload(f"a field that expires at {expire}")
        if expire:
            found.expiries[field] = expire
    return found


def _mapped_hash(reader: Reader) -> HashValue:
    return _hash_of(read_zipmap(reader.blob()))


def _packed_hash(unpack: Callable[[bytes], list[bytes]]) -> Callable[[Reader], HashValue]:
    """    field, value, field, value, ..."""

    def read(reader: Reader) -> HashValue:
        flat = unpack(reader.blob())
        return _hash_of(zip(_members(flat, 2), flat[1::2], strict=True))

    return read


def _packed_expiring_hash(*, has_least: bool) -> Callable[[Reader], HashValue]:
    """    [time of the first to expire u64], listpack of field, value, time (0: never), ...   Redis 7.4"""

    def read(reader: Reader) -> HashValue:
        if has_least:
            reader.unsigned(8)
        flat = read_listpack(reader.blob())
        return _hash_of(zip(_members(flat, 3), flat[1::3], strict=True), map(integer, flat[2::3]))

    return read


def _expiring_hash(*, has_least: bool) -> Callable[[Reader], HashValue]:
    """    [time of the first to expire u64], count, then for each field a time (0: never), itself, its value   Redis 7.4

    With a first time, the others are lengths of time from one ms before that on."""

    def read(reader: Reader) -> HashValue:
        base = reader.unsigned(8) - 1 if has_least else 0
        pairs: list[tuple[bytes, bytes]] = []
        expiries: list[int] = []
        for _ in range(reader.count(3)):
            after = reader.length()
            expiries.append(base + after if after else 0)
            pairs.append((reader.string(), reader.string()))
        return _hash_of(pairs, expiries)

    return read


def _valkey_hash(reader: Reader) -> HashValue:
    """    count, then for each field itself, its value and its time (i64, -1: never)   Valkey 9"""
    pairs: list[tuple[bytes, bytes]] = []
    expiries: list[int] = []
    for _ in range(reader.count(10)):
        pairs.append((reader.string(), reader.string()))
        expire = reader.signed(8)
        expiries.append(0 if expire == -1 else expire)
    return _hash_of(pairs, expiries)


READERS: Final[dict[int, Callable[[Reader], Value]]] = {
    0: _string,
    1: _list,
    2: _set,
    3: _zset_in_digits,
    4: _hash,
    5: _zset,
    9: _mapped_hash,
    10: _packed_list,
    11: _set_of_integers,
    12: _packed_zset(read_ziplist),
    13: _packed_hash(read_ziplist),
    14: _list_of_ziplists,
    15: read_stream(1),
    16: _packed_hash(read_listpack),
    17: _packed_zset(read_listpack),
    18: _list_of_listpacks,
    19: read_stream(2),
    20: _packed_set,
    21: read_stream(3),
    22: _expiring_hash(has_least=False),
    23: _packed_expiring_hash(has_least=False),
    24: _expiring_hash(has_least=True),
    25: _packed_expiring_hash(has_least=True),
}
"""By the number of the type, as Redis has them. 22 and 23 were written by release candidates of Redis 7.4 only."""
VALKEY_READERS: Final = {kind: read for kind, read in READERS.items() if kind < 22} | {22: _valkey_hash}
