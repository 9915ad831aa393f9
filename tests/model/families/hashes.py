"""Hashes: see `commands/hashes.py`. Fields that expire are newer than the judge: `tests/commands/test_hashes.py`."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.model.differential import (
    COMMAND_STRATEGIES,
    FLOAT,
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
    any_order_of_pairs,
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

OWN = mostly(b"hash", b"hash", b"hash 2")
FIELD = st.sampled_from((b"f", b"g", b"h", b"", b"\0\xff", b"long field " * 100, b"17"))
PATTERN = st.sampled_from((b"*", b"f*", b"[fg]", b"\\f", b"?", b"", b"long*"))
COUNT = NUMBER | st.sampled_from((b"1", b"2", b"-3", b"100", b"-9223372036854775807", b"4611686018427387904"))


SAME["hgetall"] = any_order_of_pairs
SAME["hkeys"] = SAME["hvals"] = any_order
SAME["hrandfield"] = random_choice
SAME["hscan"] = pages

COMMAND_STRATEGIES["hash"] = st.one_of(
    command("HSET HSET HMSET", OWN, many(FIELD, VALUE)),
    command("HSET", OWN, many(FIELD, VALUE | FLOAT | NUMBER)),
    command("HSET HMSET", OWN, many(FIELD)),
    command("HSETNX", OWN, FIELD, VALUE),
    command("HGET HSTRLEN HEXISTS", OWN, FIELD),
    command("HMGET HDEL", OWN, many(FIELD)),
    command("HDEL", OWN, many(FIELD, least=4, most=8)),
    command("HGETALL HKEYS HVALS HLEN", OWN),
    command("HINCRBY", OWN, FIELD, NUMBER),
    command("HINCRBYFLOAT", OWN, FIELD, FLOAT),
    command("HRANDFIELD", OWN, optional(COUNT.filter(lambda n: len(n) < 12 or n[:1] != b"-" or n[1:2] == b"x"))),
    command("HRANDFIELD", OWN, COUNT.filter(lambda n: n != b"9999999999"), word("WITHVALUES WITHVALUES FOO")),
    command(
        "HSCAN",
        OWN,
        word("0 0 0 0 0 x"),
        shuffled(
            optional("MATCH", PATTERN),
            optional("COUNT", st.sampled_from((b"100", b"100", b"100", b"100", b"0", b"-1", b"x"))),
            rarely("FOO"),
        ),
    ),
    command("SET", KEY, VALUE),
    command("EXPIRE", OWN, SECONDS),
    command("RENAME COPY", KEY, OWN),
    command("TTL PERSIST TYPE DEL EXISTS GET", OWN),
    wild(
        "HSET HMSET HSETNX HGET HMGET HGETALL HKEYS HLEN HSTRLEN HEXISTS HDEL HINCRBY HINCRBYFLOAT HRANDFIELD HSCAN",
        OWN | FIELD.filter(lambda field: b"\0" not in field) | SMALL | word("WITHVALUES MATCH COUNT * NOVALUES"),
    ),
)
ALL = (*KEYS, *OTHER_TYPES, b"hash 2")
PROBES["hash"] = [("HGETALL", ALL), ("HLEN", ALL), ("TTL", ALL)]
