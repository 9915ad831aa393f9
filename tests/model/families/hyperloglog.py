"""HyperLogLog: the strings themselves are compared too, after any history."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.model.differential import (
    COMMAND_STRATEGIES,
    KEYS,
    OTHER_TYPES,
    PRELUDE,
    PROBES,
    command,
    many,
    mostly,
    optional,
    wild,
    word,
)

OWN = mostly(b"hll", b"hll", b"hll 2")
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
    command("PFADD", OWN, st.lists(ELEMENT, max_size=4)),
    command("PFADD", OWN, HISTORY),
    command("PFCOUNT", many(OWN)),
    command("PFCOUNT", OWN),
    command("PFMERGE", many(OWN)),
    command("PFDEBUG", word("ENCODING DECODE GETREG TODENSE GETREG TODENSE NOSUCH"), OWN),
    command("SET", OWN, CRAFTED, optional(b"EX", b"1000")),
    command("SETRANGE", OWN, st.sampled_from((b"3", b"8", b"15")), st.binary(max_size=1)),
    command("PFDEBUG", word("ENCODING DECODE GETREG TODENSE"), b"hll"),
    command("PFADD", b"hll", ELEMENT),
    command("DEL TTL STRLEN GET", OWN),
    wild("PFADD PFCOUNT PFMERGE PFDEBUG", OWN | NUMBER | word("GETREG DECODE ENCODING")),
)
PRELUDE.append((b"PFADD", b"hll", b"1", b"2", b"3"))
PROBES["hyperloglog"] = [("PFCOUNT", (b"hll", b"hll 2")), ("GET", (*KEYS, *OTHER_TYPES)), ("PFCOUNT", KEYS)]
