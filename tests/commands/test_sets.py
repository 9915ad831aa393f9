"""Set commands: luck, pages, encodings. What else they answer is compared by `tests/model/families/sets.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from tests.model.differential import LocalServer

ALL = {b"%d" % number for number in range(1000)}


@pytest.fixture
def server() -> Iterator[LocalServer]:
    server = LocalServer(seed=7)
    yield server
    server.close()


def members(reply: tuple[str, Any]) -> list[bytes]:
    assert reply[0] in "*~"
    return [member for _, member in reply[1]]


@pytest.mark.parametrize("size", [10, 1000])
def test_spop_takes_each_member_once(server: LocalServer, size: int) -> None:
    names = {b"%d" % number for number in range(size)}
    server.ask(b"SADD", b"k", *names)
    seen = [server.ask(b"SPOP", b"k")[1] for _ in range(5)]
    seen += members(server.ask(b"SPOP", b"k", b"%d" % (size // 3)))
    server.restart("kill")
    assert set(members(server.ask(b"SMEMBERS", b"k"))) == names - set(seen)
    while server.ask(b"EXISTS", b"k") == (":", 1):
        if len(seen) % 100 == 50:
            server.restart("forget")
        seen.append(server.ask(b"SPOP", b"k")[1])
    assert sorted(seen) == sorted(names)


@pytest.mark.parametrize("size", [5, 100])
def test_each_member_is_as_likely_as_another(server: LocalServer, size: int) -> None:
    server.ask(b"SADD", b"k", *[b"%d" % number for number in range(3 * size)])
    server.ask(b"SRANDMEMBER", b"k")
    server.ask(b"SREM", b"k", *[b"%d" % number for number in range(3 * size) if number % 3])
    drawn = Counter(server.ask(b"SRANDMEMBER", b"k")[1] for _ in range(100 * size))
    drawn += Counter(members(server.ask(b"SRANDMEMBER", b"k", b"-%d" % (100 * size))))
    assert set(drawn) == {b"%d" % number for number in range(0, 3 * size, 3)}
    assert max(drawn.values()) < 270 and min(drawn.values()) > 130


@pytest.mark.parametrize("count", [1, 3, 63, 65, 300, 999, 1000, 5000])
def test_srandmember_with_a_count_gives_different_ones(server: LocalServer, count: int) -> None:
    server.ask(b"SADD", b"k", *ALL)
    drawn = members(server.ask(b"SRANDMEMBER", b"k", b"%d" % count))
    assert len(drawn) == len(set(drawn)) == min(count, 1000) and set(drawn) <= ALL
    assert server.ask(b"SCARD", b"k") == (":", 1000)


def test_srandmember_does_not_try_what_cannot_be_done(server: LocalServer) -> None:
    server.ask(b"SADD", b"k", b"x")
    assert server.ask(b"SRANDMEMBER", b"k", b"-9223372036854775807") == ("-", b"ERR value is out of range")
    assert server.ask(b"SRANDMEMBER", b"k", b"-9223372036854775808")[0] == "-"
    assert server.ask(b"SRANDMEMBER", b"k", b"9223372036854775807") == ("*", [("$", b"x")])


def test_sscan_shows_what_is_there_all_the_time(server: LocalServer) -> None:
    server.ask(b"SADD", b"k", *ALL, *[b"gone:%d" % number for number in range(500)])
    seen: list[bytes] = []
    cursor, page = b"0", 0
    while page == 0 or cursor != b"0":
        server.ask(b"SREM", b"k", b"gone:%d" % page)
        server.ask(b"SADD", b"k", b"new:%d" % page)
        reply = server.ask(b"SSCAN", b"k", cursor, b"COUNT", b"30")[1]
        cursor = reply[0][1]
        seen += members(reply[1])
        page += 1
        if page == 20:
            server.restart("forget")
            dataset = server.engine.dataset
            dataset.databases[0].find(b"k").load(dataset.snapshot)  # a server does that in steps, on its loop
    assert set(seen) >= ALL and page < 200
    assert {name for name in seen if name.isdigit()} == ALL


def test_sscan_with_a_pattern(server: LocalServer) -> None:
    server.ask(b"SADD", b"k", *ALL)
    assert set(members(server.ask(b"SSCAN", b"k", b"0", b"MATCH", b"99?", b"COUNT", b"5000")[1][1])) == {
        b"99%d" % number for number in range(10)
    }


def test_encodings(server: LocalServer) -> None:
    def encoding(*names: bytes) -> object:
        if names:
            server.ask(b"DEL", b"k")
            server.ask(b"SADD", b"k", *names)
        found = server.ask(b"OBJECT", b"ENCODING", b"k")[1]
        if names:
            server.restart("forget")
            assert server.ask(b"OBJECT", b"ENCODING", b"k")[1] == found
        return found

    numbers = [b"%d" % number for number in range(-300, 300)]
    assert encoding(b"1", b"-5", b"9223372036854775807") == b"intset"
    assert encoding(b"9223372036854775808") == encoding(b"01") == encoding(b"-0") == b"hashtable"
    assert encoding(*numbers[:512]) == b"intset"
    assert encoding(*numbers[:513]) == b"hashtable"
    server.ask(b"DEL", b"k")
    server.ask(b"SADD", b"k", b"1", b"x")
    server.ask(b"SREM", b"k", b"x")
    assert encoding() == b"hashtable"
    server.server.config.set_max_intset_entries = 2
    assert encoding(b"1", b"2") == b"intset"
    server.ask(b"SADD", b"k", b"3")
    server.ask(b"SREM", b"k", b"1")
    assert encoding() == b"hashtable"


def test_a_result_takes_the_place_of_anything(server: LocalServer) -> None:
    server.ask(b"SADD", b"a", b"1", b"2")
    server.ask(b"SET", b"k", b"v", b"EX", b"1000")
    assert server.ask(b"SUNIONSTORE", b"k", b"a", b"nosuch") == (":", 2)
    assert server.ask(b"TTL", b"k") == (":", -1)
    assert server.ask(b"SDIFFSTORE", b"a", b"a", b"k") == (":", 0)
    assert server.ask(b"EXISTS", b"a") == (":", 0)
    server.restart("kill")
    assert sorted(members(server.ask(b"SMEMBERS", b"k"))) == [b"1", b"2"]
