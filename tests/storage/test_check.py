"""Every kind of damage is found and named, and nothing is found where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.storage.directory import FOREVER_MS, LONG_KEY, Rows, contents, fill, rows, segments

from perdure_storage import check
from perdure_storage.check import Finding, check_directory, check_tables, scrub
from perdure_storage.codec import pack
from perdure_storage.engine import Engine, Options
from perdure_storage.records import COUNT_PREFIX, COUNTS, SPACE, SPACE_BIT, body_record, expiry_key, record_key
from perdure_storage.tables import U64, LmdbTables, Table
from perdure_storage.testing import ManualClock, MemoryDisk
from perdure_storage.types.entry import Kind


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> str:
    return fill(tmp_path_factory.mktemp("sound") / "db")


@pytest.fixture
def path(sound: str, tmp_path: Path) -> str:
    copy = tmp_path / "db"
    shutil.copytree(sound, copy)
    return str(copy)


def findings(path: str) -> list[Finding]:
    return [step for step in check_directory(path) if isinstance(step, Finding)]


def errors(path: str) -> str:
    return "\n".join(str(finding) for finding in findings(path) if finding.severity == "error")


def test_nothing_is_found_in_a_sound_directory_and_nothing_changed(path: str) -> None:
    before = contents(path)
    assert findings(path) == []
    assert contents(path) == before


def test_nothing_is_found_with_a_tail_in_the_log(tmp_path: Path) -> None:
    assert findings(fill(tmp_path / "db", tail=True)) == []


@pytest.mark.parametrize("table", [Table.META, Table.KEYS, Table.STRINGS, Table.HASHES, Table.EXPIRIES])
def test_a_flipped_bit_anywhere_in_a_row_is_found(path: str, table: Table) -> None:
    """One bit in each region of every row: check sum, first byte, middle, last."""
    tables = LmdbTables(f"{path}/tables-1", writable=False, lock=False)
    tables.close()
    with rows(path, table) as raw:
        stored = raw.all()
    assert stored
    for row_key, original in stored[:: max(1, len(stored) // 6)]:
        for at in sorted({0, 4, len(original) // 2, len(original) - 1} & set(range(len(original)))):
            with rows(path, table) as raw:
                raw.store(row_key, original[:at] + bytes((original[at] ^ 4,)) + original[at + 1 :])
            snapshot_tables = LmdbTables(f"{path}/tables-1", writable=False, lock=False)
            snapshot = snapshot_tables.snapshot(doubting=True)
            found = [step for step in check_tables(snapshot) if isinstance(step, Finding)]
            snapshot.close()
            snapshot_tables.close()
            assert any(
                f"table {table.name.lower()} row" in finding.where and "check sum" in finding.what for finding in found
            ), (row_key, at)
        with rows(path, table) as raw:
            raw.store(row_key, original)
    assert findings(path) == []


def test_a_damaged_key_does_not_end_the_check_where_the_log_goes_on(tmp_path: Path) -> None:
    """Log and tables are compared, too: a row that is damaged is named once, and counts as a key."""
    path = fill(tmp_path / "db", tail=True)
    with rows(path, Table.KEYS) as raw:
        stored = raw.all()
    for row_key, original in stored[:: max(1, len(stored) // 6)]:
        with rows(path, Table.KEYS) as raw:
            raw.store(row_key, original[:-1] + bytes((original[-1] ^ 4,)))
        found = errors(path)
        assert f"table keys row {row_key.hex()[:80]}" in found
        assert "the log counts" not in found
        with rows(path, Table.KEYS) as raw:
            raw.store(row_key, original)


def test_a_damaged_applied_lsn_is_found(path: str) -> None:
    with rows(path, Table.META) as raw:
        raw.store(b"applied_lsn", b"\0" * 12)
    assert "table meta row applied_lsn: row check sum does not match" in errors(path)


def first(raw: Rows, start: bytes = b"") -> tuple[bytes, bytes]:
    return next((key, stored[4:]) for key, stored in raw.all() if key.startswith(start))


def _drop_first(raw: Rows) -> None:
    raw.delete(first(raw)[0])


def _recount(raw: Rows) -> None:
    raw.seal(COUNT_PREFIX + SPACE.pack(1), COUNTS.pack(99, 1))


def _recount_expires(raw: Rows) -> None:
    raw.seal(COUNT_PREFIX + SPACE.pack(1), COUNTS.pack(24, 7))


def _resize(raw: Rows) -> None:
    raw.seal(record_key(2, b"hash"), body_record(b"hash", Kind.HASH, 0, 2, 13, FOREVER_MS + 1))


def _low_next_id(raw: Rows) -> None:
    raw.seal(b"next_id", U64.pack(2))


def _wrong_due(raw: Rows) -> None:
    raw.seal(record_key(2, b"hash"), body_record(b"hash", Kind.HASH, 0, 2, 12, FOREVER_MS + 2))


def _late_due(raw: Rows) -> None:
    raw.seal(record_key(2, b"doomed"), body_record(b"doomed", Kind.HASH, 5, 3, 1, 0))


def _same_id(raw: Rows) -> None:
    raw.seal(record_key(2, b"doomed"), body_record(b"doomed", Kind.HASH, 0, 2, 12, 0))


def _unknown_kind(raw: Rows) -> None:
    raw.seal(record_key(2, b"doomed"), body_record(b"doomed", 99, 0, 3, 1, 0))


def _empty(raw: Rows) -> None:
    raw.seal(record_key(2, b"doomed"), body_record(b"doomed", Kind.HASH, 0, 3, 0, 0))


def _short_record(raw: Rows) -> None:
    raw.seal(record_key(2, b"doomed"), b"\3")


def _other_long_key(raw: Rows) -> None:
    other = LONG_KEY[:-1] + b"!"
    raw.seal(record_key(1, LONG_KEY), len(other).to_bytes(4, "little") + other + b"\1" + bytes(8) + b"x")


def _unknown_space(raw: Rows) -> None:
    raw.seal(record_key(77, b"lost"), b"\1" + bytes(8) + b"x")


def _stray_rows(raw: Rows) -> None:
    raw.seal(U64.pack(1 << 40) + b"f", bytes(8) + b"v")


def _short_element(raw: Rows) -> None:
    raw.seal(U64.pack(2) + b"short", b"v")


def _short_row_key(raw: Rows) -> None:
    raw.seal(b"abc", b"v")


def _long_chunk(raw: Rows) -> None:
    key, content = first(raw)
    raw.seal(key, content + b"more")


def _stray_expiry(raw: Rows) -> None:
    raw.seal(expiry_key(12345, 1, b"nobody"), b"")


def _second_expiry(raw: Rows) -> None:
    raw.seal(expiry_key(12345, 1, b"volatile"), b"")


def _live_id(raw: Rows) -> None:
    raw.seal(U64.pack(2), bytes((Kind.HASH,)))


def _live_space(raw: Rows) -> None:
    raw.seal(U64.pack(1 | SPACE_BIT), b"\0")


def _future_id(raw: Rows) -> None:
    raw.seal(U64.pack(1 << 40), bytes((Kind.HASH,)))


def _shared_space(raw: Rows) -> None:
    raw.seal(b"spaces", pack([1, 1, 3, 4]))


def _low_next_space(raw: Rows) -> None:
    raw.seal(b"next_space", SPACE.pack(2))


PLANTED: list[tuple[Table, Callable[[Rows], None], str]] = [
    (Table.KEYS, _drop_first, "database 0 (space 1): has 23 keys, META counts 24"),
    (Table.HASHES, _drop_first, "table hashes id 2: rows stand for 11, the key's record says 12"),
    (Table.STRINGS, _drop_first, "table strings id 1: rows stand for 35200, the key's record says 51200"),
    (Table.EXPIRIES, _drop_first, "has no row in expiries: it would not expire by itself"),
    (Table.META, _recount, "database 0 (space 1): has 24 keys, META counts 99"),
    (Table.META, _recount_expires, "database 0 (space 1): has 1 keys with an expiry, META counts 7"),
    (Table.META, _low_next_id, "(key 'hash'): has id 2, but the next new id is 2"),
    (Table.META, _shared_space, "table meta row spaces: two databases point at the same space"),
    (Table.META, _low_next_space, "table meta row next_space: is 2, but space 4 is in use"),
    (Table.KEYS, _resize, "table hashes id 2: rows stand for 12, the key's record says 13"),
    (Table.KEYS, _wrong_due, f"(key 'hash', due {FOREVER_MS + 1}): the key's record says {FOREVER_MS + 2}"),
    (Table.KEYS, _late_due, "(key 'doomed'): expires at 5, but the sweep looks at 0"),
    (Table.KEYS, _same_id, "has id 2, as another key does"),
    (Table.KEYS, _unknown_kind, "(key 'doomed'): has type 99, which is not known to this version"),
    (Table.KEYS, _empty, "(key 'doomed'): is empty"),
    (Table.KEYS, _short_record, "cannot be decoded"),
    (Table.KEYS, _other_long_key, "the digest in the row key is not that of the key in the row"),
    (Table.KEYS, _unknown_space, "(key 'lost'): is in space 77, which no database points at"),
    (Table.HASHES, _stray_rows, f"table hashes id {1 << 40}: 1 rows belong to no key and are not garbage"),
    (Table.HASHES, _short_element, "cannot be decoded"),
    (Table.HASHES, _short_row_key, "table hashes row 616263: the row key is too short for an id"),
    (Table.STRINGS, _long_chunk, "cannot be decoded: a chunk of 16004 bytes"),
    (Table.EXPIRIES, _stray_expiry, "(key 'nobody', due 12345): there is no such key"),
    (Table.EXPIRIES, _second_expiry, f"(key 'volatile', due 12345): the key's record says {FOREVER_MS}"),
    (Table.GARBAGE, _live_id, "(key 'hash'): its id 2 is on the garbage list"),
    (Table.GARBAGE, _live_space, "a database points at space 1"),
    (Table.GARBAGE, _future_id, f"is id {1 << 40}, but the next new id is 4"),
]


@pytest.mark.parametrize(("table", "plant", "text"), PLANTED, ids=[plant.__name__ for _, plant, _ in PLANTED])
def test_planted_damage_is_found_and_named(
    path: str, table: Table, plant: Callable[[Rows], None], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rows(path, table) as raw:
        plant(raw)
    found = errors(path)
    assert text in found
    monkeypatch.setattr(check, "WINDOW", 1)  # the same in many passes over the tables
    assert errors(path) == found


def test_a_key_whose_rows_are_all_gone_is_found(path: str) -> None:
    with rows(path, Table.HASHES) as raw:
        raw.delete(U64.pack(3) + b"f")
    assert "table hashes id 3: 1 elements, but no rows" in errors(path)


def test_garbage_that_waits_is_not_damage(path: str) -> None:
    with rows(path, Table.HASHES) as raw:
        raw.seal(U64.pack(1) + b"f", bytes(8) + b"v")
    assert "belong to no key" in errors(path)
    with rows(path, Table.META) as raw:
        raw.seal(b"next_id", U64.pack(10))
    with rows(path, Table.HASHES) as raw:
        raw.delete(U64.pack(1) + b"f")
        raw.seal(U64.pack(9) + b"f", bytes(8) + b"v")
    with rows(path, Table.GARBAGE) as raw:
        raw.seal(U64.pack(9), bytes((Kind.HASH,)))
    assert findings(path) == []


def _flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def test_damage_in_the_log_is_named_with_file_and_offset(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    engine = Engine.open(path, Options(databases=1, segment_size=4096))
    for number in range(60):
        engine[0].set_string(b"k%d" % number, b"v" * 200)
        engine.commit()
        engine.sync()
    engine.close(clean=False)
    assert findings(path) == []
    files = segments(path)
    assert len(files) > 3
    for file in files[:3]:
        _flip(file, 700)
        assert f"{file} at " in errors(path)
        _flip(file, 700)
    _flip(files[1], 20)
    assert f"{files[1]} at 0: segment header does not match the manifest" in errors(path)
    _flip(files[1], 20)
    files[1].rename(files[1].with_suffix(".away"))
    assert f"{files[1]}: is named in the manifest and missing" in errors(path)
    files[1].with_suffix(".away").rename(files[1])
    assert findings(path) == []


def test_a_torn_tail_is_a_warning(path: str) -> None:
    engine = Engine.open(path)
    engine[0].set_string(b"last", b"v" * 100)
    engine.commit()
    engine.log.flush()
    offset = engine.log._offset
    engine.close(clean=False)
    current = [file for file in segments(path) if any(file.read_bytes()[64:])][-1]
    _flip(current, offset - 10)
    (finding,) = findings(path)
    assert finding.severity == "warning"
    assert str(current) in finding.where
    assert "a start cuts them" in finding.what


def test_a_missing_log_is_found(path: str) -> None:
    shutil.rmtree(Path(path, "wal"))
    Path(path, "wal").mkdir()
    assert "shows that" in errors(path)


def test_a_cut_table_file_is_found_and_not_opened(path: str) -> None:
    file = Path(path, "tables-1", "data.mdb")
    file.write_bytes(file.read_bytes()[: 4096 * 5])
    assert "LMDB" in errors(path)


def test_an_unknown_format_is_named(path: str) -> None:
    Path(path, "FORMAT").write_text('{"format": 7}')
    assert "has format 7" in errors(path)


def test_a_scrub_finds_the_same_rows_in_slices_with_snapshots_of_their_own() -> None:
    disk = MemoryDisk()
    options = Options(files=disk, open_tables=disk.open_tables, clock=ManualClock(), databases=2)
    engine = Engine.open("/db", options)
    for number in range(50):
        engine[0].set_string(b"k%d" % number, b"v", FOREVER_MS)
    engine.commit()
    engine.checkpoint()
    assert not [step for step in scrub(engine.snapshot, 7) if isinstance(step, Finding)]
    tables = disk.tables["/db/tables-1"]
    del tables._tables[Table.EXPIRIES][expiry_key(FOREVER_MS, 1, b"k7")]
    tables._order[Table.EXPIRIES] = None
    (finding,) = (step for step in scrub(engine.snapshot, 7) if isinstance(step, Finding))
    assert "(key 'k7'): is due" in f"{finding.where}: {finding.what}"
    engine.close(clean=False)
