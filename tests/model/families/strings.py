"""Strings: see `commands/strings.py`."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.model.differential import (
    BAD_TIMES,
    COMMAND_STRATEGIES,
    FLOAT,
    KEYS,
    MILLISECONDS,
    NUMBER,
    OTHER_TYPES,
    PROBES,
    SECONDS,
    SMALL,
    UNIX_MILLISECONDS,
    UNIX_SECONDS,
    VALUE,
    command,
    group,
    many,
    mostly,
    optional,
    rarely,
    shuffled,
    wild,
    word,
)

OWN = mostly(b"string", b"string 2")
TIME = st.one_of(
    group(word("EX"), SECONDS),
    group(word("PX"), MILLISECONDS),
    group(word("EXAT"), UNIX_SECONDS),
    group(word("PXAT"), UNIX_MILLISECONDS),
    group(word("EX PX EXAT PXAT"), BAD_TIMES),
)
SET_OPTIONS = shuffled(
    optional(word("NX XX")),
    optional(word("GET")),
    st.just([]) | TIME | group(word("KEEPTTL")),
    rarely(word("XX FOO")),
)
LETTERS = st.text("abAB", max_size=12).map(str.encode)

COMMAND_STRATEGIES["string"] = st.one_of(
    command("GET", OWN),
    command("SET", OWN, VALUE),
    command("SET", OWN, VALUE | FLOAT | NUMBER, SET_OPTIONS),
    command("SETNX", OWN, VALUE),
    command("SETEX", OWN, SECONDS | BAD_TIMES, VALUE),
    command("PSETEX", OWN, MILLISECONDS | BAD_TIMES, VALUE),
    command("GETSET", OWN, VALUE),
    command("GETEX", OWN, st.just([]) | TIME | group(word("PERSIST"))),
    command("GETDEL", OWN),
    command("MGET", many(OWN)),
    command("MSET", many(OWN, VALUE)),
    command("MSETNX", many(OWN, VALUE)),
    command("STRLEN", OWN),
    command("APPEND", OWN, VALUE),
    command("SETRANGE", OWN, NUMBER | st.sampled_from((b"250", b"16001", b"40000")), VALUE),
    command("GETRANGE SUBSTR", OWN, NUMBER, NUMBER),
    command("INCR DECR", OWN),
    command("INCRBY DECRBY", OWN, NUMBER),
    command("INCRBYFLOAT", OWN, FLOAT),
    command("SET", OWN, LETTERS),
    command(
        "LCS",
        OWN,
        OWN,
        shuffled(
            optional(word("LEN IDX")), optional(word("IDX")), optional("MINMATCHLEN", NUMBER), optional("WITHMATCHLEN")
        ),
    ),
    command("TTL PTTL PERSIST TYPE DEL EXISTS", OWN),
    wild(
        "SET GETEX SETEX MSET MSETNX MGET SETRANGE GETRANGE INCRBY DECRBY INCRBYFLOAT LCS STRLEN APPEND GETSET GETDEL",
        OWN | SMALL | NUMBER | word("EX PX NX XX GET KEEPTTL PERSIST LEN IDX"),
    ),
)
ALL = (*KEYS, *OTHER_TYPES, b"string 2")
PROBES["string"] = [("GET", ALL), ("STRLEN", ALL), ("PTTL", ALL)]
