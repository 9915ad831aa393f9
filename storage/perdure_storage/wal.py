"""The write-ahead log: numbered segment files, a manifest that names them, group commit.

What is true of a log directory:

* `MANIFEST` lists the segments in order, each with its id and salt; it is only ever replaced whole and durably, and
  a segment is in it before any record is written there. Files it does not name are leftovers and are removed.
* A segment is allocated and zero-filled before use: a sync then moves no metadata, and a full disk is met when the
  next segment is prepared, while there is still room in this one. For one outsized record it is only allocated.
* Records have LSNs without gaps. A segment's first record is a START: its LSN is the last one of the segment before,
  its payload that record's CRC. Zeros (or the end of the file) follow the last record.
* Memory order: append (buffer) → flush (write(2), survives kill -9) → sync (fdatasync, survives a power cut).

Payloads are opaque here. `Log` is for one thread; `sync` of the files it hands out may run in another.
Format: `docs/formats/wal.md`. After LevelDB's log and PostgreSQL's recycled, preallocated segments.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from struct import Struct
from typing import Any, Final, NamedTuple

from crc32c import crc32c

from perdure_storage.codec import BATCH, RECORD_HEADER, open_record, reseal, seal_batch, seal_record
from perdure_storage.errors import Corruption, LogFull, LogPoisoned, UnknownFormat
from perdure_storage.files import ZEROS, File, Files, read_whole, replace_whole

SEGMENT: Final = re.compile(r"[0-9]{16}\.wal")
START: Final = 2
MANIFEST: Final = "MANIFEST"
HEADER: Final = Struct("<8sQQI")  # magic, segment id, salt, crc of the three
HEADER_SIZE: Final = 64
MAGIC: Final = b"PERDWAL\x01"
START_SIZE: Final = RECORD_HEADER + 4
READ_CHUNK: Final = 1 << 20
DEFAULT_SEGMENT_SIZE: Final = 16 << 20
LARGE: Final = 1 << 20
FAR: Final = 1 << 40
"""So many LSNs behind the last one no record is: what says so is something else whose check sum happens to fit."""


class Record:
    """One record as read back. `vouched` is the newest LSN that was durable when it was written."""

    __slots__ = ("crc", "kind", "lsn", "offset", "payload", "segment", "vouched")

    def __init__(self, lsn: int, vouched: int, kind: int, payload: bytes, crc: int, segment: int, offset: int) -> None:
        self.lsn = lsn
        self.vouched = vouched
        self.kind = kind
        self.payload = payload
        self.crc = crc
        self.segment = segment
        self.offset = offset


@dataclass
class Segment:
    """One file of the log. `seed` is the salt run through CRC32C; `last_lsn` is known once it is no longer current."""

    id: int
    salt: int
    path: str
    seed: int = field(init=False)
    last_lsn: int = 0

    def __post_init__(self) -> None:
        self.seed = crc32c(self.salt.to_bytes(8, "little"))


class Manifest:
    """The ordered list of segments and its file. Thread-safe: preparing and retiring happen off the main thread."""

    def __init__(self, files: Files, directory: str) -> None:
        self.files = files
        self.directory = directory
        self.path = os.path.join(directory, MANIFEST)
        self.segments: list[Segment] = []
        self.next_id = 1
        self.lock = threading.Lock()

    @classmethod
    def load(cls, files: Files, directory: str) -> Manifest:
        """Read the manifest; an absent one is an empty log. Raises Corruption, UnknownFormat, OSError."""
        manifest = cls(files, directory)
        if not files.exists(manifest.path):
            return manifest
        text, _, check = read_whole(files, manifest.path).rstrip(b"\n").rpartition(b"\n")
        if b"%08x" % crc32c(text) != check:
            raise Corruption(manifest.path, 0, "check sum of the manifest does not match")
        state = json.loads(text)
        if state["format"] != 1:
            raise UnknownFormat(f"{manifest.path}: log format {state['format']} is not known to this version")
        manifest.next_id = state["next_id"]
        manifest.segments = [Segment(i, salt, manifest.segment_path(i)) for i, salt in state["segments"]]
        return manifest

    def segment_path(self, number: int) -> str:
        return os.path.join(self.directory, f"{number:016d}.wal")

    def unnamed(self, names: list[str]) -> list[str]:
        """Which of these files are segments that it does not list."""
        named = {os.path.basename(segment.path) for segment in self.segments}
        return [name for name in names if SEGMENT.fullmatch(name) and name not in named]

    def save(self) -> None:
        """Make the present list durable. REQUIRES: lock held."""
        pairs = [[segment.id, segment.salt] for segment in self.segments]
        text = json.dumps({"format": 1, "next_id": self.next_id, "segments": pairs}).encode()
        replace_whole(self.files, self.path, text + b"\n%08x\n" % crc32c(text))

    def create(self, size: int, *, fill: bool = True) -> Segment:
        """Make and list a new segment of `size` bytes. Raises OSError and leaves nothing behind.

        Filled with zeros, unless it is for one record: that would be twice the writing, to spare a single sync.
        """
        with self.lock:
            number = self.next_id
            self.next_id += 1
        segment = Segment(number, secrets.randbits(63), self.segment_path(number))
        handle = self.files.open(segment.path, writable=True, create=True)
        try:
            head = HEADER.pack(MAGIC, number, segment.salt, 0)[:-4]
            handle.pwrite((head + crc32c(head).to_bytes(4, "little")).ljust(HEADER_SIZE, b"\0"), 0)
            if fill:
                for offset in range(HEADER_SIZE, size, len(ZEROS)):
                    handle.pwrite(ZEROS[: size - offset], offset)
            else:
                handle.allocate(size)
            handle.sync()
            self.files.sync_dir(self.directory)
            with self.lock:
                self.segments.append(segment)
                try:
                    self.save()
                except OSError:
                    self.segments.remove(segment)
                    raise
        except OSError:
            if not self._may_name(segment):
                self.files.unlink(segment.path)
            raise
        finally:
            handle.close()
        return segment

    def _may_name(self, segment: Segment) -> bool:
        """Does the manifest on disk name this segment, although `save` failed? (It did so after the rename.)"""
        try:
            return any(segment.id == each.id for each in Manifest.load(self.files, self.directory).segments)
        except (Corruption, OSError):
            return True

    def drop(self, gone: list[Segment]) -> None:
        """Take segments off the list, durably, then remove their files."""
        with self.lock:
            self.segments = [segment for segment in self.segments if segment not in gone]
            self.save()
        for segment in gone:
            if self.files.exists(segment.path):
                self.files.unlink(segment.path)


def check_header(handle: File, segment: Segment) -> None:
    """Raises Corruption unless the file begins with this segment's header."""
    raw = handle.pread(HEADER.size, 0)
    if len(raw) < HEADER.size:
        raise Corruption(segment.path, 0, "segment is shorter than its header")
    magic, number, salt, check = HEADER.unpack(raw)
    if magic != MAGIC or (number, salt) != (segment.id, segment.salt) or check != crc32c(raw[:-4]):
        raise Corruption(segment.path, 0, "segment header does not match the manifest")


