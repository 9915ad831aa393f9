"""Strings: see `commands/strings.py`."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.model.differential import (
    BAD_TIMES,
    COMMAND_STRATEGIES,
    FLOAT,
    KEY,
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
    optional,
    shuffled,
    wild,
    word,
)

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
    optional(word("XX FOO")),
)
LETTERS = st.text("abAB", max_size=12).map(str.encode)

COMMAND_STRATEGIES["string"] = st.one_of(
    command("GET", KEY),
    command("SET", KEY, VALUE),
    command("SET", KEY, VALUE | FLOAT | NUMBER, SET_OPTIONS),
    command("SETNX", KEY, VALUE),
    command("SETEX", KEY, SECONDS | BAD_TIMES, VALUE),
    command("PSETEX", KEY, MILLISECONDS | BAD_TIMES, VALUE),
    command("GETSET", KEY, VALUE),
    command("GETEX", KEY, st.just([]) | TIME | group(word("PERSIST"))),
    command("GETDEL", KEY),
    command("MGET", many(KEY)),
    command("MSET", many(KEY, VALUE)),
    command("MSETNX", many(KEY, VALUE)),
    command("STRLEN", KEY),
    command("APPEND", KEY, VALUE),
    command("SETRANGE", KEY, NUMBER | st.sampled_from((b"250", b"16001", b"40000")), VALUE),
    command("GETRANGE SUBSTR", KEY, NUMBER, NUMBER),
    command("INCR DECR", KEY),
    command("INCRBY DECRBY", KEY, NUMBER),
    command("INCRBYFLOAT", KEY, FLOAT),
    command("SET", KEY, LETTERS),
    command(
        "LCS",
        KEY,
        KEY,
        shuffled(
            optional(word("LEN IDX")), optional(word("IDX")), optional("MINMATCHLEN", NUMBER), optional("WITHMATCHLEN")
        ),
    ),
    command("TTL PTTL PERSIST TYPE DEL EXISTS", KEY),
    wild(
        "SET GETEX SETEX MSET MSETNX MGET SETRANGE GETRANGE INCRBY DECRBY INCRBYFLOAT LCS STRLEN APPEND GETSET GETDEL",
        KEY | SMALL | NUMBER | word("EX PX NX XX GET KEEPTTL PERSIST LEN IDX"),
    ),
)
ALL = (*KEYS, *OTHER_TYPES)
PROBES["string"] = [("GET", ALL), ("STRLEN", ALL), ("PTTL", ALL)]
