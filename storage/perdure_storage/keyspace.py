"""The hot cache: databases in memory, in front of a snapshot of the tables.

What is true between transactions:

* A key in `hot` is what `hot` says; `GONE` there hides a row that the snapshot still has. A key not in `hot` is what
  the snapshot says, or absent when the database is `complete` (everything it holds is in `hot`).
* Entries with `lsn` > `snapshot.applied_lsn` are dirty and stay; clean ones may be dropped at any time.
* What the tables do not know yet is also listed, in order of creation, in generations (`Generation`): keys born, keys
  gone, due times. A checkpoint that has passed a generation's last LSN makes it forgettable.

A transaction is everything between two `Dataset.take` calls: handlers change entries and collect effects; nothing
here touches a file but the snapshot, or a clock: `now` and `tick` are set from outside.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from heapq import heappop, heappush, merge
from itertools import islice, repeat
from operator import itemgetter
from random import Random
from typing import Any, Final, TypeVar

from perdure_storage import events
from perdure_storage.codec import unpack
from perdure_storage.effects import (
    COUNT,
    DELETE,
    DROP_SPACE,
    EXPIRE,
    FREE,
    LIBRARY_DEL,
    LIBRARY_SET,
    PATCH,
    RECORD,
    SPACES,
    STRING,
    Effect,
)
from perdure_storage.errors import Corruption, TooLarge, WrongType
from perdure_storage.records import (
    COUNT_PREFIX,
    COUNTS,
    DUE,
    LIBRARY_PREFIX,
    SPACE,
    Record,
    decode,
    expiry_key,
    record_key,
)
from perdure_storage.tables import EXPIRIES, KEYS, MAX_RAW, META, Snapshot, bounded, split_key
from perdure_storage.types.entry import Collection, DefaultLimits, Entry, Kind, Limits
from perdure_storage.types.hash import Hash
from perdure_storage.types.list import List
from perdure_storage.types.set import Set
from perdure_storage.types.stream import Stream
from perdure_storage.types.string import INLINE_MAX, WHOLE_MAX, String, Value, load_chunks
from perdure_storage.types.zset import ZSet
from perdure_storage.wal import Log

MAX_STRING: Final = 512 << 20
BIG: Final = 1000
"""A collection of more elements is freed in slices, and loaded in steps where the caller can wait."""
SMALL: Final = 64
"""One of up to so many is not counted among those that are freed later, as with Redis."""
FREE_SLICE: Final = 500
KEPT_S: Final = 2
BULKY: Final = 4
"""A collection that takes more than this part of the memory that there is."""
FEW: Final = 1000
"""So many keys can be listed to choose one at random."""
DRAWS: Final = 8

COLLECTIONS: Final[dict[int, type[Collection]]] = {
    Kind.HASH: Hash, Kind.LIST: List, Kind.SET: Set, Kind.ZSET: ZSet, Kind.STREAM: Stream,
}  # fmt: skip
"""What keeps each kind of collection. A new type joins by being named here."""

C = TypeVar("C", bound=Collection)


class Gone:
    """Stands in `hot` for a key that was deleted while the tables still have it."""

    __slots__ = ("lsn",)
    kind = Kind.GONE.value
    expire = 0

    def __init__(self, lsn: int) -> None:
        self.lsn = lsn


class Generation:
    """What happened since some checkpoint was asked for and until the next one was: the part the tables lack."""

    __slots__ = ("born", "due", "gone", "last_lsn")

    def __init__(self) -> None:
        self.last_lsn = 0
        self.born: dict[int, Born] = {}
        self.gone: list[tuple[Keyspace, bytes, int]] = []
        self.due: list[tuple[int, int, bytes]] = []


class Keyspace:
    """One database. Methods raise WrongType, TooLarge and Corruption; keys and values are bytes, times unix ms."""

    __slots__ = ("complete", "ds", "expires", "hand", "hot", "index", "keys", "ring", "space", "used", "wants")

    def __init__(self, ds: Dataset, index: int, space: int) -> None:
        self.ds = ds
        self.index = index
        self.space = space
        self.hot: dict[bytes, Any] = {}
        self.ring: list[Any] = []
        self.hand = 0
        self.complete = False
        self.keys = 0
        self.expires = 0
        self.used = 0
        self.wants = ds.wants

    # -- telling -------------------------------------------------------------------------------------------------

    def notify(self, kind: int, event: bytes, key: bytes) -> None:
        """`event` happened to `key`: somebody may want to be told. `kind`: one of `events`' numbers."""
        if self.wants & kind:
            self.ds.events.append((event, self.index, key))

    def missed(self, key: bytes) -> None:
        """A command wanted to read a key that is not there."""
        self.ds.misses += 1
        if self.wants:
            self.notify(events.MISS, b"keymiss", key)

    # -- looking up ----------------------------------------------------------------------------------------------

    def find(self, key: bytes) -> Any:
        """The live entry of any kind, or None. A key whose time has come is deleted on the way."""
        entry = self.hot.get(key)
        if entry is None:
            if self.complete:
                return None
            entry = self._load(key)
            if entry is None:
                return None
        elif type(entry) is Gone:
            return None
        live: Entry = entry
        ds = self.ds
        if live.expire and live.expire <= ds.now and not ds.keep_expired:
            self.expire_key(live)
            return None
        live.tick = ds.tick
        return live

    def lookup(self, key: bytes) -> Any:
        """`find`, counted as a hit or a miss: for commands that read."""
        entry = self.find(key)
        if entry is None:
            self.missed(key)
        else:
            self.ds.hits += 1
        return entry

    def string(self, key: bytes) -> Value | None:
        """The string at `key`, for reading: hit or miss counted."""
        ds = self.ds
        entry = self.hot.get(key)
        if type(entry) is not String or entry.expire:
            entry = self.find(key)
            if entry is None:
                self.missed(key)
                return None
            if type(entry) is not String:
                raise WrongType
        string: String = entry
        ds.hits += 1
        string.tick = ds.tick
        return string.value

    def find_string(self, key: bytes) -> String | None:
        """The string entry at `key`, for a change that depends on it. Not counted."""
        entry = self.find(key)
        if entry is not None and type(entry) is not String:
            raise WrongType
        return entry

    def hash(self, key: bytes) -> Hash | None:
        """The hash at `key` with its fields loaded and expired ones removed, for reading."""
        entry = self.find_hash(key)
        if entry is None:
            self.missed(key)
        else:
            self.ds.hits += 1
        return entry

    def find_hash(self, key: bytes) -> Hash | None:
        """The same, not counted: for changes."""
        entry = self.find(key)
        if entry is None:
            return None
        if type(entry) is not Hash:
            raise WrongType
        if entry.fields is None:
            entry.load(self.ds.snapshot)
        if entry.ttl:
            self.purge_fields(entry, 1 << 62)
            if not entry.size:
                return None
        return entry

    def collection(self, key: bytes, kind: type[C]) -> C | None:
        """The collection of this kind at `key`, loaded, for reading: hit or miss counted. Hashes: see `hash`."""
        entry = self.find_collection(key, kind)
        if entry is None:
            self.missed(key)
        else:
            self.ds.hits += 1
        return entry

    def find_collection(self, key: bytes, kind: type[C]) -> C | None:
        """The same, not counted: for changes."""
        entry = self.hot.get(key)
        if type(entry) is kind:
            live: C = entry
            if not live.expire and live.loaded:
                live.tick = self.ds.tick
                return live
        entry = self.find(key)
        if entry is None:
            return None
        if type(entry) is not kind:
            raise WrongType
        if not entry.loaded:
            entry.load(self.ds.snapshot)
        return entry

    def few(self, key: bytes, kind: type[C]) -> Any:
        """What can be asked for a few elements of the collection at `key` by `get` and `in`: those in memory, or where it is
        large and was evicted, its rows, which then stay where they are. None: there is nothing. Hit or miss counted."""
        if not self.complete:
            large = self.find(key)
            if type(large) is kind and not large.loaded and large.size > BIG:
                self.ds.hits += 1
                return large.cold()
        entry: Any = self.hash(key) if kind is Hash else self.collection(key, kind)
        return None if entry is None else entry.values

    def size_of(self, key: bytes, kind: type[C]) -> int:
        """How many elements the collection at `key` has (0: there is none): its record is enough. Counted."""
        entry = self.lookup(key)
        if entry is None:
            return 0
        if type(entry) is not kind:
            raise WrongType
        return int(entry.size)

    def change(self, entry: Collection, weight: int) -> list[Effect]:
        """A collection changes in the open transaction and takes `weight` more bytes of memory (negative: fewer).
        Returns the transaction's effects, for what changes to be added."""
        ds = self.ds
        if entry.lsn != ds.lsn:
            entry.lsn = ds.lsn
            ds.touched.append(entry)
        entry.weight += weight
        self.used += weight
        return ds.effects

    def edit(self, key: bytes, kind: type[C]) -> C:
        """The same, made if absent. The caller must add an element to a new one."""
        entry = self.find_collection(key, kind)
        return entry if entry is not None else self.create(kind, key)

    def edit_hash(self, key: bytes) -> Hash:
        """The hash at `key`, made if absent. The caller must add a field to a new one."""
        entry = self.hot.get(key)
        if type(entry) is Hash:
            found: Hash = entry
            if found.fields is not None and not found.expire and not found.ttl:
                found.tick = self.ds.tick
                return found
        entry = self.find_hash(key)
        return entry if entry is not None else self.create(Hash, key)

    def peek(self, key: bytes) -> tuple[int, int]:
        """(kind, expire) of a live key, (0, 0) where there is none. That neither loads the key nor counts as a use."""
        entry = self.hot.get(key)
        if entry is not None:
            kind, expire = entry.kind, entry.expire
        elif self.complete or (record := self._read(key)) is None:
            return 0, 0
        else:
            kind, expire = record.kind, record.expire
        if expire and expire <= self.ds.now and not self.ds.keep_expired:
            self.find(key)  # which deletes it
            return 0, 0
        return kind, expire

    # -- changing ------------------------------------------------------------------------------------------------

    def set_string(self, key: bytes, value: Value, expire: int = 0) -> None:
        """Make the string `value` (not copied) the value of `key`, whatever was there."""
        if len(value) > MAX_STRING:
            raise TooLarge
        if self.wants:
            self.find(key)  # its time may have come, and that is to be told first
        ds = self.ds
        entry = self.hot.get(key)
        if entry is None and not self.complete:
            entry = self._load(key)
        if type(entry) is String:
            string: String = entry
            due = string.expire
            self.used += len(value) - len(string.value)
            string.value = value
            string.expire = expire
            string.lsn = ds.lsn
            string.tick = ds.tick
            if string.id:
                ds.effects.append((FREE, string.id, Kind.CHUNKED.value))
                string.id = 0
            if (due == 0) != (expire == 0):
                self.expires += 1 if expire else -1
                ds.counted.add(self)
        else:
            if entry is not None and entry.kind != 0:
                self.remove(entry)
            elif self.wants:
                self.notify(events.NEW, b"new", key)
            due = 0
            string = String(self, key, ds.lsn, expire, 0, value)
            self._insert(string)
        if len(value) > INLINE_MAX:
            string.id = ds.new_id()
        if expire and expire != due:
            heappush(ds.young.due, (expire, self.space, key))
        ds.effects.append((STRING, self.space, key, value, expire, due, string.id))

    def replace_string(self, entry: String, value: bytes) -> None:
        """Another value for a live string, its expiry kept: `set_string` without looking again."""
        if entry.id or len(value) > INLINE_MAX:
            self.set_string(entry.key, value, entry.expire)
            return
        ds = self.ds
        self.used += len(value) - len(entry.value)
        entry.value = value
        entry.lsn = ds.lsn
        expire = entry.expire
        ds.effects.append((STRING, self.space, entry.key, value, expire, expire, 0))

    def patch_string(self, entry: String, offset: int, data: Value) -> None:
        """Overwrite part of a string, filling with zeros up to `offset`; logs the part where that is shorter."""
        if offset + len(data) > MAX_STRING:
            raise TooLarge
        ds = self.ds
        value = entry.value
        before = len(value)
        size = max(before, offset + len(data))
        if size > INLINE_MAX and not entry.id:  # it outgrows its record: what there is goes into chunks first
            entry.id = ds.new_id()
            ds.effects.append((STRING, self.space, entry.key, bytes(value), entry.expire, entry.expire, entry.id))
        if type(value) is not bytearray:
            value = entry.value = bytearray(value)
        if offset > before:
            value.extend(bytes(offset - before))
        value[offset : offset + len(data)] = data
        self.used += size - before
        entry.lsn = ds.lsn
        if size <= WHOLE_MAX:
            ds.effects.append((STRING, self.space, entry.key, bytes(value), entry.expire, entry.expire, 0))
        else:
            ds.effects.append((PATCH, self.space, entry.key, entry.id, offset, bytes(data), size))

    def write_string(self, key: bytes, entry: String | None, offset: int, data: Value) -> int:
        """`patch_string` of what `find_string(key)` gave, the string made if there was none. Returns the new length."""
        if entry is None:
            if offset + len(data) <= WHOLE_MAX:
                self.set_string(key, bytes(offset) + data)
                self.hot[key].value = bytearray(offset) + data
                return offset + len(data)
            if offset + len(data) > MAX_STRING:
                raise TooLarge
            self.set_string(key, b"")
            entry = self.hot[key]
            assert type(entry) is String
        self.patch_string(entry, offset, data)
        return len(entry.value)

    def create(self, kind: type[C], key: bytes, *, replacing: bool = False) -> C:
        """A new, empty collection at a free key. REQUIRES: at least one element is added in this transaction, or it is
        a stream whose beginning is logged. `replacing`: what was there was deleted for it, so the key is not new."""
        entry = kind(self, key, 0, 0, self.ds.new_id())
        self._insert(entry)
        if self.wants and not replacing:
            self.notify(events.NEW, b"new", key)
        return entry

    def set_expire(self, entry: Entry, expire: int) -> None:
        """Let the key expire at `expire` (0: never)."""
        ds = self.ds
        old = entry.expire
        entry.expire = expire
        if (old == 0) != (expire == 0):
            self.expires += 1 if expire else -1
            ds.counted.add(self)
        if isinstance(entry, Collection):
            entry.touch()
            ds.effects.append((COUNT, self.space, self.keys, self.expires))  # dispatch asks for effects only
            return
        entry.lsn = ds.lsn
        if expire:
            heappush(ds.young.due, (expire, self.space, entry.key))
        ds.effects.append((EXPIRE, self.space, entry.key, expire, old))

    def remove(self, entry: Any) -> None:
        """Delete a key: O(1) for the log and the tables, whatever its size."""
        self._detach(entry)
        kind = entry.kind
        if entry.id and kind == Kind.STRING:
            kind = Kind.CHUNKED
        self.ds.effects.append((DELETE, self.space, entry.key, entry.due, entry.id, int(kind)))
        self.ds.discard(entry)

    def delete(self, key: bytes) -> bool:
        """Delete the key, whatever it is, without reading what it holds; False when there is none."""
        entry = self.hot.get(key)
        if entry is None:
            record = None if self.complete else self._read(key)
            if record is None:
                return False
            entry = self._admit(key, record._replace(size=0) if record.kind == Kind.CHUNKED else record)
        elif not entry.kind:
            return False
        if entry.expire and entry.expire <= self.ds.now and not self.ds.keep_expired:
            self.expire_key(entry)
            return False
        self.remove(entry)
        return True

    def settle(self, entry: Collection) -> None:
        """After elements were taken away: delete the key if none is left."""
        if not entry.size:
            self.drop(entry)

    def drop(self, entry: Any) -> None:
        """`remove`, and say so."""
        self.remove(entry)
        if self.wants:
            self.notify(events.GENERIC, b"del", entry.key)

    def move(self, entry: Any, target: Keyspace, new_key: bytes) -> None:
        """Give the entry another name, or another database. REQUIRES: nothing is at the new place."""
        ds = self.ds
        old_due, expire = entry.due, entry.expire
        if isinstance(entry, Collection) and not entry.loaded and entry.logged_due != expire:
            entry.load(ds.snapshot)  # only its fields can tell when they are due
        self._detach(entry)
        ds.effects.append((DELETE, self.space, entry.key, old_due, 0, 0))
        if target.wants:
            target.notify(events.NEW, b"new", new_key)
        if isinstance(entry, Collection):
            moved: Any = entry
            moved.db, moved.key = target, new_key
            moved.logged_due = 0
            moved.lsn = 0
            target._insert(moved)
            moved.touch()
            return
        moved = String(target, new_key, ds.lsn, expire, entry.id, entry.value)
        target._insert(moved)
        if expire:
            heappush(ds.young.due, (expire, target.space, new_key))
        if moved.id:
            size = len(moved.value)
            ds.effects.append(
                (RECORD, target.space, new_key, int(Kind.CHUNKED), moved.id, size, expire, expire, 0)
            )
        else:
            ds.effects.append((STRING, target.space, new_key, moved.value, expire, 0, 0))

    def expire_key(self, entry: Any) -> None:
        """The key's time has come: lazy access and sweep both end here."""
        if self.ds.hold_expired:
            return
        self.remove(entry)
        self.ds.expired_keys += 1
        if self.wants:
            self.notify(events.EXPIRED, b"expired", entry.key)

    def purge_fields(self, entry: Hash, limit: int) -> int:
        """Remove up to `limit` expired fields, and the key with the last of them; returns how many."""
        if self.ds.keep_expired:
            return 0
        expired = entry.expired_fields(self.ds.now, limit)
        for field in expired:
            entry.delete(field)
        if expired:
            self.ds.expired_fields += len(expired)
            if self.wants:
                self.notify(events.HASH, b"hexpired", entry.key)
            self.settle(entry)
        return len(expired)

    def clear(self) -> None:
        """Delete every key, O(1): the database points to a new, empty space from now on."""
        ds = self.ds
        old = self.space
        for entry in ds.touched:  # one made in this transaction has no RECORD, and is not found through the space
            if self.hot.get(entry.key) is entry:
                ds.effects.append((DELETE, old, entry.key, entry.due, entry.id, int(entry.kind)))
        ds.trash.append(self.hot)
        ds.trash.append(self.ring)
        ds.discarded += len(self.hot)
        ds.spaces.pop(old, None)
        self.space = ds.new_space()
        ds.spaces[self.space] = self
        self.hot, self.ring, self.hand, self.used = {}, [], 0, 0
        self.complete = True
        self.keys = self.expires = 0
        ds.counted.add(self)
        ds.effects.append((DROP_SPACE, old))
        ds.log_spaces()

    # -- walking -------------------------------------------------------------------------------------------------

    def scan(self, prefix: bytes = b"") -> Iterator[tuple[bytes, int]]:
        """(key, kind) of live keys that start with `prefix`, in row-key order.

        REQUIRES: nothing changes while the iterator is in use.
        """
        for _, key, kind in self._walk(b"", prefix):
            if kind:
                yield key, kind

    def scan_page(self, after: bytes, prefix: bytes, limit: int) -> tuple[bytes, list[tuple[bytes, int]]]:
        """(position, live keys with their kinds): up to `limit` rows are looked at, from behind position `after` on.

        The position is b"" at the end, as it is for the start. It is a place in the order of keys, not a promise that
        a key is there: whatever happens meanwhile, going on from it misses no key that was there all the time.
        """
        found: list[tuple[bytes, int]] = []
        for position, key, kind in self._walk(after, prefix):
            if kind:
                found.append((key, kind))
            limit -= 1
            if limit <= 0 and position:  # the empty key's position would say that this is the end
                return position, found
        return b"", found

    def _walk(self, after: bytes, prefix: bytes) -> Iterator[tuple[bytes, bytes, int]]:
        """(position, key, kind) of everything behind `after`; kind 0 for what is dead but still in the way."""
        hot, now = self.hot, self.ds.now
        for position, key, content in self.rows(after, prefix):
            entry = hot.get(key)
            if entry is not None:
                kind, expire = entry.kind, entry.expire
            elif content is not None:
                kind, expire = content[0], int.from_bytes(content[1:9], "little")
            else:
                continue
            if (expire and expire <= now) or not key.startswith(prefix):
                kind = 0
            yield position, key, kind

    def rows(self, after: bytes, prefix: bytes) -> Iterator[tuple[bytes, bytes, bytes | None]]:
        """(position, key, record) of all keys that the snapshot or a generation knows, alive or not, behind `after`.

        `position` is the row key without the space. The record is missing for a key that is too new for the tables.
        """
        head, prefix = SPACE.pack(self.space), prefix[:MAX_RAW]
        start, stop = max(after, prefix), _after_prefix(prefix)
        rows: Iterator[tuple[bytes, bytes | None]]
        rows = _inside_space(self.ds.snapshot.scan(KEYS, head + start, _after_prefix(head + prefix)))
        fresh = self.ds.born_keys(self.space)
        runs = [run for born in fresh for run in born.between(start, stop)]
        if runs:
            rows = merge(rows, *(zip(run, repeat(None), strict=False) for run in runs), key=_first)
        last = after or None  # the empty key is at position b"", where one begins
        for position, content in rows:
            if position == last:
                continue
            last = position
            if content is not None:
                yield position, *split_key(0, position, content)
            elif len(position) <= MAX_RAW:
                yield position, position, None
            else:
                yield position, next(born.long[position] for born in fresh if position in born.long), None

    def random_key(self, random: Random) -> bytes | None:
        """Some live key; None when there is none. Each is as likely when all are in memory, or few; else about so."""
        for _ in range(100):
            if not self.complete and self.keys > FEW:
                found = self._random_row(random)
                if found is not None and self.find(found) is not None:
                    return found
            elif self.complete and self.ring:
                key: bytes = random.choice(self.ring).key
                if self.find(key) is not None:
                    return key
            else:
                break
        names = [key for key, _ in self.scan()]
        return random.choice(names) if names else None

    def _random_row(self, random: Random) -> bytes | None:
        """A key of memory or of the tables, in proportion.

        Tables cannot count their way to the n-th row. So several rows are drawn by `_descend`, which prefers keys that
        are unlike the others, and one of them is chosen with a weight that makes up for that: nearly even.
        """
        if self.ring and random.random() < len(self.hot) / max(1, self.keys):
            key: bytes = random.choice(self.ring).key
            return key
        drawn = [found for _ in range(DRAWS) if (found := self._descend(random)) is not None]
        if not drawn:
            return None
        ((row_key, _),) = random.choices(drawn, [1 / chance for _, chance in drawn])
        return decode(row_key, self.ds.snapshot.get(KEYS, row_key) or b"")[0]

    def _descend(self, random: Random) -> tuple[bytes, float] | None:
        """(row key, its chance to be drawn): at each byte where keys differ, a random one of those in between."""
        snapshot = self.ds.snapshot
        place, chance = SPACE.pack(self.space), 1.0
        while True:
            end = _after_prefix(place)
            assert end is not None
            low = [row_key for row_key, _ in islice(snapshot.scan(KEYS, place, end), 2)]
            if not low:
                return None
            last = next(row_key for row_key, _ in snapshot.scan_back(KEYS, end) if row_key < end)
            if low[0] == last:
                return last, chance
            common = next((at for at, byte in enumerate(low[0]) if byte != last[at]), len(low[0]))
            ends = len(low[0]) == common  # the first key is all that they have in common: another choice
            bottom = low[ends][common]
            width = last[common] - bottom + 1 + ends
            pick = random.randint(bottom - ends, last[common])
            if pick < bottom:
                return low[0], chance / width
            found = next(snapshot.scan(KEYS, last[:common] + bytes((pick,)), end))[0]
            back = snapshot.scan_back(KEYS, found[: common + 1])
            before = next((row_key for row_key, _ in back if row_key < found), b"")
            previous = before[common] if before >= low[ends] else bottom - 1
            chance *= (found[common] - previous) / width
            place = found[: common + 1]

    # -- inside --------------------------------------------------------------------------------------------------

    def _insert(self, entry: Any) -> None:
        """A key that was not there comes to be."""
        ds = self.ds
        key = entry.key
        self.hot[key] = entry
        self._enter(entry)
        self.used += entry.cost()
        self.keys += 1
        if entry.expire:
            self.expires += 1
        ds.counted.add(self)
        born = ds.young.born.get(self.space)
        if born is None:
            born = ds.young.born[self.space] = Born()
        born.fresh.append(key)

    def _detach(self, entry: Any) -> None:
        """A key that was there is no more; a tombstone hides its row."""
        ds = self.ds
        key = entry.key
        self.hot[key] = Gone(ds.lsn)
        self._leave(entry)
        ds.young.gone.append((self, key, ds.lsn))
        self.used -= entry.cost()
        self.keys -= 1
        if entry.expire:
            self.expires -= 1
        ds.counted.add(self)

    def _enter(self, entry: Entry) -> None:
        """Into the ring, which holds what `hot` holds, in the order of a clock."""
        entry.ring_at = len(self.ring)
        self.ring.append(entry)

    def _leave(self, entry: Entry) -> None:
        """Out of the ring: the last one takes the place."""
        last = self.ring.pop()
        if last is not entry:
            self.ring[entry.ring_at] = last
            last.ring_at = entry.ring_at

    def load_record(self, key: bytes) -> Any:
        """`_load` for the sweep: the chunks of a long string that is due are not read."""
        return self._load(key, whole=False)

    def _read(self, key: bytes) -> Record | None:
        """The key's record in the tables."""
        row_key = record_key(self.space, key)
        content = self.ds.snapshot.get(KEYS, row_key)
        if content is None:
            return None
        stored_key, record = decode(row_key, content)
        if stored_key != key:
            raise Corruption("keys", row_key.hex(), "two long keys share a digest")
        return record

    def _load(self, key: bytes, whole: bool = True) -> Any:
        """Bring a key from the tables into memory: a string whole, a collection as its record only."""
        ds = self.ds
        record = self._read(key)
        if record is None:
            return None
        if record.kind == Kind.CHUNKED and not whole and 0 < record.expire <= ds.now:
            record = record._replace(size=0)
        ds.loads += 1
        return self._admit(key, record)

    def _admit(self, key: bytes, record: Record) -> Any:
        """Have in memory what the tables say of a key."""
        entry = self._entry(key, record)
        self.hot[key] = entry
        self._enter(entry)
        self.used += entry.cost()
        return entry

    def _entry(self, key: bytes, record: Record) -> Any:
        if record.kind == Kind.STRING:
            return String(self, key, 0, record.expire, 0, record.value)
        if record.kind == Kind.CHUNKED:
            value = load_chunks(self.ds.snapshot, record.id, record.size)
            if len(value) != record.size:
                raise Corruption("strings", f"id {record.id}", f"{len(value)} bytes where {record.size} belong")
            return String(self, key, 0, record.expire, record.id, value)
        entry = COLLECTIONS[record.kind](self, key, 0, record.expire, record.id, new=False)
        entry.size = record.size
        entry.logged_due = record.due
        return entry


