"""The format pages say what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure_storage import effects as fx
from perdure_storage.codec import pack
from perdure_storage.effects import LAYOUT, describe, layout_table, shape
from perdure_storage.engine import Engine, Options
from perdure_storage.tables import Table
from perdure_storage.testing import ManualClock, MemoryDisk
from perdure_storage.types.entry import Kind

FORMATS = Path(__file__).parents[2] / "docs" / "formats"


def test_the_page_of_effects_is_current() -> None:
    assert layout_table() in (FORMATS / "effects.md").read_text(), f"put this there:\n\n{layout_table()}"


def test_the_page_of_tables_names_every_table_and_type_in_use() -> None:
    page = (FORMATS / "tables.md").read_text()
    for table in Table:
        assert table.name.lower() in page
    assert f"| {Table.HASHES.value} | hashes |" in page
    assert f"HASH ({Kind.HASH.value})" in page


def test_the_examples_are_what_is_logged() -> None:
    disk = MemoryDisk()
    clock = ManualClock(1_700_000_000_000)
    engine = Engine.open("/db", Options(files=disk, open_tables=disk.open_tables, clock=clock, databases=1))
    page = (FORMATS / "effects.md").read_text()

    def logged() -> str:
        text = repr([list(effect) for effect in engine.dataset.seal()]).replace("b'", '"').replace("'", '"')
        engine.commit()
        return text

    engine[0].set_string(b"k", b"v", clock.now_ms() + 10_000)
    assert logged() in page
    engine[0].edit_hash(b"h").set(b"f", b"v")
    assert logged() in page


@pytest.mark.parametrize("number", LAYOUT)
def test_every_effect_can_be_described(number: int) -> None:
    fixed, repeated = shape(number)
    items = list(range(len(fixed) + 2 * len(repeated)))
    name, named = describe((number, *items))
    assert name == LAYOUT[number][0]
    assert [item for item, _ in named] == fixed + repeated * 2
    assert [value for _, value in named] == items
    if fixed:
        with pytest.raises(ValueError, match=name):
            describe((number, *items[: len(fixed) - 1]))


def test_what_is_no_effect_is_refused() -> None:
    for effect in [(0,), (99, 1), (), ("x",)]:
        with pytest.raises(ValueError, match="not an effect"):
            describe(effect)


def test_effects_fit_into_msgpack() -> None:
    assert pack([(fx.HASH_PUT, 1, b"f", b"v", 0)])
