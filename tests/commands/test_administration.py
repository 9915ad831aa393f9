"""INFO, SAVE, WAITAOF, MONITOR, SHUTDOWN: what running a server needs."""

from __future__ import annotations

import re
import signal
import time

import pytest
from tests.commands.dialogue import play, until
from tests.conftest import PerdureServer, RealRedis, RedisError, StartPerdure

SCRIPTS = {
    "what WAIT refuses": """
        1 WAIT x 1
        1 WAIT 0 x
        1 WAIT 0 -1
        1 WAIT 0 0
        1 WAIT -1 0
        1 WAIT 1 20
        1 WAIT 1
    """,
    "what the others refuse": """
        1 TIME x
        1 LASTSAVE x
        1 SAVE x
        1 BGSAVE nosuch
        1 SHUTDOWN NOSUCH
        1 SHUTDOWN SAVE NOSAVE
        1 SHUTDOWN ABORT
        1 SHUTDOWN ABORT NOW
        1 LOLWUT VERSION x
        1 REPLICAOF NO ONE
        1 SLAVEOF no one
        1 REPLICAOF 1.1.1.1 x
        1 REPLICAOF 1.1.1.1 99999
        1 REPLICAOF 1.1.1.1
        1 MONITOR now
    """,
    "saving": "1 SET k v\n1 SAVE\n1 SAVE",
    "INFO of what is not there": "1 INFO nosuch",
}  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_as_redis(
    name: str, perdure_server: PerdureServer, real_redis_port: int, perdure: RealRedis, real_redis: RealRedis
) -> None:
    assert play(perdure_server.port, SCRIPTS[name]) == play(real_redis_port, SCRIPTS[name])


