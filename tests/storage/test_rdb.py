"""RDB values: what is written is read, what Redis writes is read, and nothing else is ever believed."""

from __future__ import annotations

import math
from base64 import b64decode
from pathlib import Path
from random import Random
from struct import pack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure_storage import rdb
from perdure_storage.rdb import (
    BadChecksum,
    BadPayload,
    ConsumerValue,
    EmptyValue,
    GroupValue,
    HashValue,
    ListValue,
    Reader,
    SetValue,
    StreamValue,
    StringValue,
    Value,
    ZSetValue,
)
from perdure_storage.rdb.loading import READERS, read_value
from perdure_storage.rdb.lzf import decompress, decompress_in_python
from perdure_storage.rdb.packed import (
    read_intset,
    read_listpack,
    read_ziplist,
    write_intset,
    write_listpack,
)

U64 = (1 << 64) - 1

raw = (
    st.binary(max_size=12)
    | st.integers(-(1 << 64), 1 << 64).map(lambda n: b"%d" % n)
    | st.integers(-200, 5000).map(lambda n: b"%d" % n)
    | st.sampled_from((b"", b"-0", b"007", b"x" * 63, b"x" * 64, b"y" * 4095, b"z" * 4096, b"w" * 20_000))
)
times = st.integers(1, (1 << 48) - 1)
strings = raw.map(StringValue)
lists = st.lists(raw, min_size=1, max_size=20).map(ListValue)
sets = (
    st.lists(raw, min_size=1) | st.lists(st.integers(-(1 << 63), (1 << 63) - 1).map(lambda n: b"%d" % n), min_size=1)
).map(lambda members: SetValue(dict.fromkeys(members)))
zsets = st.dictionaries(raw, st.floats(allow_nan=False), min_size=1).map(ZSetValue)


@st.composite
def hashes(draw: st.DrawFn) -> HashValue:
    fields = draw(st.dictionaries(raw, raw, min_size=1))
    expiring = draw(st.lists(st.sampled_from(sorted(fields)), unique=True) | st.just([]))
    return HashValue(fields, {field: draw(times) for field in expiring})


@st.composite
def streams(draw: st.DrawFn) -> StreamValue:
    part = st.integers(0, 3) | st.integers(0, U64)
    ids = sorted(draw(st.sets(st.tuples(part, part).filter(any), max_size=12)))
    some_fields = st.sampled_from((b"f", b"g")) | raw
    entry = st.lists(st.tuples(some_fields, raw), min_size=1, max_size=3).map(lambda pairs: sum(pairs, ()))
    entries = [(ms << 64 | seq, draw(entry)) for ms, seq in ids]
    last = max(draw(part) << 64 | draw(part), entries[-1][0] if entries else 0)
    names = draw(st.lists(raw, unique=True, max_size=3))
    groups = []
    for name in names:
        consumers = [ConsumerValue(each, seen := draw(times), seen) for each in draw(st.lists(raw, unique=True, max_size=3))]
        owned = sorted(draw(st.sets(st.tuples(part, part), max_size=5))) if consumers else []
        pending = {
            ms << 64 | seq: (draw(st.sampled_from(consumers)).name, draw(times), draw(st.integers(0, 1 << 40)))
            for ms, seq in owned
        }
        groups.append(
            GroupValue(name, draw(part) << 64 | draw(part), draw(st.integers(-1, 1 << 62)), consumers, pending)
        )
    added = len(entries) + draw(st.integers(0, 1 << 40))
    return StreamValue(entries, last, draw(st.sampled_from((0, last))), added, groups)


values = st.one_of(strings, lists, sets, zsets, hashes(), streams())


@given(values, st.booleans())
@settings(max_examples=300, deadline=None)
def test_what_is_written_is_read(value: Value, packed: bool) -> None:
    payload = rdb.dump(value, packed=packed)
    assert rdb.load(payload) == value
    if isinstance(value, ZSetValue):
        found = rdb.load(payload)
        assert isinstance(found, ZSetValue)
        assert {member: repr(score) for member, score in found.scores.items()} == {
            member: repr(score) for member, score in value.scores.items()
        }  # a zero has a sign


def sealed(body: bytes, version: int = 10) -> bytes:
    return rdb.seal(body, version=version)


