"""HyperLogLog: the strings themselves are compared too, after any history."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.model.differential import (
    COMMAND_STRATEGIES,
    KEY,
    KEYS,
    OTHER_TYPES,
    PROBES,
    command,
    many,
    optional,
    wild,
    word,
)

NUMBER = st.integers(0, 3000).map(b"%d".__mod__)
ELEMENT = NUMBER | st.binary(max_size=20)
HISTORY = st.integers(0, 1 << 20).map(lambda start: [b"%d" % number for number in range(start, start + 200)])
"""Many elements at once, so that a sparse one becomes dense within a program."""
COUNT = b"HYLL\1\0\0\0" + bytes(8)
CRAFTED = st.sampled_from(
    (b"", b"HYLL", b"HYLL\0" + bytes(12299), b"HYLL\0" + b"\xff" * 12299, b"HYLL\2" + bytes(20), COUNT,
     COUNT + b"\x7f\xff", COUNT + b"\x3f" * 255 + b"\x3e\x80", COUNT[:15] + b"\x80" + b"\x7f\xff",
     COUNT + b"\xff" * 4096)
)  # fmt: skip

COMMAND_STRATEGIES["hyperloglog"] = st.one_of(
    command("PFADD", KEY, st.lists(ELEMENT, max_size=4)),
    command("PFADD", KEY, HISTORY),
    command("PFCOUNT", many(KEY)),
    command("PFCOUNT", KEY),
    command("PFMERGE", many(KEY)),
    command("PFDEBUG", word("ENCODING DECODE GETREG TODENSE NOSUCH"), KEY),
    command("SET", KEY, CRAFTED, optional(b"EX", b"1000")),
    command("SETRANGE", KEY, st.sampled_from((b"3", b"8", b"15")), st.binary(max_size=1)),
    command("DEL TTL STRLEN GET", KEY),
    wild("PFADD PFCOUNT PFMERGE PFDEBUG", KEY | NUMBER | word("GETREG DECODE ENCODING")),
)
PROBES["hyperloglog"] = [("GET", (*KEYS, *OTHER_TYPES)), ("PFCOUNT", KEYS)]
