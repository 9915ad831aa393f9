"""What every value in the hot cache has in common.

An entry is clean when its `lsn` is not beyond the snapshot's `applied_lsn`: then it may be dropped from memory, for
the tables hold it. Entries never refer to one another, so the reference count alone frees them.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perdure_storage.keyspace import Dataset, Keyspace
    from perdure_storage.tables import Snapshot, Table
    from perdure_storage.types.cold import Cold

Element = tuple[Any, ...]
"""One part of a value, of bytes and numbers: two values of a type are equal when they have the same elements, in any
order. A type in which order matters puts the place into the element. For people, digest and check alike."""

ENTRY_COST: Final = 300
"""Bytes of memory of a collection beside its key and elements: object, dict slot, ring slot, headers, numbers. Measured."""
ELEMENT_COST: Final = 180
"""The same for one field of a hash, one member of a set."""


class Kind(IntEnum):
    """Type numbers as they stand in key records and effects. Never renumber.

    Entries carry the plain number (`kind = Kind.HASH.value`): an enum's member is not an exact int for the log's encoder,
    and slower everywhere.
    """

    GONE = 0
    STRING = 1
    CHUNKED = 2
    HASH = 3
    LIST = 4
    SET = 5
    ZSET = 6
    STREAM = 7


class Limits(Protocol):
    """Up to which sizes Redis would keep values in a compact form. What OBJECT ENCODING answers depends on it, and how
    much of a stream `~` trims at a time. And what OBJECT FREQ and REFCOUNT depend on."""

    hash_max_listpack_entries: int
    hash_max_listpack_value: int
    set_max_intset_entries: int
    zset_max_listpack_entries: int
    zset_max_listpack_value: int
    stream_node_max_entries: int
    stream_node_max_bytes: int
    hll_sparse_max_bytes: int
    maxmemory: int
    maxmemory_policy: str
    lfu_decay_time: int


class DefaultLimits:
    """Those of Redis 7.0."""

    hash_max_listpack_entries = 512
    hash_max_listpack_value = 64
    set_max_intset_entries = 512
    zset_max_listpack_entries = 128
    zset_max_listpack_value = 64
    stream_node_max_entries = 100
    stream_node_max_bytes = 4096
    hll_sparse_max_bytes = 3000
    maxmemory = 0
    maxmemory_policy = "noeviction"
    lfu_decay_time = 1


class Entry:
    """A key in memory. `db` and `key` say where it lives; `tick` is when it was last used (LRU clock); `ring_at` is where
    the ring of `db` has it."""

    __slots__ = ("db", "expire", "id", "key", "lsn", "ring_at", "tick")

    kind: ClassVar[int] = 0
    type_name: ClassVar[str] = "none"

    def __init__(self, db: Keyspace, key: bytes, lsn: int, expire: int, ident: int) -> None:
        self.db = db
        self.key = key
        self.lsn = lsn
        self.tick = db.ds.tick
        self.expire = expire
        self.id = ident
        self.ring_at = 0

    @property
    def due(self) -> int:
        """When the sweep must look at this key, as the tables' index has it (0: never)."""
        return self.expire

    def cost(self) -> int:
        """Estimated bytes in memory."""
        raise NotImplementedError

    def encoding(self) -> str:
        """How Redis would keep this value in memory (OBJECT ENCODING). May load a small collection."""
        raise NotImplementedError

    def copy(self, target: Keyspace, key: bytes) -> None:
        """Make the same value with the same expiry at another key. REQUIRES: nothing is there; elements are loaded."""
        raise NotImplementedError

    # -- for tools: every type says these of itself ----------------------------------------------------------------

    tables: ClassVar[tuple[Table, ...]] = ()
    """Where its rows are, each prefixed with the key's id."""
    side_tables: ClassVar[tuple[Table, ...]] = ()
    """Those of them whose rows are not counted in the record's size: there may be any number, also none."""
    expire_at: ClassVar[int | None] = None
    """The place in an element of its own expiry, for a type whose elements can expire."""

    def elements(self) -> Iterator[Element]:
        """The value in memory. REQUIRES of a collection: loaded."""
        raise NotImplementedError

    @staticmethod
    def stored(snapshot: Snapshot, ident: int) -> Iterator[Element]:
        """The same from the rows under `ident`, a few in memory at a time. Raises Corruption."""
        raise NotImplementedError

    @staticmethod
    def plain(elements: Iterator[Element]) -> dict[str, Any]:
        """The value in Python's own types: "value" and, where the type has more to say, further names."""
        raise NotImplementedError

    @staticmethod
    def weigh_row(table: Table, row_key: bytes, content: bytes) -> int:
        """How much of the record's size this row stands for. Raises ValueError or struct.error for one not well formed."""
        raise NotImplementedError


class Collection(Entry):
    """A key whose elements are rows under its id. `size` counts them also while they are not loaded.

    Every change goes through `touch`, so that the transaction ends with one RECORD for the key.
    """

    __slots__ = ("logged_due", "size", "weight")

    may_be_empty: ClassVar[bool] = False
    """Does a key of this type stay when its last element goes?"""
    folds: ClassVar[dict[int, Callable[..., None]]] = {}
    """Its effects as row changes: `fold(rows, id, *rest)`, by the number of the effect."""
    replays: ClassVar[dict[int, Callable[..., None]]] = {}
    """Its effects on a value in memory, loaded: `replay(value, *rest)`."""


    def __init__(self, db: Keyspace, key: bytes, lsn: int, expire: int, ident: int, *, new: bool = True) -> None:
        """`new`: there are no rows, so the value is loaded, and empty."""
        super().__init__(db, key, lsn, expire, ident)
        self.size = 0
        self.logged_due = 0
        self.weight = 0

    def __len__(self) -> int:
        return self.size

    @property
    def due(self) -> int:
        return self.logged_due

    def next_due(self) -> int:
        """The earliest time at which something about this key expires (0: never)."""
        return self.expire

    def cost(self) -> int:
        return ENTRY_COST + len(self.key) + self.weight

    def grow(self, weight: int) -> None:
        """Account for `weight` more bytes of memory (negative: fewer)."""
        self.weight += weight
        self.db.used += weight

    @property
    def is_there(self) -> bool:
        """Is this what its key holds, or has the key been deleted or dropped from memory?"""
        return self.db.hot.get(self.key) is self

    def came_in(self, weight: int) -> None:
        """The elements are in memory from now on, `weight` bytes of them. They count while the key is there: it may have
        been deleted while they were being read."""
        self.weight += weight
        if self.is_there:
            self.db.used += weight

    def touch(self) -> Dataset:
        """This key changes in the open transaction. Returns the dataset, whose `effects` take what changed."""
        self.db.change(self, 0)
        return self.db.ds

    def contents(self) -> list[Any]:
        """The containers that hold the elements, to be emptied in slices after the key is gone."""
        raise NotImplementedError

    @property
    def loaded(self) -> bool:
        """Are the elements in memory?"""
        raise NotImplementedError

    def cold(self) -> Cold[Any]:
        """The elements by name, each read from its row. REQUIRES: not loaded, and a type whose elements have names."""
        raise NotImplementedError

    def load(self, snapshot: Snapshot) -> None:
        """Read all elements from their rows."""
        for _ in self.load_steps(snapshot, 1 << 62):
            pass

    def load_steps(self, snapshot: Snapshot, rows_per_step: int) -> LoadSteps:
        """The same in steps, for a loop that has others to serve."""
        raise NotImplementedError


class LoadSteps(Protocol):
    """An iterator that does some work each time it is advanced."""

    def __iter__(self) -> LoadSteps: ...

    def __next__(self) -> None: ...
