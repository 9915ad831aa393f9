"""`docs/commands.md` is what the registry says, and what is missing is listed there, no more and no less."""

from __future__ import annotations

from pathlib import Path

from perdure.commands import FAMILIES
from perdure.manual import is_in_7_2, page
from perdure.registry import build_table, commands_not_here, every_command

ROOT = Path(__file__).parent.parent
REDIS_7_2 = set((ROOT / "tests" / "data" / "commands-redis-7.2.txt").read_text().split())
"""Names of its commands and subcommands, these as "client|list"."""


def test_the_page_of_commands_is_current() -> None:
    assert (ROOT / "docs" / "commands.md").read_text() == page(), "run: python -m perdure.manual > docs/commands.md"


def test_what_is_there_and_what_is_called_missing_are_redis_7_2() -> None:
    table = build_table(FAMILIES)
    here = {each.name.decode() for each in every_command(table)}
    missing = {name.decode() for name in commands_not_here()}
    lacking = {name for name in REDIS_7_2 if name.partition("|")[0] not in missing} - here
    assert lacking == {name for name in missing if "|" in name}
    assert {name for name in missing if "|" not in name} == {name for name in REDIS_7_2 - here if "|" not in name}


def test_since_tells_what_redis_7_2_has() -> None:
    for command in build_table(FAMILIES).values():
        assert is_in_7_2(command) == (command.name.decode() in REDIS_7_2), command.name
