"""String commands: what they do in process, on cases worth a name. `tests/model` compares them with redis-server."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from tests.conftest import RealRedis
from tests.model.differential import LocalServer, Reply

from perdure import long_double
from perdure_storage.testing import ManualClock

OK: Reply = ("+", b"OK")
NULL: Reply = ("$", None)
SYNTAX: Reply = ("-", b"ERR syntax error")
WRONGTYPE: Reply = ("-", b"WRONGTYPE Operation against a key holding the wrong kind of value")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def server(clock: ManualClock) -> Iterator[LocalServer]:
    server = LocalServer(clock)
    yield server
    server.close()


def number(n: int) -> Reply:
    return ":", n


def bulk(value: bytes) -> Reply:
    return "$", value


def add_hash(server: LocalServer) -> None:
    """A key `h` of another type."""
    server.engine[0].edit_hash(b"h").set(b"field", b"value")
    server.engine.commit()


# -- SET and its options ---------------------------------------------------------------------------------------------


def test_set_replaces_whatever_was_there(server: LocalServer) -> None:
    add_hash(server)
    assert server.ask(b"GET", b"h") == WRONGTYPE
    assert server.ask(b"SET", b"h", b"v") == OK
    assert server.ask(b"GET", b"h") == bulk(b"v")


def test_a_time_to_live_ends(server: LocalServer, clock: ManualClock) -> None:
    server.ask(b"SET", b"k", b"v", b"PX", b"100")
    clock.advance(99)
    assert server.ask(b"GET", b"k") == bulk(b"v")
    clock.advance(1)
    assert server.ask(b"GET", b"k") == NULL


def test_plain_set_ends_a_time_to_live_and_keepttl_keeps_it(server: LocalServer, clock: ManualClock) -> None:
    server.ask(b"SET", b"a", b"1", b"EX", b"10")
    server.ask(b"SET", b"b", b"1", b"EX", b"10")
    server.ask(b"SET", b"a", b"2")
    server.ask(b"SET", b"b", b"2", b"KEEPTTL")
    clock.advance(10_000)
    assert server.ask(b"MGET", b"a", b"b") == ("*", [bulk(b"2"), NULL])


def test_set_with_a_time_in_the_past_leaves_no_key(server: LocalServer) -> None:
    server.ask(b"SET", b"k", b"v")
    assert server.ask(b"SET", b"k", b"w", b"EXAT", b"1") == OK
    assert server.ask(b"GET", b"k") == NULL
    assert server.engine[0].keys == 0


def test_incr_and_append_keep_the_time_to_live(server: LocalServer, clock: ManualClock) -> None:
    server.ask(b"SET", b"k", b"1", b"EX", b"10")
    for command in (
        (b"INCR", b"k"),
        (b"APPEND", b"k", b"0"),
        (b"SETRANGE", b"k", b"0", b"7"),
        (b"INCRBYFLOAT", b"k", b"1"),
    ):
        server.ask(*command)
    assert server.ask(b"GET", b"k") == bulk(b"71")
    clock.advance(10_000)
    assert server.ask(b"GET", b"k") == NULL


def test_a_rate_limiter_does_not_fill_the_expiry_heap(server: LocalServer) -> None:
    server.ask(b"SET", b"k", b"1", b"EX", b"10")
    for _ in range(50):
        server.ask(b"INCR", b"k")
    assert len(server.engine.dataset.young.due) == 1


def test_set_with_get_returns_the_old_value_even_when_it_refuses(server: LocalServer) -> None:
    assert server.ask(b"SET", b"k", b"1", b"GET") == NULL
    assert server.ask(b"SET", b"k", b"2", b"NX", b"GET") == bulk(b"1")
    assert server.ask(b"SET", b"k", b"2", b"XX", b"GET") == bulk(b"1")
    assert server.ask(b"GET", b"k") == bulk(b"2")


def test_set_with_get_refuses_other_types_before_it_changes_them(server: LocalServer) -> None:
    add_hash(server)
    assert server.ask(b"SET", b"h", b"v", b"GET") == WRONGTYPE
    assert server.engine[0].find_hash(b"h") is not None


def test_set_ifeq_and_ifne_compare_with_what_is_there(server: LocalServer) -> None:
    assert server.ask(b"SET", b"k", b"1", b"IFEQ", b"") == NULL
    assert server.ask(b"SET", b"k", b"1", b"IFNE", b"x") == OK
    assert server.ask(b"SET", b"k", b"2", b"IFNE", b"1") == NULL
    assert server.ask(b"SET", b"k", b"2", b"IFEQ", b"1", b"GET") == bulk(b"1")
    assert server.ask(b"SET", b"k", b"3", b"IFEQ", b"1", b"GET") == bulk(b"2")
    assert server.ask(b"GET", b"k") == bulk(b"2")
    add_hash(server)
    assert server.ask(b"SET", b"h", b"2", b"IFEQ", b"1") == WRONGTYPE


@pytest.mark.parametrize(
    "options",
    ["NX XX", "NX IFEQ 1", "EX 1 PX 1", "EX 1 KEEPTTL", "EX", "IFEQ", "PERSIST", "FOO", "GET GET XX NX", "IFEQ 1 XX"],
)
def test_options_that_contradict_are_a_syntax_error(server: LocalServer, options: str) -> None:
    assert server.ask(b"SET", b"k", b"v", *options.encode().split()) == SYNTAX
    assert server.engine[0].keys == 0


def test_msetnx_sets_all_or_nothing(server: LocalServer) -> None:
    server.ask(b"SET", b"b", b"old")
    assert server.ask(b"MSETNX", b"a", b"1", b"b", b"2") == number(0)
    assert server.ask(b"MGET", b"a", b"b") == ("*", [NULL, bulk(b"old")])


def test_mget_answers_null_for_other_types(server: LocalServer) -> None:
    add_hash(server)
    assert server.ask(b"MGET", b"h") == ("*", [NULL])


# -- commands that redis-server 7.0 does not have ----------------------------------------------------------------------


DIGEST = b"b6acb9d84a38ff74"
"""Of "Hello world": from the documentation of Redis."""


def test_a_string_is_compared_by_its_digest(server: LocalServer) -> None:
    bad: Reply = ("-", b"ERR must be exactly 16 hexadecimal characters")
    assert server.ask(b"DIGEST", b"k") == NULL
    assert server.ask(b"SET", b"k", b"x", b"IFDEQ", DIGEST) == NULL
    assert server.ask(b"SET", b"k", b"Hello world", b"IFDNE", DIGEST) == OK
    assert server.ask(b"DIGEST", b"k") == bulk(DIGEST)
    assert server.ask(b"SET", b"k", b"x", b"IFDNE", DIGEST.upper()) == NULL
    assert server.ask(b"DELEX", b"k", b"IFDNE", DIGEST) == number(0)
    assert server.ask(b"SET", b"k", b"x", b"IFDEQ", DIGEST[:15]) == bad
    assert server.ask(b"DELEX", b"k", b"IFDEQ", DIGEST[:15]) == bad
    assert server.ask(b"SET", b"k", b"new", b"IFDEQ", DIGEST.upper(), b"GET") == bulk(b"Hello world")
    assert server.ask(b"SET", b"k", b"Hello world", b"IFDNE", DIGEST) == OK
    assert server.ask(b"SET", b"k", b"x", b"IFDEQ", b"0" * 16) == NULL
    assert server.ask(b"DELEX", b"k", b"IFDEQ", b"0" * 16) == number(0)
    assert server.ask(b"DELEX", b"k", b"IFDEQ", DIGEST) == number(1)
    server.ask(b"LPUSH", b"l", b"x")
    assert server.ask(b"DIGEST", b"l") == server.ask(b"SET", b"l", b"x", b"IFDEQ", DIGEST) == WRONGTYPE


def test_delex_deletes_on_a_condition(server: LocalServer) -> None:
    server.ask(b"MSET", b"a", b"1", b"b", b"1")
    assert server.ask(b"DELEX", b"a", b"IFEQ", b"2") == number(0)
    assert server.ask(b"DELEX", b"a", b"IFNE", b"1") == number(0)
    assert server.ask(b"DELEX", b"a", b"ifeq", b"1") == number(1)
    assert server.ask(b"DELEX", b"a", b"IFNE", b"1") == number(0)
    assert server.ask(b"DELEX", b"b", b"IFFY", b"1") == ("-", b"ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE")
    assert server.ask(b"DELEX", b"b", b"IFEQ") == ("-", b"ERR wrong number of arguments for 'delex' command")
    add_hash(server)
    wrong = ("-", b"ERR Key should be of string type if conditions are specified")
    assert server.ask(b"DELEX", b"h", b"IFEQ", b"1") == wrong
    assert server.ask(b"DELEX", b"h") == number(1)


def test_delifeq_releases_a_lock_only_for_its_owner(server: LocalServer) -> None:
    server.ask(b"SET", b"lock", b"mine", b"NX", b"PX", b"1000")
    assert server.ask(b"DELIFEQ", b"lock", b"theirs") == number(0)
    assert server.ask(b"DELIFEQ", b"lock", b"mine") == number(1)
    assert server.ask(b"DELIFEQ", b"lock", b"mine") == number(0)


def test_msetex_sets_all_with_one_time_to_live(server: LocalServer, clock: ManualClock) -> None:
    assert server.ask(b"MSETEX", b"2", b"a", b"1", b"b", b"2", b"EX", b"10", b"XX") == number(0)
    assert server.ask(b"MSETEX", b"2", b"a", b"1", b"b", b"2", b"NX", b"EX", b"10") == number(1)
    assert server.ask(b"MSETEX", b"2", b"a", b"3", b"b", b"4", b"KEEPTTL") == number(1)
    assert server.ask(b"MGET", b"a", b"b") == ("*", [bulk(b"3"), bulk(b"4")])
    clock.advance(10_000)
    assert server.ask(b"MGET", b"a", b"b") == ("*", [NULL, NULL])
    assert server.ask(b"MSETEX", b"0", b"a", b"1") == ("-", b"ERR invalid numkeys value")
    assert server.ask(b"MSETEX", b"2", b"a", b"1", b"b") == ("-", b"ERR wrong number of key-value pairs")
    assert server.ask(b"MSETEX", b"1", b"a", b"1", b"b", b"2") == SYNTAX


def test_the_keys_of_msetex_are_known_to_command_getkeys(server: LocalServer) -> None:
    command = server.server.commands[b"msetex"]
    assert command.keys([b"MSETEX", b"2", b"a", b"1", b"b", b"2", b"NX"]) == [b"a", b"b"]
    assert command.keys([b"MSETEX", b"x", b"a", b"1"]) == []


# -- parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "kill", "power cut", "forget"])
def test_a_string_that_outgrows_its_record_in_parts_survives(server: LocalServer, how: str) -> None:
    expected = bytearray()
    random = Random(1)
    for size in (100, 200, 15_000, 900, 40_000, 5):
        part = random.randbytes(size)
        expected += part
        assert server.ask(b"APPEND", b"k", part) == number(len(expected))
    server.ask(b"SETRANGE", b"k", b"70000", b"end")
    expected += bytes(70_000 - len(expected)) + b"end"
    server.restart("checkpoint")
    server.ask(b"SETRANGE", b"k", b"15998", b"across")
    expected[15_998:16_004] = b"across"
    server.restart(how)
    assert server.ask(b"GET", b"k") == bulk(bytes(expected))


def test_growing_logs_the_part_and_not_the_whole(server: LocalServer) -> None:
    server.ask(b"SET", b"k", b"x" * 1_000_000)
    before = server.engine.log.appended_bytes
    server.ask(b"APPEND", b"k", b"more")
    server.ask(b"SETRANGE", b"new", b"100000000", b"x")
    assert server.engine.log.appended_bytes - before < 500


def test_a_string_longer_than_allowed_is_refused_and_nothing_happens(server: LocalServer) -> None:
    too_long = ("-", b"ERR string exceeds maximum allowed size (proto-max-bulk-len)")
    assert server.ask(b"SETRANGE", b"k", b"536870912", b"x") == too_long
    assert server.engine[0].keys == 0
    server.ask(b"SET", b"k", b"v")
    assert server.ask(b"SETRANGE", b"k", b"536870911", b"xx") == too_long
    assert server.ask(b"GET", b"k") == bulk(b"v")


# -- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["07", "+7", " 7", "7 ", "1_000", "-0", "", "9223372036854775808", "1" * 5000, "１"])
def test_incr_is_strict_about_integers(server: LocalServer, text: str) -> None:
    server.ask(b"SET", b"k", text.encode())
    assert server.ask(b"INCR", b"k") == ("-", b"ERR value is not an integer or out of range")


def test_incr_stops_at_the_ends_of_64_bits(server: LocalServer) -> None:
    server.ask(b"SET", b"k", b"9223372036854775806")
    assert server.ask(b"INCR", b"k") == number((1 << 63) - 1)
    assert server.ask(b"INCR", b"k") == ("-", b"ERR increment or decrement would overflow")
    assert server.ask(b"DECRBY", b"k", b"-9223372036854775808") == ("-", b"ERR decrement would overflow")


def test_long_doubles_add_as_redis_adds_them(real_redis: RealRedis) -> None:
    random = Random(7)
    for _ in range(300):
        first, second = (
            b"%.*f" % (random.randint(0, 18), random.uniform(-1, 1) * 10 ** random.randint(-8, 25)) for _ in "12"
        )
        real_redis.ask("SET", "k", first)
        parsed = long_double.parse(first), long_double.parse(second)
        assert parsed[0] is not None and parsed[1] is not None
        total = long_double.add(parsed[0], parsed[1])
        assert total is not None
        assert real_redis.ask("INCRBYFLOAT", "k", second) == long_double.show(total), (first, second)


NUMBERS = """
    0x1.8p3 0X.8 .5 5. 1e-4951 3e-4951 1e-4940 1e4932 1.1e4932 1.2e4932 -1e4000 0e99999 1e-99999 0x 0xp1 . e5 1e
    infinity -INF nan 1e18446744073709551616 0x1p-16445 0x1p-16446 0x1p16383 0x1p16384 +7 --7 7x
