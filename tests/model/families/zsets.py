"""Sorted sets: see `commands/zsets.py`. Blocking commands are in `tests/commands/test_zsets.py`."""

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
    command,
    group,
    mainly,
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

OWN = mostly(b"zset", b"zset", b"zset 2")
LEXICAL = b"lexical"
"""A key whose members all have the score 0: only then do ranges of names mean anything."""
MIXED = b"mixed"
"""One whose members have different scores, but few and short ones: Redis does the same each time."""
NAMED = st.sampled_from((LEXICAL, LEXICAL, MIXED))

MEMBER = st.sampled_from((b"a", b"b", b"c", b"ab", b"", b"\0\xff", b"long member " * 100, b"17"))
SCORE = (
    st.sampled_from(
        (b"0", b"1", b"1.5", b"-2", b"0.1", b"3", b"7.2", b"inf", b"-inf", b"+inf", b"1e17", b"1e300", b"5e-324",
         b"123456789012345678", b"9007199254740993", b"4e15", b"0x1p3")
    )
    | SMALL
    | st.floats(-1e6, 1e6).map(lambda x: b"%r" % x)
)  # fmt: skip
BAD_SCORE = st.sampled_from((b"nan", b"-nan", b"abc", b"", b" 1", b"1 ", b"1e5000", b"(1"))
END = SCORE | SCORE.map(b"(".__add__)
BAD_END = BAD_SCORE | st.sampled_from((b"(nan", b"((1", b"(", b" 7", b"( 7", b"0x", b"1e", b"[1", b"1\0x", b"-1e5000"))
ANY_END = mainly(END, BAD_END)
RANK = mainly(SMALL, NUMBER)
NAME = MEMBER.map(b"[".__add__) | MEMBER.map(b"(".__add__) | st.sampled_from((b"-", b"+"))
BAD_NAME = mainly(NAME, st.sampled_from((b"", b"a", b"++", b"-a", b"[", b"(")))
LIMIT = optional("LIMIT", RANK, RANK)
ADD_WORDS = st.lists(word("NX XX GT LT CH INCR CH GT LT"), max_size=2)
SOURCE = KEY | st.sampled_from((b"plain", LEXICAL, b"nothing"))
SOURCES = st.lists(SOURCE, min_size=1, max_size=3)


def counted(keys: list[bytes]) -> list[bytes]:
    return [b"%d" % len(keys), *keys]


def combination(keys: list[bytes]) -> st.SearchStrategy[list[bytes]]:
    """numkeys, keys and options that fit."""
    weights = st.lists(SCORE, min_size=len(keys), max_size=len(keys)).map(lambda weights: [b"WEIGHTS", *weights])
    return group(
        st.just(counted(keys)),
        shuffled(st.just([]) | weights, optional("AGGREGATE", word("SUM MIN MAX"))),
    )


SAME["zrandmember"] = random_choice
SAME["zscan"] = pages


