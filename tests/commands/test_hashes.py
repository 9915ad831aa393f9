"""Hash commands: cases worth a name, and what Redis 7.0 does not know. `tests/model` compares all else with it."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

import pytest
from tests.model.differential import RESTARTS, LocalServer, Reply

from perdure_storage.testing import ManualClock

OK: Reply = ("+", b"OK")
NULL: Reply = ("$", None)
WRONGTYPE: Reply = ("-", b"WRONGTYPE Operation against a key holding the wrong kind of value")
MAX_EXPIRE = (1 << 46) - 1


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def server(clock: ManualClock) -> Iterator[LocalServer]:
    server = LocalServer(clock)
    yield server
    server.close()


def ask(server: LocalServer, line: str) -> Reply:
    return server.ask(*line.encode().split())


def numbers(*values: int) -> Reply:
    return "*", [(":", value) for value in values]


def bulks(*values: bytes | None) -> Reply:
    return "*", [("$", value) for value in values]


def error(text: str) -> Reply:
    return "-", text.encode()


# -- RESP3 shapes ------------------------------------------------------------------------------------------------------


def test_resp3_shapes(server: LocalServer) -> None:
    server.speak(3)
    ask(server, "HSET h f v")
    assert ask(server, "HGETALL h") == ("%", [("$", b"f"), ("$", b"v")])
    assert ask(server, "HGETALL nothing") == ("%", [])
    assert ask(server, "HRANDFIELD h 1 WITHVALUES") == ("*", [bulks(b"f", b"v")])
    assert ask(server, "HRANDFIELD h -2 WITHVALUES") == ("*", [bulks(b"f", b"v"), bulks(b"f", b"v")])
    assert ask(server, "HSCAN h 0") == ("*", [("$", b"0"), bulks(b"f", b"v")])
    assert ask(server, "HRANDFIELD nothing") == ("_", b"")


# -- random fields and pages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, 64, 65, 1000])
def test_random_fields_are_different_ones_or_as_many_as_asked_for(server: LocalServer, size: int) -> None:
    fields = [b"%d" % n for n in range(size)]
    for field in fields:
        server.ask(b"HSET", b"h", field, b"v" + field)
    for count in (1, 2, size // 2, size - 1, size, size + 5):
        _, found = server.ask(b"HRANDFIELD", b"h", b"%d" % count)
        assert len(found) == min(count, size) == len({field for _, field in found})
    _, found = server.ask(b"HRANDFIELD", b"h", b"-%d" % (size * 3))
    assert len(found) == size * 3
    _, found = server.ask(b"HRANDFIELD", b"h", b"5", b"WITHVALUES")
    assert all(value == b"v" + field for (_, field), (_, value) in zip(found[::2], found[1::2], strict=True))
    assert server.ask(b"HRANDFIELD", b"h")[1] in fields


def test_a_reply_that_could_only_eat_memory_is_refused(server: LocalServer) -> None:
    ask(server, "HSET h f v")
    assert ask(server, "HRANDFIELD h -9223372036854775807") == error("ERR value is out of range")
    assert ask(server, "HRANDFIELD h -9223372036854775807 WITHVALUES") == error("ERR value is out of range")
    assert ask(server, "HRANDFIELD h -100000000") == error("ERR value is out of range")
    assert ask(server, "HRANDFIELD h 9223372036854775807") == bulks(b"f")


def test_hrandfield_follows_every_change(server: LocalServer) -> None:
    for number in range(200):
        server.ask(b"HSET", b"h", b"%d" % number, b"v")
    ask(server, "HRANDFIELD h")
    for number in range(199):
        server.ask(b"HDEL", b"h", b"%d" % number)
    ask(server, "HSET h new v")
    for _ in range(20):
        assert ask(server, "HRANDFIELD h")[1] in (b"199", b"new")


def test_hscan_novalues(server: LocalServer) -> None:
    ask(server, "HSET h a 1 b 2 c 3")
    assert ask(server, "HSCAN h 0 NOVALUES MATCH [ab]") == ("*", [("$", b"0"), bulks(b"a", b"b")])


def test_one_random_field_of_a_large_hash_is_quick(server: LocalServer) -> None:
    entry = server.engine[0].edit_hash(b"h")
    for number in range(100_000):
        entry.set(b"%d" % number, b"v")
    server.engine.commit()
    ask(server, "HRANDFIELD h")
    began = perf_counter()
    for number in range(300):
        server.ask(b"HSET", b"h", b"new%d" % number, b"v")
        server.ask(b"HDEL", b"h", b"%d" % number)
        ask(server, "HRANDFIELD h")
    assert perf_counter() - began < 1


# -- fields that expire ------------------------------------------------------------------------------------------------


def test_hexpire_tells_what_became_of_each_field(server: LocalServer, clock: ManualClock) -> None:
    ask(server, "HSET h a 1 b 2 c 3")
    assert ask(server, "HEXPIRE h 10 FIELDS 3 a b nothing") == numbers(1, 1, -2)
    assert ask(server, "HPEXPIREAT h 1 FIELDS 2 c c") == numbers(2, -2)
    assert ask(server, "HTTL h FIELDS 4 a b c nothing") == numbers(10, 10, -2, -2)
    assert ask(server, "HEXPIRE nothing 10 FIELDS 2 a b") == numbers(-2, -2)
    clock.advance(9_999)
    assert ask(server, "HPTTL h FIELDS 1 a") == numbers(1)
    assert ask(server, "HTTL h FIELDS 1 a") == numbers(1)
    clock.advance(1)
    assert ask(server, "HMGET h a b") == bulks(None, None)
    assert ask(server, "EXISTS h") == (":", 0)


def test_times_are_absolute_or_from_now_in_both_units(server: LocalServer, clock: ManualClock) -> None:
    ask(server, "HSET h a 1 b 2 c 3 d 4")
    now = clock.now_ms()
    ask(server, "HEXPIRE h 5 FIELDS 1 a")
    ask(server, "HPEXPIRE h 5001 FIELDS 1 b")
    ask(server, f"HEXPIREAT h {now // 1000 + 5} FIELDS 1 c")
    ask(server, f"HPEXPIREAT h {now + 5001} FIELDS 1 d")
    assert ask(server, "HPTTL h FIELDS 4 a b c d") == numbers(5000, 5001, 5000, 5001)
    assert ask(server, "HPEXPIRETIME h FIELDS 2 a b") == numbers(now + 5000, now + 5001)
    assert ask(server, "HEXPIRETIME h FIELDS 2 a b") == numbers(now // 1000 + 5, now // 1000 + 6)
    assert ask(server, "HTTL h FIELDS 2 a b") == numbers(5, 6)


def test_conditions(server: LocalServer) -> None:
    ask(server, "HSET h with 1 without 2")
    ask(server, "HEXPIRE h 100 FIELDS 1 with")
    for condition, expected in (("NX", (0, 1)), ("XX", (1, 0)), ("GT", (1, 0)), ("LT", (0, 1))):
        ask(server, "HPERSIST h FIELDS 1 without")
        ask(server, "HEXPIRE h 100 FIELDS 1 with")
        assert ask(server, f"HEXPIRE h 200 {condition} FIELDS 2 with without") == numbers(*expected), condition
    ask(server, "HEXPIRE h 100 FIELDS 2 with without")
    assert ask(server, "hexpire h 50 gt fields 1 with") == numbers(0)
    assert ask(server, "hexpire h 50 lt fields 1 with") == numbers(1)


def test_hpersist(server: LocalServer, clock: ManualClock) -> None:
    ask(server, "HSET h a 1 b 2")
    ask(server, "HEXPIRE h 1 FIELDS 1 a")
    assert ask(server, "HPERSIST h FIELDS 3 a b c") == numbers(1, -1, -2)
    assert ask(server, "HPERSIST nothing FIELDS 1 a") == numbers(-2)
    clock.advance(2000)
    assert ask(server, "HLEN h") == (":", 2)


def test_a_value_set_anew_lives_for_ever_and_one_added_to_does_not(server: LocalServer) -> None:
    ask(server, "HSET h set 1 add 1 float 1 nx 1")
    ask(server, "HEXPIRE h 100 FIELDS 4 set add float nx")
    ask(server, "HSET h set 2")
    ask(server, "HINCRBY h add 1")
    ask(server, "HINCRBYFLOAT h float 0.5")
    ask(server, "HSETNX h nx 5")
    assert ask(server, "HTTL h FIELDS 4 set add float nx") == numbers(-1, 100, 100, 100)


NUMFIELDS = "ERR Parameter `numFields` should be greater than 0"
POSITIVE = "ERR Number of fields must be a positive integer"
MATCH = "ERR The `numfields` parameter must match the number of arguments"
MANDATORY = "ERR Mandatory argument FIELDS is missing or not at the right position"
NOT_INTEGER = "ERR value is not an integer or out of range"
ONE_TIME = "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"
NEGATIVE = "ERR invalid expire time, must be >= 0"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("HEXPIRE h 10 FIELDS 0 a", NUMFIELDS),
        ("HEXPIRE h 10 FIELDS x a", NUMFIELDS),
        ("HEXPIRE h 10 FIELDS 2 a", MATCH),
        ("HEXPIRE h 10 FIELDS 1 a b", MATCH),
        ("HEXPIRE h 10 NX XX FIELDS 1 a", MANDATORY),
        ("HEXPIRE h 10 FIELD 1 a", MANDATORY),
        ("HEXPIRE h 10 NX FIELDS", "ERR wrong number of arguments for 'hexpire' command"),
        ("HEXPIRE h x FIELDS 1 a", NOT_INTEGER),
        ("HEXPIRE h -1 FIELDS 1 a", NEGATIVE),
        ("HEXPIRE h 70368744177664 FIELDS 1 a", "ERR invalid expire time in 'hexpire' command"),
        (f"HPEXPIREAT h {MAX_EXPIRE + 1} FIELDS 1 a", "ERR invalid expire time in 'hpexpireat' command"),
        ("HTTL h FIELDS 0 a", POSITIVE),
        ("HTTL h FIELDS 2 a", MATCH),
        ("HTTL h FOO 1 a", MANDATORY),
        ("HPERSIST h FIELDS -1 a", POSITIVE),
        ("HGETDEL h FIELDS 9223372036854775808 a", POSITIVE),
        ("HGETDEL h FIELDS 2 a", MATCH),
        ("HGETEX h FIELDS 1", "ERR wrong number of arguments for 'hgetex' command"),
        ("HGETEX h PERSIST 1 FIELDS 1 a", MANDATORY),
        ("HGETEX h EX 1 PX 1 FIELDS 1 a", MANDATORY),
        ("HGETEX h PXAT 1 1", MANDATORY),
        ("HGETEX h EX x FIELDS 1 a", NOT_INTEGER),
        ("HGETEX h PX -1 FIELDS 1 a", NEGATIVE),
        ("HGETEX h FIELDS 2 a", MATCH),
        ("HSETEX h NX FIELDS 1 a b", "ERR unknown argument: NX"),
        ("HSETEX h FNX FXX FIELDS 1 a b", "ERR Only one of FXX or FNX arguments can be specified"),
        ("HSETEX h EX 1 KEEPTTL FIELDS 1 a b", ONE_TIME),
        ("HSETEX h EX FIELDS 1 a b", NOT_INTEGER),
        ("HSETEX h FIELDS 0 a b", "ERR invalid number of fields"),
        ("HSETEX h FIELDS 1 a b c", "ERR wrong number of arguments for 'hsetex' command"),
        ("HSETEX h FIELDS 2 a b c", "ERR wrong number of arguments for 'hsetex' command"),
    ],
)  # fmt: skip
def test_errors(server: LocalServer, line: str, text: str) -> None:
    ask(server, "HSET h a 1")
    assert ask(server, line) == error(text)
    assert ask(server, "HGETALL h") == bulks(b"a", b"1")


def test_the_latest_time(server: LocalServer, clock: ManualClock) -> None:
    ask(server, "HSET h a 1")
    assert ask(server, f"HPEXPIREAT h {MAX_EXPIRE} FIELDS 1 a") == numbers(1)
    assert ask(server, f"HPEXPIRE h {MAX_EXPIRE - clock.now_ms()} FIELDS 1 a") == numbers(1)
    assert ask(server, f"HPEXPIRE h {MAX_EXPIRE - clock.now_ms() + 1} FIELDS 1 a")[0] == "-"


def test_the_wrong_type_is_told_first(server: LocalServer) -> None:
    ask(server, "SET s v")
    for line in ("HEXPIRE s x FIELDS 0 a", "HTTL s FIELDS 0 a", "HPERSIST s FOO 1 a", "HGETDEL s FIELDS 0 a"):
        assert ask(server, line) == WRONGTYPE


def test_hgetdel_takes_the_fields_and_with_the_last_the_key(server: LocalServer) -> None:
    ask(server, "HSET h a 1 b 2")
    assert ask(server, "HGETDEL h FIELDS 2 a nothing") == bulks(b"1", None)
    assert ask(server, "HGETDEL h FIELDS 2 b b") == bulks(b"2", None)
    assert ask(server, "EXISTS h") == (":", 0)
    assert ask(server, "HGETDEL h FIELDS 1 a") == bulks(None)


def test_hgetex_changes_when_fields_expire(server: LocalServer) -> None:
    ask(server, "HSET h a 1 b 2")
    assert ask(server, "HGETEX h FIELDS 2 a nothing") == bulks(b"1", None)
    assert ask(server, "HTTL h FIELDS 1 a") == numbers(-1)
    assert ask(server, "HGETEX h EX 10 FIELDS 1 a") == bulks(b"1")
    assert ask(server, "HGETEX h FIELDS 1 a") == bulks(b"1")
    assert ask(server, "HTTL h FIELDS 1 a") == numbers(10)
    assert ask(server, "HGETEX h PERSIST FIELDS 2 a b") == bulks(b"1", b"2")
    assert ask(server, "HTTL h FIELDS 2 a b") == numbers(-1, -1)
    assert ask(server, "HGETEX h PXAT 1 FIELDS 2 a b") == bulks(b"1", b"2")
    assert ask(server, "EXISTS h") == (":", 0)


def test_hsetex_sets_values_and_times_together(server: LocalServer) -> None:
    assert ask(server, "HSETEX h FXX FIELDS 1 a 1") == (":", 0)
    assert ask(server, "EXISTS h") == (":", 0)
    assert ask(server, "HSETEX h EX 10 FNX FIELDS 2 a 1 b 2") == (":", 1)
    assert ask(server, "HSETEX h FNX FIELDS 2 b 3 c 3") == (":", 0)
    assert ask(server, "HSETEX h FXX FIELDS 2 b 3 c 3") == (":", 0)
    assert ask(server, "HTTL h FIELDS 2 a b") == numbers(10, 10)
    assert ask(server, "HSETEX h KEEPTTL FIELDS 2 a 4 c 4") == (":", 1)
    assert ask(server, "HSETEX h FIELDS 1 b 5") == (":", 1)
    assert ask(server, "HTTL h FIELDS 3 a b c") == numbers(10, -1, -1)
    assert ask(server, "HMGET h a b c") == bulks(b"4", b"5", b"4")
    assert ask(server, "HSETEX h EXAT 1 FIELDS 3 a 6 b 6 c 6") == (":", 1)
    assert ask(server, "EXISTS h") == (":", 0)


@pytest.mark.parametrize("how", RESTARTS)
def test_fields_and_their_times_outlive(server: LocalServer, clock: ManualClock, how: str) -> None:
    ask(server, "HSET h a 1 b 2 c 3")
    ask(server, "HEXPIRE h 10 FIELDS 2 a b")
    ask(server, "HPERSIST h FIELDS 1 b")
    ask(server, "EXPIRE h 100")
    server.restart(how)
    assert ask(server, "HTTL h FIELDS 3 a b c") == numbers(10, -1, -1)
    assert ask(server, "TTL h") == (":", 100)
    server.restart(how)
    clock.advance(10_000)
    assert ask(server, "HLEN h") == (":", 2)
    server.restart(how)
    assert ask(server, "HGET h a") == NULL
    ask(server, "HSET h a 4")
    server.restart(how)
    assert ask(server, "HTTL h FIELDS 1 a") == numbers(-1)
    clock.advance(90_000)
    assert ask(server, "EXISTS h") == (":", 0)


@pytest.mark.parametrize("how", RESTARTS)
def test_the_sweep_finds_fields_that_nobody_asks_for(server: LocalServer, clock: ManualClock, how: str) -> None:
    ask(server, "HSETEX h PX 100 FIELDS 1 a 1")
    ask(server, "HSETEX i PX 100 FIELDS 1 a 1")
    ask(server, "HSET i b 1")
    server.restart(how)
    clock.advance(100)
    server.engine.update_time()
    server.engine.sweep()
    assert ask(server, "DBSIZE") == (":", 1)
    server.restart(how)
    assert ask(server, "HGETALL i") == bulks(b"b", b"1")


@pytest.mark.parametrize("how", ["", "forget"])
def test_a_time_given_to_the_key_while_its_fields_are_cold(server: LocalServer, clock: ManualClock, how: str) -> None:
    ask(server, "HSETEX h PX 5000 FIELDS 1 a 1")
    ask(server, "HSET h b 1")
    server.restart("forget")
    ask(server, "PEXPIRE h 1000")
    if how:
        server.restart(how)
    ask(server, "PERSIST h")
    if how:
        server.restart(how)
    for _ in range(5):
        clock.advance(1000)
        server.engine.update_time()
        server.engine.sweep()
    assert server.engine.dataset.expired_fields == 1
    assert ask(server, "HGETALL h") == bulks(b"b", b"1")


@pytest.mark.parametrize("how", RESTARTS)
def test_large_hashes_outlive(server: LocalServer, how: str) -> None:
    for number in range(900):
        server.ask(b"HSET", b"h", b"%d" % number, b"v%d" % number)
    ask(server, "HDEL h 5 6 7")
    server.restart(how)
    assert ask(server, "HLEN h") == (":", 897)
    assert ask(server, "HMGET h 4 5 899") == bulks(b"v4", None, b"v899")
    assert len(ask(server, "HGETALL h")[1]) == 2 * 897
