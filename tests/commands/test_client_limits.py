"""What clients may take: replies they do not read, requests without end, all of them together. And CLIENT PAUSE."""

from __future__ import annotations

import time

import pytest
from tests.commands.dialogue import until
from tests.conftest import PerdureServer, RealRedis, RedisError, StartPerdure


def fields(line: bytes) -> dict[str, str]:
    words = (word.partition("=") for word in line.decode().strip().split(" "))
    return {name: value for name, _, value in words}


def count(client: RealRedis, name: bytes) -> int:
    """A number of INFO."""
    lines = dict(line.split(b":", 1) for line in client.ask("INFO", "everything").split(b"\r\n") if b":" in line)
    return int(lines[name])


# -- replies -------------------------------------------------------------------------------------------------------


def test_a_reply_beyond_the_hard_limit_never_leaves(start_perdure: StartPerdure) -> None:
    server = start_perdure("--client-output-buffer-limit", "normal 100000 0 0", "--appendfsync", "no")
    watcher, client = server.connect(), server.connect()
    client.ask("SET", "small", "x" * 90_000)
    assert len(client.ask("GET", "small")) == 90_000
    client.ask("SETRANGE", "large", 150_000, "x")
    client.send("MULTI")
    client.send("SET", "before", 1)
    client.send("GET", "large")
    client.send("SET", "after", 1)
    for _ in range(4):
        client.read()
    client.send("EXEC")
    assert client.closed()
    assert watcher.ask("MGET", "before", "after") == [b"1", b"1"]  # the transaction was run all the same
    assert count(watcher, b"client_output_buffer_limit_disconnections") == 1
    assert "does not read its replies" in server.log
    assert watcher.ask("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0") == b"OK"
    assert len(watcher.ask("GET", "large")) == 150_001


def test_a_client_may_send_a_long_pipeline_before_it_reads(start_perdure: StartPerdure) -> None:
    """Not read from because it does not read, it would wait for us as we for it."""
    client = start_perdure("--appendfsync", "no").connect()
    client.ask("SETRANGE", "k", 9_999, "x")
    request = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
    padding = b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n" * 100  # requests that are longer than their replies
    for _ in range(2_000):
        client.socket.sendall(request * 2 + padding)
    replies = 0
    while replies < 2_000 * (2 * 10_010 + 600):
        replies += len(client.socket.recv(1 << 20))
    assert replies == 2_000 * (2 * 10_010 + 600)


def test_the_soft_limit_ends_patience(start_perdure: StartPerdure) -> None:
    server = start_perdure("--client-output-buffer-limit", "pubsub 0 100000 1")
    publisher, lazy = server.connect(), server.connect()
    lazy.ask("SUBSCRIBE", "news")
    its = fields(publisher.ask("CLIENT", "LIST", "TYPE", "pubsub"))["id"]
    text = b"x" * 100_000
    started = time.monotonic()
    while int(fields(publisher.ask("CLIENT", "LIST", "ID", its))["omem"]) <= 200_000:
        assert publisher.ask("PUBLISH", "news", text) == 1
    until(lambda: publisher.ask("CLIENT", "LIST", "ID", its) == b"")
    assert 0.9 < time.monotonic() - started < 5


# -- requests ------------------------------------------------------------------------------------------------------


def test_a_request_without_end_is_ended(start_perdure: StartPerdure) -> None:
    server = start_perdure("--client-query-buffer-limit", "1mb")
    watcher = server.connect()
    for beginning in (b"*2\r\n$3000000\r\n", b"*5000\r\n" + b"$1000\r\n%b\r\n" % (b"y" * 1000) * 500):
        endless = server.connect()
        endless.socket.sendall(beginning)
        with pytest.raises((EOFError, OSError, RedisError)):
            while True:
                endless.socket.sendall(b"$1000\r\n%b\r\n" % (b"y" * 1000) if beginning.startswith(b"*5") else b"y" * 1000)
        endless.close()
    assert watcher.ask("SET", "k", "v" * 900_000) == b"OK"
    assert watcher.ask("CONFIG", "SET", "client-query-buffer-limit", "4mb") == b"OK"
    assert watcher.ask("SET", "k", "v" * 3_000_000) == b"OK"


