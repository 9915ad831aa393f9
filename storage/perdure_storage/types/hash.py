"""Hashes: fields with values, each with an expiry of its own if wanted.

Rows of table HASHES: key `(id u64, field)`, content `(expire u64 ms, value)`. Effects HASH_PUT and HASH_DEL.
Field expiries are kept in a heap beside the dict; a stale item there only makes the sweep look once for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from perdure_storage.effects import HASH_DEL, HASH_PUT
from perdure_storage.tables import HASHES, Rows, Snapshot, Table, element_key, split_key, with_key
from perdure_storage.types.cold import Cold
from perdure_storage.types.entry import ELEMENT_COST, Collection, Element, Kind, LoadSteps
from perdure_storage.types.order import Order

if TYPE_CHECKING:
    from perdure_storage.keyspace import Keyspace

EXPIRE: Final = Struct("<Q")
ID: Final = Struct(">Q")


def field_content_in_python(field: bytes, expire: int, value: bytes) -> bytes:
    """Content of a row of HASHES."""
    return with_key(field, EXPIRE.pack(expire) + value)


try:  # the same in C
    from perdure_storage._fast import field_content as field_content
except ImportError:
    field_content = field_content_in_python


def fold_put(rows: list[Rows], ident: int, *triples: Any) -> None:
    """HASH_PUT as row changes."""
    table = rows[HASHES]
    for at in range(0, len(triples), 3):
        triple = triples[at : at + 3]
        field, value, expire = triple
        table[element_key(ident, field)] = field_content(field, expire, value)


def fold_del(rows: list[Rows], ident: int, *fields: bytes) -> None:
    """HASH_DEL as row changes."""
    table = rows[HASHES]
    for field in fields:
        table[element_key(ident, field)] = None


def replay_put(value: Hash, *triples: bytes | int) -> None:
    """HASH_PUT on a value in memory."""
    flat = iter(triples)
    for field, content, expire in zip(flat, flat, flat, strict=True):
        assert isinstance(field, bytes) and isinstance(content, bytes) and isinstance(expire, int)
        value.set(field, content, expire)


def replay_del(value: Hash, *fields: bytes) -> None:
    """HASH_DEL on a value in memory."""
    for field in fields:
        value.delete(field)


class Hash(Collection):
    """`fields` is None until loaded. REQUIRES for all but the record: `loaded`.

    `order` is there from the first time that one is needed. `wide` remembers, while in memory, that the hash was once
    beyond the limits of a listpack: Redis never turns back.
    """

    __slots__ = ("_expiries", "fields", "order", "ttl", "wide")
    kind = Kind.HASH.value
    type_name = "hash"
    folds = {HASH_PUT: fold_put, HASH_DEL: fold_del}
    replays = {HASH_PUT: replay_put, HASH_DEL: replay_del}


    def __init__(self, db: Keyspace, key: bytes, lsn: int, expire: int, ident: int, *, new: bool = True) -> None:
        super().__init__(db, key, lsn, expire, ident, new=new)
        self.fields: dict[bytes, bytes] | None = {} if new else None
        self.ttl: dict[bytes, int] = {}
        self.order: Order | None = None
        self.wide = False
        self._expiries: list[tuple[int, bytes]] = []

    @property
    def loaded(self) -> bool:
        return self.fields is not None

    def contents(self) -> list[Any]:
        order = self.order
        ordered = [order.names, order.gone] if order is not None else []
        return [self.fields or {}, self.ttl, self._expiries, *ordered]

    @property
    def values(self) -> dict[bytes, bytes]:
        """The fields, for reading only."""
        assert self.fields is not None
        return self.fields

    def set(self, field: bytes, value: bytes, expire: int = 0) -> bool:
        """Give `field` this value and expiry (0: none). True when the field is new."""
        fields = self.fields
        assert fields is not None
        old = fields.get(field)
        fields[field] = value
        if expire or self.ttl:
            self._set_ttl(field, expire)
        db = self.db
        if old is None:
            self.size += 1
            if self.order is not None:
                self.order.add(field)
            weight = ELEMENT_COST + len(field) + len(value)
        else:
            if len(old) > db.ds.limits.hash_max_listpack_value:
                self.wide = True
            weight = len(value) - len(old)
        db.change(self, weight).append((HASH_PUT, self.id, field, value, expire))
        return old is None

    def expire_field(self, field: bytes, expire: int) -> None:
        """Set or clear (0) the expiry of a field that exists."""
        self._set_ttl(field, expire)
        self.touch().effects.append((HASH_PUT, self.id, field, self.values[field], expire))

    def delete(self, field: bytes) -> bool:
        """Remove a field; True when it was there. The caller drops the key when the hash is empty (`Keyspace.settle`)."""
        old = self.values.pop(field, None)
        if old is None:
            return False
        self.ttl.pop(field, None)
        if not self.wide:
            limits = self.db.ds.limits
            longest = limits.hash_max_listpack_value
            self.wide = self.size > limits.hash_max_listpack_entries or len(field) > longest or len(old) > longest
        self.size -= 1
        if self.order is not None:
            self.order.drop(field)
        self.touch().effects.append((HASH_DEL, self.id, field))
        self.grow(-ELEMENT_COST - len(field) - len(old))
        return True

    def ordered(self) -> Order:
        """The fields in an order: see `Order`. O(n) the first time."""
        order = self.order
        if order is None:
            order = self.order = Order(self.values, self.db.ds.random)
            self.grow(8 * self.size)
        return order

    def encoding(self) -> str:
        limits = self.db.ds.limits
        if self.wide or self.size > limits.hash_max_listpack_entries:
            return "hashtable"
        if not self.loaded:
            self.load(self.db.ds.snapshot)
        longest = limits.hash_max_listpack_value
        long = any(len(field) > longest or len(value) > longest for field, value in self.values.items())
        return "hashtable" if long else "listpack"

    def copy(self, target: Keyspace, key: bytes) -> None:
        made = target.create(Hash, key)
        made.expire = self.expire
        target.expires += 1 if self.expire else 0
        ttl = self.ttl
        for field, value in self.values.items():
            made.set(field, value, ttl.get(field, 0))
        made.wide = self.wide

    def _set_ttl(self, field: bytes, expire: int) -> None:
        if expire:
            self.ttl[field] = expire
            heappush(self._expiries, (expire, field))
        else:
            self.ttl.pop(field, None)

    def field_due(self) -> int:
        """The earliest field expiry (0: none)."""
        heap = self._expiries
        while heap and self.ttl.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else 0

    def next_due(self) -> int:
        due = self.field_due() if self.loaded else self.logged_due  # unloaded: early at worst, and the sweep puts it right
        return min(due, self.expire) if due and self.expire else due or self.expire

    def expired_fields(self, now: int, limit: int) -> list[bytes]:
        """Up to `limit` fields whose time has come; the caller deletes them."""
        found: list[bytes] = []
        heap = self._expiries
        while heap and heap[0][0] <= now and len(found) < limit:
            expire, field = heappop(heap)
            if self.ttl.get(field) == expire:
                found.append(field)
        return found

    def load_steps(self, snapshot: Snapshot, rows_per_step: int) -> LoadSteps:
        return self._load_steps(snapshot, rows_per_step)

    def _load_steps(self, snapshot: Snapshot, rows_per_step: int) -> Iterator[None]:
        fields: dict[bytes, bytes] = {}
        expiring: list[tuple[bytes, int]] = []
        weight = 0
        for number, (field, value, expire) in enumerate(self.stored(snapshot, self.id), 1):
            fields[field] = value
            if expire:
                expiring.append((field, expire))
            weight += ELEMENT_COST + len(field) + len(value)
            if number % rows_per_step == 0:
                yield
        if self.loaded:
            return  # it has been loaded meanwhile, and perhaps changed
        self.fields = fields
        for field, expire in expiring:
            self._set_ttl(field, expire)
        self.size = len(fields)
        self.came_in(weight)

    def cold(self) -> Cold[bytes]:
        """The fields, one at a time. REQUIRES: not loaded."""
        ds = self.db.ds
        now = 0 if ds.keep_expired else ds.now

        def read(content: bytes) -> bytes | None:
            return None if 0 < EXPIRE.unpack_from(content)[0] <= now else content[EXPIRE.size :]

        return Cold(self, HASHES, read)

    tables = (HASHES,)
    expire_at = 2

    def elements(self) -> Iterator[Element]:
        ttl = self.ttl
        return ((field, value, ttl.get(field, 0)) for field, value in self.values.items())

    @staticmethod
    def stored(snapshot: Snapshot, ident: int) -> Iterator[Element]:
        for row_key, content in snapshot.scan(HASHES, ID.pack(ident), ID.pack(ident + 1)):
            field, content = split_key(ID.size, row_key, content)
            yield field, content[EXPIRE.size :], EXPIRE.unpack_from(content)[0]

    @staticmethod
    def plain(elements: Iterator[Element]) -> dict[str, Any]:
        fields, expiries = {}, {}
        for field, value, expire in elements:
            fields[field] = value
            if expire:
                expiries[field] = expire
        return {"value": fields, "field_expire_ms": expiries} if expiries else {"value": fields}

    @staticmethod
    def weigh_row(table: Table, row_key: bytes, content: bytes) -> int:
        EXPIRE.unpack_from(split_key(ID.size, row_key, content)[1])
        return 1
