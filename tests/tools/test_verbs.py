"""What inspect, dump, check and wal say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.storage.directory import FOREVER_MS, fill, rows, segments

from perdure_storage.engine import Engine
from perdure_storage.tables import Table
from perdure_tools.cli import main
from perdure_tools.common import human_bytes
from perdure_tools.glob import compile_glob


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> str:
    return fill(tmp_path_factory.mktemp("tools") / "db", tail=True)


@pytest.fixture
def out(capfd: pytest.CaptureFixture[str]) -> Any:
    def call(*words: str, code: int = 0) -> str:
        assert main(list(words)) == code
        return capfd.readouterr().out

    return call


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


# -- dump ------------------------------------------------------------------------------------------


def test_dump_has_every_key_with_the_tail_of_the_log(out: Any, directory: str) -> None:
    found = {(line["db"], str(line["key"])): line for line in lines(out("dump", directory))}
    assert len(found) == 27
    assert found[0, "key:00"] == {"db": 0, "key": "key:00", "type": "string", "value": "changed"}
    assert found[0, "volatile"]["expire_ms"] == FOREVER_MS
    assert found[0, "{'base64': 'Ymlu/wA='}"]["value"] == {"base64": "/v8="}
    assert found[1, "hash"]["value"]["field:0"] == "changed"
    assert found[1, "hash"]["field_expire_ms"] == {"mortal": FOREVER_MS + 1}


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--db", "1"], 3),
        (["--db", "9"], 0),
        (["--type", "hash"], 3),
        (["--match", "key:*"], 19),
        (["--match", "key:0[0-3]"], 3),
        (["--match", "key:00"], 1),
        (["--match", "*a*"], 3),
        (["--match", "base64:Ymlu/yo="], 1),
        (["--match", "long*", "--type", "string"], 1),
    ],
)
def test_dump_options(out: Any, directory: str, options: list[str], count: int) -> None:
    found = lines(out("dump", directory, "--keys-only", *options))
    assert len(found) == count
    assert not any("value" in line for line in found)


def test_dump_as_base64(out: Any, directory: str) -> None:
    found = lines(out("dump", directory, "--raw-base64", "--match", "key:00"))
    assert found == [{"db": 0, "key": "a2V5OjAw", "type": "string", "value": "Y2hhbmdlZA=="}]


def test_dump_of_a_hash_with_binary_fields_is_a_list_of_pairs(out: Any, tmp_path: Path) -> None:
    with Engine.open(str(tmp_path)) as engine:
        fields = engine[0].edit_hash(b"h")
        fields.set(b"\xff", b"v")
        fields.set(b"f", b"\xfe")
        engine.commit()
    (line,) = lines(out("dump", str(tmp_path)))
    assert sorted(line["value"], key=str) == [["f", {"base64": "/g=="}], [{"base64": "/w=="}, "v"]]


def test_dump_leaves_out_what_has_expired(out: Any, tmp_path: Path) -> None:
    with Engine.open(str(tmp_path)) as engine:
        engine[0].set_string(b"old", b"v", 1)
        fields = engine[0].edit_hash(b"h")
        fields.set(b"gone", b"v", 1)
        fields.set(b"f", b"v")
        engine.commit()
    (line,) = lines(out("dump", str(tmp_path)))
    assert line == {"db": 0, "key": "h", "type": "hash", "value": {"f": "v"}}
    assert "old" in out("dump", str(tmp_path), "--expired")


# -- inspect ---------------------------------------------------------------------------------------


def test_inspect_sums_up(out: Any, directory: str) -> None:
    text = out("inspect", directory, "--top", "1")
    for part in (
        "format 1, LMDB",
        "stopped, not cleanly",
        "to LSN 4; tables at LSN 3, 1 batches behind",
        "0000000000000001.wal",
        "keys      27",
        "24 string",
        "50.0 KiB  db0 string 'chunked'",
        "12 elements  db1 hash 'hash'",
        "1 keys expire",
    ):
        assert part in text, part


def test_inspect_shows_one_key(out: Any, directory: str) -> None:
    assert json.loads(out("inspect", directory, "--key", "tail"))["value"] == "only in the log"
    assert json.loads(out("inspect", directory, "--key", "base64:Ymlu/wA="))["value"] == {"base64": "/v8="}
    assert "no database has the key" in out("inspect", directory, "--key", "none", code=1)


# -- check -----------------------------------------------------------------------------------------


def test_check_says_that_all_is_well(out: Any, directory: str) -> None:
    assert "0 errors, 0 warnings" in out("check", directory)
    assert out("check", directory, "--quiet") == ""


def test_check_names_damage(out: Any, tmp_path: Path) -> None:
    path = fill(tmp_path / "db")
    with rows(path, Table.KEYS) as raw:
        key, stored = raw.all()[3]
        raw.store(key, stored[:-1] + b"!")
    assert "error: table keys row" in out("check", path, code=1)
    found = lines(out("check", path, "--json", code=1))
    assert {"severity", "where", "what"} == set(found[0])


# -- wal -------------------------------------------------------------------------------------------


def test_wal_lists_records_with_their_effects(out: Any, directory: str) -> None:
    text = out("wal", directory)
    assert len(text.splitlines()) == 4
    assert "0000000000000001.wal @" in text
    assert "string space=1 key='tail' value='only in the log'" in text


def test_wal_as_json_from_to(out: Any, directory: str) -> None:
    found = lines(out("wal", directory, "--from", "2", "--to", "3", "--json"))
    assert [line["lsn"] for line in found] == [2, 3]
    assert {"effect": "hash_put", "id": 3, "field": ["f"], "value": ["v"], "expire": [0]} in found[1]["effects"]


def test_wal_of_one_key_follows_its_id(out: Any, directory: str) -> None:
    found = lines(out("wal", directory, "--key", "hash", "--json"))
    assert [line["lsn"] for line in found] == [2, 4]


def test_wal_statistics(out: Any, directory: str) -> None:
    text = out("wal", directory, "--stats")
    assert "records   4, LSN 1 to 4, in 1 segments" in text
    assert "hash_put" in text


def test_wal_ends_where_the_log_is_torn(out: Any, tmp_path: Path) -> None:
    path = fill(tmp_path / "db", tail=True)
    current = [file for file in segments(path) if any(file.read_bytes()[64:])][-1]
    data = bytearray(current.read_bytes())
    data[len(data.rstrip(b"\0")) - 20] ^= 1
    current.write_bytes(data)
    assert len(out("wal", path).splitlines()) == 3


# -- small things ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "hits", "misses"),
    [
        (b"*", [b"", b"x\n"], []),
        (b"a*b*c", [b"abc", b"axbxbxc"], [b"ab", b"abcd"]),
        (b"h?llo", [b"hello", b"h\nllo"], [b"hllo"]),
        (b"h[a-c^]llo", [b"hbllo", b"h^llo"], [b"hdllo"]),
        (b"h[^e]llo", [b"hallo"], [b"hello"]),
        (b"\\*\\", [b"*\\"], [b"x\\"]),
        (b"[\\]]", [b"]"], [b"["]),
        (b"[]", [], [b"]", b""]),
        (b"[^]", [b"x"], [b""]),
        (b"*ab", [b"abab"], [b"aba"]),
        (b"", [b""], [b"x"]),
    ],
)
def test_globs(pattern: bytes, hits: list[bytes], misses: list[bytes]) -> None:
    matches = compile_glob(pattern)
    assert all(map(matches, hits))
    assert not any(map(matches, misses))


def test_sizes_for_people() -> None:
    assert [human_bytes(size) for size in (0, 1023, 1024, 1536, 1 << 20, 5 << 30, 1 << 50)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 KiB",
        "1.0 MiB",
        "5.0 GiB",
        "1024.0 TiB",
    ]