def told(client: RealRedis, *sections: str) -> dict[str, str]:
    """INFO's lines."""
    lines = client.ask("INFO", *sections).decode().split("\r\n")
    pairs = (line.partition(":") for line in lines if ":" in line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


# -- INFO ----------------------------------------------------------------------------------------------------------


def test_info_has_what_clients_and_exporters_read(perdure: RealRedis) -> None:
    perdure.ask("SET", "k", "v")
    perdure.ask("SET", "j", "v", "EX", "100")
    info = told(perdure)
    assert tuple(map(int, info["redis_version"].split("."))) >= (7, 2)
    assert info["redis_mode"] == "standalone"
    assert info["role"] == "master"
    assert info["loading"] == "0"
    assert info["maxmemory_policy"] == "noeviction"
    assert info["tcp_port"] == str(perdure.port)
    assert int(info["connected_clients"]) >= 1
    assert re.fullmatch("[0-9a-f]{40}", info["run_id"])
    match = re.fullmatch(r"keys=2,expires=1,avg_ttl=(\d+)", info["db0"])
    assert match is not None
    assert 90_000 < int(match[1]) <= 100_000
    assert not {"dragonfly_version", "valkey_version", "server_name"} & set(info)


def test_info_has_the_fields_of_a_real_one(perdure: RealRedis, real_redis: RealRedis) -> None:
    ignored = re.compile(
        "allocator_|rss_overhead|gcc_version|atomicvar|.*scratch|mem_cluster_links|mem_total_repl|.*defrag|slave_expires"
        "|io_threaded|sync_|rdb_last_load|current_save|current_eviction|total_eviction|dump_payload|evicted_scripts"
        "|total_active|io_threads|.*sentinel|aof_|module_fork|current_active|migrate|used_cpu_.*_main|total_reads"
        "|total_writes|number_of_functions|number_of_libraries|used_memory_(functions|vm|scripts)|loaded_|redis_git|rdb_"
    )
    real_redis.ask("CONFIG", "RESETSTAT")  # errors that other tests have made have fields of their own
    wanted = {name for name in told(real_redis) if not ignored.match(name)}
    assert wanted - set(told(perdure, "everything")) == set()


@pytest.mark.parametrize("protocol", ["2", "3"])
def test_sections_come_by_name(perdure: RealRedis, protocol: str) -> None:
    perdure.ask("HELLO", protocol)
    perdure.ask("NOSUCH")

    def titles(*sections: str) -> list[str]:
        return re.findall(r"# (\w+)", perdure.ask("INFO", *sections).decode())

    usual = [
        *("Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Modules", "Errorstats"),
        *("Cluster", "Keyspace", "Perdure"),
    ]
    assert titles() == titles("default") == usual
    assert set(titles("all")) == set(titles("everything")) == {*usual, "Commandstats", "Latencystats"}
    assert titles("keyspace", "SERVER", "nosuch", "server") == ["Server", "Keyspace"]
    assert titles("commandstats", "default") == [*usual[:8], "Commandstats", *usual[8:]]


def test_statistics_of_commands_and_errors(perdure: RealRedis) -> None:
    perdure.ask("CONFIG", "RESETSTAT")
    for _ in range(3):
        perdure.ask("GET", "k")
    perdure.ask("SET", "k", "v")
    perdure.ask("INCR", "k")
    perdure.ask("HGET", "k", "f")
    info = told(perdure, "all")
    assert info["cmdstat_get"].startswith("calls=3,usec=")
    assert info["cmdstat_incr"].endswith("rejected_calls=0,failed_calls=1")
    assert info["cmdstat_config|resetstat"].startswith("calls=1")
    assert info["errorstat_ERR"] == "count=1"
    assert info["errorstat_WRONGTYPE"] == "count=1"
    assert info["keyspace_misses"] == "3"
    perdure.ask("CONFIG", "RESETSTAT")
    assert "cmdstat_get" not in told(perdure, "all")


def test_our_own_section(perdure: RealRedis) -> None:
    before = int(told(perdure, "perdure")["last_lsn"])
    perdure.ask("SET", "k", "v")
    perdure.ask("SAVE")
    info = told(perdure, "perdure")
    last = str(before + 1)
    assert (info["last_lsn"], info["written_lsn"], info["durable_lsn"], info["applied_lsn"]) == (last,) * 4
    assert info["log_state"] == "ok"
    assert info["compiled"] in ("yes", "no")
    assert int(info["log_segments"]) >= 1
    assert int(info["checkpoints"]) >= 1


# -- saving --------------------------------------------------------------------------------------------------------


def test_save_waits_until_the_tables_have_it(perdure: RealRedis) -> None:
    for number in range(200):
        perdure.send("SET", f"k{number}", "v" * 1000)
    for _ in range(200):
        perdure.read()
    assert perdure.ask("SAVE") == b"OK"
    info = told(perdure, "perdure", "persistence")
    assert info["applied_lsn"] == info["last_lsn"]
    assert info["rdb_changes_since_last_save"] == "0"
    assert perdure.ask("LASTSAVE") - time.time() < 5


def test_save_does_not_wait_for_the_next_sync(start_perdure: StartPerdure) -> None:
    client = start_perdure("--appendfsync", "no").connect()
    client.ask("SET", "k", "v")
    assert client.ask("SAVE") == b"OK"
    assert told(client, "persistence")["rdb_changes_since_last_save"] == "0"


def test_where_save_has_rules_nothing_remains_to_be_saved_after_flushall(perdure: RealRedis) -> None:
    perdure.ask("SET", "k", "v")
    perdure.ask("FLUSHALL")
    assert told(perdure, "persistence")["rdb_changes_since_last_save"] == "0"
    perdure.ask("SET", "k", "v")
    assert int(told(perdure, "persistence")["rdb_changes_since_last_save"]) <= 1  # there may have been a checkpoint


def test_bgsave_and_rewrite_begin(perdure: RealRedis) -> None:
    perdure.ask("SET", "k", "v")
    jobs = int(told(perdure, "stats")["total_forks"])
    assert perdure.ask("BGSAVE") == b"Background saving started"
    assert perdure.ask("BGSAVE", "SCHEDULE") == b"Background saving started"
    assert perdure.ask("BGREWRITEAOF") == b"Background append only file rewriting started"
    until(lambda: told(perdure, "persistence")["aof_rewrite_in_progress"] == "0")
    assert int(told(perdure, "stats")["total_forks"]) > jobs
    assert perdure.ask("GET", "k") == b"v"
    assert perdure.ask("SET", "k", "w") == b"OK"
    assert perdure.ask("SAVE") == b"OK"


def test_waitaof_refuses(perdure: RealRedis) -> None:
    assert isinstance(perdure.ask("WAITAOF", "2", "0", "0"), RedisError)
    assert isinstance(perdure.ask("WAITAOF", "-1", "0", "0"), RedisError)
    assert perdure.ask("WAITAOF", "0", "-1", "0") == RedisError("ERR value is out of range, must be positive")
    assert perdure.ask("WAITAOF", "0", "0", "-1") == RedisError("ERR timeout is negative")
    assert perdure.ask("WAITAOF", "0", "0") == RedisError("ERR wrong number of arguments for 'waitaof' command")


def test_waitaof_when_everything_is_durable(perdure: RealRedis) -> None:
    perdure.ask("SET", "k", "v")
    assert perdure.ask("WAITAOF", "1", "0", "0") == [1, 0]
    assert perdure.ask("WAITAOF", "0", "0", "0") == [1, 0]
    assert perdure.ask("WAITAOF", "1", "1", "30") == [1, 0]


@pytest.mark.parametrize("level", ["no", "everysec"])
def test_waitaof_syncs(start_perdure: StartPerdure, level: str) -> None:
    client = start_perdure("--appendfsync", level).connect()
    client.ask("SET", "k", "v")
    assert client.ask("WAITAOF", "1", "0", "5000") == [1, 0]
    info = told(client, "perdure")
    assert info["durable_lsn"] == info["last_lsn"]
    client.ask("MULTI")
    client.ask("WAITAOF", "1", "0", "0")
    assert client.ask("EXEC") == [[1, 0]]


# -- the rest ------------------------------------------------------------------------------------------------------


def test_time_and_role(perdure: RealRedis) -> None:
    seconds, micros = map(int, perdure.ask("TIME"))
    assert abs(seconds + micros / 1e6 - time.time()) < 5
    name, position, replicas = perdure.ask("ROLE")
    assert (name, replicas) == (b"master", [])
    assert position >= 0
    assert isinstance(perdure.ask("REPLICAOF", "127.0.0.1", "1"), RedisError)


def test_lolwut(perdure: RealRedis) -> None:
    assert b"Perdure ver. " in perdure.ask("LOLWUT")
    assert b"Perdure ver. " in perdure.ask("LOLWUT", "VERSION", "5", "1", "2")


def test_monitor_shows_commands_but_no_secrets(perdure: RealRedis, perdure_server: PerdureServer) -> None:
    other = perdure_server.connect()
    assert perdure.ask("MONITOR") == b"OK"
    other.ask("SELECT", "2")
    other.ask("SET", b"k\n\xff", 'say "hi"')
    other.ask("AUTH", "default", "secret")
    other.ask("HELLO", "2", "AUTH", "default", "secret")
    other.ask("CONFIG", "GET", "port")
    other.ask("MULTI")
    other.ask("GET", "k")
    other.ask("EXEC")
    seen = [perdure.read().decode() for _ in range(7)]
    assert all(re.match(r"\d+\.\d{6} \[\d+ 127\.0\.0\.1:\d+\] ", line) for line in seen)
    commands = [line.partition("] ")[2] for line in seen]
    assert commands == [
        '"SELECT" "2"',
        r'"SET" "k\n\xff" "say \"hi\""',
        '"AUTH" "(redacted)" "(redacted)"',
        '"HELLO" "2" "AUTH" "(redacted)" "(redacted)"',
        '"MULTI"',
        '"GET" "k"',
        '"EXEC"',
    ]
    assert "[2 " in seen[1]
    other.close()


def test_monitor_shows_a_select_with_the_database_it_has_chosen(perdure: RealRedis, real_redis: RealRedis) -> None:
    calls = [
        ["SELECT", "3"], ["SELECT", "99"], ["MULTI"], ["SELECT", "2"], ["GET", "k"], ["EXEC"], ["RESET"],
        ["EVAL", "redis.call('select', 5) return redis.call('get', KEYS[1])", "1", "k"], ["ECHO", "end"],
    ]  # fmt: skip
    seen = []
    for watcher in (perdure, real_redis):
        caller = RealRedis(watcher.port)
        watcher.ask("MONITOR")
        for call in calls:
            caller.ask(*call)
        lines = [watcher.read().decode()]
        while not lines[-1].endswith('"ECHO" "end"'):
            lines.append(watcher.read().decode())
        seen.append([re.sub(r"^\S+ \[(\d+) (127[\d.:]+|lua)\]", r"\1", line) for line in lines])
        caller.close()
    assert seen[0] == seen[1]


def test_shutdown_ends_the_server_without_a_word(start_perdure: StartPerdure) -> None:
    server = start_perdure()
    client, other = server.connect(), server.connect()
    client.ask("SET", "k", "v")
    client.send("SHUTDOWN", "NOSAVE")
    with pytest.raises((EOFError, ConnectionResetError)):
        client.read()
    assert other.closed()
    assert server.process.wait(timeout=10) == 0
    again = start_perdure()
    assert "clean shutdown" in again.log
    assert again.connect().ask("GET", "k") == b"v"


def test_shutdown_keeps_what_others_were_told(start_perdure: StartPerdure) -> None:
    server = start_perdure("--appendfsync", "no")
    client, other = server.connect(), server.connect()
    for number in range(50):
        client.send("SET", f"k{number}", number)
    for _ in range(50):
        client.read()
    other.send("SHUTDOWN")
    assert client.closed()
    assert server.stop(signal.SIGCONT) == 0
    assert start_perdure().connect().ask("DBSIZE") == 50


def test_a_signal_can_be_taken_back_while_nothing_moves(start_perdure: StartPerdure) -> None:
    server = start_perdure("--enable-debug-command", "yes")
    client = server.connect()
    assert client.ask("SHUTDOWN", "ABORT") == RedisError("ERR No shutdown in progress.")
    assert client.ask("DEBUG", "PAUSE-CRON", "1") == b"OK"
    server.process.send_signal(signal.SIGTERM)
    until(lambda: "SIGTERM" in server.log)
    assert client.ask("SHUTDOWN", "ABORT") == b"OK"
    assert client.ask("SHUTDOWN", "ABORT") == RedisError("ERR No shutdown in progress.")
    assert client.ask("DEBUG", "PAUSE-CRON", "0") == b"OK"
    time.sleep(0.3)
    assert client.ask("PING") == b"PONG"
    assert "Shutdown manually aborted" in server.log
    client.ask("DEBUG", "PAUSE-CRON", "1")
    server.process.send_signal(signal.SIGTERM)
    until(lambda: server.log.count("SIGTERM") == 2)
    client.ask("DEBUG", "PAUSE-CRON", "0")
    assert server.process.wait(timeout=10) == 0


def test_shutdown_now_does_not_wait_for_those_who_do_not_read(start_perdure: StartPerdure) -> None:
    server = start_perdure("--appendfsync", "no")
    client, deaf = server.connect(), server.connect()
    client.ask("SETRANGE", "k", 50_000_000, "x")
    deaf.send("GET", "k")
    until(lambda: b"cmd=get " in client.ask("CLIENT", "LIST"))
    began = time.monotonic()
    client.send("SHUTDOWN", "NOW")
    assert server.process.wait(timeout=9) == 0
    assert time.monotonic() - began < 5


# -- what is counted -----------------------------------------------------------------------------------------------


def test_a_client_that_is_unblocked_with_an_error_has_had_one(
    perdure_server: PerdureServer, perdure: RealRedis
) -> None:
    perdure.ask("CONFIG", "RESETSTAT")
    waiting = perdure_server.connect()
    number = waiting.ask("CLIENT", "ID")
    waiting.send("BLPOP", "nothing", "0")
    until(lambda: told(perdure, "clients")["blocked_clients"] == "1")
    assert perdure.ask("CLIENT", "UNBLOCK", number, "ERROR") == 1
    assert isinstance(waiting.read(), RedisError)
    info = told(perdure, "all")
    assert info["errorstat_UNBLOCKED"] == "count=1"
    assert info["total_error_replies"] == "1"
    assert re.fullmatch(r"calls=1,.*,rejected_calls=0,failed_calls=1", info["cmdstat_blpop"])
    waiting.ask("BLPOP", "nothing", "0.01")
    assert re.fullmatch(r"calls=2,.*,rejected_calls=0,failed_calls=1", told(perdure, "all")["cmdstat_blpop"])
    waiting.close()


def test_what_is_freed_later_is_counted(perdure: RealRedis) -> None:
    perdure.ask("CONFIG", "RESETSTAT")
    perdure.ask("RPUSH", "large", *range(20_000))
    perdure.ask("RPUSH", "small", *range(64))
    perdure.ask("SADD", "middle", *range(65))
    perdure.ask("UNLINK", "large", "small", "middle")
    until(lambda: told(perdure, "memory")["lazyfree_pending_objects"] == "0")
    assert told(perdure, "memory")["lazyfreed_objects"] == "2"
    perdure.ask("MSET", "a", 1, "b", 2)
    perdure.ask("FLUSHALL", "ASYNC")
    until(lambda: told(perdure, "memory")["lazyfree_pending_objects"] == "0")
    assert int(told(perdure, "memory")["lazyfreed_objects"]) >= 4


def test_used_memory_is_that_of_data_and_of_clients(perdure_server: PerdureServer, perdure: RealRedis) -> None:
    info = told(perdure, "memory")
    assert int(info["used_memory"]) == int(info["used_memory_dataset"]) + int(info["used_memory_overhead"])
    other = perdure_server.connect()
    other.socket.sendall(b"*1\r\n$100000\r\n" + b"x" * 90_000)
    until(lambda: int(told(perdure, "memory")["used_memory"]) > int(info["used_memory"]) + 90_000)
    other.close()
