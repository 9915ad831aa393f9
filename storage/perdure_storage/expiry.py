"""The sweep: walks what is due from its front, in slices, and deletes it with a logged DELETE.

Due times are in two places: the table EXPIRIES, ordered, for what the snapshot knows, and the generations' heaps for
what it does not yet. `position` is how far the table has been walked: rows before it have been dealt with, although
the snapshot may go on showing them until the next checkpoint.
"""

from __future__ import annotations

from perdure_storage.keyspace import BIG, Dataset, expiry_rows
from perdure_storage.types.hash import Hash


class Sweeper:
    """Expires keys and hash fields of one dataset."""

    def __init__(self, dataset: Dataset) -> None:
        self.ds = dataset
        self.position = b""
        self.behind = False

    def run(self, limit: int) -> int:
        """Look at up to `limit` due items; returns how many. `behind` says whether more are waiting.

        The effects are in the open transaction; the caller commits.
        """
        ds = self.ds
        done = 0
        for _, space, key in ds.due_entries():
            self._expire(space, key)
            done += 1
            if done >= limit:
                self.behind = True
                return done
        for row_key, _, space, key in expiry_rows(ds.snapshot, self.position, ds.now):
            self.position = row_key
            self._expire(space, key)
            done += 1
            if done >= limit:
                self.behind = True
                return done
        self.behind = False
        return done

    def _expire(self, space: int, key: bytes) -> None:
        """Delete the key, or its fields, if their time has come; a stale item does nothing."""
        ds = self.ds
        db = ds.spaces.get(space)
        if db is None:
            return
        entry = db.hot.get(key)
        if entry is None:
            if db.complete:
                return
            entry = db.load_record(key)
        if entry is None or not entry.kind:
            return
        if entry.expire and entry.expire <= ds.now:
            db.expire_key(entry)
        elif isinstance(entry, Hash):
            if not entry.loaded:
                if not entry.logged_due or entry.logged_due > ds.now:
                    return
                entry.load(ds.snapshot)
            db.purge_fields(entry, BIG)
            if entry.size and entry.next_due() != entry.logged_due:  # set while the fields were not loaded
                entry.touch()
