"""Batches are packed and unpacked alike in C and in Python, and nothing else is taken for one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_storage.codec import pack, seal_batch, seal_batch_in_python, unpack, unpack_in_python

ITEMS = st.one_of(
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.integers(-200, 70_000),
    st.binary(max_size=300),
    st.floats(allow_nan=False),
    st.none(),
)
BATCHES = st.lists(st.lists(ITEMS | st.lists(ITEMS, max_size=3).map(tuple), max_size=20).map(tuple), max_size=20).map(tuple)


@given(BATCHES)
def test_what_is_packed_can_be_unpacked(batch: tuple[Any, ...]) -> None:
    assert unpack(pack(batch)) == unpack_in_python(pack(batch)) == batch
    assert seal_batch(7, 5, 3, 1, batch) == seal_batch_in_python(7, 5, 3, 1, batch)


@pytest.mark.parametrize("size", [255, 256, 65_535, 65_536])
def test_long_values_and_many_of_them(size: int) -> None:
    batch = (b"x" * size, (1,) * size)
    assert unpack(pack(batch)) == batch


@given(BATCHES, st.data())
def test_what_is_cut_short_or_goes_on_is_refused(batch: tuple[Any, ...], data: st.DataObject) -> None:
    packed = pack(batch)
    for damaged in (packed[: data.draw(st.integers(0, len(packed) - 1))], packed + b"\0"):
        for each in (unpack, unpack_in_python):
            with pytest.raises(ValueError):
                each(damaged)


@given(st.binary(max_size=60))
def test_random_bytes_do_no_harm(data: bytes) -> None:
    try:
        assert repr(unpack(data)) == repr(unpack_in_python(data))  # NaN is not equal to itself
    except ValueError:
        pass


@pytest.mark.parametrize("data", [b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x91" * 100_000])
def test_nothing_is_reserved_for_what_is_not_there(data: bytes) -> None:
    with pytest.raises(ValueError):
        unpack(data)