def test_arguments_may_not_be_longer_than_told(start_perdure: StartPerdure) -> None:
    server = start_perdure("--proto-max-bulk-len", "1mb")
    client = server.connect()
    assert client.ask("SET", "k", "v" * 1_000_000) == b"OK"
    client.send("SET", "k", "v" * 2_000_000)
    assert client.read() == RedisError("ERR Protocol error: invalid bulk length")


def test_a_client_shows_what_it_has_sent(perdure: RealRedis) -> None:
    other = RealRedis(perdure.port)
    its = other.ask("CLIENT", "ID")

    def told() -> dict[str, str]:
        return fields(perdure.ask("CLIENT", "LIST", "ID", its))

    other.socket.sendall(b"*3\r\n$3\r\nSET\r\n$5000\r\n" + b"x" * 1000)
    until(lambda: told()["qbuf"] == "1000")
    assert told()["argv-mem"] == "3"
    other.socket.sendall(b"x" * 4000 + b"\r\n$1\r\nv\r\n")
    assert other.read() == b"OK"
    assert (told()["qbuf"], told()["argv-mem"]) == ("0", "0")
    bare = int(told()["tot-mem"])
    other.ask("MULTI")
    other.ask("SET", "k", "v" * 1000)
    assert told()["multi-mem"] == "1004" and int(told()["tot-mem"]) > bare + 1000
    other.ask("DISCARD")
    assert told()["multi-mem"] == "0"
    mine = fields(perdure.ask("CLIENT", "INFO"))
    assert (mine["qbuf"], mine["argv-mem"]) == ("26", "10")  # its own request
    other.close()


# -- all clients together ------------------------------------------------------------------------------------------


def test_the_largest_clients_are_closed_when_all_take_too_much(start_perdure: StartPerdure) -> None:
    server = start_perdure("--appendfsync", "no")
    control = server.connect()
    control.ask("CLIENT", "NO-EVICT", "ON")
    clients = {}
    for number, size in enumerate((100_000, 200_000, 400_000, 800_000)):
        clients[size] = server.connect()
        clients[size].ask("CLIENT", "SETNAME", f"client{number}")
        clients[size].socket.sendall(b"*2\r\n$%d\r\n" % size + b"x" * size)
    until(lambda: b"qbuf=800000" in control.ask("CLIENT", "LIST"))
    assert control.ask("CONFIG", "SET", "maxmemory-clients", 1_000_000) == b"OK"
    assert clients[800_000].closed()
    names = control.ask("CLIENT", "LIST")
    assert b"client2" in names and b"client1" in names and b"client3" not in names
    assert control.ask("CONFIG", "SET", "maxmemory", 10_000_000, "maxmemory-clients", "4%") == b"OK"
    assert clients[400_000].closed()
    assert count(control, b"evicted_clients") == 2
    assert "it takes 80" in server.log


@pytest.mark.parametrize("what", ["argument", "queue", "watch", "subscribe", "prefixes"])
def test_whatever_a_client_takes_counts(start_perdure: StartPerdure, what: str) -> None:
    server = start_perdure("--maxmemory-clients", "200000", "--appendfsync", "no")
    control, client = server.connect(), server.connect()
    control.ask("CLIENT", "NO-EVICT", "ON")
    with pytest.raises((EOFError, OSError)):
        if what == "argument":
            client.ask("SET", "k", "v" * 150_000)
            client.ask("SET", "k", "v" * 250_000)
        client.ask("PING" if what != "queue" else "MULTI")
        for number in range(3000):
            if what == "queue":
                client.ask("SET", "k", "v" * 1000)
            elif what == "prefixes":
                client.ask("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", f"{number:012}")
            else:
                client.ask(what, f"k{number}")
    assert control.ask("PING") == b"PONG"
    assert count(control, b"evicted_clients") == 1


