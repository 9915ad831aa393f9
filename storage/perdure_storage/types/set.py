"""Sets: members.

Rows of table SETS: key `(id u64, member)`, content empty. Effects SET_ADD and SET_DEL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from perdure_storage.effects import SET_ADD, SET_DEL
from perdure_storage.tables import SETS, Rows, Snapshot, Table, element_key, split_key, with_key
from perdure_storage.types.cold import Cold
from perdure_storage.types.entry import Collection, Element, Kind, LoadSteps
from perdure_storage.types.order import Order

if TYPE_CHECKING:
    from perdure_storage.keyspace import Keyspace

ID: Final = Struct(">Q")
MEMBER_COST: Final = 90
"""Bytes of memory of one member beside its own. Measured."""
_INTEGER: Final = re.compile(rb"(?:0|-?[1-9][0-9]{0,18})\Z").match


def fold_add(rows: list[Rows], ident: int, *members: bytes) -> None:
    """SET_ADD as row changes."""
    table = rows[SETS]
    for member in members:
        table[element_key(ident, member)] = with_key(member, b"")


def fold_del(rows: list[Rows], ident: int, *members: bytes) -> None:
    """SET_DEL as row changes."""
    table = rows[SETS]
    for member in members:
        table[element_key(ident, member)] = None


def replay_add(value: Set, *members: bytes) -> None:
    """SET_ADD on a value in memory."""
    value.add(members)


def replay_del(value: Set, *members: bytes) -> None:
    """SET_DEL on a value in memory."""
    value.remove(members)


class Set(Collection):
    """`names` is None until loaded. REQUIRES for all but the record: `loaded`.

    `order` is there from the first time that one is needed. `wide` remembers, while in memory, that the set once held
    what is not for an intset: Redis never turns back.
    """

    __slots__ = ("names", "order", "wide")
    kind = Kind.SET.value
    type_name = "set"
    folds = {SET_ADD: fold_add, SET_DEL: fold_del}
    replays = {SET_ADD: replay_add, SET_DEL: replay_del}

    def __init__(self, db: Keyspace, key: bytes, lsn: int, expire: int, ident: int, *, new: bool = True) -> None:
        super().__init__(db, key, lsn, expire, ident, new=new)
        self.names: dict[bytes, None] | None = {} if new else None
        self.order: Order | None = None
        self.wide = False

    @property
    def loaded(self) -> bool:
        return self.names is not None

    def contents(self) -> list[Any]:
        order = self.order
        return [self.names or {}, *([order.names, order.gone] if order is not None else [])]

    @property
    def values(self) -> dict[bytes, None]:
        """The members, for reading only."""
        assert self.names is not None
        return self.names

    def add(self, members: Iterable[bytes]) -> int:
        """Put members in; returns how many are new."""
        names, order, db = self.names, self.order, self.db
        assert names is not None
        new: list[bytes] = []
        weight = 0
        for member in members:
            if member not in names:
                names[member] = None
                new.append(member)
                weight += MEMBER_COST + len(member)
                if order is not None:
                    order.add(member)
        if new:
            self.size += len(new)
            db.change(self, weight).append((SET_ADD, self.id, *new))
        return len(new)

    def remove(self, members: Iterable[bytes]) -> int:
        """Take members out; returns how many there were. The caller drops the key when the set is empty."""
        names, order, db = self.names, self.order, self.db
        assert names is not None
        gone: list[bytes] = []
        weight = 0
        for member in members:
            if member in names:
                del names[member]
                gone.append(member)
                weight += MEMBER_COST + len(member)
                if order is not None:
                    order.drop(member)
        if gone:
            if not self.wide:
                self.wide = self._is_wide(gone)
            self.size -= len(gone)
            db.change(self, -weight).append((SET_DEL, self.id, *gone))
        return len(gone)

    def ordered(self) -> Order:
        """The members in an order: see `Order`. O(n) the first time."""
        order = self.order
        if order is None:
            order = self.order = Order(self.values, self.db.ds.random)
            self.grow(8 * self.size)
        return order

    def _is_wide(self, members: Iterable[bytes]) -> bool:
        return self.size > self.db.ds.limits.set_max_intset_entries or not all(map(is_integer, members))

    def encoding(self) -> str:
        if self.wide or self.size > self.db.ds.limits.set_max_intset_entries:
            return "hashtable"
        if not self.loaded:
            self.load(self.db.ds.snapshot)
        return "hashtable" if self._is_wide(self.values) else "intset"

    def copy(self, target: Keyspace, key: bytes) -> None:
        made = target.create(Set, key)
        made.expire = self.expire
        target.expires += 1 if self.expire else 0
        made.add(self.values)
        made.wide = self.wide

    # -- rows ------------------------------------------------------------------------------------------------------

    def load_steps(self, snapshot: Snapshot, rows_per_step: int) -> LoadSteps:
        return self._load_steps(snapshot, rows_per_step)

    def _load_steps(self, snapshot: Snapshot, rows_per_step: int) -> Iterator[None]:
        names: dict[bytes, None] = {}
        weight = 0
        for number, (member,) in enumerate(self.stored(snapshot, self.id), 1):
            names[member] = None
            weight += MEMBER_COST + len(member)
            if number % rows_per_step == 0:
                yield
        if self.loaded:
            return  # it has been loaded meanwhile, and perhaps changed
        self.names = names
        self.size = len(names)
        self.came_in(weight)

    def cold(self) -> Cold[bytes]:
        """The members, one at a time. REQUIRES: not loaded."""
        return Cold(self, SETS, bytes)

    tables = (SETS,)

    def elements(self) -> Iterator[Element]:
        return ((member,) for member in self.values)

    @staticmethod
    def stored(snapshot: Snapshot, ident: int) -> Iterator[Element]:
        for row_key, content in snapshot.scan(SETS, ID.pack(ident), ID.pack(ident + 1)):
            yield (split_key(ID.size, row_key, content)[0],)

    @staticmethod
    def plain(elements: Iterator[Element]) -> dict[str, Any]:
        return {"value": sorted(member for (member,) in elements)}

    @staticmethod
    def weigh_row(table: Table, row_key: bytes, content: bytes) -> int:
        if split_key(ID.size, row_key, content)[1]:
            raise ValueError("a member with a value")
        return 1


def is_integer(member: bytes) -> bool:
    """Would Redis keep this member as a number?"""
    return len(member) <= 20 and _INTEGER(member) is not None and -(1 << 63) <= int(member) < 1 << 63
