"""CLIENT: beside a real redis-server where that can be compared, and on several connections."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from tests.commands.dialogue import play, until
from tests.conftest import PerdureServer, RealRedis, RedisError, StartPerdure

SCRIPTS = {
    "names": """
        1 CLIENT GETNAME
        1 CLIENT SETNAME me
        1 CLIENT GETNAME
        1 CLIENT SETNAME 'a b'
        1 CLIENT SETNAME "a\\nb"
        1 CLIENT SETNAME \xe9
        1 CLIENT GETNAME
        1 CLIENT SETNAME ''
        1 CLIENT GETNAME
        1 CLIENT SETNAME
        2 CLIENT GETNAME
    """,
    "what LIST refuses": """
        1 CLIENT LIST TYPE nosuch
        1 CLIENT LIST TYPE
        1 CLIENT LIST ID
        1 CLIENT LIST ID x
        1 CLIENT LIST ID 99999999
        1 CLIENT LIST TYPE pubsub
        1 CLIENT LIST TYPE replica
        1 CLIENT LIST NOSUCH
    """,
    "what KILL refuses": """
        1 CLIENT KILL
        1 CLIENT KILL 1.1.1.1:1
        1 CLIENT KILL ID x
        1 CLIENT KILL ID 0
        1 CLIENT KILL ID 99999999
        1 CLIENT KILL ID 99999999 SKIPME maybe
        1 CLIENT KILL TYPE nosuch
        1 CLIENT KILL TYPE replica
        1 CLIENT KILL USER nosuch
        1 CLIENT KILL NOSUCH x
        1 CLIENT KILL ADDR x LADDR
        1 CLIENT KILL ADDR 1.1.1.1:1
    """,
    "what PAUSE refuses": """
        1 CLIENT PAUSE
        1 CLIENT PAUSE x
        1 CLIENT PAUSE -1
        1 CLIENT PAUSE 1 SOME
        1 CLIENT PAUSE 0
        1 CLIENT UNPAUSE
        1 CLIENT UNPAUSE now
    """,
    "UNBLOCK": """
        1 CLIENT UNBLOCK x
        1 CLIENT UNBLOCK 99999999
        1 CLIENT UNBLOCK 1 NOW
        1 CLIENT UNBLOCK 99999999 ERROR
    """,
    "switches": """
        1 CLIENT NO-EVICT on
        1 CLIENT NO-EVICT off
        1 CLIENT NO-EVICT maybe
        1 CLIENT REPLY maybe
        1 CLIENT REPLY on
    """,
    "arguments too many": "1 CLIENT ID x\n1 CLIENT INFO x\n1 CLIENT GETNAME x\n1 CLIENT NOSUCH x",
}  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", SCRIPTS)
def test_as_redis(
    name: str,
    protocol: int,
    perdure_server: PerdureServer,
    real_redis_port: int,
    perdure: RealRedis,
    real_redis: RealRedis,
) -> None:
    assert play(perdure_server.port, SCRIPTS[name], protocol) == play(real_redis_port, SCRIPTS[name], protocol)


def fields(line: bytes) -> dict[str, str]:
    words = (word.partition("=") for word in line.decode().strip().split(" "))
    return {name: value for name, _, value in words}


def address_of(client: RealRedis) -> str:
    return f"127.0.0.1:{client.socket.getsockname()[1]}"


def test_info_has_the_fields_of_redis_7_2(perdure: RealRedis) -> None:
    perdure.ask("CLIENT", "SETNAME", "me")
    perdure.ask("CLIENT", "SETINFO", "LIB-NAME", "lib")
    perdure.ask("CLIENT", "SETINFO", "lib-ver", "1.2")
    perdure.ask("SELECT", "3")
    told = fields(perdure.ask("CLIENT", "INFO"))
    expected = (
        *("id", "addr", "laddr", "fd", "name", "age", "idle", "flags", "db", "sub", "psub", "ssub", "multi"),
        *("qbuf", "qbuf-free", "argv-mem", "multi-mem", "rbs", "rbp", "obl", "oll", "omem", "tot-mem", "events"),
        *("cmd", "user", "redir", "resp", "lib-name", "lib-ver"),
    )
    assert tuple(told)[: len(expected)] == expected
    assert told["name"] == "me"
    assert (told["lib-name"], told["lib-ver"]) == ("lib", "1.2")
    assert (told["db"], told["resp"], told["multi"], told["flags"]) == ("3", "2", "-1", "N")
    assert (told["cmd"], told["user"]) == ("client|info", "default")
    assert told["addr"] == address_of(perdure)
    assert told["id"] == str(perdure.ask("CLIENT", "ID"))
    assert told["durability"] == "always"


def test_setinfo_refuses(perdure: RealRedis) -> None:
    assert perdure.ask("CLIENT", "SETINFO", "LIB-NAME", "a b") == RedisError(
        "ERR LIB-NAME cannot contain spaces, newlines or special characters."
    )
    assert perdure.ask("CLIENT", "SETINFO", "NOSUCH", "x") == RedisError("ERR Unrecognized option 'NOSUCH'")


def test_list_and_its_filters(perdure: RealRedis, perdure_server: PerdureServer) -> None:
    other = perdure_server.connect()
    mine, its = perdure.ask("CLIENT", "ID"), other.ask("CLIENT", "ID")
    assert its > mine
    listed = [int(fields(line)["id"]) for line in perdure.ask("CLIENT", "LIST").splitlines()]
    assert {mine, its} <= set(listed)
    assert listed == sorted(listed)
    ids = perdure.ask("CLIENT", "LIST", "ID", its, mine, 10**9).splitlines()
    assert [int(fields(line)["id"]) for line in ids] == [its, mine]
    assert b"id=%d " % mine in perdure.ask("CLIENT", "LIST", "TYPE", "normal")
    other.close()


def test_list_shows_what_a_client_is_about(perdure: RealRedis, perdure_server: PerdureServer) -> None:
    other = perdure_server.connect()
    its = other.ask("CLIENT", "ID")

    def told() -> dict[str, str]:
        return fields(perdure.ask("CLIENT", "LIST", "ID", its))

    other.ask("MULTI")
    other.ask("SET", "k", "v")
    assert (told()["multi"], told()["flags"], told()["cmd"]) == ("1", "x", "multi")
    other.ask("DISCARD")
    other.ask("WATCH", "k")
    perdure.ask("SET", "k", "w")
    assert told()["flags"] == "d"
    other.ask("UNWATCH")
    other.ask("CLIENT", "NO-TOUCH", "ON")
    other.ask("CLIENT", "NO-EVICT", "ON")
    assert told()["flags"] == "eT"
    other.ask("RESET")
    other.send("WAIT", "1", "0")
    until(lambda: told()["flags"] == "b")
    assert told()["cmd"] == "wait"
    other.close()
    until(lambda: perdure.ask("CLIENT", "LIST", "ID", its) == b"")


# -- closing and holding back --------------------------------------------------------------------------------------


def test_kill_by_address(perdure: RealRedis, perdure_server: PerdureServer) -> None:
    other = perdure_server.connect()
    other.ask("PING")
    address = address_of(other)
    assert perdure.ask("CLIENT", "KILL", address) == b"OK"
    assert other.closed()


def test_kill_by_id_and_what_else(perdure: RealRedis, perdure_server: PerdureServer) -> None:
    other = perdure_server.connect()
    its = other.ask("CLIENT", "ID")
    assert perdure.ask("CLIENT", "KILL", "ID", its, "TYPE", "pubsub") == 0
    assert perdure.ask("CLIENT", "KILL", "ID", its, "MAXAGE", "1000") == 0
    assert perdure.ask("CLIENT", "KILL", "ID", its, "USER", "default", "TYPE", "normal") == 1
    assert other.closed()


def test_kill_spares_who_asks(perdure: RealRedis) -> None:
    mine = perdure.ask("CLIENT", "ID")
    assert perdure.ask("CLIENT", "KILL", "ID", mine) == 0
    assert perdure.ask("CLIENT", "KILL", "ID", mine, "SKIPME", "no") == 1
    assert perdure.closed()


def test_kill_by_own_address_answers_first(perdure: RealRedis) -> None:
    assert perdure.ask("CLIENT", "KILL", address_of(perdure)) == b"OK"
    assert perdure.closed()


def test_list_tells_of_what_had_arrived_together_with_it(
    perdure_server: PerdureServer, perdure: RealRedis
) -> None:
    other = perdure_server.connect()
    other.ask("PING")
    pid = perdure_server.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        perdure.send("CLIENT", "LIST")
        other.send("CLIENT", "SETNAME", "late")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert b"name=late" in perdure.read()
    assert other.read() == b"OK"


def test_killing_a_waiting_client(perdure: RealRedis, perdure_server: PerdureServer) -> None:
    other = perdure_server.connect()
    its = other.ask("CLIENT", "ID")
    other.send("WAIT", "1", "0")
    until(lambda: b"flags=b" in perdure.ask("CLIENT", "LIST", "ID", its))
    assert perdure.ask("CLIENT", "KILL", "ID", its) == 1
    assert other.closed()
    until(lambda: b"blocked_clients:0" in perdure.ask("INFO", "clients"))


@pytest.mark.parametrize(
    ("how", "answer"),
    [((), 0), (("TIMEOUT",), 0), (("ERROR",), RedisError("UNBLOCKED client unblocked via CLIENT UNBLOCK"))],
)
def test_unblock(perdure: RealRedis, perdure_server: PerdureServer, how: tuple[str, ...], answer: object) -> None:
    other = perdure_server.connect()
    its = other.ask("CLIENT", "ID")
    other.send("WAIT", "1", "0")
    until(lambda: perdure.ask("CLIENT", "UNBLOCK", its, *how) == 1)
    assert other.read() == answer
    assert perdure.ask("CLIENT", "UNBLOCK", its, *how) == 0
    assert other.ask("PING") == b"PONG"
    other.close()


def test_pause_holds_writers_back(perdure: RealRedis, perdure_server: PerdureServer) -> None:
    other = perdure_server.connect()
    assert perdure.ask("CLIENT", "PAUSE", "10000", "WRITE") == b"OK"
    assert other.ask("GET", "k") is None
    other.send("SET", "k", "v")
    other.send("GET", "k")
    time.sleep(0.05)
    assert perdure.ask("GET", "k") is None
    assert perdure.ask("CLIENT", "UNBLOCK", 1) == 0
    started = time.monotonic()
    assert perdure.ask("CLIENT", "UNPAUSE") == b"OK"
    assert [other.read(), other.read()] == [b"OK", b"v"]
    assert time.monotonic() - started < 5
    other.close()


def test_pause_holds_transactions_that_write_back(perdure: RealRedis, perdure_server: PerdureServer) -> None:
    reader, writer = perdure_server.connect(), perdure_server.connect()
    for client, command in ((reader, "GET k"), (writer, "SET k v")):
        client.ask("MULTI")
        client.ask(*command.split())
    perdure.ask("CLIENT", "PAUSE", "10000", "WRITE")
    assert reader.ask("EXEC") == [None]
    writer.send("EXEC")
    time.sleep(0.05)
    assert perdure.ask("GET", "k") is None
    perdure.ask("CLIENT", "UNPAUSE")
    assert writer.read() == [b"OK"]
    reader.close()
    writer.close()


def test_pause_ends_by_itself(perdure: RealRedis, perdure_server: PerdureServer) -> None:
    started = time.monotonic()
    perdure.ask("CLIENT", "PAUSE", "80")
    other = perdure_server.connect()
    assert other.ask("PING") == b"PONG"
    assert 0.05 < time.monotonic() - started < 5
    assert other.ask("SET", "k", "v") == b"OK"
    other.close()


# -- what a connection wants ---------------------------------------------------------------------------------------


def test_reply_off_and_skip(perdure: RealRedis) -> None:
    perdure.send("CLIENT", "REPLY", "OFF")
    perdure.send("SET", "k", "1")
    perdure.send("NOSUCH")
    perdure.send("CLIENT", "REPLY", "SKIP")
    assert perdure.ask("CLIENT", "REPLY", "ON") == b"OK"
    perdure.send("CLIENT", "REPLY", "SKIP")
    perdure.send("INCR", "k")
    assert perdure.ask("INCR", "k") == 3
    perdure.send("CLIENT", "REPLY", "SKIP")
    perdure.send("NOSUCH")
    assert perdure.ask("PING") == b"PONG"
    perdure.send("CLIENT", "REPLY", "SKIP")
    perdure.send("WAIT", "1", "20")
    assert perdure.ask("PING") == b"PONG"


def test_reply_off_says_nothing_as_redis(perdure: RealRedis, real_redis: RealRedis) -> None:
    script = (
        "CLIENT REPLY SKIP|PING|ECHO 1|CLIENT REPLY SKIP|CLIENT REPLY SKIP|ECHO 2|ECHO 3|CLIENT REPLY OFF|ECHO 4|MULTI|"
        "ECHO 5|EXEC|CLIENT REPLY SKIP|ECHO 6|CLIENT REPLY ON|ECHO 7|CLIENT REPLY SKIP|MULTI|ECHO 8|EXEC|ECHO end"
    )
    heard = []
    for server in (perdure, real_redis):
        for line in script.split("|"):
            server.send(*line.split())
        replies: list[object] = []
        while not replies or replies[-1] != b"end":
            replies.append(server.read())
        heard.append(replies)
    assert heard[0] == heard[1]


def test_no_touch_leaves_the_idle_time(perdure: RealRedis, perdure_server: PerdureServer) -> None:
    perdure.ask("SET", "k", "v")
    other = perdure_server.connect()
    other.ask("CLIENT", "NO-TOUCH", "ON")

    time.sleep(1.1)
    assert other.ask("GET", "k") == b"v"
    assert perdure.ask("OBJECT", "IDLETIME", "k") >= 1
    assert other.ask("TOUCH", "k") == 1
    assert perdure.ask("OBJECT", "IDLETIME", "k") == 0
    other.close()


def test_durability_of_a_connection(perdure: RealRedis) -> None:
    assert perdure.ask("CLIENT", "DURABILITY") == b"always"
    for word in ("no", "everysec", "always", "NO"):
        assert perdure.ask("CLIENT", "DURABILITY", word) == b"OK"
        assert perdure.ask("CLIENT", "DURABILITY") == word.lower().encode()
        assert perdure.ask("SET", "k", word) == b"OK"
    assert fields(perdure.ask("CLIENT", "INFO"))["durability"] == "no"
    assert perdure.ask("CLIENT", "DURABILITY", "default") == b"OK"
    assert perdure.ask("CLIENT", "DURABILITY") == b"always"
    assert perdure.ask("CLIENT", "DURABILITY", "sometimes") == RedisError("ERR syntax error")
    perdure.ask("CLIENT", "DURABILITY", "no")
    perdure.ask("RESET")
    assert perdure.ask("CLIENT", "DURABILITY") == b"always"


def test_always_on_a_connection_of_a_server_that_never_syncs(start_perdure: StartPerdure) -> None:
    server = start_perdure("--appendfsync", "no")
    careful, careless = server.connect(), server.connect()
    careful.ask("CLIENT", "DURABILITY", "always")

    def durable() -> int:
        text = careless.ask("INFO", "perdure").decode()
        return int(text.partition("\ndurable_lsn:")[2].split()[0])

    careless.ask("SET", "k", "1")
    before = durable()
    careful.ask("SET", "k", "2")
    assert durable() == before + 2


def test_help_and_what_is_not_there(perdure: RealRedis) -> None:
    assert perdure.ask("CLIENT", "HELP")[0].startswith(b"CLIENT <subcommand>")
    told = perdure.ask("CLIENT", "MAINT_NOTIFICATIONS", "ON", "moving-endpoint-type", "internal-ip")
    assert isinstance(told, RedisError)
