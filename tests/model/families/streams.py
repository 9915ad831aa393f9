"""Streams: see `commands/streams.py`. Ids are always given: `*` would ask two clocks."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.model.differential import (
    COMMAND_STRATEGIES,
    KEY,
    KEYS,
    NUMBER,
    OTHER_TYPES,
    PRELUDE,
    PROBES,
    SAME,
    SECONDS,
    VALUE,
    Reply,
    command,
    group,
    many,
    mostly,
    optional,
    shuffled,
    wild,
    word,
)

STREAM = st.sampled_from([b"stream"] * 32 + [b"a"] * 4 + [*KEYS, *OTHER_TYPES])
OWN = mostly(b"stream")
PLACE = st.sampled_from(
    (b"1-0", b"1-1", b"1-2", b"1-3", b"1-4", b"1-5", b"1-6", b"1-7", b"2-0", b"2-1", b"2-2", b"3-0", b"3-1")
)
ID = PLACE | st.sampled_from((b"0", b"0-0", b"0-1", b"1", b"2", b"3", b"7", b"100-1", b"18446744073709551615"))
NEW_ID = (
    st.sampled_from((b"1-*", b"1-*", b"1-*", b"2-*", b"2-*", b"2-*", b"2-*", b"3-*", b"3-*", b"0-*", b"4", b"12-3"))
    | PLACE
)
ODD_ID = st.sampled_from(
    (b"-", b"+", b"$", b">", b"", b"x", b"1-x", b"1-", b"-1", b"1-1-1", b"-1-1", b"01-02", b"5--5", b"*-1", b"(1", b"(",
     b"18446744073709551615-18446744073709551615", b"18446744073709551616", b"18446744073709551615-*")
)  # fmt: skip
EDGE = st.one_of(
    word("- +"),
    ID,
    word("- + - + (1-1 (2 (5-5 (0 (+ (- ( x (18446744073709551615-18446744073709551615"),
)
GROUP = st.sampled_from((*[b"g"] * 9, b"G", b"G", b"long group " * 60))
CONSUMER = st.sampled_from((b"c", b"c", b"d", b"d", b""))
FIELD = st.sampled_from((b"f", b"g", b""))
FIELDS = many(FIELD, VALUE, most=2)
COUNT = st.sampled_from((b"1", b"2", b"3", b"100", b"1", b"2", b"3", b"100", b"0", b"-1", b"x"))
IDLE = st.sampled_from((*[b"0"] * 8, b"1000000", b"-5", b"x"))
READ = st.sampled_from((b"0", b"1", b"3", b"-1", b"100", b"0", b"1", b"3", b"-1", b"100", b"-2", b"x"))
TRIMMING = group(
    word("MAXLEN MINID"), st.sampled_from(([], [b"="], [b"~"])), st.integers(0, 9).map(b"%d".__mod__) | ID
)  # fmt: skip
LIMIT = optional("LIMIT", st.sampled_from((b"0", b"2", b"100", b"-1", b"x")))
TIMES = (b"idle", b"seen-time")
NEWER = (b"inactive", b"active-time")
"""What XINFO tells of a consumer since 7.2."""
PENDING = ("*", b"pending")


def close(expected: Reply, found: Reply) -> bool:
    """Within five seconds."""
    return expected[0] == found[0] == ":" and abs(expected[1] - found[1]) <= 5000


def alike(expected: Reply, found: Reply) -> bool:
    """The same but for times, and for how many nodes Redis' tree has; and for the case of a subcommand in an error.

    Times are what follows a name in TIMES, and the last but one of what is pending: (id, consumer, time, count) or
    (id, time, count).
    """
    if not isinstance(expected[1], list) or not isinstance(found[1], list):
        return expected == found or (expected[0] == found[0] == "-" and expected[1].lower() == found[1].lower())
    theirs, ours = expected[1], older(found[1])
    if expected[0] != found[0] or len(theirs) != len(ours):
        return False
    pending = len(theirs) in (3, 4) and theirs[-1][0] == theirs[-2][0] == ":" and theirs[0][0] == "$"
    for at, (here, there) in enumerate(zip(theirs, ours, strict=True)):
        name = theirs[at - 1][1] if at else None
        if name == b"radix-tree-nodes":
            continue
        if (isinstance(name, bytes) and name in TIMES) or (pending and at == len(theirs) - 2):
            if not close(here, there):
                return False
        elif not alike(here, there):
            return False
    return True


def older(told: list[Reply]) -> list[Reply]:
    """Without what 7.0 does not tell."""
    dropped = {at + more for at, (_, name) in enumerate(told) if name in NEWER for more in (0, 1)}
    return [item for at, item in enumerate(told) if at not in dropped]


def without_idlers(expected: Reply, found: Reply) -> Reply:
    """`found` without the consumers that have nothing and that 7.0 has not made, and not counting them."""
    kind, told = found
    if not isinstance(told, list) or not isinstance(expected[1], list):
        more = kind == expected[0] == ":" and found > expected
        return expected if more else found
    names = {item[1][1] for item in expected[1] if _is_consumer(item)}
    kept = [item for item in told if not _is_consumer(item) or item[1][1] in names]
    if len(kept) != len(expected[1]):
        kept = older(kept)
    if len(kept) != len(expected[1]):
        return found
    pruned: list[Reply] = []
    for at, (theirs, ours) in enumerate(zip(expected[1], kept, strict=True)):
        counts = at and kept[at - 1][1] == b"consumers"
        pruned.append(without_idlers(theirs, ours) if counts or isinstance(ours[1], list) else ours)
    return kind, pruned


def _is_consumer(item: Reply) -> bool:
    flat = item[1] if isinstance(item[1], list) else []
    return len(flat) >= 6 and flat[0][1] == b"name" and flat[2][1] in (b"pending", b"seen-time")


SAME["xpending"] = SAME["xinfo"] = SAME["xgroup"] = alike

COMMAND_STRATEGIES["stream"] = st.one_of(
    command("XADD", STREAM, NEW_ID, FIELDS),
    command("XADD", STREAM, NEW_ID, FIELDS),
    command("XADD", OWN, optional("NOMKSTREAM"), TRIMMING, LIMIT, NEW_ID, FIELDS),
    command("XADD", OWN, shuffled(optional("NOMKSTREAM"), TRIMMING, LIMIT), NEW_ID | ODD_ID, many(FIELD, most=4)),
    command("XTRIM", STREAM, TRIMMING, LIMIT),
    command("XTRIM", STREAM, "MAXLEN", word("3 5 6 7 8")),
    command("XDEL", STREAM, many(PLACE)),
    command("XDEL XACK", OWN, many(ODD_ID | ID)),
    command("XLEN", OWN),
    command("XRANGE XREVRANGE", STREAM, EDGE, EDGE, optional("COUNT", COUNT)),
    command("XRANGE XREVRANGE", STREAM, b"-", b"+", optional("COUNT", COUNT)),
    command("XREVRANGE", STREAM, b"+", b"-", optional("COUNT", COUNT)),
    command("XREAD", optional("COUNT", COUNT), "STREAMS", STREAM, ID | ODD_ID.filter(lambda i: i != b"+")),
    command("XREAD", optional("COUNT", COUNT), "STREAMS", STREAM, STREAM, ID, ID),
    command("XSETID", STREAM, ID, optional("ENTRIESADDED", READ), optional("MAXDELETEDID", ID)),
    command(
        "XSETID", STREAM, word("4-0 5-0 9-9"), optional("ENTRIESADDED", word("20 30"), "MAXDELETEDID", word("0-0 1-0"))
    ),
    command(
        "XGROUP",
        "CREATE",
        STREAM,
        GROUP,
        ID | st.just(b"0") | st.just(b"$"),
        shuffled(optional("MKSTREAM"), optional("ENTRIESREAD", READ)),
    ),
    command("XGROUP", "CREATE", STREAM, b"g", b"0", "MKSTREAM"),
    command(
        "XGROUP", "CREATE SETID", OWN, GROUP, ODD_ID | ID, shuffled(optional("MKSTREAM"), optional("ENTRIESREAD", READ))
    ),
    command("XGROUP", "SETID", STREAM, GROUP, ID, optional("ENTRIESREAD", READ)),
    command("XGROUP", "DESTROY", STREAM, GROUP),
    command("XGROUP", "CREATECONSUMER CREATECONSUMER DELCONSUMER", STREAM, GROUP, CONSUMER),
    command(
        "XREADGROUP",
        "GROUP",
        GROUP,
        CONSUMER,
        optional("COUNT", COUNT),
        optional("NOACK"),
        "STREAMS",
        STREAM,
        st.just(b">") | ID,
    ),
    command("XREADGROUP", "GROUP", b"g", CONSUMER, optional("COUNT", COUNT), "STREAMS", STREAM, b">"),
    command("XREADGROUP", "GROUP", b"g", CONSUMER, optional("COUNT", COUNT), "STREAMS", STREAM, b"0"),
    command("XREADGROUP", "GROUP", b"g", CONSUMER, "STREAMS", STREAM, STREAM, st.just(b">") | ODD_ID, b">"),
    command("XACK", STREAM, GROUP, many(PLACE)),
    command("XPENDING", STREAM, GROUP),
    command("XPENDING", STREAM, GROUP, optional("IDLE", IDLE), EDGE, EDGE, COUNT, optional(CONSUMER)),
    command(
        "XCLAIM",
        STREAM,
        GROUP,
        CONSUMER,
        IDLE,
        many(PLACE | ID),
        shuffled(
            optional("FORCE"),
            optional("JUSTID"),
            optional("IDLE", st.sampled_from((b"5000000", b"0", b"x"))),
            optional("RETRYCOUNT", st.sampled_from((b"7", b"0", b"-1", b"x"))),
            optional("LASTID", ID),
            optional("TIME", st.sampled_from((b"1000000000000", b"9999999999999", b"-1"))),
        ),
    ),
    command("XCLAIM", STREAM, b"g", CONSUMER, b"0", many(PLACE, least=2, most=5)),
    command("XAUTOCLAIM", STREAM, GROUP, CONSUMER, IDLE, EDGE, shuffled(optional("COUNT", COUNT), optional("JUSTID"))),
    command("XAUTOCLAIM", STREAM, b"g", CONSUMER, b"0", b"0", optional("COUNT", COUNT)),
    command("XINFO", "STREAM", STREAM, optional("FULL", optional("COUNT", COUNT))),
    command("XINFO", "STREAM", STREAM, "FULL"),
    command("XINFO", "GROUPS", STREAM),
    command("XINFO", "CONSUMERS", STREAM, GROUP),
    command("EXPIRE", OWN, SECONDS),
    command("RENAME COPY", KEY, OWN),
    command("DEL TYPE EXISTS TTL", OWN),
    wild(
        "XADD XLEN XRANGE XREVRANGE XREAD XREADGROUP XDEL XTRIM XSETID XACK XPENDING XCLAIM XAUTOCLAIM",
        OWN
        | PLACE
        | NUMBER
        | GROUP
        | CONSUMER
        | word("STREAMS GROUP COUNT NOACK MAXLEN MINID ~ LIMIT 0 IDLE FORCE JUSTID"),
    ),
    wild(
        "XGROUP XINFO",
        word("CREATE SETID DESTROY CREATECONSUMER DELCONSUMER STREAM GROUPS CONSUMERS FOO") | OWN | GROUP | ID,
    ),
)
PRELUDE.extend(
    tuple(line.encode().split())
    for line in (
        *(f"XADD stream {ident} f {ident}" for ident in ("1-1", "1-2", "1-3", "1-4", "1-5", "2-0", "2-1")),
        "XGROUP CREATE stream g 0",
        "XGROUP CREATE stream G 1-3",
        "XREADGROUP GROUP g c COUNT 3 STREAMS stream >",
        "XREADGROUP GROUP g d COUNT 2 STREAMS stream >",
    )
)
ALL = (*KEYS, *OTHER_TYPES)
PROBES["stream"] = [("XINFO STREAM", ALL), ("XINFO GROUPS", ALL), ("XLEN", ALL), ("TTL", ALL)]
