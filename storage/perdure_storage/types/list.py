"""Lists: values in slots, which are numbered without a gap from some signed number on.

Rows of table LISTS: key `(id u64, slot i64 with its sign flipped)`, content the value. Effects LIST_PUT and LIST_CUT.
The number of the first slot is nowhere but in its row: a push to the left goes to the slot before it. So a push or pop
at either end is one row and a few bytes of log however long the list is. An insertion or removal elsewhere renumbers
the values on its shorter side: as many rows, and their values in the log.

In memory a Python list with room in front, so that both ends are O(1), amortized, and any place is found at once;
making room and giving it back moves pointers only (1 ms for a million).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from perdure_storage.effects import FREE, LIST_CUT, LIST_PUT, Effect
from perdure_storage.errors import Corruption
from perdure_storage.tables import LISTS, Rows, Snapshot, Table
from perdure_storage.types.entry import Collection, Element, Kind, LoadSteps

if TYPE_CHECKING:
    from perdure_storage.keyspace import Keyspace

SLOT: Final = Struct(">QQ")
ZERO: Final = 1 << 63
"""Slot 0 in a row key: added to a signed number it gives one that sorts right."""
ID: Final = Struct(">Q")

VALUE_COST: Final = 50
"""Bytes of memory of one value beside its own. Measured."""
ROOM_MIN: Final = 16
MANY: Final = 1000
"""When more values go than stay, and more than so many: those that stay move to a new id, and the rest is garbage."""


def slot_key_in_python(ident: int, at: int) -> bytes:
    """Row key in LISTS."""
    return SLOT.pack(ident, at)


try:  # the same in C
    from perdure_storage._fast import slot_key as slot_key
except ImportError:
    slot_key = slot_key_in_python


def fold_put(rows: list[Rows], ident: int, slot: int, *values: bytes) -> None:
    """LIST_PUT as row changes."""
    table = rows[LISTS]
    for at, value in enumerate(values, slot + ZERO):
        table[slot_key(ident, at)] = value


def fold_cut(rows: list[Rows], ident: int, slot: int, stop: int) -> None:
    """LIST_CUT as row changes."""
    table = rows[LISTS]
    for at in range(slot + ZERO, stop + ZERO):
        table[slot_key(ident, at)] = None


def replay_put(value: List, slot: int, *values: bytes) -> None:
    """LIST_PUT on a value in memory."""
    value.place(slot, values)


def replay_cut(value: List, slot: int, stop: int) -> None:
    """LIST_CUT on a value in memory."""
    value.cut(slot, stop)


class List(Collection):
    """`slots` is None until loaded. REQUIRES for all but the record: `loaded`.

    `slots[room:]` are the values, `first` is the number of the first one's slot.
    """

    __slots__ = ("first", "room", "slots")
    kind = Kind.LIST.value
    type_name = "list"
    folds = {LIST_PUT: fold_put, LIST_CUT: fold_cut}
    replays = {LIST_PUT: replay_put, LIST_CUT: replay_cut}

    def __init__(self, db: Keyspace, key: bytes, lsn: int, expire: int, ident: int, *, new: bool = True) -> None:
        super().__init__(db, key, lsn, expire, ident, new=new)
        self.slots: list[Any] | None = [] if new else None
        self.room = 0
        self.first = 0

    @property
    def loaded(self) -> bool:
        return self.slots is not None

    def contents(self) -> list[Any]:
        return [self.slots or []]

    # -- reading ---------------------------------------------------------------------------------------------------

    def get(self, place: int) -> bytes:
        """The value at `place`. REQUIRES: 0 <= place < size."""
        assert self.slots is not None
        value: bytes = self.slots[self.room + place]
        return value

    def between(self, start: int, stop: int) -> list[bytes]:
        """The values with start <= place < stop. REQUIRES: 0 <= start <= stop <= size."""
        assert self.slots is not None
        return self.slots[self.room + start : self.room + stop]

    def values(self) -> list[bytes]:
        """All values: a copy."""
        return self.between(0, self.size)

    def places(self, value: bytes, start: int, stop: int, limit: int) -> list[int]:
        """Up to `limit` places with start <= place < stop where `value` is, in rising order."""
        slots, room = self.slots, self.room
        assert slots is not None
        found: list[int] = []
        at, end = room + start, room + stop
        try:
            while len(found) < limit:
                at = slots.index(value, at, end) + 1
                found.append(at - 1 - room)
        except ValueError:
            pass
        return found

    # -- the ends --------------------------------------------------------------------------------------------------

    def push_right(self, values: Sequence[bytes]) -> None:
        """Put values behind the last."""
        slots = self.slots
        assert slots is not None
        effect = (LIST_PUT, self.id, self.first + self.size, *values)
        slots.extend(values)
        self._added(values, effect)

    def push_left(self, values: Sequence[bytes]) -> None:
        """Put values before the first, one after the other: the last of them comes to be the first."""
        slots = self.slots
        assert slots is not None
        count, room = len(values), self.room
        ordered = values[::-1]
        if room < count:
            more = count + ROOM_MIN + self.size // 4
            slots[0:0] = [None] * more
            room += more
        self.room = room - count
        slots[self.room : room] = ordered
        self.first -= count
        self._added(values, (LIST_PUT, self.id, self.first, *ordered))

    def push(self, left: bool, values: Sequence[bytes]) -> None:
        """Put values at one end."""
        if left:
            self.push_left(values)
        else:
            self.push_right(values)

    def pop(self, left: bool) -> bytes:
        """Take the value at one end. The caller drops the key when the list is empty (`Keyspace.settle`)."""
        slots = self.slots
        assert slots is not None
        count = self.size
        value: bytes
        if left:
            room, gone = self.room, self.first
            value = slots[room]
            slots[room] = None
            self.room = room + 1
            self.first = gone + 1
            if room > ROOM_MIN and room * 2 > len(slots):
                del slots[: self.room]
                self.room = 0
        else:
            value = slots.pop()
            gone = self.first + count - 1
        self.size = count - 1
        db = self.db
        db.change(self, -VALUE_COST - len(value)).append((LIST_CUT, self.id, gone, gone + 1))
        return value

    def keep(self, start: int, stop: int) -> None:
        """Take away all but start <= place < stop. REQUIRES: 0 <= start < stop <= size: a list that is to be empty is
        removed, which is cheaper."""
        slots = self.slots
        assert slots is not None
        count, first = self.size, self.first
        gone = start + count - stop
        if not gone:
            return
        low, high = self.room + start, self.room + stop
        lost = sum(map(len, slots[self.room : low])) + sum(map(len, slots[high:]))
        del slots[high:], slots[:low]
        self.room = 0
        self.first = first + start
        self.size = stop - start
        ds = self.touch()
        if gone > MANY and gone > self.size:
            ds.effects.append((FREE, self.id, self.kind))
            self.id = ds.new_id()
            ds.effects.append((LIST_PUT, self.id, self.first, *slots))
        else:
            if start:
                ds.effects.append((LIST_CUT, self.id, first, self.first))
            if stop < count:
                ds.effects.append((LIST_CUT, self.id, first + stop, first + count))
        self.grow(-VALUE_COST * gone - lost)

    # -- the middle ------------------------------------------------------------------------------------------------

    def set(self, place: int, value: bytes) -> None:
        """Another value at `place`. REQUIRES: 0 <= place < size."""
        slots = self.slots
        assert slots is not None
        old = slots[self.room + place]
        slots[self.room + place] = value
        self.touch().effects.append((LIST_PUT, self.id, self.first + place, value))
        self.grow(len(value) - len(old))

    def insert(self, place: int, value: bytes) -> None:
        """Put a value before the one at `place`. O(n), and the values of the shorter side go to the log."""
        slots = self.slots
        assert slots is not None
        at = self.room + place
        slots.insert(at, value)
        if place * 2 < self.size:
            self.first -= 1
            moved, slot = slots[self.room : at + 1], self.first
        else:
            moved, slot = slots[at:], self.first + place
        self._added((value,), (LIST_PUT, self.id, slot, *moved))

    def remove(self, places: Sequence[int]) -> None:
        """Take away the values at these places, which rise. O(n); all values but the longest run between two that go
        are renumbered. The caller drops the key when the list is empty."""
        slots = self.slots
        assert slots is not None
        if not places:
            return
        count, first = self.size, self.first
        values = slots[self.room :]
        lost = sum(len(values[place]) for place in places)
        edges = [-1, *places, count]
        runs = [values[low + 1 : high] for low, high in pairwise(edges)]
        anchor = max(range(len(runs)), key=lambda number: len(runs[number]))
        before = [value for run in runs[:anchor] for value in run]
        behind = [value for run in runs[anchor + 1 :] for value in run]
        self.slots = [*before, *runs[anchor], *behind]
        self.room = 0
        self.first = first + anchor
        self.size = len(self.slots)
        effects = self.touch().effects
        if before:
            effects.append((LIST_PUT, self.id, self.first, *before))
        if behind:
            effects.append((LIST_PUT, self.id, first + edges[anchor + 1], *behind))
        if anchor:
            effects.append((LIST_CUT, self.id, first, self.first))
        if self.first + self.size < first + count:
            effects.append((LIST_CUT, self.id, self.first + self.size, first + count))
        self.grow(-VALUE_COST * len(places) - lost)

    # -- sizes -----------------------------------------------------------------------------------------------------

    def _added(self, values: Sequence[bytes], effect: Effect) -> None:
        weight = VALUE_COST * len(values)
        for value in values:
            weight += len(value)
        self.size += len(values)
        db = self.db
        db.change(self, weight).append(effect)

    def encoding(self) -> str:
        return "quicklist"

    def copy(self, target: Keyspace, key: bytes) -> None:
        made = target.create(List, key)
        made.expire = self.expire
        target.expires += 1 if self.expire else 0
        made.push_right(self.values())

    # -- rows ------------------------------------------------------------------------------------------------------

    def load_steps(self, snapshot: Snapshot, rows_per_step: int) -> LoadSteps:
        return self._load_steps(snapshot, rows_per_step)

    def _load_steps(self, snapshot: Snapshot, rows_per_step: int) -> Iterator[None]:
        slots: list[bytes] = []
        first = weight = 0
        for slot, value in _rows(snapshot, self.id):
            if not slots:
                first = slot
            slots.append(value)
            weight += VALUE_COST + len(value)
            if len(slots) % rows_per_step == 0:
                yield
        if self.loaded:
            return  # it has been loaded meanwhile, and perhaps changed
        self.slots = slots
        self.first = first
        self.size = len(slots)
        self.came_in(weight)

    tables = (LISTS,)

    def elements(self) -> Iterator[Element]:
        return enumerate(self.values())

    @staticmethod
    def stored(snapshot: Snapshot, ident: int) -> Iterator[Element]:
        for place, (_, value) in enumerate(_rows(snapshot, ident)):
            yield place, value

    @staticmethod
    def plain(elements: Iterator[Element]) -> dict[str, Any]:
        return {"value": [value for _, value in elements]}

    @staticmethod
    def weigh_row(table: Table, row_key: bytes, content: bytes) -> int:
        SLOT.unpack(row_key)
        return 1

    def place(self, slot: int, values: Sequence[bytes]) -> None:
        """Replay of LIST_PUT. REQUIRES: no gap between these slots and those in use."""
        if not self.size:
            self.first = slot
        if slot < self.first:
            before = self.first - slot
            self.push_left(values[:before][::-1])
            slot, values = slot + before, values[before:]
        start = slot - self.first
        assert start <= self.size
        here = min(len(values), self.size - start)
        for place, value in enumerate(values[:here], start):
            self.set(place, value)
        if here < len(values):
            self.push_right(values[here:])

    def cut(self, slot: int, stop: int) -> None:
        """Replay of LIST_CUT. REQUIRES: these slots are at one end."""
        if slot == self.first:
            left, gone = True, stop - slot
        else:
            left, gone = False, self.first + self.size - slot
        assert gone <= self.size and (left or self.first + self.size == stop)
        for _ in range(gone):
            self.pop(left)


def _rows(snapshot: Snapshot, ident: int) -> Iterator[tuple[int, bytes]]:
    """(slot, value) of the rows under `ident`. Raises Corruption when one is missing."""
    expected: int | None = None
    for row_key, value in snapshot.scan(LISTS, ID.pack(ident), ID.pack(ident + 1)):
        slot = SLOT.unpack(row_key)[1] - ZERO
        if expected is not None and slot != expected:
            raise Corruption("lists", f"id {ident}", f"there is no slot {expected} before slot {slot}")
        expected = slot + 1
        yield slot, value
