"""The digest says the same for the same data, and something else for any other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from perdure_storage.digest import dataset_digest, key_digest
from perdure_storage.engine import Engine, Options
from perdure_storage.testing import ManualClock, MemoryDisk

ZEROS = "0" * 40


def engine() -> Engine:
    disk = MemoryDisk()
    return Engine.open("/db", Options(files=disk, open_tables=disk.open_tables, clock=ManualClock(), databases=2))


def fill(engine: Engine) -> None:
    for number in range(20):
        engine[0].set_string(b"k%d" % number, b"v%d" % number)
    engine[0].set_string(b"long", b"x" * 100_000)
    engine[1].set_string(b"volatile", b"v", engine.dataset.now + 1000)
    fields = engine[1].edit_hash(b"hash")
    for number in range(20):
        fields.set(b"f%d" % number, b"v%d" % number, engine.dataset.now + 2000 if number % 2 else 0)
    engine.commit()


def cool(engine: Engine) -> None:
    """Nothing stays in memory."""
    engine.checkpoint()
    engine.dataset.restart(engine.snapshot())
    engine.dataset.lsn = engine.log.next_lsn


def test_an_empty_dataset_has_zeros() -> None:
    with engine() as empty:
        assert dataset_digest(empty.dataset) == ZEROS == key_digest(empty[0], b"nothing")


def test_hot_cold_and_half_loaded_are_the_same() -> None:
    with engine() as some:
        fill(some)
        hot, hot_key = dataset_digest(some.dataset), key_digest(some[1], b"hash")
        cool(some)
        assert dataset_digest(some.dataset) == hot
        assert key_digest(some[1], b"hash") == hot_key
        assert not some[1].hot, "a digest brings nothing into memory"
        some[1].find(b"hash")
        some[0].find(b"long")
        assert dataset_digest(some.dataset) == hot
        used = some.dataset.used
        dataset_digest(some.dataset)
        assert some.dataset.used == used


def test_the_order_of_writing_does_not_matter() -> None:
    with engine() as one, engine() as other:
        for number in range(9):
            one[0].set_string(b"k%d" % number, b"v")
            one[0].edit_hash(b"h").set(b"f%d" % number, b"v")
        for number in reversed(range(9)):
            other[0].edit_hash(b"h").set(b"f%d" % number, b"v")
            other[0].set_string(b"k%d" % number, b"v")
        assert dataset_digest(one.dataset) == dataset_digest(other.dataset)


CHANGES: list[Callable[[Engine], object]] = [
    lambda e: e[0].set_string(b"k1", b"other"),
    lambda e: e[0].set_string(b"new", b""),
    lambda e: e[0].remove(e[0].find(b"k1")),
    lambda e: e[0].set_expire(e[0].find(b"k1"), e.dataset.now + 9),
    lambda e: e[1].edit_hash(b"hash").set(b"f1", b"other"),
    lambda e: e[1].edit_hash(b"hash").delete(b"f1"),
    lambda e: e[1].edit_hash(b"hash").expire_field(b"f2", e.dataset.now + 9),
    lambda e: e[0].move(e[0].find(b"k1"), e[1], b"k1"),
    lambda e: e.dataset.swap(0, 1),
    lambda e: e[0].clear(),
]


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_changes_it(change: Callable[[Engine], object]) -> None:
    with engine() as some:
        fill(some)
        before = dataset_digest(some.dataset)
        change(some)
        assert dataset_digest(some.dataset) != before


def test_a_string_and_a_hash_of_the_same_bytes_differ() -> None:
    with engine() as one, engine() as other:
        one[0].set_string(b"k", b"")
        other[0].edit_hash(b"k").set(b"", b"")
        assert dataset_digest(one.dataset) != dataset_digest(other.dataset)


def test_expiry_times_can_be_left_out() -> None:
    with engine() as one, engine() as other:
        for each, expire in ((one, 0), (other, 1 << 50)):
            each[0].set_string(b"k", b"v", expire)
            each[0].edit_hash(b"h").set(b"f", b"v", expire)
        assert dataset_digest(one.dataset) != dataset_digest(other.dataset)
        assert dataset_digest(one.dataset, ignore_expiry=True) == dataset_digest(other.dataset, ignore_expiry=True)


def test_what_has_expired_counts_as_gone_swept_or_not() -> None:
    with engine() as some:
        fill(some)
        some.dataset.now += 5000
        before = dataset_digest(some.dataset)
        cool(some)
        assert dataset_digest(some.dataset) == before
        while some.sweep():
            pass
        assert some[1].hot[b"hash"].size == 10
        assert dataset_digest(some.dataset) == before
