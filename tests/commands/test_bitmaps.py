"""Bitmap commands against a list of bits, and where it is fast. `tests/model` compares them with redis-server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from itertools import product
from random import Random

import pytest
from tests.conftest import RealRedis
from tests.model.differential import LocalServer, Reply


@pytest.fixture
def server() -> Iterator[LocalServer]:
    server = LocalServer()
    yield server
    server.close()


def bits_of(value: bytes) -> list[int]:
    return [byte >> 7 - at & 1 for byte in value for at in range(8)]


def words(text: str) -> list[bytes]:
    return text.encode().split()


# -- bits ------------------------------------------------------------------------------------------------------------


def test_setbit_and_getbit_agree_with_a_list(server: LocalServer) -> None:
    random = Random(1)
    bits = [0] * 40_000
    for _ in range(500):
        at, bit = random.choice((random.randrange(100), random.randrange(40_000))), random.randrange(2)
        assert server.ask(b"SETBIT", b"k", b"%d" % at, b"%d" % bit) == (":", bits[at])
        bits[at] = bit
    for at in range(0, 40_000, 37):
        assert server.ask(b"GETBIT", b"k", b"%d" % at) == (":", bits[at])
    server.restart("power cut")
    assert server.ask(b"BITCOUNT", b"k") == (":", sum(bits))


def test_a_bit_that_does_not_change_is_not_logged(server: LocalServer) -> None:
    server.ask(b"SETBIT", b"k", b"100", b"1")
    lsn = server.engine.log.next_lsn
    server.ask(b"SETBIT", b"k", b"100", b"1")
    server.ask(b"SETBIT", b"k", b"3", b"0")
    server.ask(b"BITFIELD", b"k", b"SET", b"u8", b"0", b"0")
    assert server.engine.log.next_lsn == lsn
    server.ask(b"SETBIT", b"k", b"200", b"0")
    assert server.engine.log.next_lsn == lsn + 1


@pytest.mark.parametrize("size", [0, 1, 2, 9, 65_535, 65_536, 65_537, 200_000])
def test_ranges_are_counted_and_searched_as_in_a_list(server: LocalServer, size: int) -> None:
    random = Random(size)
    sparse = bytearray(size)
    for _ in range(min(size, 3)):
        sparse[random.randrange(size)] = 1 << random.randrange(8)
    for value in (random.randbytes(size), bytes(size), b"\xff" * size, bytes(sparse)):
        server.ask(b"SET", b"k", value)
        bits = bits_of(value)
        for _ in range(10):
            start, end = (random.randint(-size * 8 - 3, size * 8 + 3) for _ in "12")
            first, stop = limits(start, end, size * 8)
            part = bits[first:stop]
            if not (start < 0 and end < 0 and start > end):
                assert server.ask(b"BITCOUNT", b"k", b"%d" % start, b"%d" % end, b"BIT") == (":", sum(part))
            for bit in (0, 1):
                expected = first + part.index(bit) if bit in part else -1
                assert server.ask(b"BITPOS", b"k", b"%d" % bit, b"%d" % start, b"%d" % end, b"BIT") == (":", expected)


def limits(start: int, end: int, size: int) -> tuple[int, int]:
    """Redis' reading of a range."""
    start, end = (max(number + size if number < 0 else number, 0) for number in (start, end))
    return start, max(min(end, size - 1) + 1, start)


def test_half_a_gigabyte_is_changed_in_place(server: LocalServer) -> None:
    size = 100_000_000
    server.ask(b"SETBIT", b"k", b"%d" % (size * 8 - 1), b"1")
    appended = server.engine.log.appended_bytes
    started = time.perf_counter()
    for at in range(100):
        server.ask(b"SETBIT", b"k", b"%d" % (at * 7_000_003), b"1")
    assert time.perf_counter() - started < 1
    assert server.engine.log.appended_bytes - appended < 20_000
    assert server.ask(b"BITCOUNT", b"k") == (":", 101)
    assert server.ask(b"BITPOS", b"k", b"1", b"-1000") == (":", size * 8 - 1)


# -- BITOP -----------------------------------------------------------------------------------------------------------

TRUTH: dict[str, Callable[[Sequence[int]], int]] = {
    "AND": lambda column: all(column),
    "OR": lambda column: any(column),
    "XOR": lambda column: reduce(lambda a, b: a ^ b, column),
    "DIFF": lambda column: column[0] and not any(column[1:]),
    "DIFF1": lambda column: not column[0] and any(column[1:]),
    "ANDOR": lambda column: column[0] and any(column[1:]),
    "ONE": lambda column: sum(column) == 1,
}