"""


@pytest.mark.parametrize("text", NUMBERS.split())
def test_long_doubles_are_read_as_redis_reads_them(real_redis: RealRedis, server: LocalServer, text: str) -> None:
    real_redis.ask("SET", "k", text)
    server.ask(b"SET", b"k", text.encode())
    expected = real_redis.ask("INCRBYFLOAT", "k", "0")
    found = server.ask(b"INCRBYFLOAT", b"k", b"0")
    assert found[1] == (expected if isinstance(expected, bytes) else expected.args[0].encode())


def test_numbers_that_would_take_for_ever_are_refused_at_once(server: LocalServer) -> None:
    for text in (b"1e999999999999", b"1e-999999999999", b"0x1p999999999", b"9" * 6000):
        assert server.ask(b"INCRBYFLOAT", b"k", text) == ("-", b"ERR value is not a valid float")


# -- LCS -------------------------------------------------------------------------------------------------------------


def test_lcs_finds_what_the_textbook_finds(server: LocalServer) -> None:
    random = Random(3)
    for _ in range(50):
        first, second = (bytes(random.choices(b"abc", k=random.randint(0, 40))) for _ in "12")
        server.ask(b"MSET", b"a", first, b"b", second)
        length = server.ask(b"LCS", b"a", b"b", b"LEN")[1]
        assert length == textbook_lcs(first, second)
        common = server.ask(b"LCS", b"a", b"b")[1]
        assert len(common) == length and is_within(common, first) and is_within(common, second)


def textbook_lcs(first: bytes, second: bytes) -> int:
    row = [0] * (len(second) + 1)
    for a in first:
        before = 0
        for at, b in enumerate(second):
            before, row[at + 1] = row[at + 1], before + 1 if a == b else max(row[at], row[at + 1])
    return row[-1]


def is_within(common: bytes, text: bytes) -> bool:
    rest = iter(text)
    return all(byte in rest for byte in common)


def test_lcs_of_long_strings_answers_as_redis(real_redis: RealRedis, server: LocalServer) -> None:
    random = Random(5)
    first, second = (bytes(random.choices(b"abcdefgh", k=3000)) for _ in "12")
    for words in (("LEN",), (), ("IDX", "WITHMATCHLEN", "MINMATCHLEN", "4")):
        real_redis.ask("MSET", "a", first, "b", second)
        server.ask(b"MSET", b"a", first, b"b", second)
        found = server.ask(b"LCS", b"a", b"b", *(word.encode() for word in words))
        assert plain(found) == real_redis.ask("LCS", "a", "b", *words)


def test_lcs_refuses_a_table_beyond_the_longest_string(server: LocalServer) -> None:
    server.ask(b"MSET", b"a", b"x" * 20_000, b"b", b"x" * 20_000)
    refusal = b"ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
    assert server.ask(b"LCS", b"a", b"b") == ("-", refusal)


def plain(reply: Reply) -> object:
    return [plain(item) for item in reply[1]] if isinstance(reply[1], list) else reply[1]
