"""COMMAND and its subcommands, beside a real redis-server where both know the command."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from perdure.commands import FAMILIES
from perdure.commands.introspection import COMMANDS
from perdure.errors import ReplyError
from perdure.registry import build_table
from perdure.resp import Map, Set

if TYPE_CHECKING:
    from tests.conftest import RealRedis

TABLE = build_table(FAMILIES)
CTX: Any = SimpleNamespace(server=SimpleNamespace(commands=TABLE))


def ask(*words: str) -> Any:
    """Run one of COMMAND's handlers; the reply as RESP2 has it."""
    name = b"|".join(word.lower().encode() for word in words[:2])
    handler = COMMANDS.commands[name].handler
    return plain(handler(CTX, [word.encode() for word in words[2:]]))


def plain(reply: Any) -> Any:
    if isinstance(reply, dict):
        return [plain(part) for pair in reply.items() for part in pair]
    if isinstance(reply, (Map, Set)):
        return plain(reply.items)
    if isinstance(reply, (list, tuple)):
        return [plain(item) for item in reply]
    return reply.encode() if isinstance(reply, str) else reply


def comparable(info: list[Any]) -> list[Any]:
    """An entry of COMMAND INFO without what may differ: order in sets, notes on key specs."""
    name, arity, flags, first, last, step, categories, tips, specs, _ = info
    specs = [dict(zip(spec[::2], spec[1::2], strict=True)) for spec in specs]
    for spec in specs:
        spec.pop(b"notes", None)
        spec[b"flags"].sort()
    return [name, arity, sorted(flags), first, last, step, sorted(categories), sorted(tips), specs]


@pytest.mark.parametrize(
    "name", ["get", "set", "mset", "bitop", "incr", "command", "config|get", "client|list", "exec"]
)
def test_info_is_what_redis_says(real_redis: RealRedis, name: str) -> None:
    assert comparable(ask("COMMAND", "INFO", name)[0]) == comparable(real_redis.ask("COMMAND", "INFO", name)[0])


def of_all(infos: list[Any]) -> dict[str, list[Any]]:
    """Entries of COMMAND by name, those of subcommands, too."""
    return {info[0].decode(): info for parent in infos for info in (parent, *parent[9])}


def test_tips_are_those_of_redis(real_redis: RealRedis) -> None:
    told = of_all(real_redis.ask("COMMAND"))
    mine = {name: sorted(info[7]) for name, info in of_all(ask("COMMAND")).items() if name in told}
    assert mine == {name: sorted(told[name][7]) for name in mine}


def types_of(docs: list[Any]) -> dict[bytes, list[Any]]:
    """From COMMAND DOCS: the types of a command's arguments in their order, without those that stand for themselves."""
    found: dict[bytes, list[Any]] = {}
    for name, parts in zip(docs[::2], docs[1::2], strict=True):
        entry = dict(zip(parts[::2], parts[1::2], strict=True))
        found[name] = leaves(entry.get(b"arguments", []))
        found |= types_of(entry.get(b"subcommands", []))
    return found


def leaves(arguments: list[Any]) -> list[Any]:
    found = []
    for parts in arguments:
        argument = dict(zip(parts[::2], parts[1::2], strict=True))
        if b"arguments" in argument:
            found += leaves(argument[b"arguments"])
        elif argument[b"type"] != b"pure-token":
            found.append(argument[b"type"])
    return found


def test_docs_have_the_types_that_redis_has(real_redis: RealRedis) -> None:
    mine, told = types_of(ask("COMMAND", "DOCS")), types_of(real_redis.ask("COMMAND", "DOCS"))
    weighted = {b"zinter", b"zinterstore", b"zunion", b"zunionstore"}  # Redis calls weights integers
    alike = {name for name in mine.keys() & told.keys() if len(mine[name]) == len(told[name])} - weighted
    assert len(alike) > 300
    assert {name: mine[name] for name in alike} == {name: told[name] for name in alike}


def test_every_help_begins_and_ends_like_the_others(perdure: RealRedis) -> None:
    containers = [name.decode().upper() for name, each in TABLE.items() if each.subcommands and b"help" in each.subcommands]
    assert {"CLIENT", "COMMAND", "CONFIG", "MODULE", "XINFO"} <= {*containers}
    for container in containers:
        first, *_, last = perdure.ask(container, "HELP")
        assert first.decode() == f"{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
        assert last.startswith((b"    Print this help.", b"    Return this text."))


def test_info_of_what_is_not_there_is_null() -> None:
    assert ask("COMMAND", "INFO", "nope", "config|nope", "get|x") == [None, None, None]


def test_count_and_info_are_of_all_commands() -> None:
    assert ask("COMMAND", "COUNT") == len(TABLE) == len(ask("COMMAND", "INFO"))
    assert len([name for name in ask("COMMAND", "LIST") if b"|" not in name]) == len(TABLE)


def test_docs_have_the_argument_tree_that_redis_has(real_redis: RealRedis) -> None:
    for name in ("get", "mget", "mset", "incrby", "getrange", "zcard"):
        mine = dict(zip(*[iter(ask("COMMAND", "DOCS", name)[1])] * 2, strict=True))
        told = dict(zip(*[iter(real_redis.ask("COMMAND", "DOCS", name)[1])] * 2, strict=True))
        assert mine[b"arguments"] == [tidied(argument) for argument in told[b"arguments"]]
        assert mine[b"group"] == told[b"group"] and mine[b"since"] == told[b"since"]


def tidied(argument: list[Any]) -> list[Any]:
    """Redis names a repeated pair after both words."""
    return [b"data" if part == b"key_value" else part for part in argument]


@pytest.mark.parametrize("name", [name.decode() for name in TABLE])
def test_docs_of_a_command_can_be_made(name: str) -> None:
    assert ask("COMMAND", "DOCS", name)[0] == name.encode()


@pytest.mark.parametrize(
    "call", ["MSET a 1 b 2", "GET a b", "GET a", "NOPE a", "PING a", "CONFIG GET a", "CONFIG NOPE a", "BITOP AND d a b"]
)
@pytest.mark.parametrize("subcommand", ["GETKEYS", "GETKEYSANDFLAGS"])
def test_keys_of_a_call(real_redis: RealRedis, subcommand: str, call: str) -> None:
    told = real_redis.ask("COMMAND", subcommand, *call.split())
    try:
        assert ask("COMMAND", subcommand, *call.split()) == told
    except ReplyError as error:
        assert error.text == str(told)


def test_a_list_may_be_filtered() -> None:
    assert ask("COMMAND", "LIST", "FILTERBY", "PATTERN", "CONFIG|*") == [
        b"config|get", b"config|set", b"config|resetstat", b"config|rewrite", b"config|help",
    ]  # fmt: skip
    assert b"setbit" in ask("COMMAND", "LIST", "filterby", "aclcat", "BITMAP")
    assert ask("COMMAND", "LIST", "FILTERBY", "MODULE", "json") == []
    for wrong in (["FILTERBY"], ["FILTERBY", "SIZE", "1"], ["x", "PATTERN", "*"]):
        with pytest.raises(ReplyError, match="ERR syntax error"):
            ask("COMMAND", "LIST", *wrong)
