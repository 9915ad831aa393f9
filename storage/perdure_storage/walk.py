"""Every key of a dataset, whether in memory or only in the tables, without bringing anything into memory.

For whoever reads everything once: dump, digest, inspect. In the order of row keys, each key once; memory holds one
row, and one value where the value is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from perdure_storage.keyspace import COLLECTIONS, Keyspace
from perdure_storage.records import Record, decode, parse, record_key
from perdure_storage.tables import Table
from perdure_storage.types.entry import Element, Entry, Kind
from perdure_storage.types.string import String

TYPES: Final[dict[int, type[Entry]]] = {Kind.STRING: String, Kind.CHUNKED: String, **COLLECTIONS}
"""What knows a value of each kind."""


class Item:
    """One key. `expire` in unix ms (0: never), `size` in bytes of a string or elements of a collection.

    `entry` is there when the key is in memory, `value` when it is a string in its record.
    """

    __slots__ = ("db", "entry", "expire", "id", "key", "kind", "size", "value")

    db: Keyspace
    key: bytes
    kind: int
    expire: int
    id: int
    size: int
    entry: Any
    value: bytes

    @property
    def type_name(self) -> str:
        """As the TYPE command says it."""
        return TYPES[self.kind].type_name

    def elements(self) -> Iterator[Element]:
        """The value, element by element; from rows as they are read. Raises Corruption."""
        entry = self.entry
        if entry is not None and (self.kind == Kind.STRING or entry.loaded):
            return iter(entry.elements())
        if self.kind == Kind.STRING:
            return iter(((self.value,),))
        return TYPES[self.kind].stored(self.db.ds.snapshot, self.id)

    def plain(self) -> dict[str, Any]:
        """The value in Python's own types, under "value"; see `Entry.plain`."""
        return TYPES[self.kind].plain(self.elements())


def hot_item(db: Keyspace, key: bytes, entry: Any) -> Item:
    """What is to be said of a key in memory."""
    item = Item()
    item.db, item.key, item.entry, item.value = db, key, entry, b""
    item.kind, item.expire, item.id = entry.kind, entry.expire, entry.id
    item.size = len(entry.value) if entry.kind == Kind.STRING else entry.size
    return item


def cold_item(db: Keyspace, key: bytes, record: Record) -> Item:
    """What is to be said of a key in the tables."""
    item = Item()
    item.db, item.key, item.entry = db, key, None
    item.kind, item.expire, item.id, item.size, _, item.value = record
    return item


def find(db: Keyspace, key: bytes) -> Item | None:
    """One key, or None. Unlike `Keyspace.find` it changes nothing and shows what has expired as long as it is there."""
    entry = db.hot.get(key)
    if entry is not None:
        return hot_item(db, key, entry) if entry.kind else None
    row_key = record_key(db.space, key)
    content = None if db.complete else db.ds.snapshot.get(Table.KEYS, row_key)
    return cold_item(db, key, decode(row_key, content)[1]) if content is not None else None


def walk(db: Keyspace, prefix: bytes = b"") -> Iterator[Item]:
    """All keys that start with `prefix`, expired ones too. REQUIRES: nothing changes meanwhile. Raises Corruption."""
    hot = db.hot
    for _, key, content in db.rows(b"", prefix):
        if not key.startswith(prefix):
            continue
        entry = hot.get(key) if hot else None
        if entry is not None:
            if entry.kind:
                yield hot_item(db, key, entry)
        elif content is not None:
            yield cold_item(db, key, parse(content))
