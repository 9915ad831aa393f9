"""The server as a process: real sockets, real signals, real files."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from random import Random
from shutil import which
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import redis
from tests.commands.dialogue import until
from tests.conftest import ROOT, PerdureServer, RealRedis, RedisError, StartPerdure

from perdure import net
from perdure.server import probe_when_silent

# -- clients that people use ---------------------------------------------------------------------------------------


def test_redis_py_with_its_defaults(perdure: RealRedis) -> None:
    with redis.Redis(port=perdure.port, db=3, client_name="me") as client:
        assert client.set("k", "v", ex=100)
        assert client.get("k") == b"v"
        assert client.hset("h", mapping={"f": "1", "g": "2"}) == 2
        assert client.hgetall("h") == {b"f": b"1", b"g": b"2"}
        assert client.client_getname() in ("me", b"me")
        assert client.client_info()["lib-name"].startswith("redis-py")
        assert client.info()["redis_mode"] == "standalone"
        assert client.config_get("appendfsync") in ({"appendfsync": "always"}, {b"appendfsync": b"always"})
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            client.incr("h")


def test_redis_py_pipelines_and_transactions(perdure: RealRedis) -> None:
    with redis.Redis(port=perdure.port) as client:
        with client.pipeline(transaction=False) as pipeline:
            for number in range(1000):
                pipeline.set(f"k{number}", number)
            assert pipeline.execute() == [True] * 1000
        with client.pipeline() as pipeline:
            assert pipeline.incr("n").incr("n").get("n").execute() == [1, 2, b"2"]
        with client.pipeline() as pipeline:
            pipeline.watch("n")
            client.set("n", "other")
            pipeline.multi()
            pipeline.incr("n")
            with pytest.raises(redis.WatchError):
                pipeline.execute()


@pytest.mark.skipif(which("redis-cli") is None, reason="redis-cli is not installed")
def test_redis_cli(perdure: RealRedis) -> None:
    def cli(*words: str, stdin: str | None = None) -> str:
        command = ["redis-cli", "-p", str(perdure.port), *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=20, check=True).stdout

    assert cli("PING") == "PONG\n"
    assert cli("-3", "HGETALL", "nosuch") == "\n"
    assert cli(stdin='SET k "a b"\nGET k\n') == "OK\na b\n"
    assert "role:master" in cli("INFO", "replication")
    assert cli("--pipe", stdin="SET a 1\r\nSET b 2\r\n").endswith("errors: 0, replies: 2\n")


# -- bytes ---------------------------------------------------------------------------------------------------------

REQUESTS = (
    b"PING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\na\r\nb\0\r\n\r\nSET j 'x y'\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
    b"*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nGET\r\n$1\r\nj\r\n*1\r\n$4\r\nEXEC\r\nNOSUCH\r\nECHO end\r\n"
)
REPLIES = (
    b"+PONG\r\n+OK\r\n+OK\r\n$5\r\na\r\nb\0\r\n+OK\r\n+QUEUED\r\n*1\r\n$3\r\nx y\r\n"
    b"-ERR unknown command 'NOSUCH', with args beginning with: \r\n$3\r\nend\r\n"
)


def exactly(line: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = line.recv(size - len(data))
        if not chunk:
            break
        data += chunk
    return data


@pytest.mark.parametrize("cut", range(1, len(REQUESTS), 5))
def test_requests_cut_anywhere(perdure: RealRedis, cut: int) -> None:
    line = perdure.socket
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.sendall(REQUESTS[:cut])
    time.sleep(0.001)
    line.sendall(REQUESTS[cut:])
    assert exactly(line, len(REPLIES)) == REPLIES


def test_requests_byte_by_byte(perdure: RealRedis) -> None:
    line = perdure.socket
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(len(REQUESTS)):
        line.sendall(REQUESTS[at : at + 1])
    assert exactly(line, len(REPLIES)) == REPLIES


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"*abc\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n+PING\r\n", "expected '$', got '+'"),
        (b"SET 'k\r\n", "unbalanced quotes in request"),
        (b"x" * 70_000, "too big inline request"),
    ],
)
def test_what_is_no_request_ends_the_connection(perdure: RealRedis, sent: bytes, why: str) -> None:
    perdure.socket.sendall(b"PING\r\n" + sent)
    assert perdure.read() == b"PONG"
    assert perdure.read() == RedisError(f"ERR Protocol error: {why}")
    assert perdure.closed()


def test_large_values(perdure: RealRedis) -> None:
    large = Random(1).randbytes(20 << 20)
    assert perdure.ask("SET", "k", large) == b"OK"
    assert perdure.ask("STRLEN", "k") == len(large)
    assert perdure.ask("GET", "k") == large
    assert perdure.ask("SET", b"k" * 100_000, "v") == b"OK"
    assert perdure.ask("GET", b"k" * 100_000) == b"v"


def test_a_long_pipeline_of_large_replies_is_answered_in_order(perdure: RealRedis) -> None:
    perdure.ask("SET", "k", b"x" * 100_000)
    count = 600
    perdure.socket.sendall(b"".join(b"GET k\r\nECHO %d\r\n" % number for number in range(count)))
    time.sleep(0.2)
    for number in range(count):
        assert perdure.read() == b"x" * 100_000
        assert perdure.read() == b"%d" % number


def test_a_client_that_does_not_read_does_not_fill_the_memory(start_perdure: StartPerdure) -> None:
    server = start_perdure()
    lazy, other = server.connect(), server.connect()
    lazy.ask("SET", "k", b"x" * 1_000_000)
    lazy.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        for _ in range(3000):
            lazy.socket.sendall(b"GET k\r\n" * 1000)
    used = int(re.findall(rb"used_memory_rss:(\d+)", other.ask("INFO", "memory"))[0])
    assert used < 400 << 20
    assert other.ask("PING") == b"PONG"


def test_a_short_pipeline_of_huge_replies_does_not_fill_the_memory(start_perdure: StartPerdure) -> None:
    server = start_perdure()
    lazy, other = server.connect(), server.connect()
    lazy.ask("SET", "k", b"x" * (16 << 20))
    lazy.socket.sendall(b"GET k\r\n" * 60)
    time.sleep(0.5)
    used = int(re.findall(rb"used_memory_rss:(\d+)", other.ask("INFO", "memory"))[0])
    assert used < 500 << 20
    for _ in range(60):
        assert len(lazy.read()) == 16 << 20


def test_others_have_their_turn_while_a_long_pipeline_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "execute_all", lambda session, commands: len(commands))
    loop, config = Mock(), SimpleNamespace(proto_max_bulk_len=1 << 20, client_query_buffer_limit=1 << 30)
    memory = SimpleNamespace(watching=False)
    line = net.Connection(
        Mock(loop=loop, config=config, ready=[], in_tick=True, throttled=False, client_memory=memory)
    )
    line.session = Mock(out=[], parked=None, backlog=deque(), closing=False, pending_bytes=0, bytes_in=0, commands=0)
    line.transport = Mock()
    line.transport.is_closing.return_value = False
    line.data_received(b"PING\r\n" * 100)
    line.transport.pause_reading.assert_not_called()
    line.data_received(b"PING\r\n" * 2000)
    line.transport.pause_reading.assert_called_once()  # else libuv goes on reading, and nobody else is served
    (again,) = loop.call_soon.call_args.args
    again()
    line.transport.resume_reading.assert_called_once()


def test_a_silent_peer_that_is_gone_is_noticed_after_twice_the_keepalive() -> None:
    with socket.socket() as raw:
        probe_when_silent(raw, 300)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        assert [raw.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [300, 100, 3]


@pytest.mark.parametrize(
    "sent", [b"POST / HTTP/1.1\r\n", b"host: 127.0.0.1:6379\r\n", b"*2\r\n$4\r\nPost\r\n$1\r\n/\r\n"]
)
def test_whoever_speaks_http_is_not_answered(perdure: RealRedis, perdure_server: PerdureServer, sent: bytes) -> None:
    perdure.socket.sendall(b"PING\r\n" + sent + b"SET k v\r\n")
    assert perdure.read() == b"PONG"
    assert perdure.closed()
    assert perdure_server.connect().ask("EXISTS", "k") == 0


def test_clients_over_their_output_limit_are_closed(start_perdure: StartPerdure) -> None:
    server = start_perdure("--client-output-buffer-limit", "normal 3000000 0 0")
    client = server.connect()
    client.ask("SET", "k", b"x" * 20_000_000)
    client.send("GET", "k")
    time.sleep(0.3)
    with pytest.raises((EOFError, ConnectionResetError)):
        while client.read():
            client.send("GET", "k")
    assert "does not read its replies" in server.log


# -- limits --------------------------------------------------------------------------------------------------------


def test_no_more_clients_than_maxclients(start_perdure: StartPerdure) -> None:
    server = start_perdure("--maxclients", "2")
    first, second, third = server.connect(), server.connect(), server.connect()
    assert (first.ask("PING"), second.ask("PING")) == (b"PONG", b"PONG")
    assert third.read() == RedisError("ERR max number of clients reached")
    assert third.closed()
    assert b"rejected_connections:1" in first.ask("INFO", "stats")
    first.close()
    until(lambda: b"connected_clients:1\r" in second.ask("INFO", "clients"))
    assert server.connect().ask("PING") == b"PONG"


def test_clients_leave_the_server_the_files_it_needs(start_perdure: StartPerdure) -> None:
    server = start_perdure("--wal-segment-size", "1mb", limit="-n 100")
    client = server.connect()
    assert client.ask("CONFIG", "GET", "maxclients") == [b"maxclients", b"36"]
    assert "maxclients is 36, not 10000" in server.log
    others = [server.connect() for _ in range(36)]
    assert [other.ask("PING") for other in others[:-1]] == [b"PONG"] * 35
    assert others[-1].read() == RedisError("ERR max number of clients reached")
    for number in range(8):  # the log goes on in other files
        assert client.ask("SET", f"k{number}", "x" * 1_000_000) == b"OK"
    problem = client.ask("CONFIG", "SET", "maxclients", "37")
    assert str(problem).endswith("not able to handle the specified number of clients, try with 36")
    assert client.ask("CONFIG", "SET", "maxclients", "20") == b"OK"


def test_the_limit_of_open_files_is_raised_for_clients(start_perdure: StartPerdure) -> None:
    server = start_perdure("--maxclients", "200", limit="-S -n 100")
    limits = Path(f"/proc/{server.process.pid}/limits").read_text()
    assert re.search(r"Max open files +264 ", limits)
    assert server.connect().ask("CONFIG", "GET", "maxclients") == [b"maxclients", b"200"]


def test_too_few_files_are_no_start(start_perdure: StartPerdure) -> None:
    with pytest.raises(RuntimeError, match="'ulimit -n' is too low"):
        start_perdure(limit="-n 64")


def test_as_many_clients_wait_at_the_door_as_the_backlog_says(start_perdure: StartPerdure, tmp_path: Path) -> None:
    server = start_perdure("--unixsocket", str(tmp_path / "s"))
    server.connect().ask("PING")
    server.process.send_signal(signal.SIGSTOP)  # the kernel alone lets them in
    try:
        for family, address in (socket.AF_INET, ("127.0.0.1", server.port)), (socket.AF_UNIX, str(tmp_path / "s")):
            clients = [socket.socket(family) for _ in range(300)]
            for client in clients:
                client.settimeout(0.5)
                client.connect(address)
    finally:
        server.process.send_signal(signal.SIGCONT)


def test_idle_clients_are_closed(start_perdure: StartPerdure) -> None:
    server = start_perdure("--timeout", "1")
    idle, waiting, monitoring = server.connect(), server.connect(), server.connect()
    assert idle.ask("PING") == b"PONG"
    waiting.send("WAIT", "1", "3000")
    assert monitoring.ask("MONITOR") == b"OK"
    started = time.monotonic()
    assert idle.closed()
    assert 0.9 < time.monotonic() - started < 3
    assert waiting.read() == 0
    answered = time.monotonic()
    assert waiting.closed()
    assert time.monotonic() - answered > 0.9, "the time of waiting counted as idle"


def test_protected_mode(start_perdure: StartPerdure) -> None:
    address = own_address()
    server = start_perdure("--bind", f"127.0.0.1 {address}")
    with socket.create_connection((address, server.port)) as line:
        assert line.makefile("rb").readline().startswith(b"-DENIED ")
    assert server.connect().ask("CONFIG", "SET", "protected-mode", "no") == b"OK"
    with socket.create_connection((address, server.port)) as line:
        line.sendall(b"PING\r\n")
        assert line.recv(7) == b"+PONG\r\n"


def own_address() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("no address but loopback")
        return str(probe.getsockname()[0])


# -- starting and stopping -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "number"), [("always", signal.SIGTERM), ("everysec", signal.SIGINT), ("no", signal.SIGTERM)]
)
def test_a_signal_leaves_the_clean_mark(
    start_perdure: StartPerdure, tmp_path: Path, level: str, number: signal.Signals
) -> None:
    server = start_perdure("--appendfsync", level)
    client = server.connect()
    assert not (tmp_path / "data" / "CLEAN").exists()
    for key in range(100):
        client.send("SET", f"k{key}", key)
    assert [client.read() for _ in range(100)] == [b"OK"] * 100
    assert server.stop(number) == 0
    assert client.closed()
    assert (tmp_path / "data" / "CLEAN").exists()
    again = start_perdure()
    assert again.connect().ask("MGET", "k0", "k99") == [b"0", b"99"]
    assert "after a clean shutdown" in again.log


@pytest.mark.parametrize("level", ["always", "everysec", "no"])
def test_kill_9_loses_nothing_that_was_answered(start_perdure: StartPerdure, level: str) -> None:
    server = start_perdure("--appendfsync", level)
    client = server.connect()
    for key in range(300):
        client.send("SET", f"k{key}", key)
    assert [client.read() for _ in range(300)] == [b"OK"] * 300
    server.stop(signal.SIGKILL)
    again = start_perdure()
    assert again.connect().ask("DBSIZE") == 300
    assert "after a crash" in again.log


def test_replies_leave_before_the_end(start_perdure: StartPerdure) -> None:
    server = start_perdure("--appendfsync", "no")
    client, other = server.connect(), server.connect()
    client.ask("SET", "k", b"x" * 5_000_000)
    client.send("GET", "k")
    until(lambda: b"cmd=get " in other.ask("CLIENT", "LIST"))
    server.process.send_signal(signal.SIGTERM)
    assert client.read() == b"x" * 5_000_000
    assert client.closed()
    assert server.process.wait(timeout=10) == 0


def test_one_directory_one_server(start_perdure: StartPerdure) -> None:
    first = start_perdure()
    with pytest.raises(RuntimeError, match="did not start") as refused:
        start_perdure()
    told = str(refused.value)
    assert f"is in use by process {first.process.pid}" in told
    assert "choose another with --dir" in told
    assert first.connect().ask("PING") == b"PONG"


def run_to_its_end(*options: str, directory: Path) -> subprocess.CompletedProcess[str]:
    roots = os.pathsep.join(str(ROOT / name) for name in ("src", "storage", "tools"))
    return subprocess.run(
        [sys.executable, "-m", "perdure.cli", "--dir", str(directory), *options],
        env={**os.environ, "PYTHONPATH": roots},
        capture_output=True,
        text=True,
        timeout=30,
    )


def complaint(result: subprocess.CompletedProcess[str]) -> str:
    """The one line with which a server gives up. The exit code is 1."""
    assert result.returncode == 1
    assert "ready on" not in result.stdout
    lines = [line for line in result.stderr.splitlines() if line.startswith("perdure-server: ")]
    assert len(lines) == 1
    return lines[0]


def test_a_busy_port(perdure_server: PerdureServer, tmp_path: Path) -> None:
    told = complaint(run_to_its_end("--port", str(perdure_server.port), directory=tmp_path / "data"))
    assert f"port {perdure_server.port}" in told
    assert "choose another --port" in told


def test_a_directory_of_another_format(tmp_path: Path, start_perdure: StartPerdure) -> None:
    start_perdure().stop()
    path = tmp_path / "data" / "FORMAT"
    path.write_text(re.sub(r'"format": \d+', '"format": 99', path.read_text()))
    told = complaint(run_to_its_end("--port", "0", directory=tmp_path / "data"))
    assert "format 99" in told


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "file" in complaint(run_to_its_end("--port", "0", directory=tmp_path / "file" / "data"))


# -- where it can be reached ---------------------------------------------------------------------------------------


def test_a_unix_socket(start_perdure: StartPerdure, tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = start_perdure("--unixsocket", str(path), "--unixsocketperm", "700")
    assert path.stat().st_mode & 0o777 == 0o700
    with redis.Redis(unix_socket_path=str(path)) as client:
        assert client.set("k", "v")
        info = client.client_info()
        assert info["addr"] == f"{path}:0"
        assert "U" in info["flags"]
    assert server.stop() == 0
    assert not path.exists()


def test_a_unix_socket_that_a_dead_server_left(start_perdure: StartPerdure, tmp_path: Path) -> None:
    path = tmp_path / "s"
    start_perdure("--unixsocket", str(path)).stop(signal.SIGKILL)
    assert path.exists()
    start_perdure("--unixsocket", str(path))
    with redis.Redis(unix_socket_path=str(path)) as client:
        assert client.ping()


def test_a_unix_socket_that_is_somebody_elses(start_perdure: StartPerdure, tmp_path: Path) -> None:
    path = tmp_path / "s"
    start_perdure("--unixsocket", str(path))
    told = complaint(run_to_its_end("--port", "0", "--unixsocket", str(path), directory=tmp_path / "other"))
    assert "another server listens on it" in told
    file = tmp_path / "file"
    file.write_text("precious")
    told = complaint(run_to_its_end("--port", "0", "--unixsocket", str(file), directory=tmp_path / "other"))
    assert "is no socket" in told
    assert file.read_text() == "precious"


def test_systemd_is_told(start_perdure: StartPerdure, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.settimeout(10)
        server = start_perdure(environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert b"READY=1" in line.recv(1000)
        assert server.connect().ask("PING") == b"PONG"
        server.stop()
        assert b"STOPPING=1" in line.recv(1000)


def test_pid_file_and_log_file(start_perdure: StartPerdure, tmp_path: Path) -> None:
    log, pid = tmp_path / "log", tmp_path / "pid"
    server = start_perdure("--logfile", str(log), "--pidfile", str(pid), "--loglevel", "notice")
    assert pid.read_text() == f"{server.process.pid}\n"
    assert server.stop() == 0
    assert not pid.exists()
    lines = log.read_text().splitlines()
    form = re.compile(rf"{server.process.pid}:M \d\d \w{{3}} \d{{4}} \d\d:\d\d:\d\d\.\d{{3}} [*#] .+")
    assert lines
    assert all(form.fullmatch(line) for line in lines)
    assert any(f"ready on port {server.port}" in line for line in lines)


def test_levels_of_the_log(start_perdure: StartPerdure) -> None:
    server = start_perdure("--loglevel", "warning", "--enable-debug-command", "yes")
    client = server.connect()
    assert "ready on port" not in server.log
    client.ask("DEBUG", "LOG", "a\nb")
    assert " # DEBUG LOG: a b\n" in server.log
