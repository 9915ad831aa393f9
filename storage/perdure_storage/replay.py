"""Applying logged batches to a dataset in memory: the visitor that `checkpoint.Folder` is for rows.

Used where tables cannot or must not be written: the offline view of a directory, and going back to what is durable
after a failed write of the log.
"""

from __future__ import annotations

from functools import partial
from heapq import heappush
from typing import Any

from perdure_storage import effects as fx
from perdure_storage.errors import Corruption
from perdure_storage.keyspace import COLLECTIONS, Dataset, Keyspace
from perdure_storage.types.entry import Kind
from perdure_storage.types.string import String


class Replay:
    """Applies batches, in order, to `dataset`. Nothing expires meanwhile: replay does not ask the clock."""

    def __init__(self, dataset: Dataset) -> None:
        self.ds = dataset
        self._by_id: dict[int, Any] = {}
        self._limbo = Keyspace(dataset, -1, 0)
        self._handlers: dict[int, fx.Handler] = {
            fx.STRING: self._string,
            fx.PATCH: self._patch,
            fx.RECORD: self._record,
            fx.EXPIRE: self._expire,
            fx.DELETE: self._delete,
            fx.FREE: self._free,
            fx.COUNT: self._count,
            fx.SPACES: self._spaces,
            fx.DROP_SPACE: self._drop_space,
            fx.LIBRARY_SET: dataset.set_library,
            fx.LIBRARY_DEL: dataset.drop_libraries,
        }
        for kind, each in COLLECTIONS.items():
            for number, replay in each.replays.items():
                self._handlers[number] = partial(self._change, kind, replay)

    def apply(self, lsn: int, effects: list[fx.Effect]) -> None:
        """Apply the batch with this LSN."""
        ds = self.ds
        ds.lsn = lsn
        keep, ds.keep_expired = ds.keep_expired, True
        fx.visit(self._handlers, effects)
        ds.keep_expired = keep
        counts = [(db, db.keys, db.expires) for db in ds.databases]
        ds.seal()
        for db, keys, expires in counts:
            db.keys, db.expires = keys, expires
        ds.next_transaction(lsn + 1)

    def _db(self, space: int) -> Keyspace:
        return self.ds.spaces[space]

    def _string(self, space: int, key: bytes, value: bytes, expire: int, prev_due: int, ident: int) -> None:
        db = self._db(space)
        db.set_string(key, value, expire)
        db.hot[key].id = ident
        self._used_id(ident)

    def _patch(self, space: int, key: bytes, ident: int, offset: int, data: bytes, size: int) -> None:
        db = self._db(space)
        entry = db.find_string(key)
        if entry is None:
            raise Corruption("log", self.ds.lsn, "a patch for a key that is not there")
        db.patch_string(entry, offset, data)
        entry.id = ident

    def _record(
        self, space: int, key: bytes, kind: int, ident: int, size: int, expire: int, due: int, prev_due: int
    ) -> None:
        db = self._db(space)
        self._used_id(ident)
        here = db.find(key)
        if kind == Kind.CHUNKED:
            moved = self._by_id.pop(ident, None)  # its value may change before it moves again
            assert isinstance(moved, String)
            db.set_string(key, moved.value, expire)
            db.hot[key].id = ident
            return
        entry = self._by_id.get(ident)
        if entry is None:  # an empty collection counts as false
            entry = here if here is not None else self._collection(ident, kind)
        if entry is not here:
            entry.db, entry.key = db, key
            if here is None:
                db._insert(entry)
            else:  # `here` is the record alone, as the tables have it
                db.hot[key] = entry
                db._leave(here)
                db._enter(entry)
                db.used += entry.cost() - here.cost()
        entry.expire = expire
        entry.logged_due = due
        if due:
            heappush(self.ds.young.due, (due, space, key))
        entry.touch()

    def _expire(self, space: int, key: bytes, expire: int, prev_due: int) -> None:
        db = self._db(space)
        entry = db.find(key)
        if entry is None:
            raise Corruption("log", self.ds.lsn, "an expiry for a key that is not there")
        db.set_expire(entry, expire)

    def _delete(self, space: int, key: bytes, prev_due: int, ident: int, kind: int) -> None:
        db = self._db(space)
        self._used_id(ident)
        entry = db.find(key)
        if entry is None:
            self._by_id.pop(ident, None)
            return
        if not ident and entry.id:  # it goes on under another name: its RECORD follows
            if not isinstance(entry, String) and not entry.loaded:
                entry.load(self.ds.snapshot)
            db._detach(entry)
            entry.db = self._limbo
            self._by_id.setdefault(entry.id, entry)
        else:
            self._by_id.pop(entry.id, None)
            db.remove(entry)

    def _free(self, ident: int, kind: int) -> None:
        self._used_id(ident)
        self._by_id.pop(ident, None)

    def _count(self, space: int, keys: int, expires: int) -> None:
        db = self._db(space)
        db.keys, db.expires = keys, expires

    def _spaces(self, *spaces: int) -> None:
        ds = self.ds
        for index in range(len(ds.databases), len(spaces)):
            ds.databases.append(Keyspace(ds, index, -1 - index))
            ds.databases[index].complete = True
        fresh = [space for space in spaces if space not in ds.spaces]
        for db in ds.databases:
            if db.space not in spaces and fresh:
                ds.spaces.pop(db.space, None)
                db.space = fresh.pop(0)
                ds.spaces[db.space] = db
        ds.databases.sort(key=lambda db: spaces.index(db.space))
        for index, db in enumerate(ds.databases):
            db.index = index
        ds.next_space = max(ds.next_space, *(space + 1 for space in spaces))

    def _drop_space(self, space: int) -> None:
        if space in self.ds.spaces:
            self.ds.spaces[space].clear()

    def _change(self, kind: int, replay: fx.Handler, ident: int, *rest: Any) -> None:
        replay(self._collection(ident, kind), *rest)

    def _used_id(self, ident: int) -> None:
        self.ds.next_id = max(self.ds.next_id, ident + 1)

    def _collection(self, ident: int, kind: int) -> Any:
        """The loaded collection with this id. Until its RECORD, at the end of the batch, tells its key it is in limbo."""
        entry = self._by_id.get(ident)
        if entry is None:
            entry = COLLECTIONS[kind](self._limbo, b"", 0, 0, ident, new=False)
            entry.load(self.ds.snapshot)
            self._by_id[ident] = entry
        return entry
