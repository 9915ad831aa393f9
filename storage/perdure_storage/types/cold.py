"""Single elements of a collection that is not in memory, read from their rows.

What is not in memory is clean, so the rows are all there is to it. A look-up costs one read of the tables, however large
the collection is, and takes no memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from perdure_storage.tables import U64, Table, element_key, split_key

if TYPE_CHECKING:
    from perdure_storage.types.entry import Collection

V = TypeVar("V")


class Cold(Generic[V]):
    """What a dict of the elements would answer. `read` makes a value of a row's content, None for one that has expired.

    REQUIRES: the collection is not loaded, and nothing changes meanwhile.
    """

    __slots__ = ("_ident", "_read", "_snapshot", "_table")

    def __init__(self, entry: Collection, table: Table, read: Callable[[bytes], V | None]) -> None:
        self._snapshot = entry.db.ds.snapshot
        self._ident = entry.id
        self._table = table
        self._read = read

    def get(self, name: bytes) -> V | None:
        """The value of this element, None when there is none. Raises Corruption."""
        row_key = element_key(self._ident, name)
        content = self._snapshot.get(self._table, row_key)
        if content is None:
            return None
        stored, content = split_key(U64.size, row_key, content)
        return self._read(content) if stored == name else None

    def __contains__(self, name: bytes) -> bool:
        return self.get(name) is not None