def test_output_counts_unless_the_client_is_protected(start_perdure: StartPerdure) -> None:
    server = start_perdure("--appendfsync", "no")
    control, lazy = server.connect(), server.connect()
    control.ask("SETRANGE", "k", 1_000_000, "v")
    lazy.ask("CLIENT", "NO-EVICT", "ON")
    control.ask("CLIENT", "NO-EVICT", "ON")
    control.ask("CONFIG", "SET", "maxmemory-clients", 1)
    its = lazy.ask("CLIENT", "ID")
    for _ in range(20):
        lazy.send("GET", "k")
    until(lambda: int(fields(control.ask("CLIENT", "LIST", "ID", its))["tot-mem"]) > 100_000)
    lazy.send("CLIENT", "NO-EVICT", "OFF")
    assert lazy.closed()


# -- CLIENT PAUSE --------------------------------------------------------------------------------------------------


def test_what_replicas_would_see_waits_as_well(perdure: RealRedis, perdure_server: PerdureServer) -> None:
    perdure.ask("PFADD", "hll", "a")
    script = perdure.ask("SCRIPT", "LOAD", "#!lua flags=no-writes\nreturn 3")
    perdure.ask("CLIENT", "PAUSE", 10_000, "WRITE")
    waiting = [perdure_server.connect() for _ in range(4)]
    held = (("PFCOUNT", "hll"), ("PUBLISH", "a", "b"), ("EVAL", "return 1", 0), ("EVAL", "#!lua\nreturn 2", 0))
    for client, words in zip(waiting, held, strict=True):
        client.send(*words)
    until(lambda: count(perdure, b"blocked_clients") == 4)
    reader = perdure_server.connect()
    assert reader.ask("EVAL", "#!lua flags=no-writes\nreturn 1", 0) == 1
    assert reader.ask("EVALSHA", script, 0) == 3
    assert reader.ask("EVAL_RO", "return 2", 0) == 2
    assert isinstance(reader.ask("EVALSHA", "nosuch", 0), RedisError)
    perdure.ask("CLIENT", "UNPAUSE")
    assert [client.read() for client in waiting] == [1, 0, 1, 2]


def test_keys_whose_time_comes_in_a_pause_are_gone_but_not_deleted(perdure: RealRedis) -> None:
    perdure.ask("SET", "k", "v", "PX", 30)
    before = count(perdure, b"expired_keys")
    perdure.ask("CLIENT", "PAUSE", 10_000, "WRITE")
    until(lambda: perdure.ask("GET", "k") is None)
    assert perdure.ask("EXISTS", "k") == 0
    assert (count(perdure, b"expired_keys"), perdure.ask("DBSIZE")) == (before, 1)
    perdure.ask("CLIENT", "UNPAUSE")
    until(lambda: count(perdure, b"expired_keys") == before + 1)
    assert perdure.ask("DBSIZE") == 0


def test_a_reply_that_could_not_even_be_made_is_beyond_the_hard_limit(start_perdure: StartPerdure) -> None:
    server = start_perdure("--client-output-buffer-limit", "normal 1000000 0 0", "--appendfsync", "no")
    watcher, client = server.connect(), server.connect()
    client.ask("HSET", "h", "f", "v")
    client.send("HRANDFIELD", "h", -999999999)
    assert client.closed()
    assert count(watcher, b"client_output_buffer_limit_disconnections") == 1
    assert watcher.ask("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0") == b"OK"
    watcher.ask("ZADD", "z", 1, "m")
    for words in (("HRANDFIELD", "h"), ("ZRANDMEMBER", "z")):
        assert watcher.ask(*words, -999999999) == RedisError("ERR value is out of range")
    assert watcher.ask("ZRANDMEMBER", "nothing", -999999999) == []


# -- requests ------------------------------------------------------------------------------------------------------


def test_a_large_argument_may_come_in_any_pieces(start_perdure: StartPerdure) -> None:
    client = start_perdure("--appendfsync", "no").connect()
    value = bytes(range(256)) * 4000
    request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%b\r\n*1\r\n$4\r\nPING\r\n" % (len(value), value)
    for size in (4096, 33_000, 300_000, len(request)):
        for start in range(0, len(request), size):
            client.socket.sendall(request[start : start + size])
        assert (client.read(), client.read()) == (b"OK", b"PONG")
        assert client.ask("GET", "k") == value
