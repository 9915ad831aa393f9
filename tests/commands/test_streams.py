"""Stream commands: those that wait beside a real redis-server, clocks, crashes, trimming by nodes, newer commands.

What else they answer is compared by `tests/model/families/streams.py`, restarts and all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.commands.dialogue import blocked_clients, play, until
from tests.conftest import PerdureServer, RealRedis, RedisError, StartPerdure
from tests.model.differential import RESTARTS, LocalServer, Reply

from perdure_storage.digest import dataset_digest
from perdure_storage.tables import Table
from perdure_storage.testing import ManualClock
from perdure_storage.types.stream import Stream

WAITING = {
    "what is there is read at once": """
        1 XADD s 1-1 a b
        1 XADD t 2-2 c d
        1 XREAD BLOCK 0 STREAMS s 0
        1 XREAD BLOCK 10 STREAMS s t 0 0
        1 XREAD COUNT 1 BLOCK 10 STREAMS s t nothing 1-1 1 0
        1 XREAD BLOCK 5 STREAMS s $
        1 XREAD STREAMS s 1-1
    """,
    "a new entry": """
        1 XADD s 1-1 a b
        2 >XREAD BLOCK 0 STREAMS s $
        3 >XREAD BLOCK 0 COUNT 1 STREAMS t s 0 1-1
        1 XADD s 2-1 c d
        2 <
        3 <
    """,
    "several entries of one transaction": """
        2 >XREAD BLOCK 0 STREAMS s 0
        3 >XREAD BLOCK 0 COUNT 1 STREAMS s 0
        1 MULTI
        1 XADD s 1-1 a b
        1 XADD s 1-2 c d
        1 EXEC
        2 <
        3 <
    """,
    "the key comes and goes meanwhile": """
        1 XADD s 5-5 a b
        2 >XREAD BLOCK 0 STREAMS s $
        1 DEL s
        1 SET s v
        1 DEL s
        1 XADD s 5-1 a b
        1 XADD s 5-9 a b
        2 <
    """,
    "a stream under another name": """
        2 >XREAD BLOCK 0 STREAMS s 0
        1 XADD t 1-1 a b
        1 RENAME t s
        2 <
    """,
    "a group gives each entry to one": """
        1 XGROUP CREATE s g $ MKSTREAM
        2 >XREADGROUP GROUP g c BLOCK 0 STREAMS s >
        3 >XREADGROUP GROUP g d BLOCK 0 STREAMS s >
        1 XADD s 1-1 a b
        2 <
        1 XADD s 2-1 a b
        3 <
        1 -XPENDING s g - + 10
        1 XPENDING s g
        1 XACK s g 1-1 2-1
        1 XPENDING s g
    """,
    "what is pending is there at once, also nothing": """
        1 XGROUP CREATE s g $ MKSTREAM
        1 XREADGROUP GROUP g c BLOCK 0 STREAMS s 0
        1 XADD s 1-1 a b
        1 XREADGROUP GROUP g c BLOCK 0 STREAMS s s > 0
    """,
    "without acknowledgement": """
        1 XGROUP CREATE s g $ MKSTREAM
        2 >XREADGROUP GROUP g c NOACK BLOCK 0 STREAMS s >
        1 XADD s 1-1 a b
        2 <
        1 XPENDING s g
        1 XINFO GROUPS s
    """,
    "the stream goes": """
        1 XGROUP CREATE s g $ MKSTREAM
        2 >XREADGROUP GROUP g c BLOCK 0 STREAMS s >
        1 DEL s
        2 <
    """,
    "the stream becomes something else": """
        1 XGROUP CREATE s g $ MKSTREAM
        2 >XREADGROUP GROUP g c BLOCK 0 STREAMS s >
        1 SET s v
        2 <
    """,
    "the group goes": """
        1 XGROUP CREATE s g $ MKSTREAM
        1 XGROUP CREATE s h $ MKSTREAM
        2 >XREADGROUP GROUP g c BLOCK 0 STREAMS s >
        3 >XREADGROUP GROUP h c BLOCK 0 STREAMS s >
        1 XGROUP DESTROY s g
        2 <
        1 XADD s 1-1 a b
        3 <
    """,
    "everything is flushed": """
        1 XGROUP CREATE s g $ MKSTREAM
        2 >XREADGROUP GROUP g c BLOCK 0 STREAMS s >
        3 >XREAD BLOCK 0 STREAMS s $
        1 FLUSHALL
        2 <
        1 XADD s 1-1 a b
        3 <
    """,
    "the group comes back in the same transaction": """
        1 XGROUP CREATE s g $ MKSTREAM
        2 >XREADGROUP GROUP g c BLOCK 0 STREAMS s >
        1 MULTI
        1 DEL s
        1 XADD s 1-1 a b
        1 XGROUP CREATE s g 0
        1 EXEC
        2 <
    """,
    "inside MULTI nobody waits": """
        1 XGROUP CREATE s g $ MKSTREAM
        1 MULTI
        1 XREAD BLOCK 0 STREAMS s $
        1 XREADGROUP GROUP g c BLOCK 0 STREAMS s >
        1 EXEC
    """,
    "wrong arguments": """
        1 SET v v
        1 XREAD BLOCK x STREAMS s 0
        1 XREAD BLOCK -1 STREAMS s 0
        1 XREAD BLOCK 9223372036854775808 STREAMS s 0
        1 XREAD BLOCK 0 STREAMS s
        1 XREAD BLOCK 0 STREAMS v 0
        1 XREAD BLOCK 0 STREAMS s v 0 0
        1 XREADGROUP GROUP g c BLOCK 0 STREAMS s >
        1 XREADGROUP BLOCK 0 STREAMS s > >
        1 XREAD GROUP g c BLOCK 0 STREAMS s 0
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


