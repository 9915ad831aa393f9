"""Sets: see `commands/sets.py`. SPOP is only asked for none or for all: which members go is a matter of luck."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.model.differential import (
    COMMAND_STRATEGIES,
    KEY,
    KEYS,
    NUMBER,
    OTHER_TYPES,
    PROBES,
    SAME,
    SECONDS,
    SMALL,
    VALUE,
    any_order,
    command,
    many,
    mostly,
    optional,
    pages,
    random_choice,
    rarely,
    shuffled,
    wild,
    word,
)
from tests.model.families.hashes import COUNT, PATTERN

OWN = mostly(b"set", b"set", b"set 2")
MEMBER = st.sampled_from((b"x", b"y", b"z", b"1", b"2", b"", b"long member " * 100)) | VALUE


SAME["smembers"] = SAME["sinter"] = SAME["sunion"] = SAME["sdiff"] = SAME["spop"] = any_order
SAME["srandmember"] = random_choice
SAME["sscan"] = pages

COMMAND_STRATEGIES["sets"] = st.one_of(
    command("SADD SADD SREM", OWN, many(MEMBER, most=9)),
    command("SADD", OWN, many(MEMBER, most=9)),
    command("SADD", OWN, many(st.integers(0, 200).map(b"%d".__mod__), most=30)),
    command("SMEMBERS SCARD", OWN),
    command("SISMEMBER", OWN, MEMBER),
    command("SMISMEMBER", OWN, many(MEMBER)),
    command("SMOVE", OWN, OWN, MEMBER),
    command("SPOP", OWN, word("0 100 100 -1 x 9223372036854775807")),
    command("SPOP", OWN, word("100"), rarely("FOO")),
    command("SRANDMEMBER", OWN, optional(COUNT.filter(lambda n: len(n) < 12 or n[:1] != b"-" or n[1:2] == b"x"))),
    command(
        "SSCAN",
        OWN,
        word("0 0 0 0 0 x"),
        shuffled(
            optional("MATCH", PATTERN), optional("COUNT", st.sampled_from((b"300", b"0", b"-1", b"x"))), rarely("FOO")
        ),
    ),
    command("SINTER SUNION SDIFF", many(OWN)),
    command("SINTERSTORE SUNIONSTORE SDIFFSTORE", OWN, many(OWN)),
    command("SINTERCARD", b"2", OWN, OWN, optional("LIMIT", word("0 1 2 100"))),
    command(
        "SINTERCARD",
        word("1 2 2 2 3 0 x"),
        many(OWN),
        optional("LIMIT", word("0 1 2 100 -1 x")),
        rarely(word("LIMIT FOO")),
    ),
    command("SET", KEY, VALUE),
    command("EXPIRE", OWN, SECONDS),
    command("RENAME COPY", KEY, OWN),
    command("TTL PERSIST TYPE DEL EXISTS GET", OWN),
    wild(
        "SADD SREM SMEMBERS SISMEMBER SMISMEMBER SCARD SRANDMEMBER SMOVE SINTER SINTERSTORE SINTERCARD SUNION "
        "SUNIONSTORE SDIFF SDIFFSTORE SSCAN",
        OWN | SMALL | NUMBER.filter(lambda n: n[:2] != b"-9") | word("x y LIMIT MATCH COUNT *"),
    ),
)
ALL = (*KEYS, *OTHER_TYPES, b"set 2")
PROBES["sets"] = [("SMEMBERS", ALL), ("SCARD", ALL), ("TTL", ALL)]