@given(values, st.booleans(), st.randoms(use_true_random=False))
@settings(max_examples=500, deadline=None)
def test_a_damaged_payload_is_refused_or_is_another_value(value: Value, packed: bool, random: Random) -> None:
    body = bytearray(rdb.dump(value, packed=packed)[:-10])
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(body))
        how = random.randrange(4)
        if how == 0:
            body[at] = random.randrange(256)
        elif how == 1:
            body[at] ^= 1 << random.randrange(8)
        elif how == 2 and len(body) > 1:
            del body[at : at + random.randint(1, 8)]
        else:
            body[at:at] = random.randbytes(random.randint(1, 8))
        if not body:
            break
    try:
        found = rdb.load(sealed(bytes(body)))
    except BadPayload:
        return
    assert rdb.load(rdb.dump(found)) is not None  # what is read can be written


@given(st.sampled_from(sorted(READERS)), st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_noise_is_refused_or_is_a_value(kind: int, noise: bytes) -> None:
    try:
        read_value(kind, Reader(noise), 80 if kind == 22 and noise[:1] < b"\x80" else 12)
    except BadPayload:
        pass


@given(values)
@settings(max_examples=50, deadline=None)
def test_every_cut_is_refused(value: Value) -> None:
    body = rdb.dump(value)[:-10]
    for end in range(1, min(len(body), 400)):
        with pytest.raises(BadPayload):
            rdb.load(sealed(body[:end]))
    with pytest.raises(BadPayload):
        rdb.load(sealed(body + b"\0"))


@given(st.binary(max_size=60), st.integers(0, 400))
@settings(max_examples=500, deadline=None)
def test_both_decompressors_agree(packed: bytes, size: int) -> None:
    assert decompress(packed, size) == decompress_in_python(packed, size)
    for length in range(0, 300, 7):
        assert decompress(packed, length) == decompress_in_python(packed, length)


@pytest.mark.parametrize("one", [decompress, decompress_in_python])
def test_lzf(one: Any) -> None:
    assert one(b"\x00a\xe0\x58\x00", 98) == b"a" * 98
    assert one(b"\x01ab\xe0\x00\x01", 11) == b"ab" * 5 + b"a"
    assert one(b"\x02abc\x20\x02", 6) == b"abcabc"
    assert one(b"\x00a", 2) is None
    assert one(b"\x00a\x20\x01", 4) is None
    assert one(b"\x05a", 1) is None
    assert one(b"\xe0", 1) is None
    assert one(b"\x00a", 1 << 40) is None


def test_the_check_sum_is_that_of_redis() -> None:
    assert rdb.crc64(b"123456789") == 0xE9C6D914C4B8D9CA
    payload = rdb.dump(StringValue(b"x"))
    for at in range(len(payload)):
        with pytest.raises(BadPayload):
            rdb.load(payload[:at] + bytes((payload[at] ^ 0x10,)) + payload[at + 1 :])
    with pytest.raises(BadChecksum):
        rdb.load(sealed(b"\0\1x", 13))
    with pytest.raises(BadChecksum):
        rdb.load(b"short")


# -- the forms of older and newer versions -------------------------------------------------------------------------


def text(*parts: bytes) -> bytes:
    return b"".join(bytes((len(part),)) + part for part in parts)


def blob(content: bytes) -> bytes:
    return b"\x80" + len(content).to_bytes(4, "big") + content


def ziplist(*entries: bytes) -> bytes:
    body, before = b"", 0
    last = 10
    for entry in entries:
        last = 10 + len(body)
        head = bytes((before,)) if before < 254 else b"\xfe" + before.to_bytes(4, "little")
        body += head + entry
        before = len(head + entry)
    return pack("<IIH", 11 + len(body), last, len(entries)) + body + b"\xff"


ALL_KINDS = (
    b"\x03abc", b"\x40\x40" + b"x" * 64, b"\x80\0\0\0\x02yz", b"\xc0\xff\xff", b"\xf0\x00\x00\x80",
    b"\xd0\x00\x00\x00\x80", b"\xe0" + b"\xff" * 7 + b"\x7f", b"\xfe\x80", b"\xf1", b"\xfd", b"\x40\xc8" + b"q" * 200,
    b"\x01z",
)  # fmt: skip
ALL_ELEMENTS = [
    b"abc", b"x" * 64, b"yz", b"-1", b"-8388608", b"-2147483648", b"9223372036854775807", b"-128", b"0", b"12",
    b"q" * 200, b"z",
]  # fmt: skip


def test_ziplists() -> None:
    assert read_ziplist(ziplist(*ALL_KINDS)) == ALL_ELEMENTS
    assert rdb.load(sealed(b"\x0a" + blob(ziplist(*ALL_KINDS)))) == ListValue(ALL_ELEMENTS)
    assert rdb.load(sealed(b"\x0d" + blob(ziplist(*ALL_KINDS)))) == HashValue(
        dict(zip(ALL_ELEMENTS[::2], ALL_ELEMENTS[1::2], strict=True))
    )
    assert rdb.load(sealed(b"\x0c" + blob(ziplist(b"\x01a", b"\x031.5", b"\x01b", b"\xf3")))) == ZSetValue(
        {b"a": 1.5, b"b": 2.0}
    )
    two = blob(ziplist(b"\x01a")) + blob(ziplist()) + blob(ziplist(b"\x01b"))
    assert rdb.load(sealed(b"\x0e\x03" + two)) == ListValue([b"a", b"b"])
    for empty in (b"\x0a" + blob(ziplist()), b"\x0e\x00", b"\x02\x00", b"\x04\x00", b"\x05\x00", b"\x09" + blob(b"\0\xff")):
        with pytest.raises(EmptyValue):
            rdb.load(sealed(empty))
    for bad in (b"\x0d" + blob(ziplist(b"\x01a")), b"\x0a" + blob(b"")):
        with pytest.raises(BadPayload):
            rdb.load(sealed(bad))


def test_plain_forms() -> None:
    assert rdb.load(sealed(b"\x01\x02" + text(b"a", b"b"))) == ListValue([b"a", b"b"])
    assert rdb.load(sealed(b"\x02\x02" + text(b"a", b"b"))) == SetValue({b"a": None, b"b": None})
    old = text(b"a", b"1.25", b"b") + b"\xfe" + text(b"c") + b"\xff"
    assert rdb.load(sealed(b"\x03\x03" + old, 6)) == ZSetValue({b"a": 1.25, b"b": math.inf, b"c": -math.inf})
    zipmap = b"\x02\x01a\x02\x01xy?\xfe\x01\0\0\0b\x00\x00\xff"
    assert rdb.load(sealed(b"\x09" + blob(zipmap), 6)) == HashValue({b"a": b"xy", b"b": b""})
    assert rdb.load(sealed(b"\x14" + blob(write_listpack([b"a", b"1"])), 11)) == SetValue({b"a": None, b"1": None})
    plain = b"\x12\x02\x01" + text(b"abc") + b"\x02" + blob(write_listpack([b"d"]))
    assert rdb.load(sealed(plain)) == ListValue([b"abc", b"d"])
    assert rdb.load(sealed(b"\x00\xc3\x06\x0b\x01ab\xe0\x00\x01")) == StringValue(b"ab" * 5 + b"a")
    assert rdb.load(sealed(b"\x00\xc1\xfe\xff")) == StringValue(b"-2")


def test_fields_with_expiries_in_all_four_forms() -> None:
    expected = HashValue({b"a": b"x", b"b": b"y"}, {b"b": 5000})
    triples = blob(write_listpack([b"b", b"y", 5000, b"a", b"x", 0]))
    first = (5000).to_bytes(8, "little")
    assert rdb.load(sealed(b"\x17" + triples, 12)) == expected
    assert rdb.load(sealed(b"\x19" + first + triples, 12)) == expected
    assert rdb.load(sealed(b"\x16\x02\x00" + text(b"a", b"x") + b"\x53\x88" + text(b"b", b"y"), 12)) == expected
    assert (
        rdb.load(sealed(b"\x18" + first + b"\x02\x00" + text(b"a", b"x") + b"\x01" + text(b"b", b"y"), 12)) == expected
    )


def test_fields_with_expiries_of_valkey() -> None:
    """The same number as that of a release candidate of Redis 7.4: the version tells."""
    body = b"\x16\x02" + text(b"a", b"x") + b"\xff" * 8 + text(b"b", b"y") + (5000).to_bytes(8, "little")
    assert rdb.load(sealed(body, 80)) == HashValue({b"a": b"x", b"b": b"y"}, {b"b": 5000})
    assert rdb.load(sealed(b"\0\1x", 80)) == StringValue(b"x")
    for other in (sealed(body, 12), sealed(b"\x18" + body[1:], 80), sealed(body, 79), sealed(body, 81)):
        with pytest.raises(BadPayload):
            rdb.load(other)


@pytest.mark.parametrize(
    "body",
    [
        b"\x02\x02" + text(b"a", b"a"),
        b"\x04\x02" + text(b"a", b"1", b"a", b"2"),
        b"\x05\x01" + text(b"a") + b"\0\0\0\0\0\0\xf8\x7f",
        b"\x03\x01" + text(b"a") + b"\xfd",
        b"\x03\x01" + text(b"a", b"1x"),
        b"\x11" + blob(write_listpack([b"a", b"nan"])),
        b"\x0b" + blob(b"\x02\0\0\0\x02\0\0\0\x01\0\x01\0"),
        b"\x0b" + blob(b"\x02\0\0\0\0\0\0\0"),
        b"\x0b" + blob(b"\x03\0\0\0\0\0\0\0"),
        b"\x0b" + blob(b"\x02\0\0\0\xff\xff\xff\xff"),
        b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x00\xc3\x01\x81\x00\x00\x00\x7f\x00\x00\x00\x00a",
        b"\x01\x80\xff\xff\xff\xffa",
        b"\x12\x01\x03" + text(b"a"),
        b"\x00\xc4",
        b"\x08",
        b"\x1a",
        b"\xff",
    ],
)
def test_refused(body: bytes) -> None:
    with pytest.raises(BadPayload):
        rdb.load(sealed(body))


def test_a_module_s_value_is_refused_by_name() -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    ident = 0
    for letter in "ReJSON-RL":
        ident = ident << 6 | letters.index(letter)
    with pytest.raises(BadPayload, match="ReJSON-RL"):
        rdb.load(sealed(b"\x07\x81" + (ident << 10 | 3).to_bytes(8, "big") + b"\0"))


@given(st.lists(raw | st.integers(-(1 << 63), (1 << 63) - 1), max_size=30))
@settings(deadline=None)
def test_listpacks(elements: list[bytes | int]) -> None:
    assert read_listpack(write_listpack(elements)) == [e if isinstance(e, bytes) else b"%d" % e for e in elements]


def test_long_elements_of_listpacks() -> None:
    for size in (120, 126, 127, 128, 4095, 16_370, *range(16_375, 16_390), 2_097_140, *range(2_097_140, 2_097_155)):
        assert read_listpack(write_listpack([b"x" * size, b"y"])) == [b"x" * size, b"y"]


@given(st.sets(st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-40_000, 40_000)))
def test_intsets(numbers: set[int]) -> None:
    assert read_intset(write_intset(numbers)) == sorted(numbers)


