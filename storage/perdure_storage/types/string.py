"""Strings: bytes up to 512 MiB.

In memory `bytes`, or a `bytearray` once it has been written in parts. A value up to INLINE_MAX is in its key record;
a longer one is cut into chunks of CHUNK bytes, rows `(id, chunk number)` of table STRINGS, so that a SETBIT in half a
gigabyte rewrites one row. A change logs the whole value, or a PATCH where that is shorter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from perdure_storage.tables import STRINGS, Snapshot, Table
from perdure_storage.types.entry import Element, Entry, Kind

if TYPE_CHECKING:
    from perdure_storage.keyspace import Keyspace

Value = bytes | bytearray

CHUNK: Final = 16_000
INLINE_MAX: Final = CHUNK
WHOLE_MAX: Final = 256
"""Up to this length a partial change logs the whole value: it is about as short as the patch."""
STRING_COST: Final = 260
"""Bytes of memory of a string beside its key and value. Measured: 233 to 259, most when the dict has just grown."""
CHUNK_KEY: Final = Struct(">QI")
EMBEDDED_MAX: Final = 44
"""Up to this length Redis keeps a string and its header in one piece of memory."""
_INTEGER: Final = re.compile(rb"(?:0|-?[1-9][0-9]*)\Z").match


class String(Entry):
    """`value` is what GET answers; `id` is 0 unless the value is stored in chunks."""

    __slots__ = ("value",)
    kind = Kind.STRING.value
    type_name = "string"


    def __init__(self, db: Keyspace, key: bytes, lsn: int, expire: int, ident: int, value: Value) -> None:
        self.db = db
        self.key = key
        self.lsn = lsn
        self.tick = db.ds.tick
        self.expire = expire
        self.id = ident
        self.value = value

    def cost(self) -> int:
        return STRING_COST + len(self.key) + len(self.value)

    def encoding(self) -> str:
        value = self.value
        if type(value) is bytearray:
            return "raw"
        if len(value) <= 20 and _INTEGER(value) and -(1 << 63) <= int(value) < 1 << 63:
            return "int"
        return "embstr" if len(value) <= EMBEDDED_MAX else "raw"

    def copy(self, target: Keyspace, key: bytes) -> None:
        value = self.value
        target.set_string(key, value if type(value) is bytes else bytearray(value), self.expire)

    tables = (STRINGS,)

    def elements(self) -> Iterator[Element]:
        yield (bytes(self.value),)

    @staticmethod
    def stored(snapshot: Snapshot, ident: int) -> Iterator[Element]:
        yield (load_chunks(snapshot, ident, 1 << 62),)

    @staticmethod
    def plain(elements: Iterator[Element]) -> dict[str, Any]:
        ((value,),) = elements
        return {"value": value}

    @staticmethod
    def weigh_row(table: Table, row_key: bytes, content: bytes) -> int:
        CHUNK_KEY.unpack(row_key)
        if not 0 < len(content) <= CHUNK:
            raise ValueError(f"a chunk of {len(content)} bytes")
        return len(content)


def chunks(ident: int, value: Value) -> dict[bytes, bytes]:
    """The rows of a long value."""
    view = memoryview(value)
    return {
        CHUNK_KEY.pack(ident, number): bytes(view[offset : offset + CHUNK])
        for number, offset in enumerate(range(0, len(value), CHUNK))
    }


def load_chunks(snapshot: Snapshot, ident: int, size: int) -> bytes:
    """The value of `size` bytes stored under `ident`."""
    if not size:
        return b""
    rows = snapshot.scan(STRINGS, CHUNK_KEY.pack(ident, 0), CHUNK_KEY.pack(ident + 1, 0))
    return b"".join(content for _, content in rows)[:size]