COMMAND_STRATEGIES["sorted_set"] = st.one_of(
    command("ZADD", OWN, many(SCORE, MEMBER)),
    command("ZADD", OWN, many(SCORE, MEMBER, least=3, most=6)),
    command("ZADD", OWN, ADD_WORDS, many(SCORE, MEMBER)),
    command("ZADD", OWN, "INCR", optional(word("NX XX GT LT")), SCORE, MEMBER),
    command("ZADD", OWN, optional(word("XX")), many(SCORE | BAD_SCORE, MEMBER)),
    command("ZADD", LEXICAL, many(b"0", MEMBER, least=2, most=6)),
    command("ZADD", OWN, word("-0 0"), MEMBER),
    command("ZADD", MIXED, many(SMALL, MEMBER.filter(lambda member: len(member) < 9), least=2, most=6)),
    command("SADD", b"plain", many(MEMBER)),
    command("ZINCRBY", OWN, SCORE | BAD_SCORE, MEMBER),
    command("ZREM ZMSCORE", OWN, many(MEMBER)),
    command("ZREM", OWN, many(MEMBER, least=4, most=8)),
    command("ZCARD", OWN),
    command("ZSCORE ZRANK ZREVRANK", OWN, MEMBER),
    command("ZCOUNT", OWN, ANY_END, ANY_END),
    command("ZLEXCOUNT", NAMED, BAD_NAME, BAD_NAME),
    command("ZRANGE ZREVRANGE", OWN, RANK, RANK, optional("WITHSCORES")),
    command("ZRANGE", OWN, RANK, RANK, shuffled(optional("REV"), optional("WITHSCORES"), LIMIT)),
    command("ZRANGE", OWN, ANY_END, ANY_END, "BYSCORE", shuffled(optional("REV"), optional("WITHSCORES"), LIMIT)),
    command("ZRANGE", NAMED, BAD_NAME, BAD_NAME, "BYLEX", shuffled(optional("REV"), optional("WITHSCORES"), LIMIT)),
    command("ZRANGEBYSCORE ZREVRANGEBYSCORE", OWN, ANY_END, ANY_END, shuffled(optional("WITHSCORES"), LIMIT)),
    command("ZRANGEBYLEX ZREVRANGEBYLEX", NAMED, BAD_NAME, BAD_NAME, LIMIT),
    command("ZRANGESTORE", OWN, SOURCE, RANK, RANK, optional("REV")),
    command("ZRANGESTORE", OWN, OWN, ANY_END, ANY_END, "BYSCORE", shuffled(optional("REV"), LIMIT)),
    command("ZRANGESTORE", OWN, NAMED, BAD_NAME, BAD_NAME, "BYLEX", shuffled(optional("REV"), LIMIT)),
    command("ZREMRANGEBYRANK", OWN, RANK, RANK),
    command("ZREMRANGEBYSCORE", OWN, ANY_END, ANY_END),
    command("ZREMRANGEBYLEX", NAMED, BAD_NAME, BAD_NAME),
    command("ZUNION ZINTER", SOURCES.flatmap(combination), optional("WITHSCORES")),
    command("ZUNIONSTORE ZINTERSTORE", OWN, SOURCES.flatmap(combination)),
    command("ZDIFF", SOURCES.map(counted), optional("WITHSCORES")),
    command("ZDIFFSTORE", OWN, SOURCES.map(counted)),
    command("ZINTERCARD", SOURCES.map(counted), optional("LIMIT", NUMBER)),
    command("ZPOPMIN ZPOPMAX", OWN, optional(RANK)),
    command("ZMPOP", SOURCES.map(counted), word("MIN MAX"), optional("COUNT", RANK)),
    command("ZRANDMEMBER", OWN, optional(COUNT.filter(lambda n: len(n) < 12 or n[:1] != b"-" or n[1:2] == b"x"))),
    command("ZRANDMEMBER", OWN, COUNT.filter(lambda n: n != b"9999999999"), word("WITHSCORES WITHSCORES FOO")),
    command(
        "ZSCAN",
        OWN,
        word("0 0 0 0 0 x"),
        shuffled(
            optional("MATCH", PATTERN),
            optional("COUNT", st.sampled_from((b"100", b"100", b"100", b"100", b"0", b"-1", b"x"))),
            rarely("FOO"),
        ),
    ),
    command("EXPIRE", OWN, SECONDS),
    command("RENAME COPY", KEY, OWN),
    command("SET", KEY, MEMBER),
    command("TTL PERSIST TYPE DEL EXISTS GET", OWN),
    wild(
        "ZADD ZINCRBY ZREM ZCARD ZSCORE ZMSCORE ZCOUNT ZRANGE ZREVRANGE ZRANGEBYSCORE ZRANGESTORE ZREMRANGEBYRANK "
        "ZREMRANGEBYSCORE ZUNION ZINTER ZDIFF ZINTERCARD ZUNIONSTORE ZINTERSTORE ZDIFFSTORE ZPOPMIN ZPOPMAX ZMPOP "
        "ZSCAN",
        OWN
        | SMALL
        | st.sampled_from((b"1", b"2", b"a"))
        | word("WITHSCORES LIMIT BYSCORE REV NX XX GT CH INCR WEIGHTS AGGREGATE SUM MIN MAX COUNT MATCH"),
        most=8,
    ),
)
ALL = (*KEYS, *OTHER_TYPES, b"zset 2", LEXICAL, MIXED)
PROBES["sorted_set"] = [("ZRANGE 0 -1 WITHSCORES", ALL), ("ZCARD", ALL), ("TTL", ALL)]
