"""Bitmaps: see `commands/bitmaps.py`."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.model.differential import (
    COMMAND_STRATEGIES,
    NUMBER,
    PROBES,
    SMALL,
    VALUE,
    command,
    many,
    mostly,
    optional,
    wild,
    word,
)

OWN = mostly(b"string", b"bits")
BIT = st.sampled_from((b"0", b"1", b"1", b"0", b"2", b"x"))
OFFSET = st.integers(0, 80).map(b"%d".__mod__) | st.sampled_from(
    (b"128000", b"200001", b"4294967296", b"-1", b"x", b"")
)
POSITION = SMALL | st.sampled_from((b"100", b"-100", b"160000", b"x"))
UNIT = word("BYTE BIT") | st.just(b"BITS")

WIDTH = st.integers(1, 64).map(str)
FIELD_TYPE = st.builds(lambda sign, width: (sign + width).encode(), st.sampled_from("iu"), WIDTH) | st.sampled_from(
    (b"u8", b"i8", b"u1", b"u2", b"i64", b"u64", b"i0", b"i65", b"8", b"I8", b"u 8", b"i")
)
FIELD_OFFSET = st.integers(0, 40).map(b"%d".__mod__) | st.sampled_from(
    (b"#0", b"#1", b"#3", b"#", b"#-1", b"-1", b"x", b"127999", b"4294967295", b"#4294967295")
).filter(lambda offset: offset != b"4294967295")
AMOUNT = NUMBER | st.integers(-300, 300).map(b"%d".__mod__)

COMMAND_STRATEGIES["bitmap"] = st.one_of(
    command("SETBIT", OWN, OFFSET, BIT),
    command("GETBIT", OWN, OFFSET),
    command("BITCOUNT", OWN, optional(POSITION, POSITION, optional(UNIT))),
    command("BITPOS", OWN, BIT, optional(POSITION, optional(POSITION, optional(UNIT)))),
    command("BITOP", word("AND OR XOR NOT NAND"), OWN, many(OWN)),
    command(
        "BITFIELD BITFIELD BITFIELD BITFIELD_RO",
        OWN,
        st.lists(
            st.one_of(
                st.tuples(word("GET"), FIELD_TYPE, FIELD_OFFSET),
                st.tuples(word("SET INCRBY"), FIELD_TYPE, FIELD_OFFSET, AMOUNT),
                st.tuples(word("OVERFLOW"), word("WRAP SAT FAIL FAIL SAT STOP")),
            ).map(list),
            max_size=5,
        ),
    ),
    command("BITFIELD", OWN, many(word("GET SET INCRBY"), word("u8 i5 u1 i64 u63"), word("0 3 7 #2"), SMALL)),
    command("BITFIELD", OWN, many("OVERFLOW", word("WRAP SAT FAIL"), "INCRBY", word("u2 i3"), word("0 #1"), SMALL)),
    command("BITFIELD BITFIELD_RO", OWN, many("GET", word("u8 i5 u1 i64 u63"), word("0 3 7 #2"))),
    command("BITFIELD_RO", OWN, many(word("GET"), FIELD_TYPE, FIELD_OFFSET)),
    command("SET", OWN, VALUE),
    command("APPEND", OWN, VALUE),
    command("DEL", OWN),
    wild(
        "SETBIT GETBIT BITCOUNT BITPOS BITOP BITFIELD BITFIELD_RO",
        OWN | SMALL | word("BIT BYTE GET SET u8 i8 OVERFLOW NOT AND FAIL"),
    ),
)
PROBES["bitmap"] = [("GET", (b"a", b"b", b"c"))]
