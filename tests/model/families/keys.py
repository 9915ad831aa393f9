"""Keys: see `commands/keys.py`. Idle times and encodings do not survive restarts: see `tests/commands/test_keys.py`."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.model.differential import (
    BAD_TIMES,
    COMMAND_STRATEGIES,
    KEY,
    KEYS,
    MILLISECONDS,
    NUMBER,
    OTHER_TYPES,
    PROBES,
    SAME,
    SECONDS,
    SMALL,
    UNIX_MILLISECONDS,
    UNIX_SECONDS,
    VALUE,
    any_order,
    command,
    many,
    optional,
    pages,
    random_choice,
    rarely,
    shuffled,
    wild,
    word,
)
from tests.model.families.hashes import FIELD

PATTERN = st.sampled_from(
    (b"*", b"a", b"a*", b"[ab]", b"?", b"*h*", b"long key *", b"\\a", b"", b"[^a]*", b"nothing*", b"ha[s]h", b"*" * 20)
)
DATABASE = st.sampled_from((b"0", b"1", b"1", b"2", b"16", b"-1", b"x", b"9999999999"))
CONDITIONS = st.lists(word("NX XX GT LT NX XX GT LT FOO"), max_size=2)


SAME["keys"] = any_order
SAME["scan"] = pages
SAME["randomkey"] = random_choice

COMMAND_STRATEGIES["keys"] = st.one_of(
    command("SET", KEY, VALUE),
    command("HSET", KEY, many(FIELD, VALUE)),
    command("DEL UNLINK EXISTS TOUCH", many(KEY)),
    command("TYPE TTL PTTL EXPIRETIME PEXPIRETIME PERSIST", KEY),
    command("EXPIRE", KEY, SECONDS | BAD_TIMES, CONDITIONS),
    command("PEXPIRE", KEY, MILLISECONDS | BAD_TIMES, CONDITIONS),
    command("EXPIREAT", KEY, UNIX_SECONDS | BAD_TIMES, CONDITIONS),
    command("PEXPIREAT", KEY, UNIX_MILLISECONDS | BAD_TIMES, CONDITIONS),
    command("RENAME RENAMENX COPY", KEY, KEY),
    command("COPY", KEY, KEY, shuffled(optional("DB", DATABASE), optional("REPLACE"), rarely(word("DB FOO")))),
    command("MOVE", KEY, DATABASE),
    command("KEYS", PATTERN),
    command(
        "SCAN",
        word("0 0 0 x -1x"),
        shuffled(
            optional("MATCH", PATTERN),
            optional("COUNT", st.sampled_from((b"1000", b"0", b"-1", b"x"))),
            optional("TYPE", word("string hash list nosuch")),
            rarely("FOO"),
        ),
    ),
    command("RANDOMKEY DBSIZE"),
    command("OBJECT", "REFCOUNT FREQ REFCOUNT FOO", KEY),
    command("SWAPDB", word("0"), word("1")),
    command("SWAPDB", DATABASE, DATABASE),
    command("FLUSHDB FLUSHALL", optional(word("ASYNC SYNC FOO"))),
    command("APPEND", KEY, VALUE),
    command("GET HGETALL", KEY),
    wild(
        "DEL EXISTS TYPE TOUCH EXPIRE PEXPIREAT TTL PERSIST RENAME RENAMENX COPY MOVE KEYS SCAN RANDOMKEY DBSIZE "
        "FLUSHDB SWAPDB OBJECT",
        KEY
        | SMALL
        | NUMBER.filter(lambda n: n != b"9223372036854775807")
        | word("NX XX GT DB REPLACE MATCH COUNT TYPE"),
    ),
)
ALL = (*KEYS, *OTHER_TYPES)
PROBES["keys"] = [("TYPE", ALL), ("PTTL", ALL), ("GET", ALL), ("HGETALL", ALL)]