class SegmentReader:
    """Walks the records of one segment from an offset on; stops at the first that is not valid."""

    def __init__(self, files: Files, segment: Segment, offset: int = HEADER_SIZE) -> None:
        self.segment = segment
        self._seed = segment.seed
        self.offset = offset
        self.handle = files.open(segment.path)
        check_header(self.handle, segment)
        self.buffer = b""
        self.buffer_at = offset

    def close(self) -> None:
        self.handle.close()

    def refresh(self) -> None:
        """Forget read-ahead: the writer has appended since."""
        self.buffer, self.buffer_at = b"", self.offset

    def record_at(self, offset: int) -> Record | None:
        """The valid record at `offset`, or None."""
        found = open_record(self.buffer, offset - self.buffer_at, self._seed)
        if found is None and self._read_more(offset):
            found = open_record(self.buffer, 0, self._seed)
        if found is None:
            return None
        lsn, vouched, kind, payload, crc = found
        return Record(lsn, vouched, kind, payload, crc, self.segment.id, offset)

    def _read_more(self, offset: int) -> bool:
        """Read what a record at `offset` may need; False when that was there already, or the file does not have it."""
        start = offset - self.buffer_at
        head = self.buffer[start : start + RECORD_HEADER] if start >= 0 else b""
        if len(head) < RECORD_HEADER:
            head = self.handle.pread(RECORD_HEADER, offset)
        size = RECORD_HEADER + int.from_bytes(head[4:8], "little")
        if 0 <= start <= len(self.buffer) - size or offset + size > self.handle.size():
            return False
        self.buffer, self.buffer_at = self.handle.pread(max(READ_CHUNK, size), offset), offset
        return True

    def next(self) -> Record | None:
        """The record at the present offset, which then moves behind it; None where no valid record is."""
        record = self.record_at(self.offset)
        if record is not None:
            self.offset += RECORD_HEADER + len(record.payload)
        return record

    def remnants(self) -> Iterator[Record]:
        """Valid records at any byte after the present offset: what a bad record may have hidden."""
        end = self.handle.size()
        position = self.offset + 1
        while position < end:
            block = self.handle.pread(READ_CHUNK, position)
            if not block:
                return
            used = len(block.rstrip(b"\0"))
            for offset in range(position, position + used):
                if (record := self.record_at(offset)) is not None:
                    yield record
            position += len(block)