def test_streams_of_older_and_newer_versions() -> None:
    node = write_listpack([2, 1, 1, b"f", 0, 2, 0, 0, b"x", 4, 3, 0, 1, b"y", 4, 0, 1, 0, 1, b"g", b"z", 6])
    head = b"\x01\x10" + (5 << 64 | 1).to_bytes(16, "big") + blob(node) + b"\x02\x06\x01"
    entries = [(5 << 64 | 1, (b"f", b"x")), (6 << 64 | 1, (b"g", b"z"))]
    seen = (7000).to_bytes(8, "little")
    item = (5 << 64 | 1).to_bytes(16, "big")
    consumers = b"\x01" + item + seen + b"\x03\x01" + text(b"c") + seen
    pending = {5 << 64 | 1: (b"c", 7000, 3)}

    def group(read: int, active: int) -> list[GroupValue]:
        return [GroupValue(b"g", 5 << 64 | 1, read, [ConsumerValue(b"c", 7000, active)], pending)]

    name = b"\x01" + text(b"g") + b"\x05\x01"
    found = rdb.load(sealed(b"\x0f" + head + name + consumers + b"\x01" + item, 9))
    assert found == StreamValue(entries, 6 << 64 | 1, 0, 2, group(1, 7000))
    more = b"\x05\x01\x05\x02\x09" + name + b"\x04"
    found = rdb.load(sealed(b"\x13" + head + more + consumers + b"\x01" + item))
    assert found == StreamValue(entries, 6 << 64 | 1, 5 << 64 | 2, 9, group(4, 7000))
    active = (6000).to_bytes(8, "little")
    found = rdb.load(sealed(b"\x15" + head + more + consumers + active + b"\x01" + item, 11))
    assert found == StreamValue(entries, 6 << 64 | 1, 5 << 64 | 2, 9, group(4, 6000))
    never = b"\xff" * 8
    found = rdb.load(sealed(b"\x15" + head + more + consumers + never + b"\x01" + item, 11))
    assert found == StreamValue(entries, 6 << 64 | 1, 5 << 64 | 2, 9, group(4, 0))


