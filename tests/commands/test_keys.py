"""Commands for keys of any type: cases worth a name. `tests/model` compares the rest with redis-server."""

from __future__ import annotations

from collections.abc import Iterator
from time import thread_time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import RealRedis
from tests.model.differential import RESTARTS, LocalServer, Reply, examples

from perdure_storage.testing import ManualClock

OK: Reply = ("+", b"OK")
NULL: Reply = ("$", None)


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


def number(value: int) -> Reply:
    return ":", value


def fill(server: LocalServer, key: bytes, fields: int) -> None:
    entry = server.engine[0].edit_hash(key)
    for field in range(fields):
        entry.set(b"%d" % field, b"v")
    server.engine.commit()


# -- what is cold stays cold -------------------------------------------------------------------------------------------

CHUNKED = b"x" * 100_000


@pytest.mark.parametrize(
    "line", ["DEL h", "UNLINK h", "EXISTS h", "TYPE h", "TTL h", "EXPIRE h 100", "PERSIST h", "RENAME h i", "HLEN h",
             "RENAMENX h i", "TOUCH h", "MOVE h 1", "OBJECT ENCODING h", "OBJECT IDLETIME h", "SCAN 0 TYPE hash",
             "KEYS *"]
)  # fmt: skip
def test_the_elements_of_a_cold_collection_are_not_read(server: LocalServer, line: str) -> None:
    fill(server, b"h", 1500)
    server.restart("forget")
    assert server.engine[0].hot == {}
    assert ask(server, line)[0] != "-"
    entries = [entry for db in server.engine.dataset.databases for entry in db.hot.values() if entry.kind]
    assert not any(entry.loaded for entry in entries)
    key, db = (b"i", 0) if "RENAME" in line else (b"h", 1) if "MOVE" in line else (b"h", 0)
    server.restart("checkpoint")
    server.restart("kill")
    found = server.engine[db].hash(key)
    assert found is None if line in ("DEL h", "UNLINK h") else found is not None and len(found.values) == 1500


@pytest.mark.parametrize("line", ["DEL s", "UNLINK s", "EXISTS s", "TYPE s", "TTL s", "SCAN 0", "KEYS s*"])
def test_a_cold_long_string_is_not_read(server: LocalServer, line: str) -> None:
    server.ask(b"SET", b"s", CHUNKED)
    server.restart("forget")
    ask(server, line)
    assert server.engine.dataset.used < len(CHUNKED)
    server.restart("kill")
    assert server.ask(b"GET", b"s") == (NULL if line in ("DEL s", "UNLINK s") else ("$", CHUNKED))


def test_deleting_a_large_hash_is_quick_however_warm_it_is(server: LocalServer) -> None:
    for how in ("", "forget"):
        fill(server, b"h", 200_000)
        if how:
            server.restart(how)
        began = thread_time()  # which does not count what the machine does beside
        assert server.engine[0].delete(b"h")
        assert thread_time() - began < 0.001
        server.engine.commit()


# -- time to live --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["", *RESTARTS])
@pytest.mark.parametrize("make", [b"SET k v", b"HSET k f v", b"SET k " + CHUNKED])
def test_a_key_of_any_kind_expires(server: LocalServer, clock: ManualClock, how: str, make: bytes) -> None:
    def restart() -> None:
        if how:
            server.restart(how)

    server.ask(*make.split())
    assert ask(server, "TTL k") == number(-1)
    assert ask(server, "EXPIRE k 100") == number(1)
    restart()
    assert ask(server, "PTTL k") == number(100_000)
    assert ask(server, "PERSIST k") == number(1)
    restart()
    assert ask(server, "TTL k") == number(-1)
    assert ask(server, "PEXPIRE k 100") == number(1)
    assert ask(server, "RENAME k l") == OK
    restart()
    assert ask(server, "PTTL l") == number(100)
    assert ask(server, "COPY l m") == number(1)
    restart()
    clock.advance(99)
    assert ask(server, "EXISTS l m") == number(2)
    clock.advance(1)
    assert ask(server, "EXISTS l m") == number(0)
    assert ask(server, "TTL l") == number(-2)
    assert ask(server, "TYPE m") == ("+", b"none")
    assert ask(server, "SCAN 0") == ("*", [("$", b"0"), ("*", [])])
    assert ask(server, "KEYS *") == ("*", [])
    assert ask(server, "RANDOMKEY") == NULL
    assert ask(server, "DBSIZE") == number(0)


def test_the_sweep_finds_a_key_that_nobody_asks_for(server: LocalServer, clock: ManualClock) -> None:
    ask(server, "HSET k f v")
    server.restart("forget")
    ask(server, "PEXPIRE k 100")
    server.restart("forget")
    clock.advance(100)
    server.engine.update_time()
    server.engine.sweep()
    assert ask(server, "DBSIZE") == number(0)


# -- names, databases ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["", *RESTARTS])
def test_renaming_moving_copying_and_swapping(server: LocalServer, how: str) -> None:
    def check(database: int, key: str, values: str) -> None:
        if how:
            server.restart(how)
        server.session.select(database)
        found = ask(server, f"HGETALL {key}")[1]
        assert dict(zip(*[iter(value for _, value in found)] * 2, strict=True)) == {
            pair[:1].encode(): pair[1:].encode() for pair in values.split()
        }
        server.session.select(0)

    ask(server, "HSET a f 1 g 2")
    ask(server, "SET b v")
    assert ask(server, "RENAME a b") == OK
    check(0, "b", "f1 g2")
    assert ask(server, "COPY b c") == number(1)
    ask(server, "HSET c f 3 h 4")
    check(0, "b", "f1 g2")
    check(0, "c", "f3 g2 h4")
    assert ask(server, "MOVE c 1") == number(1)
    check(1, "c", "f3 g2 h4")
    assert ask(server, "COPY b b DB 1") == number(1)
    ask(server, "HDEL b f")
    assert ask(server, "SWAPDB 0 1") == OK
    check(0, "b", "f1 g2")
    check(0, "c", "f3 g2 h4")
    check(1, "b", "g2")
    assert ask(server, "FLUSHDB") == OK
    check(0, "b", "")
    check(1, "b", "g2")
    assert ask(server, "SWAPDB 1 0") == OK
    check(0, "b", "g2")
    assert ask(server, "FLUSHALL") == OK
    check(0, "b", "")
    assert ask(server, "DBSIZE") == number(0)


