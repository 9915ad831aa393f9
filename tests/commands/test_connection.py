"""HELLO, AUTH, SELECT and their kin: beside a real redis-server, and what only a server with a password shows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.commands.dialogue import play
from tests.conftest import PerdureServer, RealRedis, RedisError, StartPerdure

from perdure.registry import REDIS_VERSION

SCRIPTS = {
    "PING and ECHO": "1 PING\n1 PING hi\n1 PING a b\n1 ECHO\n1 ECHO hi\n1 ECHO a b",
    "SELECT": """
        1 SELECT 3
        1 SET k three
        1 SELECT 0
        1 GET k
        1 SELECT 16
        1 SELECT -1
        1 SELECT x
        1 SELECT 01
        1 SELECT 4294967296
        1 SELECT 9999999999999999999999
        1 SELECT
        1 SELECT 3
        1 GET k
    """,
    "HELLO refuses": """
        1 HELLO 1
        1 HELLO 4
        1 HELLO x
        1 HELLO 3 FOO
        1 HELLO 3 SETNAME
        1 HELLO 3 SETNAME 'a b'
        1 HELLO 3 AUTH default
        1 HELLO 3 AUTH nobody secret
        1 CLIENT GETNAME
    """,
    "HELLO with a name": "1 -HELLO 3 SETNAME me\n1 CLIENT GETNAME\n1 -HELLO 2 SETNAME ''\n1 -PING\n1 CLIENT GETNAME",
    "AUTH without a password set": """
        1 AUTH secret
        1 AUTH default secret
        1 AUTH nobody secret
        1 AUTH a b c
        1 AUTH
    """,
    "RESET": """
        1 -HELLO 3
        1 SELECT 2
        1 CLIENT SETNAME me
        1 RESET
        1 CLIENT GETNAME
        1 SET k v
        2 GET k
        1 RESET now
    """,
    "unknown commands": "1 NOSUCH\n1 NOSUCH a 'b c'\n1 CONFIG NOSUCH\n1 CLIENT NOSUCH x\n1 CLIENT",
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


def test_hello_tells_about_the_server(perdure: RealRedis) -> None:
    flat = perdure.ask("HELLO")
    told = dict(zip(flat[::2], flat[1::2], strict=True))
    assert told[b"server"] == b"redis"
    assert told[b"version"] == REDIS_VERSION.encode()
    assert told[b"proto"] == 2
    assert told[b"id"] == perdure.ask("CLIENT", "ID")
    assert (told[b"mode"], told[b"role"], told[b"modules"]) == (b"standalone", b"master", [])


def test_hello_3_answers_a_map(perdure: RealRedis) -> None:
    perdure.send("HELLO", "3")
    assert perdure.socket.recv(3) == b"%7\r"


def test_quit_answers_and_closes(perdure: RealRedis) -> None:
    perdure.socket.sendall(b"QUIT\r\nSET after quit\r\n")
    assert perdure.socket.recv(100) == b"+OK\r\n"
    assert perdure.closed()


def test_nothing_runs_after_quit(perdure: RealRedis, perdure_server: PerdureServer) -> None:
    perdure.send("QUIT")
    perdure.send("SET", "after", "quit")
    assert perdure.closed()
    other = perdure_server.connect()
    assert other.ask("GET", "after") is None
    other.close()


def test_quit_with_replies_off_closes(perdure: RealRedis) -> None:
    perdure.send("CLIENT", "REPLY", "OFF")
    perdure.send("QUIT")
    assert perdure.closed()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PerdureServer]:
    """A server with a password."""
    server = PerdureServer(tmp_path_factory.mktemp("guarded") / "data", "--requirepass", "secret")
    yield server
    server.stop()


@pytest.fixture
def stranger(guarded: PerdureServer) -> Iterator[RealRedis]:
    """A connection to it that has not authenticated."""
    client = guarded.connect()
    yield client
    client.close()


class TestPassword:
    def test_nothing_goes_without_it(self, stranger: RealRedis) -> None:
        refused = RedisError("NOAUTH Authentication required.")
        assert stranger.ask("GET", "k") == refused
        assert stranger.ask("PING") == refused
        assert stranger.ask("CLIENT", "LIST") == refused
        assert stranger.ask("MULTI") == refused

    def test_words_of_auth(self, stranger: RealRedis) -> None:
        wrong = RedisError("WRONGPASS invalid username-password pair or user is disabled.")
        assert stranger.ask("AUTH", "guess") == wrong
        assert stranger.ask("AUTH", "nobody", "secret") == wrong
        assert stranger.ask("AUTH", b"default", b"\xff\x00") == wrong
        assert stranger.ask("AUTH", "secret") == b"OK"
        assert stranger.ask("PING") == b"PONG"
        assert stranger.ask("AUTH", "guess") == wrong
        assert stranger.ask("PING") == b"PONG"
        assert stranger.ask("AUTH", "default", "secret") == b"OK"

    def test_hello_wants_it_too(self, stranger: RealRedis) -> None:
        assert str(stranger.ask("HELLO", "3")).startswith("NOAUTH HELLO must be called with the client already")
        assert stranger.ask("HELLO", "3", "AUTH", "default", "guess").args[0].startswith("WRONGPASS")
        assert b"proto" in stranger.ask("HELLO", "3", "AUTH", "default", "secret")

    def test_reset_forgets_it(self, stranger: RealRedis) -> None:
        stranger.ask("AUTH", "secret")
        assert stranger.ask("RESET") == b"RESET"
        assert stranger.ask("PING") == RedisError("NOAUTH Authentication required.")

    @pytest.mark.parametrize(
        ("request_", "what"),
        [(b"*11\r\n", "multibulk"), (b"*1\r\n$16385\r\n", "bulk"), (b"*2\r\n$4\r\nAUTH\r\n$99999\r\n", "bulk")],
    )
    def test_requests_are_small_before_it(self, stranger: RealRedis, request_: bytes, what: str) -> None:
        stranger.socket.sendall(request_)
        assert stranger.read() == RedisError(f"ERR Protocol error: unauthenticated {what} length")
        assert stranger.closed()

    def test_large_requests_right_behind_it(self, stranger: RealRedis) -> None:
        large = b"x" * 20_000
        stranger.socket.sendall(
            b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$20000\r\n" + large + b"\r\n"
            b"*11\r\n$6\r\nEXISTS\r\n" + b"$1\r\nk\r\n" * 10
        )
        assert [stranger.read(), stranger.read(), stranger.read()] == [b"OK", b"OK", 10]

    def test_large_requests_right_behind_a_wrong_one(self, stranger: RealRedis) -> None:
        stranger.socket.sendall(b"*2\r\n$4\r\nAUTH\r\n$5\r\nguess\r\n*11\r\n$6\r\nEXISTS\r\n")
        assert str(stranger.read()).startswith("WRONGPASS")
        assert stranger.read() == RedisError("ERR Protocol error: unauthenticated multibulk length")
        assert stranger.closed()

    def test_strangers_who_do_not_read_are_closed(self, stranger: RealRedis, guarded: PerdureServer) -> None:
        stranger.socket.settimeout(10)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(20_000):
                stranger.socket.sendall(b"GET k\r\n" * 1000)
        assert "does not read its replies" in guarded.log


def test_a_password_set_later_holds_for_new_connections(start_perdure: StartPerdure) -> None:
    server = start_perdure()
    old = server.connect()
    assert old.ask("CONFIG", "SET", "requirepass", "secret") == b"OK"
    assert old.ask("PING") == b"PONG"
    new = server.connect()
    assert new.ask("PING") == RedisError("NOAUTH Authentication required.")
    assert new.ask("AUTH", "secret") == b"OK"
    old.ask("CONFIG", "SET", "requirepass", "")
    assert server.connect().ask("PING") == b"PONG"
