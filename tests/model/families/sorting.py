"""SORT: see `commands/sorting.py`.

Equal weights under ALPHA leave the order to chance in sets and sorted sets, so BY with ALPHA is for lists only; and
numbers out of range are left out, since redis-server then finds its `errno` set the next time as well. So the keys are
others than those of the rest, whose commands would rename a set to the name of a list.
"""

from __future__ import annotations

from hypothesis import strategies as st
from tests.model.differential import (
    COMMAND_STRATEGIES,
    KEYS,
    NUMBER,
    PRELUDE,
    PROBES,
    SMALL,
    command,
    group,
    many,
    optional,
    rarely,
    shuffled,
    wild,
    word,
)

NUMBERS = st.sampled_from((b"1", b"2", b"10", b"-3", b"1.5", b"0x10", b"1e2", b"inf", b"3"))
ELEMENT = st.one_of(
    NUMBERS, NUMBERS, NUMBERS, st.sampled_from((b"", b"a", b"B", b"abc", b"4 ", b" 5", b"nan", b"6\0x"))
)
LIST, SET, ZSET = (st.sampled_from((name, name, b"odd")) for name in (b"row", b"bag", b"rank"))
ANY = st.sampled_from((b"row", b"bag", b"rank", b"a", b"hash", b"nosuch"))
PATTERN = st.sampled_from(
    (b"w_*", b"w_*", b"h_*->f", b"h_*->", b"#", b"*", b"h_*->*", b"w_*->f", b"h_*->f->f", b"w_\0*")
)
GET = many("GET", PATTERN, most=2)
BY = PATTERN.filter(lambda pattern: b"*" in pattern.partition(b"\0")[0])
"""Without a star, before any zero byte, nothing is sorted: that is compared where there is an order to begin with."""
LIMIT = group("LIMIT", NUMBER, NUMBER)
ORDER = word("ASC DESC DESC ASC DESC DESC FOO")
STORE = group("STORE", st.sampled_from(KEYS))

COMMAND_STRATEGIES["sorting"] = st.one_of(
    command("RPUSH", LIST, many(ELEMENT, most=6)),
    command("SADD", SET, many(ELEMENT, most=6)),
    command("ZADD", ZSET, many(SMALL, ELEMENT, most=6)),
    command("DEL", word("row bag rank")),
    command("SET", ELEMENT.map(b"w_".__add__), ELEMENT),
    command("HSET", ELEMENT.map(b"h_".__add__), word("f f f->f"), ELEMENT),
    command("SORT SORT_RO", ANY, shuffled(optional(ORDER), optional(LIMIT), optional(GET), rarely(STORE))),
    command("SORT SORT_RO", ANY, "ALPHA", shuffled(optional(word("ASC DESC")), optional(GET))),
    command("SORT", ANY, "ALPHA", shuffled(optional(ORDER), optional(LIMIT), optional(GET), optional(STORE))),
    command("SORT", ANY, "BY", BY, shuffled(optional(ORDER), optional(LIMIT), optional(GET), optional(STORE))),
    command("SORT", st.just(b"row"), "BY", PATTERN, "ALPHA", shuffled(optional(ORDER), optional(GET), optional(STORE))),
    command("SORT", LIST | ZSET, "BY", "nosort", shuffled(optional(ORDER), optional(LIMIT), optional(STORE))),
    command("SORT", SET, "BY", "nosort", shuffled(optional(ORDER), optional(LIMIT), STORE)),
    command("EXISTS LLEN", st.sampled_from(KEYS)),
    wild("SORT SORT_RO", ANY.filter(b"bag".__ne__) | word("ASC LIMIT STORE 0 2 DESC")),
)
PRELUDE.extend(
    tuple(line.encode().split())
    for line in (
        "RPUSH row 3 1 2",
        "SADD bag 5 4",
        "ZADD rank 3 1 2 2 1 3",
        "HSET odd f v",
        "SET w_1 5",
        "HSET h_1 f 7",
    )
)
PROBES["sorting"] = [("LRANGE 0 -1", KEYS)]
