"""Usage lines and the table; figures of redis-server 7.0.15 say what must come out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perdure.commands import FAMILIES
from perdure.registry import (
    OPEN,
    READ,
    RECORD_ONLY,
    WRITE,
    Args,
    Command,
    Family,
    Flag,
    build_table,
    every_command,
    with_upper_case,
)
from perdure.usage import KeySpec, parse_usage

if TYPE_CHECKING:
    from tests.conftest import RealRedis

FACTS: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "commands-redis-7.0.15.json").read_text())
"""What COMMAND INFO says there: arity, flags, ACL categories, first key, last key and step, access by key spec."""

USAGES = [
    "BITFIELD key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value |"
    " INCRBY encoding offset increment> ...]",
    "BITOP <AND | OR | XOR | NOT> destkey key [key ...]",
    "BLMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
    "BLMPOP timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
    "BLPOP key [key ...] timeout",
    "CLIENT NO-EVICT <ON | OFF>",
    "COPY source destination [DB db] [REPLACE]",
    "DEL key [key ...]",
    "EVAL script numkeys [key ...] [arg ...]",
    "GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]",
    "GEORADIUS key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [COUNT count [ANY]] [ASC | DESC]"
    " [STORE storekey | STOREDIST storekey]",
    "GEOSEARCHSTORE destination source <FROMMEMBER member | FROMLONLAT longitude latitude>"
    " <BYRADIUS radius <M | KM> | BYBOX width height <M | KM>> [ASC | DESC] [COUNT count [ANY]]",
    "HELLO [protover [AUTH username password] [SETNAME clientname]]",
    "HSET key field value [field value ...]",
    "LCS key1 key2 [LEN] [IDX]",
    "LMPOP numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
    "MEMORY USAGE key [SAMPLES count]",
    "MGET key [key ...]",
    "MIGRATE host port <key | \"\"> destination-db timeout [COPY] [REPLACE] [AUTH password] [KEYS key [key ...]]",
    "MSET key value [key value ...]",
    "OBJECT ENCODING key",
    "PFMERGE destkey [sourcekey [sourcekey ...]]",
    "PING [message]",
    "RENAME key newkey",
    "SDIFFSTORE destination key [key ...]",
    "SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | KEEPTTL]",
    "SINTERCARD numkeys key [key ...] [LIMIT limit]",
    "SORT key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]"
    " [STORE destination]",
    "SSUBSCRIBE shardchannel [shardchannel ...]",
    "SUBSCRIBE channel [channel ...]",
    "WAIT numreplicas timeout",
    "XADD key [NOMKSTREAM] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> field value [field value ...]",
    "XGROUP CREATE key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]",
    "XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
    "XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]",
    "ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
    "ZDIFFSTORE destination numkeys key [key ...]",
    "ZRANGESTORE dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
    "ZUNION numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
]  # fmt: skip


def made(usage: str, flags: int = 0, **more: Any) -> Command:
    """The command that a usage line makes."""
    family = Family("generic")
    name = "XREADGROUP" if usage.startswith("XREADGROUP") else ""
    family.command(usage, flags, since="1.0.0", name=name, **more)(handler)
    return next(iter(family.commands.values()))


def handler(db: Any, args: Args) -> str:
    """Do nothing. And no more."""
    return "OK"


@pytest.mark.parametrize("usage", USAGES)
def test_a_usage_line_gives_arity_and_keys(usage: str) -> None:
    command = made(usage)
    fact = FACTS[command.name.decode()]
    assert command.arity == fact["arity"]
    assert [command.first_key, command.last_key, command.step] == fact["keys"]
    assert command.movablekeys == ("movablekeys" in fact["flags"])


CALLS = [
    "BITOP AND d a b", "BLMOVE a b LEFT RIGHT 0", "BLMPOP 0 2 a b LEFT", "BLPOP a b 0", "COPY a b REPLACE", "DEL a b c",
    "EVAL x 2 a b c", "EVAL x 0 a", "EVAL x 3 a b", "EVAL x -1 a", "GEORADIUS k 1 2 3 M STORE d", "GEORADIUS k 1 2 3 M",
    "LMPOP 1 a LEFT COUNT 2", "MGET a b", "MEMORY USAGE k SAMPLES 3", "MSET a 1 b 2", "OBJECT ENCODING k",
    "PFMERGE d a b", "RENAME a b", "SDIFFSTORE d a b", "SINTERCARD 2 a b LIMIT 1", "SORT k BY nosort STORE d",
    "XGROUP CREATE s g 0", "XREAD COUNT 2 STREAMS a b 1 2", "XREAD STREAMS streams 1",
    "XREADGROUP GROUP streams c STREAMS a 1", "ZDIFFSTORE d 2 a b", "ZDIFFSTORE d 3 a b", "ZUNION 2 a b WEIGHTS 1 2",
    "ZUNION x a b", "ZADD k GT 1 m", "SET k v",
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_the_keys_of_a_call_are_those_redis_finds(real_redis: RealRedis, call: str) -> None:
    argv = call.encode().split()
    commands = {command.name: command for command in map(made, USAGES)}
    command = commands.get(argv[0].lower()) or commands[b"|".join(argv[:2]).lower()]
    told = real_redis.ask("COMMAND", "GETKEYS", *argv)
    assert command.keys(argv) == ([] if isinstance(told, Exception) else told)


def test_a_key_spec_that_the_line_cannot_say() -> None:
    keys = KeySpec(-2, "KEYS", last=-1)
    command = made("MIGRATE host port key db timeout [KEYS key ...]", key_specs=[KeySpec(3), keys])
    assert command.keys(b"migrate h 1 k 0 1 COPY KEYS a b".split()) == [b"k", b"a", b"b"]


def test_one_handler_may_have_several_names() -> None:
    family = Family("generic")
    for usage in ("EXPIRE key seconds", "PEXPIRE key milliseconds"):
        assert family.command(usage, WRITE, since="1.0.0")(handler) is handler
    assert list(build_table([family])) == [b"expire", b"pexpire"]
    with pytest.raises(ValueError, match="another command"):
        family.command("EXPIRE key", since="1.0.0")(handler)


def test_subcommands_live_in_a_container() -> None:
    family = Family("server", context=True)
    family.command("CONFIG GET parameter [parameter ...]", since="2.0.0")(handler)
    family.command("CONFIG RESETSTAT", since="2.0.0")(handler)
    config = build_table([family])[b"config"]
    assert (config.arity, config.words, config.subcommands and list(config.subcommands)) == (
        -2,
        1,
        [b"get", b"resetstat"],
    )
    get = (config.subcommands or {})[b"get"]
    assert (get.name, get.words, get.min_argc, get.max_argc, get.context) == (b"config|get", 2, 3, OPEN, True)


def test_flags_are_plain_bools() -> None:
    command = made("TTL key", READ | RECORD_ONLY)
    assert command.readonly is True and command.record_only is True and command.write is False
    assert command.flag_names() == ["readonly"]
    assert all(type(getattr(command, str(flag.name).lower())) is bool for flag in Flag)


def test_the_summary_is_the_first_line_of_the_docstring() -> None:
    assert made("TTL key").summary == "Do nothing. And no more"


def test_each_table_counts_for_itself() -> None:
    one, other = build_table(FAMILIES), build_table(FAMILIES)
    one[b"get"].calls += 1
    assert other[b"get"].calls == 0
    assert with_upper_case(one)[b"GET"] is one[b"get"]


@pytest.mark.parametrize("usage", ["", "get key", "GET [key", "GET key]", "GET a | b", "GET <a | b", "GET key ... x"])
def test_a_line_that_makes_no_sense_is_refused(usage: str) -> None:
    with pytest.raises(ValueError):
        parse_usage(usage)


# -- every command we have -----------------------------------------------------------------------------------------

TABLE = build_table(FAMILIES)
COMMANDS = [*every_command(TABLE)]
KNOWN = [command for command in COMMANDS if command.name.decode() in FACTS]

DIFFERENT = {
    "lcs": "two key specs where Redis has one with two keys",
}
NEWER_ARITY = {"zrank": -3, "zrevrank": -3}
"""Of commands that have got an option since: WITHSCORE in 7.2."""


@pytest.mark.parametrize("command", KNOWN, ids=lambda command: command.name.decode())
def test_a_command_is_what_it_is_in_redis(command: Command) -> None:
    name = command.name.decode()
    fact = FACTS[name]
    assert command.arity == NEWER_ARITY.get(name, fact["arity"])
    assert [command.first_key, command.last_key, command.step] == fact["keys"]
    assert " ".join(sorted(command.flag_names())) == fact["flags"]
    assert " ".join(sorted(command.acl_categories)) == fact["acl"]
    if name not in DIFFERENT:
        assert [sorted(spec.flags) for spec in command.key_specs] == [
            sorted(access.split()) for access in fact["access"]
        ]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name.decode())
def test_a_command_is_documented(command: Command) -> None:
    assert command.summary and command.since and command.complexity
    assert not (command.write and command.readonly)