# -- what real servers have written --------------------------------------------------------------------------------

PAYLOADS = [
    line.split() for line in (Path(__file__).parents[1] / "data" / "dump-payloads.txt").read_text().splitlines()
]
"""Server, key, DUMP's answer: the same commands to each of four versions."""

EXPECTED: dict[str, Value] = {
    "integer": StringValue(b"-12345"),
    "text": StringValue(b"hello"),
    "repeated": StringValue(b"ab" * 150),
    "empty": StringValue(b""),
    "list": ListValue([b"1", b"two", b"\0\xff", b"-4097", b"4095", b"2147483648", b"-9223372036854775808", b"x" * 70]),
    "long-list": ListValue([b"value %d " % number + b"y" * (50 + number) for number in range(90)]),
    "integers": SetValue(dict.fromkeys((b"1", b"-300", b"1099511627776"))),
    "set": SetValue(dict.fromkeys((b"a", b"b", b"3"))),
    "large-set": SetValue(dict.fromkeys(b"member:%d" % number for number in range(140))),
    "zset": ZSetValue({b"a": 1.5, b"b": -3.0, b"c": math.inf, b"d": 0.1}),
    "long-zset": ZSetValue({b"z" * 70: 2.25, b"y": 1e300, b"x": -math.inf}),
    "hash": HashValue({b"a": b"1", b"b": b"two"}),
    "long-hash": HashValue({b"a": b"v" * 70, b"b": b"2"}),
    "expiring": HashValue({b"a": b"1", b"b": b"2", b"c": b"3"}, {b"a": 4_000_000_000_500, b"c": 4_000_000_000_000}),
    "long-expiring": HashValue(
        {b"a": b"v" * 70, b"b": b"2", b"c": b"3"}, {b"a": 4_000_000_000_500, b"c": 4_000_000_000_000}
    ),
}


