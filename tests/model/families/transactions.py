"""Transactions of one client: see `commands/transactions.py`. Several clients: `tests/commands/test_transactions.py`."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.model.differential import (
    COMMAND_STRATEGIES,
    KEY,
    KEYS,
    NUMBER,
    OTHER_TYPES,
    PROBES,
    SMALL,
    VALUE,
    command,
    many,
    wild,
    word,
)

CHANGE = st.one_of(
    command("SET APPEND GETSET LPUSH SADD", KEY, VALUE),
    command("HSET", KEY, VALUE, VALUE),
    command("ZADD", KEY, SMALL, VALUE),
    command("INCR DEL GETDEL LPOP RPOP TYPE GET LLEN SMEMBERS HGETALL PERSIST", KEY),
    command("EXPIRE", KEY, word("1000 0 x")),
    command("RENAME COPY", KEY, KEY),
    command("SELECT", word("0 0 0 1 x")),
    command("SWAPDB", word("0 1 x"), word("0 1")),
    command("FLUSHDB FLUSHALL"),
)

COMMAND_STRATEGIES["transactions"] = st.one_of(
    command("MULTI"),
    command("MULTI"),
    command("EXEC"),
    command("EXEC"),
    command("DISCARD UNWATCH"),
    command("WATCH", many(KEY)),
    CHANGE,
    CHANGE,
    CHANGE,
    wild("MULTI EXEC DISCARD WATCH UNWATCH SET INCRBY RPUSH LRANGE GET NOSUCH", KEY | NUMBER | word("x")),
)
PROBES["transactions"] = [("TYPE", (*KEYS, *OTHER_TYPES)), ("GET", KEYS), ("LRANGE 0 -1", KEYS), ("TTL", KEYS)]