def test_client_unblock(perdure_server: PerdureServer, perdure: RealRedis) -> None:
    waiting = perdure_server.connect()
    ident = waiting.ask("CLIENT", "ID")
    for how, reply in (("TIMEOUT", None), ("ERROR", RedisError("UNBLOCKED client unblocked via CLIENT UNBLOCK"))):
        waiting.send("XREAD", "BLOCK", "0", "STREAMS", "s", "$")
        until(lambda: blocked_clients(perdure_server.port) == 1)
        assert perdure.ask("CLIENT", "UNBLOCK", ident, how) == 1
        assert waiting.read() == reply
    waiting.close()


def test_what_a_waiting_consumer_was_given_is_pending_after_kill_9(start_perdure: StartPerdure) -> None:
    server = start_perdure("--appendfsync", "always")
    waiting, client = server.connect(), server.connect()
    client.ask("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    waiting.send("XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">")
    until(lambda: blocked_clients(server.port) == 1)
    ident = client.ask("XADD", "s", "*", "f", "v")
    assert waiting.read() == [[b"s", [[ident, [b"f", b"v"]]]]]
    server.stop(9)
    client = start_perdure().connect()
    assert client.ask("XPENDING", "s", "g") == [1, ident, ident, [[b"c", b"1"]]]
    assert client.ask("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", "0") == [[b"s", [[ident, [b"f", b"v"]]]]]
    assert client.ask("XADD", "s", "*", "f", "v") > ident
    assert client.ask("XACK", "s", "g", ident) == 1


