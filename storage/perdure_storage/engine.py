"""The engine: a data directory opened for writing. Used in process as it is, and by the server.

    with Engine.open("data") as engine:
        engine[0].set_string(b"k", b"v")
        engine.commit()
        engine.sync()          # now it survives a power cut

What is true: every change is in the open transaction until `commit` gives it an LSN; `log.written_lsn` and
`log.durable_lsn` say how safe it is; `dataset` is always the log up to its last LSN. For one thread.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Any, Final

import lmdb

from perdure_storage.checkpoint import Checkpointer
from perdure_storage.checkpointer import CheckpointerProcess, Message
from perdure_storage.clock import Clock, SystemClock
from perdure_storage.codec import unpack
from perdure_storage.errors import CannotGoBack, DirectoryLocked, LogFull, LogPoisoned, StorageError
from perdure_storage.expiry import Sweeper
from perdure_storage.files import File, Files, OsFiles
from perdure_storage.keyspace import Dataset, Keyspace
from perdure_storage.recovery import Directory, Recovered, TableOpener, recover
from perdure_storage.replay import Replay
from perdure_storage.tables import LmdbTables, Snapshot, TableStore
from perdure_storage.wal import DEFAULT_SEGMENT_SIZE, Log, LogReader

LOCK_PATIENCE_S: Final = 10.0
MAX_DELTA: Final = 1 << 62
CHECKPOINT_TRIES: Final = 3


@dataclass
class Options:
    """How to open a directory.

    `separate` runs the checkpointer as a process (needs real files); otherwise `checkpoint` folds inline.
    `lag_bytes` is how much log may be ahead of the tables before writers are slowed.
    """

    databases: int = 16
    segment_size: int = DEFAULT_SEGMENT_SIZE
    lag_bytes: int = 32 << 20
    separate: bool = False
    files: Files = field(default_factory=OsFiles)
    clock: Clock = field(default_factory=SystemClock)
    random: Random = field(default_factory=Random)
    open_tables: TableOpener | None = None
    progress: Callable[[int, int], None] | None = None


class Engine:
    """See the module. Attributes: `dataset`, `log`, `recovered`, `clock`, `random`, `sweeper`."""

    def __init__(self, path: str, options: Options, lock: File) -> None:
        self.path = path
        self.options = options
        self.clock = options.clock
        self.random = options.random
        self.files = options.files
        self._lock = lock
        self.directory = Directory(options.files, path)
        opener = options.open_tables or (lambda where: LmdbTables(where, writable=True))
        self.recovered: Recovered = recover(self.directory, opener, options.clock, options.progress)
        self._tables: TableStore
        self._checkpointer: Checkpointer | None = None
        self.process: CheckpointerProcess | None = None
        self._tables_path = self.directory.tables
        if options.separate:
            self._tables = LmdbTables(self._tables_path, writable=False)
            self._start_process()
        else:
            self._tables = opener(self._tables_path)
            self._checkpointer = Checkpointer(self.files, self.directory.log, self._tables)
        self.dataset = Dataset(self._tables.snapshot(), options.databases)
        self.dataset.random = options.random
        self.sweeper = Sweeper(self.dataset)
        self.log = Log(
            options.files,
            self.directory.log,
            self.recovered.manifest,
            self.recovered.tail,
            segment_size=options.segment_size,
            inline=not options.separate,
        )
        self.dataset.lsn = self.log.next_lsn
        self.asked_lsn = self.log.durable_lsn
        self.asked_bytes = 0
        self.applied_bytes = 0
        self.last_checkpoint_ms = self.clock.now_ms()
        self.checkpoint_error = ""
        self.checkpoints = self.compactions = 0
        self.reclaimed_rows = 0
        self.compacting = ""
        self.tables_moved = False
        self.sizes: dict[str, int] = {}
        self.update_time()
        if self.dataset.effects:
            self.commit()

    @classmethod
    def open(cls, path: str, options: Options | None = None) -> Engine:
        """Open or create a data directory, recovering it if need be.

        Raises DirectoryLocked, UnknownFormat, Corruption, OSError.
        """
        options = options or Options()
        options.files.makedirs(path)
        deadline = time.monotonic() + LOCK_PATIENCE_S
        while True:
            try:
                lock = options.files.lock(os.path.join(path, "LOCK"))
                break
            except DirectoryLocked as held:  # a killed server's checkpointer may need a moment to end
                if _alive(held.pid) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        try:
            return cls(path, options, lock)
        except BaseException:
            lock.close()
            raise

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getitem__(self, index: int) -> Keyspace:
        return self.dataset.databases[index]

    # -- transactions --------------------------------------------------------------------------------------------

    def update_time(self) -> None:
        """Let the dataset's clock catch up. Call before commands, not within a transaction."""
        now = self.clock.now_ms()
        self.dataset.now = now
        self.dataset.tick = now // 1000

    def commit(self) -> int:
        """Append the open transaction to the log; returns its LSN, or the last one when nothing changed.

        Raises LogFull or LogPoisoned; then the transaction has been undone. Raises CannotGoBack.
        """
        try:
            return self.dataset.commit(self.log)
        except LogFull:
            self.restore(self.log.next_lsn - 1)
            raise
        except StorageError:
            self.restore(self.log.durable_lsn)
            raise

    def sync(self) -> None:
        """Make everything committed durable. Raises LogPoisoned; then the dataset is back at what was durable. Raises
        CannotGoBack."""
        try:
            self.log.sync()
        except StorageError:
            self.restore(self.log.durable_lsn)
            raise

    def restore(self, lsn: int) -> None:
        """Take the dataset back to what the log says at `lsn`: tables plus the part of the log behind them.

        Raises LogPoisoned when what is still to be written for that cannot be: then it is at `durable_lsn` instead. Raises
        CannotGoBack when that cannot be read, whatever the reason.
        """
        failure: LogPoisoned | None = None
        if self.log.poison is None:
            try:
                self.log.flush()
            except LogPoisoned as error:
                failure, lsn = error, self.log.durable_lsn
        try:
            with closing(LogReader(self.files, self.directory.log)) as reader:
                self.dataset.restart(self._tables.snapshot())
                replay = Replay(self.dataset)
                for record in reader.batches(self.dataset.snapshot.applied_lsn, lsn):
                    replay.apply(record.lsn, list(unpack(record.payload)))
        except Exception as error:
            self.log.poison = CannotGoBack(f"a change cannot be undone, as the log cannot be read: {error}")
            raise self.log.poison from error
        self.dataset.lsn = self.log.next_lsn
        self.sweeper.position = b""  # what it had swept may be there again
        self.update_time()
        if failure is not None:
            raise failure

    # -- checkpoints ---------------------------------------------------------------------------------------------

    @property
    def lag_bytes(self) -> int:
        """Bytes of log that the tables do not have yet."""
        return self.log.appended_bytes - self.applied_bytes

    @property
    def applied_lsn(self) -> int:
        return self.dataset.snapshot.applied_lsn

    def request_checkpoint(self) -> bool:
        """Have the tables catch up with what is durable. False when there is nothing to do or it is being done.

        With a separate checkpointer the work goes on in the background and `poll` notices its end.
        """
        upto = self.log.durable_lsn
        if upto <= self.asked_lsn or self.asked_lsn > self.applied_lsn:
            return False
        if upto == self.log.next_lsn - 1:
            self.asked_bytes = self.log.appended_bytes
        self.dataset.close_generation()
        self.asked_lsn = upto
        if self.process is not None:
            self._tell(fold=upto)
            return True
        assert self._checkpointer is not None
        try:
            for _ in self._checkpointer.run(upto):
                pass
            while self._checkpointer.reclaim():
                pass
        finally:
            self._applied()
            self.asked_lsn = self.applied_lsn  # less than `upto` when it failed: the next request tries again
        return True

    def checkpoint(self) -> None:
        """Sync, fold everything, and wait for it. A checkpointer that ends is replaced, and asked again. Raises StorageError
        after CHECKPOINT_TRIES."""
        self.sync()
        target = self.log.durable_lsn
        failures = 0
        while self.applied_lsn < target:
            self.request_checkpoint()
            if self.process is not None and self.process.wait(1.0):
                self.poll(patient=False)
                if self.checkpoint_error:
                    failures += 1
                    if failures == CHECKPOINT_TRIES:
                        raise StorageError(self.checkpoint_error)
                    self.checkpoint_error = ""

    def poll(self, *, patient: bool = True) -> None:
        """Take in what the checkpointer has to say; restart it if it has died. Where that is impossible at the moment (no
        more processes, or files), or has just been in vain, `process.ended` stays, and a later call tries again.

        patient: do not start one after the other, as long as each ends at once.
        """
        if self.process is None:
            return
        if self.tables_moved:
            self._follow_tables()
        try:
            for message in self.process.receive():
                self._hear(message)
        except EOFError:
            self.checkpoint_error = f"checkpointer process {self.process.pid} ended unexpectedly"
            self.process.stop()
            self.asked_lsn = self.applied_lsn
            self.compacting = ""
            self.tables_moved = True  # perhaps: it may have ended before it could say so
            if patient and self.process.failed_at_once:
                return
            try:
                self._start_process()
            except OSError as error:
                self.checkpoint_error = f"no checkpointer process can be started: {error}"

    def snapshot(self) -> Snapshot:
        """A view of the tables of the caller's own, to be closed soon: an old one keeps pages from being reused."""
        return self._tables.snapshot()

    def compact(self) -> bool:
        """Begin copying the tables without their free pages; False when that is under way already."""
        if self.compacting:
            return False
        self.compacting = self.directory.next_tables()
        if self.process is not None:
            self.compactions += 1
            return self._tell(compact=self.compacting)
        self.compacting = ""
        return False

    def ask_sizes(self) -> None:
        """Have the checkpointer report the tables' sizes into `sizes`."""
        if self.process is not None:
            self._tell(info=True)

    def _hear(self, message: Message) -> None:
        if "applied" in message:
            self.checkpoint_error = ""
            self._applied()
        elif "reclaimed" in message:
            self.reclaimed_rows += message["reclaimed"]
        elif "sizes" in message:
            self.sizes = message["sizes"]
        elif "compacted" in message:
            self.tables_moved = True
            self._follow_tables()
        elif "error" in message:
            self.checkpoint_error = message["error"]
            self.asked_lsn = self.applied_lsn
            self.compacting = ""

    def _applied(self) -> None:
        """The tables have moved: read from them as they are now, let go of log that is folded."""
        self.dataset.renew(self._tables.snapshot())
        applied = self.applied_lsn
        if applied >= self.asked_lsn:
            self.applied_bytes = self.asked_bytes
            self.last_checkpoint_ms = self.dataset.now
            self.checkpoints += 1
        self.log.retire(applied)

    def _follow_tables(self) -> None:
        """Read the tables that the checkpointer writes: a compacted copy may have taken their place.

        Where it cannot be opened at the moment (no more files, or memory), the old ones are read on: the log has the rest.
        """
        try:
            path = self.directory.tables
            if path != self._tables_path:
                self._read_from(path)
        except (StorageError, OSError, lmdb.Error) as error:
            self.checkpoint_error = f"the compacted tables cannot be read: {error}"
            return
        self.tables_moved = False

    def _read_from(self, path: str) -> None:
        """Exchange the tables for those at `path`; the checkpointer removes all others."""
        tables, old = LmdbTables(path, writable=False), self._tables
        try:
            snapshot = tables.snapshot()
        except BaseException:
            tables.close()
            raise
        self._tables, self._tables_path = tables, path
        self.dataset.renew(snapshot)
        old.close()
        self.compacting = ""
        self.sizes = {}
        for stray in self.directory.table_directories():
            if stray != os.path.basename(path):
                self._tell(drop=stray)

    def _start_process(self) -> None:
        self.process = CheckpointerProcess(self.path, getattr(self._lock, "fd"))  # noqa: B009

    def _tell(self, **message: Any) -> bool:
        assert self.process is not None
        try:
            self.process.send(**message)
        except OSError:
            return False  # `poll` will meet the end of file and start another
        return True

    # -- upkeep --------------------------------------------------------------------------------------------------

    def sweep(self, limit: int = 200) -> int:
        """Expire up to `limit` due keys as one transaction; returns how many were looked at."""
        done = self.sweeper.run(limit)
        if done:
            self.commit()
        return done

    def close(self, *, clean: bool = True) -> None:
        """Sync, fold, leave the clean mark, let go of the directory. A poisoned engine is only let go of."""
        try:
            if self.log.poison is None and clean:
                self.checkpoint()
                self.directory.mark_clean(self.log.durable_lsn)
        finally:
            try:
                self.log.close()
            finally:
                self.dataset.snapshot.close()
                if self._checkpointer is not None:
                    self._checkpointer.close()
                if self.process is not None:
                    self.process.stop()
                self._tables.close()
                self._lock.close()


def _alive(pid: int) -> bool:
    """Is there such a process?"""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