@pytest.mark.parametrize("operation", TRUTH)
@pytest.mark.parametrize("sizes", [(3, 3), (1, 5, 0), (40, 7, 40), (0, 2), (1_100_000, 3)])
def test_bitop_follows_the_truth_table(server: LocalServer, operation: str, sizes: tuple[int, ...]) -> None:
    random = Random(4)
    values = [random.randbytes(size) for size in sizes]
    for at, value in enumerate(values):
        server.ask(b"SET", b"%d" % at, value)
    keys = [b"%d" % at for at in range(len(values))]
    longest = max(sizes)
    assert server.ask(b"BITOP", operation.encode(), b"out", *keys) == (":", longest)
    found = server.ask(b"GET", b"out")[1]
    assert len(found) == longest
    head = [bits_of(value.ljust(longest, b"\0")[:50]) for value in values]
    expected = [int(TRUTH[operation](column) != 0) for column in zip(*head, strict=True)]
    assert bits_of(found[:50]) == expected


def test_bitop_not_inverts_and_nothing_gives_no_key(server: LocalServer) -> None:
    server.ask(b"SET", b"a", b"\x0f\xf0")
    assert server.ask(b"BITOP", b"NOT", b"a", b"a") == (":", 2)
    assert server.ask(b"GET", b"a") == ("$", b"\xf0\x0f")
    assert server.ask(b"BITOP", b"OR", b"a", b"none") == (":", 0)
    assert server.engine[0].keys == 0


@pytest.mark.parametrize("operation", ["DIFF", "diff1", "ANDOR"])
def test_bitop_with_a_first_key_needs_another(server: LocalServer, operation: str) -> None:
    text = f"ERR BITOP {operation.upper()} must be called with at least two source keys."
    assert server.ask(b"BITOP", operation.encode(), b"out", b"a") == ("-", text.encode())


# -- BITFIELD --------------------------------------------------------------------------------------------------------


def test_bitfield_keeps_what_is_around_a_field(server: LocalServer) -> None:
    random = Random(8)
    bits = [0] * 400
    for _ in range(300):
        width = random.randint(1, 63)
        at = random.randint(0, 400 - width)
        number = random.getrandbits(width)
        old = int("".join(map(str, bits[at : at + width])), 2)
        assert server.ask(b"BITFIELD", b"k", b"SET", b"u%d" % width, b"%d" % at, b"%d" % number) == ("*", [(":", old)])
        bits[at : at + width] = map(int, f"{number:0{width}b}")
        assert server.ask(b"BITFIELD_RO", b"k", b"GET", b"u%d" % width, b"%d" % at) == ("*", [(":", number)])
    value = server.ask(b"GET", b"k")[1]
    assert bits_of(value.ljust(50, b"\0")) == bits


def test_bitfield_overflows_as_told(server: LocalServer) -> None:
    replies: Reply = server.ask(
        *words(
            "BITFIELD k SET i8 0 127 INCRBY i8 0 1 INCRBY i8 0 -1 OVERFLOW SAT INCRBY i8 0 5 "
            "OVERFLOW FAIL INCRBY i8 0 1 GET i8 0"
        )
    )
    assert [item[1] for item in replies[1]] == [0, -128, 127, 127, None, 127]


def test_an_error_in_a_later_step_changes_nothing(server: LocalServer) -> None:
    reply = server.ask(*words("BITFIELD k SET u8 0 255 SET u65 0 1"))
    assert reply[0] == "-"
    assert server.engine[0].keys == 0


def test_ranges_that_end_before_they_begin(perdure: RealRedis, real_redis: RealRedis) -> None:
    """BITCOUNT and BITPOS do not agree on all of them; the random programs' find."""
    for server in (perdure, real_redis):
        server.ask("SET", "k", b"\x10\xff")
    for start, end in product(range(-20, 20, 3), range(-20, 20, 3)):
        for unit in ("BYTE", "BIT"):
            part = (start, end, unit)
            for words in (("BITPOS", "k", 1, *part), ("BITPOS", "k", 0, *part), ("BITCOUNT", "k", *part)):
                assert perdure.ask(*words) == real_redis.ask(*words), words