def test_a_command_that_waited_counts_once(perdure_server: PerdureServer, perdure: RealRedis) -> None:
    perdure.ask("CONFIG", "RESETSTAT")
    perdure.ask("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    waiting = perdure_server.connect()
    waiting.send("XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">")
    until(lambda: blocked_clients(perdure_server.port) == 1)
    perdure.ask("XGROUP", "SETID", "s", "g", "$")  # it looks, and goes on waiting
    perdure.ask("XADD", "s", "*", "f", "v")
    waiting.read()
    stats: bytes = perdure.ask("INFO", "commandstats")
    assert b"cmdstat_xreadgroup:calls=1," in stats
    waiting.close()


# -- in process ------------------------------------------------------------------------------------------------------


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


def add(server: LocalServer, key: str = "s") -> tuple[int, int]:
    """The id that `*` gives."""
    ms, _, seq = ask(server, f"XADD {key} * f v")[1].partition(b"-")
    return int(ms), int(seq)


def plain(reply: Reply) -> object:
    """Without the types."""
    return [plain(each) for each in reply[1]] if isinstance(reply[1], list) else reply[1]


def effects(server: LocalServer, line: str) -> list[tuple[Any, ...]]:
    """What a command says to the log."""
    return server.logged(*line.encode().split())


@pytest.mark.parametrize("how", RESTARTS)
def test_ids_only_go_up_whatever_the_clock_does(server: LocalServer, clock: ManualClock, how: str) -> None:
    now = clock.now_ms()
    assert [add(server), add(server)] == [(now, 0), (now, 1)]
    clock.step(-60_000)
    server.restart(how)
    assert add(server) == (now, 2)
    ask(server, "XTRIM s MAXLEN 0")
    server.restart(how)
    assert ask(server, "XLEN s") == (":", 0)
    assert add(server) == (now, 3)
    ask(server, "XSETID s 9000000000000-18446744073709551615")
    server.restart(how)
    assert add(server) == (9_000_000_000_001, 0)


@pytest.mark.parametrize("how", RESTARTS)
def test_what_is_pending_outlasts_everything(server: LocalServer, how: str) -> None:
    ask(server, "XGROUP CREATE s g 0 MKSTREAM")
    for number in range(1, 10):
        ask(server, f"XADD s 1-{number} f v")
    ask(server, "XREADGROUP GROUP g c COUNT 4 STREAMS s >")
    ask(server, "XREADGROUP GROUP g d COUNT 4 STREAMS s >")
    ask(server, "XACK s g 1-2 1-6")
    ask(server, "XCLAIM s g e 0 1-1 RETRYCOUNT 7")
    ask(server, "XDEL s 1-3")
    ask(server, "XGROUP CREATECONSUMER s g idle")
    questions = ("XPENDING s g - + 99", "XINFO STREAM s FULL", "XINFO CONSUMERS s g", "XPENDING s g")
    before = [ask(server, line) for line in questions]
    digest = dataset_digest(server.engine.dataset)
    server.restart(how)
    assert [ask(server, line) for line in questions] == before
    assert dataset_digest(server.engine.dataset) == digest
    assert plain(ask(server, "XREADGROUP GROUP g c STREAMS s 0")) == [[b"s", [[b"1-3", None], [b"1-4", [b"f", b"v"]]]]]
    assert plain(ask(server, "XREADGROUP GROUP g d STREAMS s >")) == [[b"s", [[b"1-9", [b"f", b"v"]]]]]


def test_a_question_without_answer_is_remembered_until_the_next_restart_only(
    server: LocalServer, clock: ManualClock
) -> None:
    ask(server, "XGROUP CREATE s g $ MKSTREAM")
    ask(server, "XGROUP CREATECONSUMER s g c")
    clock.advance(5000)
    assert effects(server, "XREADGROUP GROUP g c STREAMS s 0") == []
    assert plain(ask(server, "XINFO CONSUMERS s g")) == [[b"name", b"c", b"pending", 0, b"idle", 0, b"inactive", -1]]
    server.restart("kill")
    assert plain(ask(server, "XINFO CONSUMERS s g")) == [[b"name", b"c", b"pending", 0, b"idle", 5000, b"inactive", -1]]


@pytest.mark.parametrize(
    "question",
    ["XREADGROUP GROUP g c STREAMS s >", "XCLAIM s g c 0 7-7", "XAUTOCLAIM s g c 99999 0", "XCLAIM s g c 99999 1-1"],
)
def test_who_asks_is_a_consumer_that_is_seen_but_has_not_been_active(
    server: LocalServer, clock: ManualClock, question: str
) -> None:
    ask(server, "XADD s 1-1 f v")
    ask(server, "XGROUP CREATE s g 0")
    ask(server, "XREADGROUP GROUP g other STREAMS s >")
    clock.advance(5000)
    ask(server, question)
    told = [[b"name", b"c", b"pending", 0, b"idle", 0, b"inactive", -1]]
    told += [[b"name", b"other", b"pending", 1, b"idle", 5000, b"inactive", 5000]]
    assert plain(ask(server, "XINFO CONSUMERS s g")) == told
    clock.advance(1000)
    ask(server, "XCLAIM s g c 0 1-1")
    clock.advance(1000)
    ask(server, "XREADGROUP GROUP g c STREAMS s 0")
    ask(server, "XREADGROUP GROUP g other NOACK STREAMS s >")
    told = [[b"name", b"c", b"pending", 1, b"idle", 0, b"inactive", 1000]]
    told += [[b"name", b"other", b"pending", 0, b"idle", 0, b"inactive", 7000]]
    assert plain(ask(server, "XINFO CONSUMERS s g")) == told
    consumers = plain(ask(server, "XINFO STREAM s FULL"))[-1][-1][-1]  # type: ignore[index]
    now = clock.now_us() // 1000
    assert [each[4:6] for each in consumers] == [[b"active-time", now - 1000], [b"active-time", now - 7000]]


def test_a_read_that_claims_gets_what_is_pending_for_long_and_then_what_is_new(
    server: LocalServer, clock: ManualClock
) -> None:
    for number in range(1, 6):
        ask(server, f"XADD s {number}-0 f v")
    ask(server, "XGROUP CREATE s g 0")
    ask(server, "XREADGROUP GROUP g c COUNT 2 STREAMS s >")
    clock.advance(100)
    ask(server, "XREADGROUP GROUP g c COUNT 1 STREAMS s >")
    ask(server, "XCLAIM s g c 0 1-0")
    ask(server, "XDEL s 2-0")
    clock.advance(100)
    fv = [b"f", b"v"]
    claiming = "XREADGROUP CLAIM 9 GROUP g d COUNT 3 CLAIM 100 NOACK STREAMS s >"
    assert plain(ask(server, claiming)) == [[b"s", [[b"1-0", fv, 100, 2], [b"3-0", fv, 100, 1], [b"4-0", fv, 0, 0]]]]
    assert plain(ask(server, claiming)) == [[b"s", [[b"5-0", fv, 0, 0]]]]
    assert plain(ask(server, claiming)) is None
    told = [[b"1-0", b"d", 0, 3], [b"2-0", b"c", 200, 1], [b"3-0", b"d", 0, 2]]
    assert plain(ask(server, "XPENDING s g - + 9")) == told
    assert plain(ask(server, "XREADGROUP GROUP g d CLAIM 0 STREAMS s 1")) == [[b"s", [[b"3-0", fv]]]]
    clock.advance(50)
    longest_first = plain(ask(server, "XREADGROUP GROUP g d CLAIM 0 STREAMS s >"))
    assert longest_first == [[b"s", [[b"1-0", fv, 50, 3], [b"3-0", fv, 50, 3]]]]
    for wrong, why in (
        ("XREADGROUP GROUP g d CLAIM x STREAMS s >", b"ERR min-idle-time is not an integer"),
        ("XREADGROUP GROUP g d CLAIM STREAMS s >", b"ERR min-idle-time is not an integer"),
        ("XREADGROUP GROUP g d CLAIM -1 STREAMS s >", b"ERR min-idle-time must be a positive integer"),
        ("XREAD CLAIM 1 STREAMS s 0", b"ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead."),
    ):
        assert ask(server, wrong) == ("-", why)


def test_who_waits_and_claims_is_served_when_something_has_been_pending_for_long_enough(perdure: RealRedis) -> None:
    perdure.ask("XADD", "s", "1-0", "f", "v")
    perdure.ask("XGROUP", "CREATE", "s", "g", "0")
    perdure.ask("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
    ((_, ((ident, _, idle, count),)),) = perdure.ask(
        "XREADGROUP", "GROUP", "g", "d", "BLOCK", 10_000, "CLAIM", 200, "STREAMS", "s", ">"
    )
    assert (ident, count) == (b"1-0", 1)
    assert 200 <= idle < 2000


def test_a_reference_to_an_entry_that_is_gone_goes_with_delref(server: LocalServer) -> None:
    ask(server, "XADD s 1-1 f v")
    ask(server, "XGROUP CREATE s g 0")
    ask(server, "XREADGROUP GROUP g c STREAMS s >")
    ask(server, "XDEL s 1-1")
    assert plain(ask(server, "XDELEX s DELREF IDS 1 1-1")) == [-1]
    assert plain(ask(server, "XPENDING s g - + 9")) == []


def test_a_stream_is_not_set_behind_what_was_deleted_from_it(server: LocalServer) -> None:
    ask(server, "XADD s 1-1 f v")
    ask(server, "XADD s 5-5 f v")
    ask(server, "XDEL s 5-5")
    assert ask(server, "XSETID s 3-3")[1] == b"ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"
    assert ask(server, "XSETID s 5-5") == ("+", b"OK")


@pytest.mark.parametrize("length", [10, 900])
def test_a_change_costs_the_same_in_the_log_however_long_the_stream_is(server: LocalServer, length: int) -> None:
    ask(server, "XGROUP CREATE s g 0 MKSTREAM")
    for number in range(length):
        ask(server, f"XADD s 1-{number + 1} f v")
    ask(server, f"XREADGROUP GROUP g c COUNT {length - 5} STREAMS s >")
    server.restart("forget")
    for line in (
        "XADD s 2-1 f v",
        "XADD s MAXLEN 1 2-2 f v" if length == 1 else "XTRIM s MINID 1-2",
        "XDEL s 1-5",
        "XREADGROUP GROUP g d COUNT 1 STREAMS s >",
        "XREADGROUP GROUP g d COUNT 1 STREAMS s 0",
        "XACK s g 1-3",
        "XCLAIM s g d 0 1-4",
        "XGROUP SETID s g 1-7",
        "XGROUP CREATE s h 0",
        "XGROUP CREATECONSUMER s h c",
        "XGROUP DELCONSUMER s h c",
        "XGROUP DESTROY s h",
        "RENAME s t",
        "DEL t",
    ):
        said = effects(server, line)
        assert 0 < len(said) <= 5 and len(repr(said)) < 300, (line, said)


def test_most_of_a_long_stream_goes_at_the_price_of_the_rest(server: LocalServer) -> None:
    ask(server, "XGROUP CREATE s g 0 MKSTREAM")
    for number in range(5000):
        ask(server, f"XADD s 1-{number + 1} f v")
    ask(server, "XREADGROUP GROUP g c COUNT 3 STREAMS s >")
    server.restart("checkpoint")
    said = effects(server, "XTRIM s MAXLEN 10")
    assert len(said) < 20 and len(repr(said)) < 1500
    before = dataset_digest(server.engine.dataset)
    for how in ("checkpoint", "forget", "kill"):
        server.restart(how)
        assert dataset_digest(server.engine.dataset) == before
    snapshot = server.engine.snapshot()
    assert (snapshot.count(Table.STREAMS), snapshot.count(Table.GROUPS)) == (11, 5)
    snapshot.close()
    assert ask(server, "XINFO GROUPS s") == ask(server, "XINFO GROUPS s")
    assert plain(ask(server, "XPENDING s g")) == [3, b"1-1", b"1-3", [[b"c", b"3"]]]


def test_about_means_whole_nodes(server: LocalServer) -> None:
    ask(server, "CONFIG SET stream-node-max-entries 10")
    for number in range(100):
        ask(server, f"XADD s 1-{number + 1} f v")
    assert ask(server, "XTRIM s MAXLEN ~ 85 LIMIT 30") == (":", 10)
    assert ask(server, "XTRIM s MAXLEN ~ 55 LIMIT 20") == (":", 20)
    assert ask(server, "XTRIM s MAXLEN ~ 55 LIMIT 5") == (":", 0)
    assert ask(server, "XTRIM s MINID ~ 1-58") == (":", 20)
    assert ask(server, "XTRIM s MINID 1-58") == (":", 7)
    assert ask(server, "XTRIM s MAXLEN ~ 0 LIMIT 0") == (":", 43)
    assert ask(server, "XADD s MAXLEN ~ 0 1-* f v") == ("$", b"1-101")
    assert ask(server, "XLEN s") == (":", 0)
    ask(server, "CONFIG SET stream-node-max-entries 100 stream-node-max-bytes 50")
    for number in range(20):
        ask(server, f"XADD s 2-{number} field value")
    assert plain(ask(server, "XINFO STREAM s"))[3] == 5  # type: ignore[index]


def test_entries_go_from_anywhere_and_the_lists_stay_in_order(server: LocalServer) -> None:
    for number in range(500):
        ask(server, f"XADD s 1-{number} f {number}" if number else "XADD s 1-0 f 0")
    left = list(range(500))
    for number in [3, 250, 499, 0, 1, 2, 480, *range(100, 180), *range(4, 90), 400, 401]:
        assert ask(server, f"XDEL s 1-{number} 1-{number}") == (":", 1)
        left.remove(number)
        stream = server.engine[0].find(b"s")
        assert type(stream) is Stream
        stream.check()
    assert plain(ask(server, "XRANGE s - +")) == [[b"1-%d" % n, [b"f", b"%d" % n]] for n in left]
    assert plain(ask(server, "XREVRANGE s 1-300 1-90 COUNT 3")) == [
        [b"1-%d" % n, [b"f", b"%d" % n]] for n in (300, 299, 298)
    ]


# -- newer than 7.0 --------------------------------------------------------------------------------------------------


def test_the_last_entry_by_plus(server: LocalServer) -> None:
    assert plain(ask(server, "XREAD STREAMS s +")) is None
    ask(server, "XADD s 1-1 f v")
    ask(server, "XADD s 1-2 f v")
    ask(server, "XADD s 1-3 f v")
    assert plain(ask(server, "XREAD COUNT 5 STREAMS s +")) == [[b"s", [[b"1-3", [b"f", b"v"]]]]]
    ask(server, "XDEL s 1-3")
    assert plain(ask(server, "XREAD STREAMS s nothing + +")) == [[b"s", [[b"1-2", [b"f", b"v"]]]]]
    ask(server, "XTRIM s MAXLEN 0")
    assert plain(ask(server, "XREAD STREAMS s +")) is None


def test_xdelex(server: LocalServer) -> None:
    assert plain(ask(server, "XDELEX s IDS 2 1-1 1-2")) == [-1, -1]
    for number in range(1, 6):
        ask(server, f"XADD s 1-{number} f v")
    ask(server, "XGROUP CREATE s g 0")
    ask(server, "XREADGROUP GROUP g c COUNT 4 STREAMS s >")
    ask(server, "XACK s g 1-1")
    assert plain(ask(server, "XDELEX s ACKED IDS 4 1-1 1-2 1-5 9-9")) == [1, 2, 2, -1]
    assert plain(ask(server, "XDELEX s KEEPREF IDS 2 1-2 1-2")) == [1, -1]
    assert plain(ask(server, "XPENDING s g")) == [3, b"1-2", b"1-4", [[b"c", b"3"]]]
    assert plain(ask(server, "XDELEX s DELREF IDS 1 1-3")) == [1]
    assert plain(ask(server, "XPENDING s g")) == [2, b"1-2", b"1-4", [[b"c", b"2"]]]
    for wrong in ("IDS 0 1-1", "IDS 2 1-1", "ACKED", "FOO IDS 1 1-1", "IDS 1 x", "IDS 1 1-1 1-2"):
        assert ask(server, f"XDELEX s {wrong}")[0] == "-"


def test_xackdel(server: LocalServer) -> None:
    for number in range(1, 5):
        ask(server, f"XADD s 1-{number} f v")
    ask(server, "XGROUP CREATE s g 0")
    ask(server, "XGROUP CREATE s h 0")
    assert plain(ask(server, "XACKDEL s g IDS 1 1-1")) == [-1]
    ask(server, "XREADGROUP GROUP g c STREAMS s >")
    ask(server, "XREADGROUP GROUP h c COUNT 1 STREAMS s >")
    assert plain(ask(server, "XACKDEL s g ACKED IDS 2 1-1 1-2")) == [2, 2]
    assert plain(ask(server, "XACKDEL s h ACKED IDS 2 1-1 1-2")) == [1, -1]
    assert plain(ask(server, "XACKDEL s g DELREF IDS 2 1-3 9-9")) == [1, -1]
    assert plain(ask(server, "XACKDEL nothing g IDS 1 1-1")) == [-1]
    assert plain(ask(server, "XRANGE s - +")) == [[b"1-2", [b"f", b"v"]], [b"1-4", [b"f", b"v"]]]


def test_info_counts_keys_whose_end_somebody_waits_for(start_perdure: StartPerdure) -> None:
    server = start_perdure()
    client, waiting, *others = [server.connect() for _ in range(4)]

    def counts() -> list[bytes]:
        told = client.ask("INFO", "clients").split()
        return [line.partition(b":")[2] for line in told if line.startswith(b"total_blocking_keys")]

    waiting.send("BLPOP", "s", "q", 0)
    until(lambda: blocked_clients(server.port) == 1)
    client.ask("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    for other in others:
        other.send("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "s", ">")
    until(lambda: blocked_clients(server.port) == 3)
    assert counts() == [b"2", b"1"]
    client.ask("DEL", "s")
    until(lambda: blocked_clients(server.port) == 1)
    assert counts() == [b"2", b"0"]
