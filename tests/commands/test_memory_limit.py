"""`maxmemory` with noeviction is the size of a cache, down to one in which nobody can work."""

from __future__ import annotations

from tests.commands.dialogue import play, until
from tests.conftest import StartPerdure

NO_ROOM = """
1 SET before 1
1 CONFIG SET maxmemory 1
1 SET a 1
1 GET before
1 EVAL "return redis.call('get', KEYS[1])" 1 before
1 EVAL "return redis.pcall('set', KEYS[1], 1)" 1 a
2 MULTI
2 SET a 1
2 EXEC
1 DEL before
1 CONFIG SET maxmemory 0
1 SET a 1
"""


def test_what_is_no_room_at_all_refuses_writes(start_perdure: StartPerdure, real_redis_port: int) -> None:
    assert play(start_perdure().port, NO_ROOM) == play(real_redis_port, NO_ROOM)


def test_a_small_cache_refuses_nothing(start_perdure: StartPerdure) -> None:
    client = start_perdure("--maxmemory", "100kb", "--appendfsync", "no").connect()
    for number in range(2000):
        assert client.ask("SET", f"key:{number}", "x" * 100) == b"OK"
    assert client.ask("GET", "key:0") == b"x" * 100


def test_data_makes_room_for_what_clients_take(start_perdure: StartPerdure) -> None:
    server = start_perdure("--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru", "--appendfsync", "no")
    client, deaf = server.connect(), server.connect()
    for number in range(20):
        client.ask("SETRANGE", f"key:{number}", 99_999, "x")
    assert client.ask("DBSIZE") == 20
    deaf.socket.sendall(b"*1\r\n$2000001\r\n" + b"x" * 2_000_000)
    until(lambda: client.ask("DBSIZE") < 15)
    deaf.close()
    until(lambda: b"\r\nconnected_clients:1\r\n" in client.ask("INFO", "clients"))
    for number in range(20):
        client.ask("SETRANGE", f"key:{number}", 99_999, "x")
    assert client.ask("DBSIZE") == 20