class Born:
    """Keys of one space that were created in one generation, so that the tables may lack them.

    Sorted only when somebody scans, into runs each at least twice as long as the next: a key is sorted again O(log n)
    times, however the scans and the creations mix. Positions are row keys without the space.
    """

    __slots__ = ("_runs", "fresh", "long")

    def __init__(self) -> None:
        self.fresh: list[bytes] = []
        self.long: dict[bytes, bytes] = {}
        self._runs: list[list[bytes]] = []

    def between(self, start: bytes, stop: bytes | None) -> list[Iterator[bytes]]:
        """The positions with start <= position < stop, as sorted iterators."""
        runs = self._runs
        if self.fresh:
            fresh, self.fresh = self.fresh, []
            for at, key in enumerate(fresh):
                if len(key) > MAX_RAW:
                    fresh[at] = position = bounded(b"", key)
                    self.long[position] = key
            fresh.sort()
            runs.append(fresh)
            while len(runs) > 1 and len(runs[-2]) < 2 * len(runs[-1]):
                runs[-2].extend(runs.pop())
                runs[-1].sort()
        found: list[Iterator[bytes]] = []
        for run in runs:
            low = bisect_left(run, start)
            high = len(run) if stop is None else bisect_left(run, stop, low)
            if low < high:
                found.append(map(run.__getitem__, range(low, high)))  # islice would count its way to `low`
        return found


