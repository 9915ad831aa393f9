"""Bugs planted on purpose: does the simulation notice?

A harness that finds nothing proves nothing until it has been seen to find what is there. Each function below breaks
one rule of the engine while it is in force; `rounds_until_caught` plays rounds until one fails. A bug that survives
its rounds is a hole in the harness.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from perdure_storage import checkpoint, keyspace, recovery, wal
from perdure_storage import effects as fx
from perdure_storage.checkpoint import Folder
from perdure_storage.codec import RECORD, RECORD_HEADER
from perdure_storage.engine import Engine
from perdure_storage.errors import LogFull, LogPoisoned
from perdure_storage.files import File, Files
from perdure_storage.keyspace import COLLECTIONS, Dataset, Keyspace
from perdure_storage.records import expiry_key
from perdure_storage.recovery import Directory
from perdure_storage.replay import Replay
from perdure_storage.tables import Rows, Table, empty_rows, with_key
from perdure_storage.testing import MemoryDisk, MemoryFile, MemoryTables
from perdure_storage.types.entry import Collection, Entry, Kind
from perdure_storage.types.group import Consumer, Group
from perdure_storage.types.hash import Hash
from perdure_storage.types.list import List
from perdure_storage.types.stream import Stream, joined
from perdure_storage.types.zset import ZSet
from perdure_storage.wal import Log, Segment, Tail
from perdure_tools.crash_simulation import Failure, play

ROUNDS: Final = 1000
"""How many rounds a planted bug may survive. Most do not survive ten."""


def can_plant() -> bool:
    """Can methods be replaced? Not those of compiled classes: PERDURE_PURE=1 passes them by."""
    return not str(keyspace.__file__).endswith(".so")


class Patches:
    """Attributes, and items of dicts, that are something else for a while."""

    def __init__(self) -> None:
        self._old: list[tuple[Any, str, Any]] = []
        self._old_items: list[tuple[dict[Any, Any], Any, Any]] = []

    def put(self, owner: Any, name: str, value: Any) -> Any:
        """Replace `owner.name`; returns what was there."""
        old = owner.__dict__[name]
        self._old.append((owner, name, old))
        setattr(owner, name, value)
        return old

    def put_item(self, owner: dict[Any, Any], key: Any, value: Any) -> Any:
        """Replace `owner[key]`; returns what was there."""
        old = owner[key]
        self._old_items.append((owner, key, old))
        owner[key] = value
        return old

    def undo(self) -> None:
        while self._old:
            setattr(*self._old.pop())
        while self._old_items:
            owner, key, old = self._old_items.pop()
            owner[key] = old


@dataclass
class Planted:
    """A bug: its name for people, and what puts it in place."""

    name: str
    plant: Callable[[Patches], None]

    @contextmanager
    def in_force(self) -> Iterator[None]:
        patches = Patches()
        try:
            self.plant(patches)
            yield
        finally:
            patches.undo()


BUGS: Final[list[Planted]] = []


def bug(name: str) -> Callable[[Callable[[Patches], None]], Callable[[Patches], None]]:
    """Register a function as the planted bug of this name."""

    def register(plant: Callable[[Patches], None]) -> Callable[[Patches], None]:
        BUGS.append(Planted(name, plant))
        return plant

    return register


def rounds_until_caught(planted: Planted, rounds: int = ROUNDS, first_seed: int = 0) -> tuple[int, Failure | None]:
    """(rounds played, what was noticed); None when nothing was in all of them."""
    with planted.in_force():
        for number in range(rounds):
            try:
                play(first_seed + number)
            except Failure as failure:
                return number + 1, failure
    return rounds, None


# -- acknowledging too early -------------------------------------------------------------------------------------------


@bug("acknowledged before the sync")
def ack_before_sync(patches: Patches) -> None:
    def sync(self: Log) -> None:
        self.flush()
        self.durable_lsn = self.written_lsn

    patches.put(Log, "sync", sync)


@bug("acknowledged from the server's own memory")
def ack_before_write(patches: Patches) -> None:
    flush: Any = None

    def lazy(self: Log) -> None:
        if len(self._buffer) > 20:
            flush(self)

    flush = patches.put(Log, "flush", lazy)


@bug("a failed sync tried again and acknowledged")
def retried_sync(patches: Patches) -> None:
    def sync(self: MemoryFile) -> None:
        try:
            old(self)
        except OSError:
            old(self)

    old = patches.put(MemoryFile, "sync", sync)


@bug("a log that failed a sync is used again")
def not_poisoned(patches: Patches) -> None:
    patches.put(Log, "poisoned_by", lambda self, error: LogPoisoned(str(error)))


@bug("only the newest segment synced")
def one_segment_synced(patches: Patches) -> None:
    def begin_sync(self: Log) -> tuple[list[File], int]:
        files, lsn = old(self)
        for handle in files[:-1]:
            self._unsynced.remove(handle)
        return files[-1:], lsn

    old = patches.put(Log, "begin_sync", begin_sync)


# -- files and names ---------------------------------------------------------------------------------------------------


@bug("directories never synced")
def no_directory_sync(patches: Patches) -> None:
    patches.put(MemoryDisk, "sync_dir", lambda self, path: None)


@bug("the manifest renamed before it is synced")
def manifest_not_synced(patches: Patches) -> None:
    def careless(files: Files, path: str, data: bytes) -> None:
        temporary = path + ".new"
        if files.exists(temporary):
            files.unlink(temporary)
        handle = files.open(temporary, writable=True, create=True)
        handle.pwrite(data, 0)
        handle.close()
        files.rename(temporary, path)
        files.sync_dir(os.path.dirname(path))

    patches.put(wal, "replace_whole", careless)


@bug("the lock not taken")
def no_lock(patches: Patches) -> None:
    patches.put(MemoryDisk, "lock", lambda self, path: self.open(path, writable=True, create=True))


@bug("the mark of a clean shutdown stays")
def clean_mark_stays(patches: Patches) -> None:
    patches.put(Directory, "take_clean_mark", lambda self: self.files.exists(self._clean))


# -- recovery ----------------------------------------------------------------------------------------------------------


@bug("check sums of records ignored")
def no_record_crc(patches: Patches) -> None:
    def open_record(buffer: bytes, offset: int, seed: int) -> tuple[int, int, int, bytes, int] | None:
        if offset < 0 or offset + RECORD_HEADER > len(buffer):
            return None
        size, lsn, back, kind = RECORD.unpack_from(buffer, offset + 4)
        start = offset + RECORD_HEADER
        if not size or start + size > len(buffer):
            return None
        crc = int.from_bytes(buffer[offset : offset + 4], "little")
        return lsn, lsn - back, kind, buffer[start : start + size], crc

    patches.put(wal, "open_record", open_record)


@bug("a torn tail left behind the end")
def torn_tail_left(patches: Patches) -> None:
    patches.put(recovery, "cut_tail", lambda files, manifest, tail: None)


@bug("recovery trusts the page cache")
def recovery_not_durable(patches: Patches) -> None:
    patches.put(recovery, "make_durable", lambda files, manifest, tail: None)


@bug("recovery syncs, but does not write again")
def recovery_only_syncs(patches: Patches) -> None:
    def make_durable(files: Files, manifest: wal.Manifest, tail: Tail) -> None:
        files.sync_dir(manifest.directory)
        for segment in manifest.segments:
            files.open(segment.path, writable=True).sync()

    patches.put(recovery, "make_durable", make_durable)


# -- checkpoints -------------------------------------------------------------------------------------------------------


@bug("the log retired before the tables have it")
def retired_too_early(patches: Patches) -> None:
    def request_checkpoint(self: Engine) -> bool:
        self.log.retire(self.log.durable_lsn)
        return bool(old(self))

    old = patches.put(Engine, "request_checkpoint", request_checkpoint)


@bug("what is not durable is folded")
def folded_too_early(patches: Patches) -> None:
    def request_checkpoint(self: Engine) -> bool:
        if self.log.poison is None and self._checkpointer is not None:
            self.log.flush()
            for _ in self._checkpointer.run(self.log.written_lsn):
                pass
        return bool(old(self))

    old = patches.put(Engine, "request_checkpoint", request_checkpoint)


def two_commits(patches: Patches, *, lsn_first: bool) -> None:
    def apply(self: MemoryTables, rows: list[Rows], applied_lsn: int | None) -> None:
        if lsn_first:
            old(self, empty_rows(), applied_lsn)
            old(self, rows, None)
        else:
            old(self, rows, None)
            old(self, empty_rows(), applied_lsn)

    old = patches.put(MemoryTables, "apply", apply)


@bug("the applied LSN committed before its rows")
def applied_first(patches: Patches) -> None:
    two_commits(patches, lsn_first=True)


@bug("the applied LSN committed after its rows")
def applied_later(patches: Patches) -> None:
    two_commits(patches, lsn_first=False)


@bug("the row of the expiry before stays")
def old_expiry_row(patches: Patches) -> None:
    def index(self: Folder, space: int, key: bytes, due: int, prev_due: int) -> None:
        if due:
            self.rows[Table.EXPIRIES][expiry_key(due, space, key)] = with_key(key, b"")

    patches.put(Folder, "_index", index)


@bug("ids given out twice")
def ids_twice(patches: Patches) -> None:
    patches.put(Folder, "_used_id", lambda self, ident: None)


@bug("rows not freed")
def never_freed(patches: Patches) -> None:
    patches.put(Folder, "_free", lambda self, ident, kind: self._used_id(ident))


@bug("a patch loses what it does not cover")
def patch_alone(patches: Patches) -> None:
    def patch(self: Folder, space: int, key: bytes, ident: int, offset: int, data: bytes, size: int) -> None:
        self._string(space, key, data.rjust(size, b"\0"), 0, 0, ident)

    patches.put(Folder, "_patch", patch)


# -- elements of collections -------------------------------------------------------------------------------------------


def not_folded(kind: type[Collection], number: int) -> Callable[[Patches], None]:
    return lambda patches: patches.put_item(kind.folds, number, lambda rows, ident, *rest: None)


def not_replayed(kind: type[Collection], number: int) -> Callable[[Patches], None]:
    return lambda patches: patches.put_item(kind.replays, number, lambda value, *rest: None)


for kind in COLLECTIONS.values():
    for number in kind.folds:
        bug(f"{fx.LAYOUT[number][0]} not folded")(not_folded(kind, number))
        bug(f"{fx.LAYOUT[number][0]} not replayed")(not_replayed(kind, number))


@bug("scores rounded on their way to the disk")
def rounded_scores(patches: Patches) -> None:
    def fold(rows: list[Rows], ident: int, *pairs: bytes | float) -> None:
        old(rows, ident, *(float(b"%.3g" % each) if isinstance(each, float) else each for each in pairs))

    old = patches.put_item(ZSet.folds, fx.ZSET_PUT, fold)


@bug("a push to the left overwrites the first slot")
def push_over(patches: Patches) -> None:
    def fold(rows: list[Rows], ident: int, slot: int, *values: bytes) -> None:
        old(rows, ident, max(slot, 0), *values)

    old = patches.put_item(List.folds, fx.LIST_PUT, fold)


@bug("a cut of a list goes one slot too far")
def cut_too_far(patches: Patches) -> None:
    def fold(rows: list[Rows], ident: int, slot: int, stop: int) -> None:
        old(rows, ident, slot, stop + 1)

    old = patches.put_item(List.folds, fx.LIST_CUT, fold)


@bug("the last entry of a stream decides its last id")
def last_id_from_entries(patches: Patches) -> None:
    def fold(rows: list[Rows], ident: int, ms: int, seq: int, *rest: int) -> None:
        if not (ms or seq) or rest[-1] == 0:
            old(rows, ident, ms, seq, *rest)

    old = patches.put_item(Stream.folds, fx.STREAM_SET, fold)


@bug("replayed trimming counts as deletion by name")
def trimming_deletes(patches: Patches) -> None:
    patches.put_item(Stream.replays, fx.STREAM_DEL, lambda value, *numbers: value.delete(joined(numbers)))


@bug("groups of a deleted stream not freed")
def groups_stay(patches: Patches) -> None:
    patches.put_item(checkpoint.ELEMENT_TABLES, Kind.STREAM, (Table.STREAMS,))


@bug("what is pending for a deleted consumer not named in the log")
def pending_stays(patches: Patches) -> None:
    def delete_consumer(self: Stream, group: Group, consumer: Consumer) -> int:
        effects = self.db.ds.effects
        count = int(old(self, group, consumer))
        effects[:] = [effect for effect in effects if effect[0] != fx.PENDING_DEL]
        return count

    old = patches.put(Stream, "delete_consumer", delete_consumer)


@bug("a deleted library's row stays")
def library_stays(patches: Patches) -> None:
    patches.put(Folder, "_library_del", lambda self, *names: None)


@bug("libraries not replayed")
def library_not_replayed(patches: Patches) -> None:
    def init(self: Replay, dataset: Dataset) -> None:
        old(self, dataset)
        self._handlers[fx.LIBRARY_SET] = lambda name, code: None

    old = patches.put(Replay, "__init__", init)


# -- transactions and memory -------------------------------------------------------------------------------------------


@bug("a transaction in two records")
def torn_transaction(patches: Patches) -> None:
    def commit(self: Engine) -> int:
        effects = self.dataset.seal()
        half = len(effects) // 2
        if half and self.log.poison is None:
            try:
                self.log.append(effects[:half])
            except LogFull:
                return int(old(self))
            self.log.flush()
            del effects[:half]
        return int(old(self))

    old = patches.put(Engine, "commit", commit)


@bug("a refused transaction stays in memory")
def refused_but_kept(patches: Patches) -> None:
    def restore(self: Engine, lsn: int) -> None:
        if self.log.poison is not None or not self.dataset.effects:
            old(self, lsn)
        else:
            self.dataset.next_transaction(self.log.next_lsn)

    old = patches.put(Engine, "restore", restore)


@bug("what expires is not logged")
def silent_expiry(patches: Patches) -> None:
    patches.put(Keyspace, "expire_key", lambda self, entry: self._detach(entry))


@bug("expiry of fields not indexed")
def fields_not_due(patches: Patches) -> None:
    patches.put(Hash, "next_due", lambda self: self.expire)


@bug("counts not logged")
def counts_not_logged(patches: Patches) -> None:
    def seal(self: Dataset) -> list[fx.Effect]:
        effects: list[fx.Effect] = old(self)
        effects[:] = [effect for effect in effects if effect[0] != fx.COUNT]
        return effects

    old = patches.put(Dataset, "seal", seal)


@bug("a rename frees the rows it takes along")
def rename_frees(patches: Patches) -> None:
    def move(self: Keyspace, entry: Any, target: Keyspace, new_key: bytes) -> None:
        ident, kind = entry.id, Kind.CHUNKED if entry.kind == Kind.STRING else entry.kind
        old(self, entry, target, new_key)
        if ident:
            self.ds.effects.append((fx.FREE, ident, int(kind)))

    old = patches.put(Keyspace, "move", move)


@bug("changed entries dropped from memory")
def dirty_evicted(patches: Patches) -> None:
    def evict(self: Dataset, goal: int, limit: int) -> bool:
        for db in self.databases:
            for entry in db.hot.values():
                if isinstance(entry, Entry):
                    entry.lsn = 0
        return bool(old(self, goal, limit))

    old = patches.put(Dataset, "evict", evict)


@bug("a deleted key's row shows again")
def no_tombstone(patches: Patches) -> None:
    def detach(self: Keyspace, entry: Any) -> None:
        old(self, entry)
        del self.hot[entry.key]

    old = patches.put(Keyspace, "_detach", detach)


@bug("a flushed database keeps its space")
def clear_keeps_space(patches: Patches) -> None:
    def drop_space(self: Folder, space: int) -> None:
        pass

    patches.put(Folder, "_drop_space", drop_space)


@bug("segments begun before the manifest names them")
def listed_late(patches: Patches) -> None:
    def create(self: wal.Manifest, size: int, *, fill: bool = True) -> Segment:
        save = self.save
        self.save = lambda: None  # type: ignore[method-assign]
        try:
            segment: Segment = old(self, size, fill=fill)
        finally:
            self.save = save  # type: ignore[method-assign]
        return segment

    old = patches.put(wal.Manifest, "create", create)
