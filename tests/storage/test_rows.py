"""Keys and contents of rows are made alike in C and in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_storage import effects, records, tables
from perdure_storage.types import hash as hashes
from perdure_storage.types import list as lists

U64 = st.integers(0, (1 << 64) - 1)
NAMES = st.binary(max_size=40) | st.integers(470, 490).map(lambda size: b"n" * size) | st.binary(min_size=481, max_size=900)
VALUES = st.binary(max_size=100)

ALIKE: dict[str, tuple[Callable[..., bytes], Callable[..., bytes], list[st.SearchStrategy[Any]]]] = {
    "record_key": (records.record_key, records.record_key_in_python, [st.integers(0, (1 << 32) - 1), NAMES]),
    "string_record": (records.string_record, records.string_record_in_python, [NAMES, U64, VALUES]),
    "body_record": (
        records.body_record, records.body_record_in_python, [NAMES, st.integers(0, 255), U64, U64, U64, U64],
    ),
    "element_key": (tables.element_key, tables.element_key_in_python, [U64, NAMES]),
    "field_content": (hashes.field_content, hashes.field_content_in_python, [NAMES, U64, VALUES]),
    "slot_key": (lists.slot_key, lists.slot_key_in_python, [U64, U64]),
}  # fmt: skip


@pytest.mark.parametrize("name", ALIKE)
@given(data=st.data())
def test_rows_are_made_alike(name: str, data: st.DataObject) -> None:
    quick, slow, arguments = ALIKE[name]
    drawn = [data.draw(argument) for argument in arguments]
    assert quick(*drawn) == slow(*drawn)


@given(NAMES, U64, VALUES)
def test_what_is_made_can_be_taken_apart(key: bytes, expire: int, value: bytes) -> None:
    row_key, content = records.record_key(7, key), records.string_record(key, expire, value)
    whole, record = records.decode(row_key, content)
    assert (whole, record.expire, record.value) == (key, expire, value)


@pytest.mark.parametrize("visit", [effects.visit, effects.visit_in_python])
def test_effects_are_visited_in_order(visit: Callable[..., None]) -> None:
    seen: list[Any] = []
    visit({1: lambda *items: seen.append(items), 2: seen.append}, ((1, b"a", 2), (2, b"b"), (1,)))
    assert seen == [(b"a", 2), b"b", ()]
    for none in [(9, b"x")], [()], [[1, 2]], [None], [b"\1"]:
        with pytest.raises(ValueError):
            visit({1: seen.append}, none)
    with pytest.raises(TypeError):
        visit({1: seen.append}, [(1, 2, 3)])
