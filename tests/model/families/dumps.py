"""DUMP and RESTORE: see `commands/dumps.py`. The payloads are other bytes than those of redis-server: the values in them
are compared. What is restored comes from our side, so each server reads what the other would write."""

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
    VALUE,
    Reply,
    command,
    many,
    optional,
    rarely,
    shuffled,
    wild,
    word,
)

from perdure_storage import rdb
from perdure_storage.rdb import (
    ConsumerValue,
    GroupValue,
    HashValue,
    ListValue,
    SetValue,
    StreamValue,
    StringValue,
    Value,
    ZSetValue,
)

TEXT = VALUE | st.integers(-(1 << 63), (1 << 63) - 1).map(lambda number: b"%d" % number)
SCORE = st.sampled_from((0.0, 1.5, -3.0, 1e300, float("inf"), 0.1, float(1 << 53)))
ENTRIES = tuple((ms << 64 | 1, (b"f", b"%d" % ms) if ms % 3 else (b"g", b"x", b"h", b"y")) for ms in range(1, 150))
GROUP = GroupValue(b"g", 3 << 64 | 1, 3, [ConsumerValue(b"c", 5, 5)], {2 << 64 | 1: (b"c", 1_700_000_000_000, 2)})

VALUES: st.SearchStrategy[Value] = st.one_of(
    TEXT.map(StringValue),
    st.lists(TEXT, min_size=1, max_size=20).map(ListValue),
    st.lists(TEXT, min_size=1, max_size=20).map(lambda members: SetValue(dict.fromkeys(members))),
    st.dictionaries(TEXT, SCORE, min_size=1, max_size=8).map(ZSetValue),
    st.dictionaries(TEXT, TEXT, min_size=1, max_size=8).map(HashValue),
    st.sampled_from((0, 1, 149)).map(lambda size: StreamValue([*ENTRIES[:size]], 200 << 64, 7 << 64, 170, [GROUP])),
)


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """A payload; sometimes one that no checksum can be right for."""
    payload = rdb.dump(draw(VALUES), packed=draw(st.booleans()))
    damage = draw(st.sampled_from((*[""] * 17, "cut", "bit", "empty")))
    if damage == "cut":
        return payload[:-1]
    if damage == "bit":
        at = draw(st.integers(0, len(payload) - 1))
        return payload[:at] + bytes((payload[at] ^ 1,)) + payload[at + 1 :]
    return b"" if damage else payload


def same_value(expected: Reply, found: Reply) -> bool:
    """Two payloads of one value; the clock's part in streams does not count."""
    if not isinstance(expected[1], bytes) or not isinstance(found[1], bytes) or "-" in (expected[0], found[0]):
        return expected == found
    return _timeless(rdb.load(expected[1])) == _timeless(rdb.load(found[1]))


def same_but_for_idlers(expected: Reply, found: Reply) -> bool:
    """`same_value`, where `found` may have consumers that have nothing and that 7.0 has not made."""
    if not isinstance(expected[1], bytes) or not isinstance(found[1], bytes) or "-" in (expected[0], found[0]):
        return False
    theirs, ours = _timeless(rdb.load(expected[1])), _timeless(rdb.load(found[1]))
    if not isinstance(theirs, StreamValue) or not isinstance(ours, StreamValue) or len(theirs.groups) != len(ours.groups):
        return False
    for one, other in zip(theirs.groups, ours.groups, strict=True):
        kept = {each.name for each in one.consumers} | {name for name, _, _ in other.pending.values()}
        other.consumers = [each for each in other.consumers if each.name in kept]
    return theirs == ours


def _timeless(value: Value) -> Value:
    if isinstance(value, StreamValue):
        for group in value.groups:
            group.consumers = sorted(
                (ConsumerValue(each.name, 0, 0) for each in group.consumers), key=lambda consumer: consumer.name
            )
            group.pending = {ident: (name, 0, count) for ident, (name, _, count) in group.pending.items()}
        value.groups.sort(key=lambda group: group.name)
    return value


SAME["dump"] = same_value
TTL = st.sampled_from((*[b"0"] * 7, b"1000000", b"-1", b"x"))
OPTIONS = shuffled(
    optional("REPLACE"),
    optional("REPLACE"),
    rarely(word("ABSTTL ABSTTL ABSTTL FOO")),
    rarely("IDLETIME", st.sampled_from((b"0", b"100", b"1000", b"7", b"-1", b"x"))),
    rarely("FREQ", st.sampled_from((b"0", b"255", b"9", b"100", b"256", b"-1"))),
)
RESTORE = command("RESTORE", KEY, TTL, payloads(), OPTIONS)

COMMAND_STRATEGIES["dumps"] = st.one_of(
    RESTORE,
    RESTORE,
    command("RESTORE", KEY, st.sampled_from((b"0", b"4000000000000", b"1")), payloads(), "REPLACE", "ABSTTL"),
    command("DUMP", KEY),
    command("RPUSH SADD", KEY, many(TEXT, most=5)),
    command("HSET", KEY, many(TEXT, TEXT)),
    command("SET", KEY, TEXT),
    command("ZADD", KEY, many(word("1 2.5 -3 inf"), TEXT)),
    command("XADD", b"stream", word("7-* 250-* 300-1"), TEXT, TEXT),
    command("EXPIRE", KEY, SECONDS),
    command("TTL TYPE DEL EXISTS", KEY),
    wild("RESTORE DUMP", KEY | NUMBER | word("REPLACE ABSTTL IDLETIME FREQ") | payloads()),
)
ALL = (*KEYS, *OTHER_TYPES)
PROBES["dumps"] = [("DUMP", ALL), ("TYPE", ALL), ("TTL", ALL)]
