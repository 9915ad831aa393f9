"""The compiled halves agree with their sources: each `.pxd` lists exactly the attributes that its class sets."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from lupa.lua51 import LuaRuntime

from perdure.scripting.bridge import PlainBridge, connect

ROOT = Path(__file__).parent.parent
PXDS = sorted(path for root in ("src", "storage") for path in (ROOT / root).rglob("*.pxd"))


def fields_declared(pxd: Path) -> dict[str, set[str]]:
    """C fields of each class in a `.pxd`."""
    found: dict[str, set[str]] = {}
    name = ""
    for line in pxd.read_text().splitlines():
        if match := re.match(r"cdef class (\w+)", line):
            name = match[1]
            found[name] = set()
        elif match := re.match(r"    cdef public [\w ]+ (\w+)$", line):
            found[name].add(match[1])
    return found


def attributes_set(source: Path, name: str) -> set[str]:
    """The __slots__ of a class, or, without any, what its methods assign to `self`."""
    body = next(n for n in ast.parse(source.read_text()).body if isinstance(n, ast.ClassDef) and n.name == name)
    for node in body.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__":
            return set(ast.literal_eval(node.value))
    return {
        node.attr
        for node in ast.walk(body)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }


@pytest.mark.parametrize("pxd", PXDS, ids=lambda path: path.stem)
def test_a_pxd_lists_the_attributes_of_its_classes(pxd: Path) -> None:
    for name, fields in fields_declared(pxd).items():
        assert fields == attributes_set(pxd.with_suffix(".py"), name), f"{pxd.name}: class {name}"


def test_every_compiled_module_is_newer_than_its_source() -> None:
    """A stale one would be run instead of what was edited: `make test` builds it again."""
    for library in [path for root in ("src", "storage") for path in (ROOT / root).rglob("*.so")]:
        stem = library.name.partition(".")[0]
        for source in library.parent.glob(f"{stem}.p*"):
            assert source.stat().st_mtime <= library.stat().st_mtime, f"{library.name} is older than {source.name}"


def test_scripts_go_by_the_compiled_bridge_where_there_is_one() -> None:
    """It may also fail to find the interpreter, and then nothing but the time would tell."""
    try:
        there = find_spec("perdure.scripting._bridge") is not None
    except ModuleNotFoundError:  # PERDURE_PURE=1 passes it by
        there = False
    plain = isinstance(connect(LuaRuntime(encoding=None, max_memory=1 << 40), lambda argv: None), PlainBridge)
    assert plain != there