class Dataset:
    """All databases of one directory, the open transaction, and the snapshot behind them.

    At least `databases` of them: those that the directory knows are never fewer than it had.

    `now` (unix ms) and `tick` (LRU clock) are set by the owner before commands run, `random` and `limits` once; `scans`
    is the owner's: open cursors. `lsn` is the one that the open transaction will get.
    """

    def __init__(self, snapshot: Snapshot, databases: int) -> None:
        self.now = 0
        self.tick = 0
        self.hits = self.misses = self.loads = 0
        self.expired_keys = self.expired_fields = self.evicted_keys = self.dropped = 0
        self.discarded = 0
        """Objects of which something is freed later: in memory, or just their rows."""
        self.keep_expired = False
        self.hold_expired = False
        """While nothing may change: keys whose time has come are not there, but stay."""
        self.wants = 0
        self.random = Random()
        self.limits: Limits = DefaultLimits()
        self.scans: Any = None
        self.databases: list[Keyspace] = [Keyspace(self, index, 0) for index in range(databases)]
        self.loading: set[Collection] = set()
        """Whose elements are being read in steps: these stay."""
        self.trash: list[Any] = []
        self.tombs: list[list[tuple[Keyspace, bytes, int]]] = []
        self._begin(snapshot)

    def restart(self, snapshot: Snapshot) -> None:
        """Forget everything in memory; what `snapshot` says counts. Databases stay the same objects."""
        self.snapshot.close()
        for db in self.databases:
            self.trash += [db.hot, db.ring]
        self._begin(snapshot)

    def _begin(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.lsn = snapshot.applied_lsn + 1
        self.emptied_lsn = 0
        self.effects: list[Effect] = []
        self.events: list[events.Event] = []
        self.touched: list[Collection] = []
        self.counted: set[Keyspace] = set()
        self.young = Generation()
        self.aging: list[Generation] = []
        self.tombs = []
        self._read_meta()

    def _read_meta(self) -> None:
        get = self.snapshot.get
        raw_id, raw_space, raw_spaces = (get(META, name) for name in (b"next_id", b"next_space", b"spaces"))
        self.next_id = int.from_bytes(raw_id, "big") if raw_id else 1
        self.next_space = int.from_bytes(raw_space, "big") if raw_space else 1
        spaces: list[int] = list(unpack(raw_spaces)) if raw_spaces else []
        self.databases += [Keyspace(self, index, 0) for index in range(len(self.databases), len(spaces))]
        known = len(spaces)
        spaces += [self.new_space() for _ in self.databases[known:]]
        self.spaces: dict[int, Keyspace] = {}
        for index, (db, space) in enumerate(zip(self.databases, spaces, strict=True)):
            db.index, db.space = index, space
            counts = get(META, COUNT_PREFIX + SPACE.pack(space))
            db.keys, db.expires = COUNTS.unpack(counts) if counts else (0, 0)
            db.hot, db.ring, db.hand, db.used = {}, [], 0, 0
            db.complete = not db.keys
            self.spaces[space] = db
        if known < len(spaces):
            self.log_spaces()
        rows = self.snapshot.scan(META, LIBRARY_PREFIX, LIBRARY_PREFIX[:-1] + b"\1")
        self.libraries: dict[bytes, bytes] = dict(split_key(len(LIBRARY_PREFIX), *row) for row in rows)

    def listen(self, kinds: int) -> None:
        """Collect events of these kinds from now on (see `perdure_storage.events`), 0: none."""
        self.wants = kinds
        for db in self.databases:
            db.wants = kinds

    # -- transactions --------------------------------------------------------------------------------------------

    def new_id(self) -> int:
        ident = self.next_id
        self.next_id = ident + 1
        return ident

    def new_space(self) -> int:
        space = self.next_space
        self.next_space = space + 1
        return space

    def log_spaces(self) -> None:
        """The open transaction states which space each database is."""
        self.effects.append((SPACES, *(db.space for db in self.databases)))

    def swap(self, first: int, second: int) -> None:
        """SWAPDB: two databases change places, O(1)."""
        dbs = self.databases
        dbs[first], dbs[second] = dbs[second], dbs[first]
        dbs[first].index, dbs[second].index = first, second
        self.log_spaces()

    # -- libraries of functions ----------------------------------------------------------------------------------

    def set_library(self, name: bytes, code: bytes) -> None:
        """Keep this code as the library `name`. What it means is for others to know."""
        self.libraries[name] = code
        self.effects.append((LIBRARY_SET, name, code))

    def drop_libraries(self, *names: bytes) -> None:
        """Keep these libraries no longer. REQUIRES: at least one."""
        for name in names:
            self.libraries.pop(name, None)
        self.effects.append((LIBRARY_DEL, *names))

    # -- the end of a transaction --------------------------------------------------------------------------------

    def seal(self) -> list[Effect]:
        """Complete the open transaction's effects (records of touched collections, counts). Empty: nothing changed."""
        effects = self.effects
        if self.touched:
            for entry in self.touched:
                db = entry.db
                if db.hot.get(entry.key) is not entry:
                    continue
                due = entry.next_due()
                old = entry.logged_due
                effects.append(
                    (RECORD, db.space, entry.key, entry.kind, entry.id, entry.size, entry.expire, due, old)
                )
                if due != old:
                    entry.logged_due = due
                    if due:
                        heappush(self.young.due, (due, db.space, entry.key))
            self.touched.clear()
        if self.counted:
            for db in self.counted:
                effects.append((COUNT, db.space, db.keys, db.expires))
            self.counted.clear()
        return effects

    def commit(self, log: Log) -> int:
        """Append the open transaction to the log; returns its LSN, or the last one when nothing changed.

        Raises what `Log.append` raises; the transaction is then still open.
        """
        if self.touched or self.counted:
            self.seal()
        effects = self.effects
        if not effects:
            return self.lsn - 1
        lsn = log.append(effects)
        effects.clear()
        self.lsn = lsn + 1
        return lsn

    def next_transaction(self, lsn: int) -> None:
        """The sealed effects are in the log; the next transaction will get `lsn`."""
        self.effects.clear()
        self.lsn = lsn

    # -- generations: what the tables do not know yet ---------------------------------------------------------------

    def close_generation(self) -> None:
        """A checkpoint up to the present end of the log is being asked for, maybe within a transaction (BGSAVE in MULTI), of
        which it will know nothing."""
        young = self.young
        young.last_lsn = self.lsn if self.effects or self.touched else self.lsn - 1
        self.aging.append(young)
        self.young = Generation()

    def renew(self, snapshot: Snapshot) -> None:
        """The tables have moved on to `snapshot`: forget what they now know."""
        self.snapshot.close()
        self.snapshot = snapshot
        applied = snapshot.applied_lsn
        while self.aging and self.aging[0].last_lsn <= applied:
            generation = self.aging.pop(0)
            due = generation.due
            while due and due[0][0] <= self.now:  # not swept yet: the sweep's position in the table may be past it
                heappush(self.young.due, heappop(due))
            self.tombs.append(generation.gone)  # they do no harm until `free_some` comes to them
            self.trash.append(due)
            self.trash.extend(born.fresh for born in generation.born.values())

    def born_keys(self, space: int) -> list[Born]:
        """Keys of a space that may be missing in the snapshot."""
        return [born for g in (*self.aging, self.young) if (born := g.born.get(space)) is not None]

    def due_entries(self) -> Iterator[tuple[int, int, bytes]]:
        """Pop what is due by `now` and not in the tables yet: (due, space, key). Stale items come too."""
        for generation in (*self.aging, self.young):
            heap = generation.due
            while heap and heap[0][0] <= self.now:
                yield heappop(heap)

    @property
    def used(self) -> int:
        """Estimated bytes of memory that entries take."""
        return sum(db.used for db in self.databases)

    # -- memory --------------------------------------------------------------------------------------------------

    def discard(self, entry: Any) -> None:
        """A large value is freed later, in slices."""
        if isinstance(entry, Collection) and entry.size > SMALL:
            self.discarded += 1
            if entry.size > BIG:
                self.trash.extend(entry.contents())

    def free_some(self) -> bool:
        """Free a slice of what was thrown away, then of tombstones that hide nothing any more; True when there is more."""
        trash = self.trash
        if not trash:
            return self._free_tombs()
        last = trash[-1]
        if isinstance(last, list):
            del last[-FREE_SLICE:]
        else:
            for _ in range(min(FREE_SLICE, len(last))):
                last.popitem()
        if not last:
            trash.pop()
        return bool(trash or self.tombs)

    def _free_tombs(self) -> bool:
        """Forget some deleted keys that the tables have forgotten too."""
        tombs = self.tombs
        if not tombs:
            return False
        gone = tombs[-1]
        for _ in range(min(FREE_SLICE, len(gone))):
            db, key, lsn = gone.pop()
            entry = db.hot.get(key)
            if type(entry) is Gone and entry.lsn == lsn:
                del db.hot[key]
        if not gone:
            tombs.pop()
        return bool(tombs)

    def evict(self, goal: int, limit: int) -> bool:
        """Drop clean entries, the longest unused first (CLOCK), until `used` <= goal or `limit` were looked at.

        Nothing is lost by it: the tables have them. True when the goal was reached, but for collections that take much of
        it alone and were just used: they stay for KEPT_S, since it takes long to load them for each command anew.
        """
        applied = self.snapshot.applied_lsn
        kept: set[bytes] = set()
        looked = 0
        excess = self.used - goal
        for db in sorted(self.databases, key=lambda d: -len(d.ring)):
            ring = db.ring
            rounds = 2 * len(ring)
            while ring and excess > 0 and looked < limit and rounds:
                looked += 1
                rounds -= 1
                hand = db.hand if db.hand < len(ring) else 0
                entry = ring[hand]
                if entry in self.loading:
                    hand += 1
                elif 0 <= self.tick - entry.tick <= KEPT_S and self._is_bulky(entry, goal):
                    if entry.lsn <= applied and entry.key not in kept:
                        kept.add(entry.key)
                        excess -= entry.cost()
                    hand += 1
                elif entry.lsn > applied or entry.tick >= self.tick:
                    entry.tick = min(entry.tick, self.tick) - 1  # what an LFU policy left may be far ahead
                    hand += 1
                else:
                    del db.hot[entry.key]
                    db.complete = False
                    cost = entry.cost()
                    db.used -= cost
                    excess -= cost
                    self.dropped += 1
                    db._leave(entry)
                db.hand = hand
        return excess <= 0

    def _is_bulky(self, entry: Any, goal: int) -> bool:
        return 0 < goal < BULKY * entry.cost() and isinstance(entry, Collection) and entry.size > BIG


_first: Final = itemgetter(0)


def _inside_space(rows: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes | None]]:
    """Rows without the space in their keys.

    A function of its own: a compiled generator expression to which `merge` has delegated cannot be closed with it, and
    every walk that ended early would complain of that on stderr.
    """
    for row_key, content in rows:
        yield row_key[SPACE.size :], content


def _after_prefix(prefix: bytes) -> bytes | None:
    """The first byte string behind all that start with `prefix`; None when there is none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,)) if stripped else None


def expiry_rows(snapshot: Snapshot, after: bytes, now: int) -> Iterator[tuple[bytes, int, int, bytes]]:
    """(row key, due, space, key) of expiry rows behind `after` that are due by `now`."""
    for row_key, content in snapshot.scan(EXPIRIES, after + b"\0" if after else b"", DUE.pack(now + 1, 0)):
        due, space = DUE.unpack_from(row_key)
        yield row_key, due, space, split_key(DUE.size, row_key, content)[0]


__all__ = ["Dataset", "Keyspace", "expiry_key", "expiry_rows"]
