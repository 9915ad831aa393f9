"""Arguments: what redis-server takes for a number, a time, an option, and what it says when it does not."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import args, errors
from perdure.args import INT_MAX, INT_MIN, ScanOptions, Words
from perdure.errors import ReplyError

if TYPE_CHECKING:
    from tests.conftest import RealRedis

NOW = 1_754_000_000_000


@given(st.integers(INT_MIN, INT_MAX))
def test_an_integer_is_what_a_program_prints(value: int) -> None:
    assert args.integer(b"%d" % value) == value


@pytest.mark.parametrize(
    "raw",
    [b"", b"-", b"+1", b"01", b"-0", b" 1", b"1 ", b"1_0", b"0x1", b"1.0", b"1e3", b"9223372036854775808", b"1\0",
     b"-9223372036854775809", b"9" * 10_000, "١".encode()],
)  # fmt: skip
def test_anything_else_is_no_integer(raw: bytes) -> None:
    assert args.to_integer(raw) is None
    with pytest.raises(ReplyError, match="ERR value is not an integer or out of range"):
        args.integer(raw)
    with pytest.raises(ReplyError, match="ERR hash value is not an integer"):
        args.integer(raw, errors.hash_not_an_integer)


@pytest.mark.parametrize(
    ("raw", "value"),
    [(b"1", 1), (b"-1.5", -1.5), (b"+.5", 0.5), (b"5.", 5), (b"1e3", 1000), (b"0x1p-2", 0.25), (b"0X.8", 0.5),
     (b"inf", inf), (b"-Infinity", -inf), (b"1e-310", 1e-310), (b"0e999", 0), (b"00012", 12)],
)  # fmt: skip
def test_a_number(raw: bytes, value: float) -> None:
    assert args.number(raw) == value


@pytest.mark.parametrize(
    "raw",
    [b"", b"nan", b"-nan", b"nan(1)", b"1e400", b"-1e400", b"1e-400", b"0x1p2000", b"0x1p-2000", b"9" * 400, b" 1",
     b"1 ", b"1_0", b"e5", b"1e", b"0x", b".", b"in", b"infi"],
)  # fmt: skip
def test_no_number(raw: bytes) -> None:
    assert args.to_number(raw) is None
    with pytest.raises(ReplyError, match="ERR value is not a valid float"):
        args.number(raw)


@given(st.floats(allow_nan=False))
def test_every_double_comes_back(value: float) -> None:
    assert args.number(b"%.17g" % value) == value


@pytest.mark.parametrize(
    ("raw", "error"),
    [(b"x", "ERR timeout is not a float or out of range"), (b"-0.1", "ERR timeout is negative"),
     (b"1e30", "ERR timeout is out of range")],
)  # fmt: skip
def test_what_is_no_timeout(raw: bytes, error: str) -> None:
    with pytest.raises(ReplyError) as caught:
        args.timeout_ms(raw)
    assert caught.value.text == error


def test_a_timeout_is_never_rounded_to_for_ever() -> None:
    assert [args.timeout_ms(raw) for raw in (b"0", b"0.0001", b"1.5")] == [0, 1, 1500]


def test_a_time_to_live_becomes_a_deadline() -> None:
    assert args.deadline(NOW, b"EX", b"10", "set") == NOW + 10_000
    assert args.deadline(NOW, b"PX", b"10", "set") == NOW + 10
    assert args.deadline(NOW, b"EXAT", b"10", "set") == 10_000
    assert args.deadline(NOW, b"PXAT", b"10", "set") == 10
    assert args.deadline_or_past(NOW, b"EX", b"-10", "expire") == NOW - 10_000


@pytest.mark.parametrize("raw", [b"0", b"-1", b"9223372036854775807", b"9223372036854776"])
def test_a_time_to_live_is_positive_and_stays_in_64_bits(raw: bytes) -> None:
    with pytest.raises(ReplyError, match="ERR invalid expire time in 'getex' command"):
        args.deadline(NOW, b"EX", raw, "getex")


def test_words_are_walked_with_their_values() -> None:
    seen: dict[bytes, Any] = {}
    for word in (words := Words([b"key", b"count", b"5", b"limit", b"a", b"B", b"asc"], 1)):
        seen[word] = {b"COUNT": lambda: words.take(), b"LIMIT": lambda: words.take_many(2)}.get(word, lambda: None)()
    assert seen == {b"COUNT": b"5", b"LIMIT": [b"a", b"B"], b"ASC": None}


def test_a_word_without_its_value_is_a_syntax_error() -> None:
    for word in (words := Words([b"count"])):
        assert word == b"COUNT"
        with pytest.raises(ReplyError, match="ERR syntax error"):
            words.take()
        with pytest.raises(ReplyError, match="ERR syntax error"):
            words.take_many(1)


def test_options_of_a_scan() -> None:
    options = ScanOptions([b"17", b"match", b"a*", b"COUNT", b"3", b"count", b"4", b"type", b"HASH"], keyspace=True)
    assert (options.cursor, options.match, options.count, options.type) == (17, b"a*", 4, b"hash")
    assert ScanOptions([b"0", b"MATCH", b"*"]).match is None
    assert ScanOptions([b"0", b"NOVALUES"], fields=True).novalues


@pytest.mark.parametrize(
    ("words", "error"),
    [([b"x"], "ERR invalid cursor"), ([b" 1"], "ERR invalid cursor"), ([b"18446744073709551616"], "ERR invalid cursor"),
     ([b"0", b"COUNT"], "ERR syntax error"), ([b"0", b"COUNT", b"0"], "ERR syntax error"),
     ([b"0", b"COUNT", b"x"], "ERR value is not an integer or out of range"), ([b"0", b"x"], "ERR syntax error"),
     ([b"0", b"TYPE", b"x"], "ERR syntax error"), ([b"0", b"NOVALUES"], "ERR syntax error")],
)  # fmt: skip
def test_scan_options_that_are_none(words: list[bytes], error: str) -> None:
    with pytest.raises(ReplyError) as caught:
        ScanOptions(words)
    assert caught.value.text == error


# -- redis-server as the judge -------------------------------------------------------------------------------------

ReadBy = Callable[[bytes], object]
AskedBy = Callable[[bytes], list[bytes | str | int]]

PIECES = [
    b"0", b"1", b"9", b"-", b"+", b".", b"e", b"E", b"inf", b"nan", b"0x", b"p", b" ", b"_", b"a", b"Infinity", b"#",
    b"922337203685477580", b"7", b"8", b"18446744073709551615", b"5", b"308", b"324", b"400", b"i", b"u", b"64", b"63",
    b"\n", b"1.7976931348623157", b"2.5e-", b"\xc2\xa0",
]  # fmt: skip

JUDGED: list[tuple[str, ReadBy, AskedBy]] = [
    ("integer", args.integer, lambda raw: ["GETRANGE", "none", raw, "0"]),
    ("number", args.number, lambda raw: ["ZADD", "zset", "CH", raw, "member"]),
    ("cursor", args.cursor, lambda raw: ["HSCAN", "none", raw]),
    ("bit", args.bit, lambda raw: ["SETBIT", "bits", 0, raw]),
    ("bit_offset", args.bit_offset, lambda raw: ["GETBIT", "none", raw]),
    ("bit_offset #", lambda raw: args.bit_offset(raw, 8), lambda raw: ["BITFIELD_RO", "none", "GET", "u8", raw]),
    ("bitfield_type", args.bitfield_type, lambda raw: ["BITFIELD_RO", "none", "GET", raw, 0]),
    ("deadline", lambda raw: args.deadline(NOW, b"EX", raw, "setex"), lambda raw: ["SETEX", "k", raw, "v"]),
    ("past deadline", lambda raw: args.deadline_or_past(NOW, b"EX", raw, "expire"), lambda raw: ["EXPIRE", "k", raw]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "read", "command"), JUDGED, ids=[name for name, _, _ in JUDGED])
def test_redis_takes_and_refuses_the_same(real_redis: RealRedis, name: str, read: ReadBy, command: AskedBy) -> None:
    random = Random(name)
    for _ in range(1500):
        raw = b"".join(random.choices(PIECES, k=random.randrange(6)))
        told = real_redis.ask(*command(raw))
        try:
            value, mine = read(raw), ""
        except ReplyError as error:
            value, mine = None, error.text
        assert mine == (str(told) if isinstance(told, Exception) else ""), raw
        if name == "number" and not mine:
            assert float(real_redis.ask("ZSCORE", "zset", "member")) == value, raw
