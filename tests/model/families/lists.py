"""Lists: see `commands/lists.py`. What waits is compared in `tests/commands/test_lists.py`."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.model.differential import (
    COMMAND_STRATEGIES,
    KEY,
    KEYS,
    NUMBER,
    OTHER_TYPES,
    PROBES,
    SECONDS,
    SMALL,
    VALUE,
    command,
    many,
    mostly,
    optional,
    rarely,
    shuffled,
    wild,
    word,
)

OWN = mostly(b"list", b"list", b"list 2")
ELEMENT = st.sampled_from((b"x", b"y", b"z", b"1", b"")) | VALUE
COUNT = st.sampled_from((b"0", b"1", b"2", b"3", b"7", b"100", b"1", b"2", b"3", b"7", b"100", b"-1", b"x"))
SIDE = word("LEFT RIGHT LEFT RIGHT LEFT RIGHT UP")
PLACE = NUMBER
RANK = SMALL | NUMBER.filter(lambda rank: rank != b"-9223372036854775808")
NUMKEYS = word("1 2 2 2 2 3 0 x")
PUSH = command("LPUSH RPUSH", KEY, many(ELEMENT, most=9))

COMMAND_STRATEGIES["lists"] = st.one_of(
    PUSH,
    command("RPUSH", OWN, many(ELEMENT, least=2, most=4)),
    command("RPUSH LPUSH", b"list", many(ELEMENT)),
    command("RPUSH", OWN, many(word("x y z"), least=10, most=40)),
    command("LPUSHX RPUSHX", OWN, many(ELEMENT)),
    command("LPOP RPOP", OWN, optional(COUNT)),
    command("LLEN", OWN),
    command("LRANGE LTRIM", OWN, PLACE, PLACE),
    command("LINDEX", OWN, PLACE),
    command("LSET", b"list", word("0 0 1 -1"), ELEMENT),
    command("LSET", OWN, PLACE, ELEMENT),
    command("LINSERT", OWN, word("BEFORE AFTER BEFORE AFTER UNDER"), ELEMENT, ELEMENT),
    command("LREM", OWN, NUMBER, ELEMENT),
    command(
        "LPOS",
        OWN,
        ELEMENT,
        shuffled(
            optional("RANK", RANK),
            optional("COUNT", COUNT),
            optional("MAXLEN", COUNT),
            rarely(word("RANK COUNT FOO")),
        ),
    ),
    command("LMOVE", OWN, OWN, SIDE, SIDE),
    command("RPOPLPUSH", OWN, OWN),
    command("LMPOP", NUMKEYS, OWN, OWN, SIDE, optional("COUNT", COUNT), rarely(word("COUNT FOO"))),
    command("LMPOP", word("1"), OWN, SIDE, optional("COUNT", COUNT)),
    command("SET", KEY, VALUE),
    command("EXPIRE", OWN, SECONDS),
    command("RENAME COPY", KEY, OWN),
    command("TTL PERSIST TYPE DEL EXISTS GET", OWN),
    wild(
        "LPUSH RPUSHX LPOP RPOP LLEN LRANGE LINDEX LSET LINSERT LREM LTRIM LPOS LMOVE RPOPLPUSH LMPOP",
        OWN | SMALL | word("LEFT RIGHT BEFORE AFTER COUNT RANK MAXLEN x y"),
    ),
)
ALL = (*KEYS, *OTHER_TYPES, b"list 2")
PROBES["lists"] = [("LRANGE 0 -1", ALL), ("LLEN", ALL), ("TTL", ALL)]