@pytest.mark.parametrize(("server", "key", "payload"), PAYLOADS, ids=lambda word: word[:20])
def test_what_servers_have_written(server: str, key: str, payload: str) -> None:
    value = rdb.load(b64decode(payload))
    if not isinstance(value, StreamValue):
        assert value == EXPECTED[key]
        return
    entries = [
        (number * 1000 << 64 | number % 2, (b"f", b"%d" % number, b"g", b"x") if number % 3 else (b"h", b"%d" % number))
        for number in (1, 3, 4, 5, 6, 7)
    ]
    old = server == "redis-6.2.14"  # which does not count what is gone
    assert value.entries == entries
    assert (value.last, value.added) == (entries[-1][0], 6 if old else 7)
    assert value.deleted == (0 if old else 2000 << 64)
    (group,) = value.groups
    assert (group.name, group.last) == (b"g", 5000 << 64 | 1)
    assert [consumer.name for consumer in group.consumers] == [b"alice", b"bob"]
    assert {ident: (name, count) for ident, (name, _, count) in group.pending.items()} == {
        4000 << 64: (b"alice", 1),
        5000 << 64 | 1: (b"bob", 1),
    }


def test_servers_have_written_nearly_every_type() -> None:
    kinds = {(payload[0], payload[-10]) for payload in (b64decode(words[2]) for words in PAYLOADS)}
    assert {kind for kind, _ in kinds} == set(READERS) - {1, 3, 9, 10, 23}
    assert (22, 80) in kinds