def test_a_copy_has_nothing_in_common_with_its_source(server: LocalServer) -> None:
    server.ask(b"SET", b"s", b"abc")
    server.ask(b"APPEND", b"s", b"def")
    ask(server, "COPY s t")
    ask(server, "APPEND s x")
    ask(server, "SETRANGE t 0 ZZ")
    assert ask(server, "MGET s t") == ("*", [("$", b"abcdefx"), ("$", b"ZZcdef")])
    assert ask(server, "OBJECT ENCODING t") == ("$", b"raw")


def test_randomkey_is_about_even(server: LocalServer) -> None:
    for key in range(20):
        server.ask(b"SET", b"%d" % key, b"v")
    for how in ("", "forget"):
        if how:
            server.restart(how)
        found = [ask(server, "RANDOMKEY")[1] for _ in range(1000)]
        assert len(set(found)) == 20


# -- OBJECT --------------------------------------------------------------------------------------------------------

HISTORY = st.lists(
    st.one_of(
        st.tuples(st.just(b"SET"), st.sampled_from(
            (b"1", b"-5", b"007", b"1.5", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"",
             b"x" * 44, b"x" * 45, b"12345678901234567890", b"-0", b"+1", b" 1")
        )),
        st.tuples(st.just(b"APPEND"), st.sampled_from((b"1", b"x"))),
        st.tuples(st.just(b"SETRANGE"), st.sampled_from((b"0", b"3")), st.sampled_from((b"", b"x"))),
        st.tuples(st.sampled_from((b"INCR", b"DECR", b"DEL"))),
        st.tuples(st.just(b"HSET"), st.sampled_from((b"a", b"b", b"f" * 64, b"f" * 65)),
                  st.sampled_from((b"1", b"v" * 64, b"v" * 65))),
        st.tuples(st.just(b"HDEL"), st.sampled_from((b"a", b"b", b"f" * 64, b"f" * 65))),
        st.tuples(st.sampled_from((b"RPUSH", b"LPUSH")), st.sampled_from((b"1", b"a", b"v" * 9000))),
        st.tuples(st.sampled_from((b"LPOP", b"RPOP"))),
        st.tuples(st.sampled_from((b"SADD", b"SREM")), st.sampled_from((b"1", b"-5", b"01", b"a", b"9223372036854775808"))),
        st.tuples(st.just(b"ZADD"), st.just(b"1"), st.sampled_from((b"a", b"m" * 64, b"m" * 65))),
        st.tuples(st.just(b"ZREM"), st.sampled_from((b"a", b"m" * 64, b"m" * 65))),
        st.tuples(st.sampled_from((b"SUNIONSTORE", b"SDIFFSTORE")), st.sampled_from((b"k", b"other"))),
        st.tuples(st.sampled_from((b"ZUNIONSTORE", b"ZDIFFSTORE")), st.just(b"1"), st.sampled_from((b"k", b"other"))),
        st.tuples(st.sampled_from((b"COPY", b"RENAME")), st.just(b"other")),
    ),
    min_size=1,
    max_size=12,
)  # fmt: skip


def test_encodings_are_those_of_redis_for_the_same_history(real_redis: RealRedis) -> None:
    @examples(150)
    @given(HISTORY)
    def run(history: list[tuple[bytes, ...]]) -> None:
        server = LocalServer()
        real_redis.ask("FLUSHALL")
        for name, *args in history:
            server.ask(name, b"k", *args)
            real_redis.ask(name, b"k", *args)
            for key in (b"k", b"other"):
                expected = real_redis.ask(b"OBJECT", b"ENCODING", key)
                assert server.ask(b"OBJECT", b"ENCODING", key)[1] == expected, (key, history)
        server.close()

    run()


def test_a_hash_that_was_once_large_stays_a_hashtable(server: LocalServer) -> None:
    for size, encoding in ((512, b"listpack"), (513, b"hashtable")):
        fill(server, b"h", size)
        assert ask(server, "OBJECT ENCODING h") == ("$", encoding)
    for field in range(500):
        server.ask(b"HDEL", b"h", b"%d" % field)
    assert ask(server, "OBJECT ENCODING h") == ("$", b"hashtable")
    server.server.config.hash_max_listpack_entries = 5
    fill(server, b"i", 6)
    assert ask(server, "OBJECT ENCODING i") == ("$", b"hashtable")


def test_asking_about_a_key_does_not_use_it(server: LocalServer, clock: ManualClock) -> None:
    ask(server, "SET k v")
    clock.advance(10_000)
    for line in ("EXISTS k", "TYPE k", "TTL k", "OBJECT ENCODING k", "OBJECT IDLETIME k", "SCAN 0"):
        ask(server, line)
    assert ask(server, "OBJECT IDLETIME k") == number(10)
    ask(server, "TOUCH k")
    assert ask(server, "OBJECT IDLETIME k") == number(0)