class Tail(NamedTuple):
    """Where a log ends. `torn_bytes` of unfinished writing follow; `crc` belongs to the last good record.

    `unfolded` is the id of the first segment with a batch that the tables lack (0: there is none).
    """

    last_lsn: int
    crc: int
    segment: Segment | None
    offset: int
    torn_bytes: int
    discarded: list[Segment]
    unfolded: int


class LogReader:
    """Reads batches in order across segments; `position` survives between calls, so a follower calls it again.

    REQUIRES for following a live log: never asked for records beyond the durable LSN.
    """

    def __init__(self, files: Files, directory: str) -> None:
        self.files = files
        self.directory = directory
        self.manifest = Manifest.load(files, directory)
        self._ahead = list(self.manifest.segments)
        self._held: dict[int, SegmentReader] = {}
        self._reader: SegmentReader | None = None
        self.last_lsn = 0
        self.last_crc = 0
        self.segment: Segment | None = None
        self.first_lsn = 0

    def close(self) -> None:
        while self._held:
            self._held.popitem()[1].close()
        self._leave_segment()

    def hold(self) -> None:
        """Open all segments now: they can then be read to their end even if a server retires them meanwhile."""
        for segment in self._ahead:
            self._held[segment.id] = SegmentReader(self.files, segment)

    def _leave_segment(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def reload(self) -> None:
        """Learn of segments that were added or retired since."""
        known = self.segment.id if self.segment else 0
        self.manifest = Manifest.load(self.files, self.directory)
        self._ahead = [segment for segment in self.manifest.segments if segment.id > known]
        if self._reader is not None:
            self._reader.refresh()

    def after(self, lsn: int) -> Record | None:
        """The batch behind `lsn`; None when the log, as far as it is valid, ends there. Raises Corruption on a gap."""
        while self.last_lsn <= lsn and (record := self._next()) is not None:
            if record.lsn == lsn + 1:
                return record
        if self.last_lsn > lsn:
            raise Corruption(*self.where(), f"the log begins at LSN {self.first_lsn}, but LSN {lsn + 1} is missing")
        return None

    def must_follow(self, lsn: int) -> Record:
        """The batch behind `lsn`. Raises Corruption when there is none."""
        record = self.after(lsn)
        if record is None:
            raise Corruption(*self.where(), f"the log ends at LSN {self.last_lsn}, but LSN {lsn + 1} must be there")
        return record

    def batches(self, after: int, upto: int) -> Iterator[Record]:
        """Batches with after < lsn <= upto. Raises Corruption when one of them is missing."""
        for lsn in range(after, upto):
            yield self.must_follow(lsn)

    def rest(self, after: int | None) -> Iterator[Record]:
        """Batches behind `after` up to the end of what is valid, for one who only reads. Raises Corruption on a gap.

        None: all that there are.
        """
        if after is None and self.segment is None:
            self._enter_next_segment()
        lsn = self.last_lsn if after is None else after
        while (record := self.after(lsn)) is not None:
            lsn = record.lsn
            yield record

    def where(self) -> tuple[str, int]:
        """The file and offset where reading stands."""
        if self._reader is None:
            return self.directory, 0
        return self._reader.segment.path, self._reader.offset

    def _next(self) -> Record | None:
        """The next record that continues the chain, or None at the end of what is valid."""
        while True:
            if self._reader is not None:
                record = self._reader.next()
                if record is not None and record.kind == BATCH and record.lsn == self.last_lsn + 1:
                    self.last_lsn, self.last_crc = record.lsn, record.crc
                    return record
                if record is not None:  # valid but not in sequence
                    self._reader.offset = record.offset
                    return None
            if not self._enter_next_segment():
                return None

    def _enter_next_segment(self) -> bool:
        """Move into the next segment if its START continues what was read so far."""
        if not self._ahead:
            return False
        ahead = self._ahead[0]
        reader = self._held.pop(ahead.id, None) or SegmentReader(self.files, ahead)
        start = reader.next()
        first = self.segment is None
        fits = start is not None and start.kind == START
        if fits and not first:
            assert start is not None
            fits = start.lsn == self.last_lsn and int.from_bytes(start.payload, "little") == self.last_crc
        if not fits:
            reader.close()
            return False
        assert start is not None
        if first:
            self.first_lsn = start.lsn + 1
            self.last_lsn, self.last_crc = start.lsn, int.from_bytes(start.payload, "little")
        self._leave_segment()
        self.segment = self._ahead.pop(0)
        self._reader = reader
        return True

    def find_tail(self, applied_lsn: int) -> Tail:
        """Read to the end and decide what follows it. Raises Corruption when later bytes prove damage.

        `applied_lsn` is what the tables hold: it vouches for the log as a later record does.
        """
        unfolded = 0
        while (record := self._next()) is not None:
            if not unfolded and record.lsn > applied_lsn:
                unfolded = record.segment
        vouched, torn, evidence = applied_lsn, 0, "the tables"
        if self._reader is not None:
            torn = self.torn_bytes(self._reader)
            for remnant in self._reader.remnants() if torn else ():
                if self.last_lsn < remnant.lsn < self.last_lsn + FAR and remnant.vouched > vouched:
                    vouched, evidence = remnant.vouched, f"the record at offset {remnant.offset}"
        discarded = []
        for segment in self._ahead:
            reader = SegmentReader(self.files, segment)
            begun = reader.record_at(HEADER_SIZE) is not None or self.torn_bytes(reader) > 0
            for remnant in reader.remnants() if begun else ():
                if remnant.lsn < self.last_lsn + FAR and remnant.vouched > vouched:
                    vouched, evidence = remnant.vouched, f"{segment.path} at {remnant.offset}"
            start = reader.record_at(HEADER_SIZE)
            if start is not None and start.vouched > vouched:
                vouched, evidence = start.vouched, f"{segment.path} at {HEADER_SIZE}"
            reader.close()
            if begun:
                discarded.append(segment)
        if vouched > self.last_lsn:
            why = f"the log can be read to LSN {self.last_lsn} only, but {evidence} shows that {vouched} was durable"
            raise Corruption(*self.where(), why)
        offset = self._reader.offset if self._reader is not None else 0
        return Tail(self.last_lsn, self.last_crc, self.segment, offset, torn, discarded, unfolded)

    @staticmethod
    def torn_bytes(reader: SegmentReader) -> int:
        """Bytes from the reader's offset to the last that is not zero."""
        last = reader.offset
        position = reader.offset
        while block := reader.handle.pread(READ_CHUNK, position):
            used = len(block.rstrip(b"\0"))
            if used:
                last = position + used
            position += len(block)
        return last - reader.offset


def cut_tail(files: Files, manifest: Manifest, tail: Tail) -> None:
    """Make the log end at `tail`: zero what follows in its segment, drop later ones that had been begun."""
    if tail.torn_bytes and tail.segment is not None:
        handle = files.open(tail.segment.path, writable=True)
        try:
            for offset in range(tail.offset, tail.offset + tail.torn_bytes, len(ZEROS)):
                handle.pwrite(ZEROS[: tail.offset + tail.torn_bytes - offset], offset)
            handle.sync()
        finally:
            handle.close()
    if tail.discarded:
        manifest.drop(tail.discarded)


def make_durable(files: Files, manifest: Manifest, tail: Tail) -> None:
    """Bring to the disk what a killed server may have left in the page cache: names, and all that is not in the tables.

    The bytes are written again, not only synced: after a failed write-back Linux goes on showing them and calls them
    clean, and no later sync would bring them to the disk.
    """
    files.sync_dir(manifest.directory)
    if tail.segment is None:
        return
    for segment in manifest.segments:
        if (tail.unfolded or tail.segment.id) <= segment.id <= tail.segment.id:
            handle = files.open(segment.path, writable=True)
            try:
                position = 0
                while block := handle.pread(READ_CHUNK, position):
                    handle.pwrite(block, position)
                    position += len(block)
                handle.sync()
            finally:
                handle.close()


class Log:
    """The writer. All LSNs are ints; `written_lsn` survives kill -9, `durable_lsn` survives a power cut.

    `run` executes disk chores (preparing and retiring segments); by default in a thread of its own, inline in tests.
    """

    def __init__(
        self,
        files: Files,
        directory: str,
        manifest: Manifest,
        tail: Tail,
        *,
        segment_size: int = DEFAULT_SEGMENT_SIZE,
        inline: bool = False,
    ) -> None:
        self.files = files
        self.directory = directory
        self.manifest = manifest
        self.segment_size = segment_size
        self.next_lsn = tail.last_lsn + 1
        self.written_lsn = self.durable_lsn = tail.last_lsn
        self.appended_bytes = 0
        self.poison: LogPoisoned | None = None
        self.prepare_error: OSError | None = None
        self.room = 0
        self._buffer: list[bytes] = []
        self._last = tail.crc.to_bytes(4, "little")
        """The last record, which begins with its check sum."""
        self._seed = 0
        self._offset = 0
        self._current: Segment | None = None
        self._syncing = self._anchor = 0
        self._file: File | None = None
        self._unsynced: list[File] = []
        self._prepared: Segment | None = None
        self._preparing = threading.Event()
        self._chores: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._worker: threading.Thread | None = None
        self._open_at(tail)
        if not inline:
            self._worker = threading.Thread(target=self._work, name="log-chores", daemon=True)
            self._worker.start()
        self._request_prepare()

    # -- opening and closing -------------------------------------------------------------------------------------

    def _open_at(self, tail: Tail) -> None:
        known = tail.segment
        spare = [segment for segment in self.manifest.segments if known is None or segment.id > known.id]
        if spare:  # prepared before the crash, never begun; the chain must not skip one, so only the first is kept
            self._prepared = spare[0]
            if spare[1:]:
                self.manifest.drop(spare[1:])
        for segment in self.manifest.segments:
            if known is not None and segment.id < known.id:
                segment.last_lsn = 0  # unknown, but certainly before the tail: retire() treats it as old
        if known is None:
            self._roll(0)
            return
        self._current = known
        self._anchor = known.id
        self._seed = known.seed
        self._file = self.files.open(known.path, writable=True)
        self._offset = tail.offset
        self.room = self._file.size() - tail.offset

    def close(self) -> None:
        """Flush, sync and close; a poisoned log is only closed."""
        try:
            if self.poison is None:
                self.sync()
        finally:
            if self._worker is not None:
                self._chores.put(None)
                self._worker.join()
                self._worker = None
            for handle in [*self._unsynced, self._file]:
                if handle is not None:
                    handle.close()
            self._unsynced, self._file = [], None

    # -- writing -------------------------------------------------------------------------------------------------

    def append(self, effects: Any) -> int:
        """Frame one batch (anything msgpack takes) and give it the next LSN; returns it. `flush` writes it.

        Raises LogFull (nothing happened, the same LSN comes next) or LogPoisoned.
        """
        if self.poison is not None:
            raise self.poison
        lsn = self.next_lsn
        record = seal_batch(self._seed, lsn, self.durable_lsn, BATCH, effects)
        size = len(record)
        if size > self.room:
            self._roll(size)
            record = reseal(record, self._seed)
        if size > LARGE:
            self.flush()  # it will be written by itself: joined with others it would be copied
        self.room -= size
        self.appended_bytes += size
        self._buffer.append(record)
        self._last = record
        self.next_lsn = lsn + 1
        return lsn

    @property
    def buffered(self) -> bool:
        return bool(self._buffer)

    def flush(self) -> None:
        """write(2) what was appended. Raises LogPoisoned when the file system refuses."""
        if self.poison is not None:
            raise self.poison
        buffer = self._buffer
        if not buffer:
            return
        data = b"".join(buffer)
        assert self._file is not None
        try:
            self._file.pwrite(data, self._offset)
        except OSError as error:
            raise self.poisoned_by(error) from error
        self._offset += len(data)
        buffer.clear()
        self.written_lsn = self.next_lsn - 1

    def begin_sync(self) -> tuple[list[File], int]:
        """Flush; returns the files to sync, in order, and the LSN that is durable when all are."""
        self.flush()
        assert self._file is not None
        assert self._current is not None
        self._syncing = self._current.id
        return [*self._unsynced, self._file], self.written_lsn

    def end_sync(self, files: list[File], lsn: int) -> None:
        """All of `files`, as `begin_sync` gave them, have been synced."""
        for handle in files[:-1]:
            self._unsynced.remove(handle)
            handle.close()
        self._anchor = self._syncing
        if lsn > self.durable_lsn:
            self.durable_lsn = lsn

    def sync(self) -> None:
        """Flush and wait until everything is durable. Raises LogPoisoned."""
        files, lsn = self.begin_sync()
        if lsn == self.durable_lsn:
            return
        try:
            for handle in files:
                handle.sync()
        except OSError as error:
            raise self.poisoned_by(error) from error
        self.end_sync(files, lsn)

    def poisoned_by(self, error: OSError) -> LogPoisoned:
        """Refuse everything from now on: what the disk holds beyond `durable_lsn` is unknown."""
        if self.poison is None:
            self.poison = LogPoisoned(f"the log could not be written or synced ({error}); restart after mending the disk")
        return self.poison

    # -- segments ------------------------------------------------------------------------------------------------

    def _roll(self, need: int) -> None:
        """Make a new segment current that has room for a record of `need` bytes. Raises LogFull."""
        need += HEADER_SIZE + START_SIZE
        segment = self._take_prepared()
        if segment is not None:
            handle = self._open(segment)
            if need > handle.size():  # an outsized record: its segment comes next, for the chain follows the manifest
                handle.close()
                self._retire([segment])
                segment = None
        if segment is None:
            try:
                segment = self.manifest.create(max(self.segment_size, need), fill=need <= self.segment_size)
            except OSError as error:
                self.prepare_error = error
                raise LogFull(f"no room for the log: {error}") from error
            handle = self._open(segment)
        self.flush()
        if self._file is not None:
            self._unsynced.append(self._file)
        if self._current is not None:
            self._current.last_lsn = self.next_lsn - 1
        self._current = segment
        self._seed = segment.seed
        self._file = handle
        self._offset = HEADER_SIZE
        start = seal_record(self._seed, self.next_lsn - 1, self.durable_lsn, START, self._last[:4])
        self._buffer.append(start)
        self.room = self._file.size() - HEADER_SIZE - len(start)
        self._request_prepare()

    def _open(self, segment: Segment) -> File:
        try:
            return self.files.open(segment.path, writable=True)
        except OSError as error:  # too many open files
            self._prepared = segment
            raise LogFull(f"the next segment of the log cannot be opened: {error}") from error

    def _take_prepared(self) -> Segment | None:
        if self._worker is not None and self._prepared is None:
            self._preparing.wait()
        segment, self._prepared = self._prepared, None
        return segment

    def _request_prepare(self) -> None:
        if self._prepared is None:
            self._preparing.clear()
            self._do(self._prepare)

    def _prepare(self) -> None:
        try:
            self._prepared = self.manifest.create(self.segment_size)
            self.prepare_error = None
        except OSError as error:
            self.prepare_error = error
        finally:
            self._preparing.set()

    def retry_prepare(self) -> None:
        """Try again after a full disk; call now and then while `prepare_error` is set."""
        if self.prepare_error is not None and self._preparing.is_set():
            self._request_prepare()

    def retire(self, applied_lsn: int) -> None:
        """Drop segments whose every record is in the tables; the newest one known to have a durable START stays."""
        gone = [s for s in self.manifest.segments if s.id < self._anchor and s.last_lsn <= applied_lsn]
        if gone:
            self._do(lambda: self._retire(gone))

    def _retire(self, gone: list[Segment]) -> None:
        try:
            self.manifest.drop(gone)
        except OSError:
            return  # a full disk: they stay, and go at the next checkpoint

    def segments(self) -> list[Segment]:
        """The files of the log, oldest first, the prepared one last."""
        return list(self.manifest.segments)

    # -- chores --------------------------------------------------------------------------------------------------

    def _do(self, chore: Callable[[], None]) -> None:
        if self._worker is None:
            chore()
        else:
            self._chores.put(chore)

    def _work(self) -> None:
        while (chore := self._chores.get()) is not None:
            chore()


def remove_leftovers(files: Files, manifest: Manifest) -> list[str]:
    """Delete segment files the manifest does not name (a crash between creating and listing); returns their names.

    Raises Corruption, and deletes nothing, when there is a log but no manifest.
    """
    names = files.listdir(manifest.directory)
    segments = manifest.unnamed(names)
    if not manifest.segments:
        refuse_lost_manifest(manifest, [os.path.join(manifest.directory, name) for name in segments])
    strays = segments + [name for name in names if name == MANIFEST + ".new"]
    for name in strays:
        files.unlink(os.path.join(manifest.directory, name))
    return strays


def refuse_lost_manifest(manifest: Manifest, paths: list[str]) -> None:
    """Raises Corruption when one of these segments has records: the manifest is durable before the first is written."""
    for path in paths:
        handle = manifest.files.open(path)
        try:
            if handle.pread(RECORD_HEADER, HEADER_SIZE).strip(b"\0"):
                why = f"is missing, but {os.path.basename(path)} holds records: put it back or restore a backup"
                raise Corruption(manifest.path, 0, f"{why}; nothing was changed")
        finally:
            handle.close()
