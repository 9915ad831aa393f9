"""Sorted set commands: those that wait beside a real redis-server, what is newer than it, and what sorted sets cost.

What they answer is compared by `tests/model/families/zsets.py`, restarts and all.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path
from random import Random
from statistics import median

import pytest
from tests.commands.dialogue import blocked_clients, play, until
from tests.conftest import PerdureServer, RealRedis, StartPerdure
from tests.model.differential import RESTARTS, LocalServer, Remote, Reply
from tests.storage.directory import rows

from perdure_storage import effects as fx
from perdure_storage.check import Finding, check_directory
from perdure_storage.codec import pack
from perdure_storage.engine import Engine, Options
from perdure_storage.offline import Offline
from perdure_storage.tables import Table
from perdure_storage.types.zset import ZSet
from perdure_storage.walk import find
from perdure_tools.common import json_text
from perdure_tools.dump import rendered

WAITING = {
    "what is there is taken at once": """
        1 ZADD k 1 a 2 b 3 c 4 d 5 e
        1 BZPOPMIN k 0
        1 BZPOPMAX nosuch k 1
        1 BZMPOP 1 2 l k MAX COUNT 2
        1 BZMPOP 1 2 l k MIN
        1 EXISTS k
    """,
    "a timeout": """
        1 BZPOPMIN k 0.01
        1 BZPOPMAX k l 0.01
        1 BZMPOP 0.01 2 k l MIN
    """,
    "wrong arguments": """
        1 BZPOPMIN k x
        1 BZPOPMAX k -1
        1 BZPOPMIN 0
        1 BZMPOP x 1 k MIN
        1 BZMPOP -1 0 k MIN
        1 BZMPOP -1 1 k MIN
        1 BZMPOP -1 1 k UP
        1 BZMPOP 1 2 k MIN
        1 BZMPOP 1 1 k MIN COUNT 0
        1 BZMPOP 1 1 k MIN COUNT 1 COUNT 1
        1 BZMPOP 1 1 k MIN FOO
    """,
    "another type": """
        1 SET s v
        1 BZPOPMIN s 0
        1 BZPOPMAX k s 0
        1 BZMPOP 0 1 s MIN
        1 ZADD l 1 a
        1 BZPOPMAX l s 0
    """,
    "served in order of arrival": """
        1 >BZPOPMIN k 0
        2 >BZPOPMAX k 0
        3 >BZPOPMIN l k 0
        4 ZADD k 1 a
        1 <
        4 ZADD k 1 a 2 b 3 c
        2 <
        3 <
        4 ZRANGE k 0 -1
    """,
    "several at once": """
        1 >BZMPOP 0 2 k l MAX COUNT 2
        2 ZADD l 1 a 2 b 3 c
        1 <
        2 ZRANGE l 0 -1 WITHSCORES
    """,
    "served when the transaction is over": """
        1 >BZPOPMIN k 0
        2 MULTI
        2 ZADD k 2 b
        2 ZADD k 1 a
        2 EXEC
        1 <
        2 ZRANGE k 0 -1
        1 >BZPOPMIN l m 0
        2 MULTI
        2 ZADD l 1 a
        2 DEL l
        2 EXEC
        2 ZINCRBY m 1 b
        1 <
    """,
    "another type does not end a wait": """
        1 >BZPOPMIN k 0
        2 SET k v
        2 DEL k
        2 LPUSH k v
        2 DEL k
        2 SADD k m
        2 DEL k
        2 ZADD k XX 1 a
        2 ZADD k 1 a
        1 <
    """,
    "whatever makes a sorted set": """
        2 ZADD s 1 a 2 b
        1 >BZPOPMIN k 0
        2 ZUNIONSTORE k 1 s
        1 <
        2 DEL k
        1 >BZPOPMIN k 0
        2 ZRANGESTORE k s 1 1
        1 <
        1 >BZPOPMIN k 0
        2 GEOADD k 13 38 a
        1 <
        1 >BZPOPMIN k 0
        2 GEOSEARCHSTORE k s FROMLONLAT 0 0 BYRADIUS 30000 km
        1 <
        2 DEL k
        1 >BZPOPMAX k 0
        2 COPY s k
        1 <
        2 DEL k
        1 >BZPOPMAX k 0
        2 RENAME s k
        1 <
        2 ZRANGE k 0 -1
    """,
    "inside MULTI nothing waits": """
        1 MULTI
        1 BZPOPMIN k 0
        1 BZMPOP 0 1 k MIN
        1 ZADD k 1 a 2 b
        1 BZPOPMAX k 0
        1 BZMPOP 0 1 k MIN
        1 EXEC
    """,
}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", WAITING)
def test_waiting_as_in_redis(
    name: str,
    protocol: int,
    perdure_server: PerdureServer,
    real_redis_port: int,
    perdure: RealRedis,
    real_redis: RealRedis,
) -> None:
    assert play(perdure_server.port, WAITING[name], protocol) == play(real_redis_port, WAITING[name], protocol)


def test_what_a_waiting_client_was_given_is_durably_gone(start_perdure: StartPerdure) -> None:
    server = start_perdure("--appendfsync", "always")
    waiting, client = server.connect(), server.connect()
    waiting.send("BZPOPMAX", "k", "0")
    until(lambda: blocked_clients(server.port) == 1)
    client.ask("ZADD", "k", "1", "a", "2", "b")
    assert waiting.read() == [b"k", b"b", b"2"]
    server.stop(9)
    assert start_perdure().connect().ask("ZRANGE", "k", "0", "-1", "WITHSCORES") == [b"a", b"1"]


# -- in process ----------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[LocalServer]:
    server = LocalServer()
    yield server
    server.close()


def ask(server: LocalServer, line: str) -> Reply:
    return server.ask(*line.encode().split())


def members(reply: Reply) -> list[bytes]:
    return [content for _, content in reply[1]]


def test_rank_with_score(server: LocalServer) -> None:
    ask(server, "ZADD k 1 a 2.5 b 3 c")
    assert ask(server, "ZRANK k b WITHSCORE") == ("*", [(":", 1), ("$", b"2.5")])
    assert ask(server, "ZREVRANK k a withscore") == ("*", [(":", 2), ("$", b"1")])
    assert ask(server, "ZRANK k nosuch WITHSCORE") == ask(server, "ZRANK nosuch b WITHSCORE") == ("*", None)
    assert ask(server, "ZRANK k b FOO") == ("-", b"ERR syntax error")
    assert ask(server, "ZRANK k b WITHSCORE x") == ("-", b"ERR wrong number of arguments for 'zrank' command")
    server.speak(3)
    assert ask(server, "ZRANK k b WITHSCORE") == ("*", [(":", 1), (",", b"2.5")])
    assert ask(server, "ZRANK k nosuch WITHSCORE") == ("_", b"")


SCORES = [
    0.0,
    -0.0,
    0.1,
    1 / 3,
    7.2,
    -1e17,
    5e-324,
    1.7976931348623157e308,
    inf,
    -inf,
    2.0**53 + 2,
    1e22,
    123456789.123,
]


@pytest.mark.parametrize("how", RESTARTS)
def test_scores_are_kept_to_the_bit(server: LocalServer, how: str) -> None:
    for number, score in enumerate(SCORES):
        server.ask(b"ZADD", b"k", b"%r" % score, b"m%d" % number)
    server.restart(how)
    for number, score in enumerate(SCORES):
        found = float(server.ask(b"ZSCORE", b"k", b"m%d" % number)[1])
        assert struct.pack("<d", found) == struct.pack("<d", score)
    in_order = [b"m%d" % number for number in sorted(range(len(SCORES)), key=lambda n: (SCORES[n], b"m%d" % n))]
    assert members(ask(server, "ZRANGE k 0 -1")) == in_order
    assert members(ask(server, "ZRANGE k +inf -inf BYSCORE REV")) == in_order[::-1]


def test_the_order_is_that_of_a_sorted_list(server: LocalServer) -> None:
    random = Random(1)
    model: dict[bytes, float] = {}
    for step in range(3000):
        member = b"%d" % random.randrange(400)
        if random.random() < 0.7:
            score = random.choice((random.randrange(20), random.random() * 20))
            server.ask(b"ZADD", b"k", b"%r" % score, member)
            model[member] = score
        else:
            assert server.ask(b"ZREM", b"k", member)[1] == (model.pop(member, None) is not None)
        if step % 500 == 499:
            server.restart(random.choice(RESTARTS))
        ranked = sorted(model, key=lambda m: (model[m], m))
        if step % 50 == 0 and ranked:
            assert members(server.ask(b"ZRANGE", b"k", b"0", b"-1")) == ranked
            at = random.randrange(len(ranked))
            assert server.ask(b"ZRANK", b"k", ranked[at]) == (":", at)
            low, high = sorted((random.random() * 20, random.random() * 20))
            inside = [member for member in ranked if low <= model[member] <= high]
            assert server.ask(b"ZCOUNT", b"k", b"%r" % low, b"%r" % high) == (":", len(inside))
            assert members(server.ask(b"ZRANGE", b"k", b"%r" % low, b"%r" % high, b"BYSCORE")) == inside


ODD_SCORES = (
    "0 1 -1 0.1 -0.1 1.5 0x10 3.0000000000000004 123456789.123456789 1e15 4503599627370495 4503599627370497 1e16 1e17 -1e17 "
    "9007199254740993 99999999999999999 123456789012345678 1e18 4e18 4611686018427387903 4611686018427387905 4.7e18 -4.7e18 "
    "9223372036854775807 9.3e18 1e19 1e22 1e300 5e-324 2.2250738585072014e-308 1.7976931348623157e308 inf -inf"
)


@pytest.mark.parametrize(
    "command", ["ZINCRBY k nx m", "ZINCRBY k INCR m", "ZINCRBY s CH 7", "ZINCRBY k x m", "ZINCRBY k 1 NX"]
)
def test_an_option_is_no_increment(command: str, server: LocalServer, real_redis: RealRedis) -> None:
    redis = Remote(real_redis.port)
    for side in (redis, server):
        side.ask(b"SET", b"s", b"v")
    argv = [word.encode() for word in command.split()]
    assert server.ask(*argv) == redis.ask(*argv)


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("member", ["m", "m" * 65], ids=["listpack", "skiplist"])
def test_every_reply_writes_a_score_as_redis_does(
    server: LocalServer, real_redis: RealRedis, member: str, protocol: int
) -> None:
    redis = Remote(real_redis.port)
    server.speak(protocol)
    redis.ask(b"HELLO", b"%d" % protocol)
    for score in ODD_SCORES.split():
        for line in (
            "DEL k", f"ZADD k {score} {member}", f"ZSCORE k {member}", f"ZMSCORE k {member} n", "ZRANGE k 0 -1 WITHSCORES",
            f"ZRANGEBYSCORE k {score} {score} WITHSCORES", "ZREVRANGE k 0 -1 WITHSCORES", "ZUNION 1 k WITHSCORES",
            "ZRANDMEMBER k 1 WITHSCORES", "ZSCAN k 0", f"ZINCRBY k 0 {member}", f"ZADD k INCR 0 {member}",
            f"GEOPOS k {member}", f"GEOHASH k {member}", "ZMPOP 1 k MIN", f"ZADD k {score} {member}", "ZPOPMAX k",
            f"ZADD k {score} {member}", "ZPOPMIN k 1", f"ZADD k {score} {member}", "BZPOPMIN k 0",
            f"ZADD k {score} {member}", "BZMPOP 0 1 k MAX",
        ):  # fmt: skip
            words = line.encode().split()
            assert server.ask(*words) == redis.ask(*words), (score, line)
    redis.close()


def test_encodings(server: LocalServer) -> None:
    def encoding() -> object:
        return ask(server, "OBJECT ENCODING k")[1]

    for number in range(128):
        server.ask(b"ZADD", b"k", b"1", b"%d" % number)
    assert encoding() == b"listpack"
    ask(server, "ZADD k 1 more")
    assert encoding() == b"skiplist"
    ask(server, "ZREM k more")
    assert encoding() == b"skiplist"
    server.ask(b"DEL", b"k")
    server.ask(b"ZADD", b"k", b"1", b"x" * 64)
    assert encoding() == b"listpack"
    server.ask(b"ZADD", b"k", b"1", b"x" * 65)
    assert encoding() == b"skiplist"
    server.restart("forget")
    assert encoding() == b"skiplist"


def test_pages_return_what_is_there_all_the_time(server: LocalServer) -> None:
    for number in range(1000):
        server.ask(b"ZADD", b"k", b"%d" % number, b"%d" % number)
    cursor, seen, rounds = b"0", set[bytes](), 0
    while rounds == 0 or cursor != b"0":
        reply = server.ask(b"ZSCAN", b"k", cursor, b"COUNT", b"50")[1]
        cursor, found = reply[0][1], members(reply[1])
        assert all(float(score) in (float(member), -1) for member, score in zip(found[::2], found[1::2], strict=True))
        seen |= set(found[::2])
        server.ask(b"ZADD", b"k", b"-1", b"%d" % (rounds * 7))
        server.ask(b"ZREM", b"k", b"new%d" % rounds)
        server.ask(b"ZADD", b"k", b"1", b"new%d" % (rounds + 1))
        rounds += 1
    assert {b"%d" % number for number in range(1000)} <= seen


def test_random_members_are_different_ones_or_as_many_as_asked_for(server: LocalServer) -> None:
    for number in range(200):
        server.ask(b"ZADD", b"k", b"%d" % number, b"%d" % number)
    for count in (1, 50, 199, 200, 300):
        found = members(server.ask(b"ZRANDMEMBER", b"k", b"%d" % count))
        assert len(found) == len(set(found)) == min(count, 200)
    found = members(ask(server, "ZRANDMEMBER k -500 WITHSCORES"))
    assert len(found) == 1000
    assert found[::2] == found[1::2]
    assert len(set(found)) > 150
    assert ask(server, "ZRANDMEMBER k -100000000") == ("-", b"ERR value is out of range")


def test_a_result_may_replace_one_of_its_sources(server: LocalServer) -> None:
    ask(server, "ZADD a 1 x 2 y")
    ask(server, "SADD b y z")
    assert ask(server, "ZUNIONSTORE a 3 a b a WEIGHTS 1 10 1") == (":", 3)
    server.restart("kill")
    assert members(ask(server, "ZRANGE a 0 -1 WITHSCORES")) == [b"x", b"2", b"z", b"10", b"y", b"14"]
    assert ask(server, "ZRANGESTORE b a 0 0") == (":", 1)
    assert ask(server, "ZDIFFSTORE a 2 a a") == (":", 0)
    server.restart("power cut")
    assert ask(server, "EXISTS a") == (":", 0)
    assert ask(server, "TYPE b") == ("+", b"zset")


def test_ranges_of_names_in_a_large_set(server: LocalServer) -> None:
    same = server.engine[0].edit(b"same", ZSet)
    same.fill((b"%04d" % number, 1.0) for number in range(1000))
    growing = server.engine[0].edit(b"growing", ZSet)
    growing.fill((b"%04d" % number, float(number)) for number in range(1000))
    server.engine.commit()
    for key in ("same", "growing"):
        assert members(ask(server, f"ZRANGE {key} [0010 (0013 BYLEX")) == [b"0010", b"0011", b"0012"]
        assert members(ask(server, f"ZRANGE {key} + (0997 BYLEX REV")) == [b"0999", b"0998"]
        assert ask(server, f"ZLEXCOUNT {key} - +") == (":", 1000)
        assert ask(server, f"ZLEXCOUNT {key} + -") == (":", 0)
        assert ask(server, f"ZREMRANGEBYLEX {key} - [0499") == (":", 500)


# -- in files ------------------------------------------------------------------------------------------------------


def test_check_digest_and_dump_know_sorted_sets(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    engine = Engine.open(path, Options())
    entry = engine[0].edit(b"k", ZSet)
    entry.fill((b"%d" % number, number / 7) for number in range(3000))
    engine[0].edit(b"long", ZSet).set(b"member" * 200, -inf)
    engine.commit()
    engine.checkpoint()
    entry.remove_ranks(10, 1500)
    entry.set(b"new", -0.0)
    engine.commit()
    engine.close(clean=False)

    def value() -> object:
        assert [step for step in check_directory(path) if isinstance(step, Finding)] == []
        with Offline.open(path) as view:
            item = find(view.databases[0], b"k")
            assert item is not None and item.size == 1511
            infinite = find(view.databases[0], b"long")
            assert infinite is not None
            assert rendered(infinite, json_text)["value"] == {"member" * 200: "-inf"}
            return item.plain()["value"]

    before = value()
    assert isinstance(before, dict)
    assert list(before)[:3] == [b"0", b"new", b"1"]
    engine = Engine.open(path, Options())
    engine.checkpoint()
    engine.close()
    assert value() == before


def test_check_finds_a_missing_and_a_broken_member(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    engine = Engine.open(path, Options())
    engine[0].edit(b"k", ZSet).fill((b"%d" % number, number / 7) for number in range(10))
    engine.commit()
    engine.checkpoint()
    engine.close()
    with rows(path, Table.ZSETS) as raw:
        first, second = [row_key for row_key, _ in raw.all()][:2]
        raw.delete(first)
    (missing,) = (step for step in check_directory(path) if isinstance(step, Finding))
    assert missing.severity == "error"
    with rows(path, Table.ZSETS) as raw:
        raw.seal(second, struct.pack("<d", float("nan")))
    assert any("not a number" in step.what for step in check_directory(path) if isinstance(step, Finding))


# -- what it costs -------------------------------------------------------------------------------------------------


def test_a_change_of_a_large_set_is_one_small_batch(server: LocalServer) -> None:
    entry = server.engine[0].edit(b"k", ZSet)
    entry.fill((b"%d" % number, float(number)) for number in range(50_000))
    server.engine.commit()
    entry.set(b"77", 1.5)
    entry.remove_ranks(0, 1)
    batch = server.engine.dataset.seal()
    assert [effect[0] for effect in batch] == [fx.ZSET_PUT, fx.ZSET_DEL, fx.RECORD]
    assert len(pack(batch)) < 100
    server.engine.commit()


def test_every_kind_of_access_to_a_large_set_is_quick(server: LocalServer) -> None:
    size = 200_000
    random = Random(1)
    entry = server.engine[0].edit(b"k", ZSet)
    entry.fill((b"%d" % number, random.random()) for number in range(size))
    server.engine.commit()

    def microseconds(*argv: object) -> float:
        took = []
        for _ in range(200):
            words = [str(word() if callable(word) else word).encode() for word in argv]
            started = time.perf_counter()
            server.ask(*words)
            took.append(time.perf_counter() - started)
        return median(took) * 1e6

    def member() -> int:
        return random.randrange(size)

    assert microseconds("ZADD", "k", random.random, member) < 1000
    assert microseconds("ZRANK", "k", member) < 1000
    assert microseconds("ZRANGE", "k", "100000", "100009", "WITHSCORES") < 1000
    assert microseconds("ZRANGE", "k", "0.5", "0.50005", "BYSCORE", "LIMIT", "0", "10") < 1000
    assert microseconds("ZPOPMIN", "k") < 1000
    assert microseconds("ZRANDMEMBER", "k", "3") < 1000
