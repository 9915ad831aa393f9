"""Key records and expiry rows: what stands in the tables KEYS, EXPIRIES and META about a key.

KEYS      row key (space u32, key)              content (kind u8, expire u64) and then, for a string of up to
                                                INLINE_MAX bytes, the value; for all else (id u64, size u64, due u64)
EXPIRIES  row key (due u64, space u32, key)     content empty: `due` is when the sweep must look at the key
META      "applied_lsn" u64, "next_id" u64, "spaces" msgpack list, "next_space" u32, "count"+space (keys u64, expires u64),
          "library\\0"+name: the code of a library of functions
GARBAGE   row key (id u64)                      content kind u8: rows under id wait to be reclaimed;
          row key (space u64 with the top bit)  content 0: so does a whole space

Big-endian in row keys, little-endian in contents. Long keys: see `tables`.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from perdure_storage.tables import bounded, split_key, with_key
from perdure_storage.types.entry import Kind

SPACE: Final = Struct(">I")
DUE: Final = Struct(">QI")
HEAD: Final = Struct("<BQ")
BODY: Final = Struct("<QQQ")
WHOLE: Final = Struct("<BQQQQ")
"""HEAD and BODY."""
COUNTS: Final = Struct("<QQ")
SPACE_BIT: Final = 1 << 63
COUNT_PREFIX: Final = b"count"
LIBRARY_PREFIX: Final = b"library\0"

_STRING: Final = Kind.STRING.value


class Record(NamedTuple):
    """A key record, decoded. `value` is only there for an inline string."""

    kind: int
    expire: int
    id: int
    size: int
    due: int
    value: bytes


def record_key_in_python(space: int, key: bytes) -> bytes:
    """Row key in KEYS."""
    return bounded(SPACE.pack(space), key)


def expiry_key(due: int, space: int, key: bytes) -> bytes:
    """Row key in EXPIRIES."""
    return bounded(DUE.pack(due, space), key)


def string_record_in_python(key: bytes, expire: int, value: bytes) -> bytes:
    """Content for a string kept inline."""
    return with_key(key, HEAD.pack(_STRING, expire) + value)


def body_record_in_python(key: bytes, kind: int, expire: int, ident: int, size: int, due: int) -> bytes:
    """Content for a string in chunks or a collection."""
    return with_key(key, WHOLE.pack(kind, expire, ident, size, due))


def decode(row_key: bytes, content: bytes) -> tuple[bytes, Record]:
    """(key, record) of a row of KEYS."""
    key, content = split_key(SPACE.size, row_key, content)
    return key, parse(content)


def parse(content: bytes) -> Record:
    """The record, without a key in front."""
    kind, expire = HEAD.unpack_from(content)
    if kind == _STRING:
        value = content[HEAD.size :]
        return Record(kind, expire, 0, len(value), expire, value)
    ident, size, due = BODY.unpack_from(content, HEAD.size)
    return Record(kind, expire, ident, size, due, b"")


def with_expire(row_key: bytes, content: bytes, expire: int) -> bytes:
    """The same record of a string with another expiry."""
    key, record = decode(row_key, content)
    if record.kind == _STRING:
        return string_record(key, expire, record.value)
    return body_record(key, record.kind, expire, record.id, record.size, expire)


try:  # the same in C
    from perdure_storage._fast import body_record as body_record
    from perdure_storage._fast import record_key as record_key
    from perdure_storage._fast import string_record as string_record
except ImportError:
    body_record, record_key, string_record = body_record_in_python, record_key_in_python, string_record_in_python
