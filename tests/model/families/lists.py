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
    optional,
    shuffled,
    wild,
    word,
)

ELEMENT = st.sampled_from((b"x", b"y", b"z", b"1", b"")) | VALUE
COUNT = st.sampled_from((b"0", b"1", b"2", b"3", b"7", b"100")) | NUMBER
SIDE = word("LEFT RIGHT LEFT RIGHT LEFT RIGHT UP")
PLACE = SMALL | NUMBER
RANK = SMALL | NUMBER.filter(lambda rank: rank != b"-9223372036854775808")
NUMKEYS = word("1 2 2 2 2 3 0 x")
PUSH = command("LPUSH RPUSH", KEY, many(ELEMENT, most=9))

COMMAND_STRATEGIES["lists"] = st.one_of(
    PUSH,
    PUSH,
    command("RPUSH", KEY, many(word("x y z"), least=10, most=40)),
    command("LPUSHX RPUSHX", KEY, many(ELEMENT)),
    command("LPOP RPOP", KEY, optional(COUNT)),
    command("LLEN", KEY),
    command("LRANGE LTRIM", KEY, PLACE, PLACE),
    command("LINDEX", KEY, PLACE),
    command("LSET", KEY, PLACE, ELEMENT),
    command("LINSERT", KEY, word("BEFORE AFTER BEFORE AFTER UNDER"), ELEMENT, ELEMENT),
    command("LREM", KEY, SMALL | NUMBER, ELEMENT),
    command(
        "LPOS",
        KEY,
        ELEMENT,
        shuffled(
            optional("RANK", RANK),
            optional("COUNT", COUNT),
            optional("MAXLEN", COUNT),
            optional(word("RANK COUNT FOO")),
        ),
    ),
    command("LMOVE", KEY, KEY, SIDE, SIDE),
    command("RPOPLPUSH", KEY, KEY),
    command("LMPOP", NUMKEYS, KEY, KEY, SIDE, optional("COUNT", COUNT), optional(word("COUNT FOO"))),
    command("LMPOP", word("1"), KEY, SIDE, optional("COUNT", COUNT)),
    command("SET", KEY, VALUE),
    command("EXPIRE", KEY, SECONDS),
    command("RENAME COPY", KEY, KEY),
    command("TTL PERSIST TYPE DEL EXISTS GET", KEY),
    wild(
        "LPUSH RPUSHX LPOP RPOP LLEN LRANGE LINDEX LSET LINSERT LREM LTRIM LPOS LMOVE RPOPLPUSH LMPOP",
        KEY | SMALL | word("LEFT RIGHT BEFORE AFTER COUNT RANK MAXLEN x y"),
    ),
)
ALL = (*KEYS, *OTHER_TYPES)
PROBES["lists"] = [("LRANGE 0 -1", ALL), ("LLEN", ALL), ("TTL", ALL)]
