"""The log: every cut gives an exact prefix, every flipped bit is noticed, nothing is skipped."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from tests.storage.memory import LOG, opened, used_bytes

from perdure_storage.codec import BATCH, seal_record, unpack
from perdure_storage.errors import Corruption, LogFull, LogPoisoned, UnknownFormat
from perdure_storage.testing import MemoryDisk
from perdure_storage.wal import HEADER_SIZE, LARGE, Log, LogReader, Manifest, Tail, cut_tail


@dataclass
class Written:
    """A log on a disk of its own. `ends[n]` is where batch n + 1 ends, as (segment path, offset)."""

    disk: MemoryDisk = field(default_factory=MemoryDisk)
    batches: list[Any] = field(default_factory=list)
    ends: list[tuple[str, int]] = field(default_factory=list)
    log: Log = field(init=False)

    def open(self, segment_size: int = 1024, applied_lsn: int = 0) -> Tail:
        tail = find_tail(self.disk, applied_lsn)
        manifest = Manifest.load(self.disk, LOG)
        cut_tail(self.disk, manifest, tail)
        self.log = Log(self.disk, LOG, manifest, tail, segment_size=segment_size, inline=True)
        return tail

    def write(self, count: int, *, sync: bool = True, size: int = 20) -> None:
        for _ in range(count):
            batch = (len(self.batches), b"x" * (size + len(self.batches) % 7))
            self.log.append(batch)
            self.log.flush()
            self.batches.append(batch)
            assert self.log._current is not None
            self.ends.append((self.log._current.path, self.log._offset))
            if sync:
                self.log.sync()

    def content(self, path: str) -> bytearray:
        return self.disk.names[path].content

    def put(self, path: str, content: bytes | bytearray) -> None:
        self.disk.names[path].content = bytearray(content)

    def segments(self) -> list[str]:
        """Those that were begun."""
        return sorted({path for path, _ in self.ends})


def find_tail(disk: MemoryDisk, applied_lsn: int = 0) -> Tail:
    reader = LogReader(disk, LOG)
    try:
        return reader.find_tail(applied_lsn)
    finally:
        reader.close()


def read(disk: MemoryDisk, upto: int) -> list[Any]:
    reader = LogReader(disk, LOG)
    try:
        return [unpack(record.payload) for record in reader.batches(0, upto)]
    finally:
        reader.close()


def written(count: int, **options: Any) -> Written:
    log = Written()
    log.open(options.pop("segment_size", 1024))
    log.write(count, **options)
    return log


@pytest.mark.parametrize("how", ["truncated", "zeroed", "overwritten"])
def test_a_log_cut_at_any_byte_is_an_exact_prefix(how: str) -> None:
    log = written(12)
    ((path),) = log.segments()
    whole = bytes(log.content(path))
    for cut in range(HEADER_SIZE, used_bytes(whole) + 1):
        rest = {"truncated": b"", "zeroed": bytes(len(whole) - cut), "overwritten": b"\xa5" * (len(whole) - cut)}[how]
        log.put(path, whole[:cut] + rest)
        expected = sum(1 for _, end in log.ends if end <= cut)
        tail = find_tail(log.disk)
        assert tail.last_lsn == expected
        assert read(log.disk, expected) == log.batches[:expected]
        ends = [end for _, end in log.ends if end <= cut]
        if how == "zeroed" and ends:
            assert tail.torn_bytes == used_bytes(whole[ends[-1] : cut])


def test_a_flipped_bit_anywhere_is_never_served() -> None:
    """Refused with file and offset where a later record shows that it was durable; cut where it is the last one."""
    log = written(8)
    ((path),) = log.segments()
    whole = bytes(log.content(path))
    last = log.ends[-2][1]
    for at in range(used_bytes(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        log.put(path, damaged)
        if at < HEADER_SIZE and at >= 28:
            continue  # not in use
        if at >= last:
            assert find_tail(log.disk).last_lsn == 7
            assert read(log.disk, 7) == log.batches[:7]
            with pytest.raises(Corruption):  # the tables hold LSN 8: so it was durable
                find_tail(log.disk, applied_lsn=8)
            continue
        with pytest.raises(Corruption) as caught:
            find_tail(log.disk)
        assert caught.value.path.startswith(LOG)
        if at >= log.ends[0][1]:
            assert caught.value.path == path
            assert caught.value.where == max(end for _, end in log.ends if end <= at)


def test_a_record_is_vouched_for_by_the_one_after_it_only_once_it_was_durable() -> None:
    for synced in (True, False):
        log = written(1)
        log.write(2, sync=False)
        if synced:
            log.log.sync()
        log.write(1, sync=False)
        path, end = log.ends[1]
        content = log.content(path)
        content[end + 30] ^= 1
        if synced:
            with pytest.raises(Corruption, match="shows that 3 was durable"):
                find_tail(log.disk)
        else:
            tail = find_tail(log.disk)
            assert tail.last_lsn == 2
            assert tail.torn_bytes > 0


def test_what_the_tables_hold_cannot_be_missing_in_the_log() -> None:
    log = written(3)
    assert find_tail(log.disk, applied_lsn=3).last_lsn == 3
    with pytest.raises(Corruption, match=r"the tables shows? that 4 was durable"):
        find_tail(log.disk, applied_lsn=4)


def test_a_torn_tail_is_cut_and_nothing_of_it_comes_back() -> None:
    log = written(3)
    log.write(2, sync=False)
    path, start = log.ends[2]
    log.content(path)[start + 5] ^= 1
    tail = log.open()
    assert (tail.last_lsn, tail.torn_bytes) == (3, log.ends[4][1] - start)
    del log.batches[3:], log.ends[3:]
    log.write(1)  # as long as the damaged record was: the stale one would follow it
    assert find_tail(log.disk).last_lsn == 4
    assert read(log.disk, 4) == log.batches


def test_what_fits_a_check_sum_by_chance_is_no_proof_of_damage() -> None:
    """One tail of 32 MB in some 8,000 has a place that reads as a record, with any number for its LSN."""
    log = written(3)
    path, offset = log.ends[-1]
    assert log.log._current is not None
    seed = log.log._current.seed
    content = log.content(path)
    for lsn, is_proof in [(1 << 62, False), ((1 << 64) - 2, False), (5, True)]:
        content[offset : offset + 100] = (b"torn" + seal_record(seed, lsn, lsn - 1, BATCH, b"x")).ljust(100, b"\0")
        if is_proof:
            with pytest.raises(Corruption, match="shows that 4 was durable"):
                find_tail(log.disk)
        else:
            assert find_tail(log.disk).last_lsn == 3


def test_batches_go_on_across_segments() -> None:
    log = written(100)
    assert len(log.segments()) > 3
    assert find_tail(log.disk).last_lsn == 100
    assert read(log.disk, 100) == log.batches
    log.open()
    log.write(50)
    assert read(log.disk, 150) == log.batches


@pytest.mark.parametrize("size", [5000, LARGE])
def test_a_batch_larger_than_a_segment_gets_one_of_its_own(size: int) -> None:
    log = written(2)
    log.write(1, size=size)
    log.write(3)
    assert find_tail(log.disk).last_lsn == 6
    assert read(log.disk, 6) == log.batches


def test_a_prepared_segment_of_a_smaller_size_is_not_used_for_a_larger_batch() -> None:
    log = written(2)
    log.open(segment_size=100_000)
    log.write(1, size=5000)
    assert log.log.room > 0
    assert read(log.disk, 3) == log.batches


def test_an_earlier_segment_that_is_damaged_is_named() -> None:
    log = written(100)
    first, second, *_ = log.segments()
    end = max(offset for path, offset in log.ends if path == second)
    log.content(second)[end - 1] ^= 1
    with pytest.raises(Corruption) as caught:
        find_tail(log.disk)
    assert caught.value.path == second
    assert isinstance(caught.value.where, int)
    assert caught.value.where < end
    log.content(second)[end - 1] ^= 1
    log.put(first, log.content(first)[:40])
    with pytest.raises(Corruption) as caught:
        find_tail(log.disk)
    assert caught.value.path in (first, LOG, log.segments()[1])


def test_segments_that_were_never_synced_go_with_the_torn_one_before_them() -> None:
    log = written(1)
    log.write(99, sync=False)
    second = log.segments()[1]
    end = max(offset for path, offset in log.ends if path == second)
    log.content(second)[end - 1] ^= 1
    tail = log.open()
    assert tail.last_lsn == sum(1 for path, _ in log.ends if path <= second) - 1
    assert [segment.path for segment in tail.discarded] == log.segments()[2:]
    del log.batches[tail.last_lsn :], log.ends[tail.last_lsn :]
    log.write(30)
    assert read(log.disk, len(log.batches)) == log.batches


def test_swapped_segments_are_refused() -> None:
    log = written(100)
    first, second, *_ = log.segments()
    names = log.disk.names
    names[first], names[second] = names[second], names[first]
    with pytest.raises(Corruption, match="header does not match the manifest") as caught:
        find_tail(log.disk)
    assert (caught.value.path, caught.value.where) == (first, 0)


def test_a_segment_of_another_log_is_refused() -> None:
    log, other = written(100), written(100)
    second = log.segments()[1]
    log.put(second, other.content(second))
    with pytest.raises(Corruption, match="header does not match"):
        find_tail(log.disk)


def test_a_gap_between_segments_is_refused() -> None:
    """A segment that has gone from the manifest too."""
    log = written(100)
    manifest = Manifest.load(log.disk, LOG)
    manifest.drop([segment for segment in manifest.segments if segment.path == log.segments()[1]])
    with pytest.raises(Corruption):
        find_tail(log.disk)
    with pytest.raises(Corruption):
        read(log.disk, 100)


def test_a_missing_segment_is_named() -> None:
    world = opened()
    for number in range(200):
        world.put(b"k", b"%d" % number)
    world.engine.sync()
    world.kill()
    lost = sorted(name for name in world.disk.names if name.endswith(".wal"))[1]
    del world.disk.names[lost]
    with pytest.raises(Corruption, match="it is not there") as caught:
        world.open()
    assert caught.value.path == lost


def test_a_damaged_manifest_is_refused() -> None:
    log = written(3)
    path = f"{LOG}/MANIFEST"
    whole = bytes(log.content(path))
    for at in range(len(whole) - 1):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        log.put(path, damaged)
        with pytest.raises((Corruption, UnknownFormat)):
            find_tail(log.disk)


def test_an_unknown_manifest_format_is_refused() -> None:
    from crc32c import crc32c

    log = written(3)
    text = (
        log.content(f"{LOG}/MANIFEST").rpartition(b"\n")[0].rpartition(b"\n")[0].replace(b'"format": 1', b'"format": 2')
    )
    log.put(f"{LOG}/MANIFEST", bytes(text) + b"\n%08x\n" % crc32c(bytes(text)))
    with pytest.raises(UnknownFormat, match="format 2"):
        find_tail(log.disk)


def test_a_full_disk_refuses_a_batch_and_takes_it_when_space_returns() -> None:
    log = Written()
    log.disk.capacity = 2300  # the first segment, the manifest and one more
    log.open()
    with pytest.raises(LogFull):
        log.write(100)
    held = len(log.batches)
    assert log.log.next_lsn == held + 1
    assert read(log.disk, held) == log.batches
    log.disk.capacity = 1 << 30
    log.log.retry_prepare()
    log.write(100)
    assert log.log.prepare_error is None
    assert read(log.disk, held + 100) == log.batches


def test_a_segment_that_cannot_be_opened_refuses_a_batch_and_loses_nothing() -> None:
    log = written(3)
    files_open = log.disk.open

    def no_more(path: str, *, writable: bool = False, create: bool = False) -> Any:
        raise OSError(errno.EMFILE, "too many open files")

    log.disk.open = no_more  # type: ignore[method-assign]
    with pytest.raises(LogFull, match="too many open files"):
        log.write(100)
    log.disk.open = files_open  # type: ignore[method-assign]
    log.write(50)
    assert read(log.disk, len(log.batches)) == log.batches


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_a_failure_poisons_the_log_for_good(operation: str) -> None:
    log = written(3)
    log.disk.faults[operation, log.disk.trace[operation] + 1] = OSError(errno.EIO, "planned")
    with pytest.raises(LogPoisoned, match="planned"):
        log.write(1)
    assert log.log.durable_lsn == 3
    for attempt in (lambda: log.log.append((1,)), log.log.flush, log.log.sync):
        with pytest.raises(LogPoisoned):
            attempt()
    log.log.close()


def test_a_sync_that_fails_after_the_manifest_was_renamed_keeps_the_segment_it_names() -> None:
    for number in range(1, 12):
        log = written(1)
        log.disk.faults["sync_dir", log.disk.trace["sync_dir"] + number] = OSError(errno.EIO, "planned")
        try:
            log.write(100, sync=False)
            log.log.sync()
        except LogFull:
            pass
        assert find_tail(log.disk).last_lsn == len(log.batches)


def test_retired_segments_go_and_the_newest_durable_one_stays() -> None:
    log = written(100)
    log.log.retire(50)
    kept = [segment.path for segment in log.log.segments()]
    assert kept[0] in log.segments()
    assert sum(1 for path, _ in log.ends if path < kept[0]) <= 50
    log.log.retire(100)
    assert log.segments()[-1] in [segment.path for segment in log.log.segments()]
    assert find_tail(log.disk, applied_lsn=100).last_lsn == 100


@pytest.mark.parametrize("seed", range(30))
def test_a_power_cut_leaves_a_prefix_that_holds_all_that_was_synced(seed: int) -> None:
    random = Random(seed)
    log = written(random.randint(1, 40))
    log.write(random.randint(1, 60), sync=False, size=random.choice((20, 20, 3000)))
    durable = log.log.durable_lsn
    log.disk.crash(random)
    tail = find_tail(log.disk, durable)
    assert durable <= tail.last_lsn <= len(log.batches)
    assert read(log.disk, tail.last_lsn) == log.batches[: tail.last_lsn]
