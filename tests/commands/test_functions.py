"""FUNCTION and FCALL, beside a real redis-server; and that libraries are kept as data is."""

from __future__ import annotations

import signal
import time

import pytest
from tests.commands.dialogue import play
from tests.conftest import PerdureServer, RealRedis, StartPerdure

LOADS = r"""
x
#!lua\nreturn 1
#!lua name=\nx
#!lua name=a name=b\nx
#!lua name=l\n
#!lua name=l
#!lua name=l\nbad script
#!lua name=l\nerror('x')
#!lua name=l\nredis.call('get','x')
#!lua name=l\nlocal x = math.random()
#!lua name=l\nlocal x = redis.setresp(3)
#!lua name=l foo=bar\n
#!foo name=l\n
#! name=l\n
#!lua name="l"\nredis.register_function('f', function() end)
#!lua name=l\nx = 1
#!lua name=l\nredis.register_function()
#!lua name=l\nredis.register_function('f')
#!lua name=l\nredis.register_function('f', 'g')
#!lua name=l\nredis.register_function('f', function() end, 1)
#!lua name=l\nredis.register_function(1, function() end)
#!lua name=l\nredis.register_function({}, function() end)
#!lua name=l\nredis.register_function('a b', function() end)
#!lua name=l\nredis.register_function('', function() end)
#!lua name=l\nredis.register_function('f', function() end)\nredis.register_function('f', function() end)
#!lua name=l\nredis.register_function{}
#!lua name=l\nredis.register_function{function_name='f'}
#!lua name=l\nredis.register_function{callback=function() end}
#!lua name=l\nredis.register_function{function_name='f', callback=1}
#!lua name=l\nredis.register_function{function_name={}, callback=function() end}
#!lua name=l\nredis.register_function{function_name='f', callback=function() end, flags=1}
#!lua name=l\nredis.register_function{function_name='f', callback=function() end, flags={'x'}}
#!lua name=l\nredis.register_function{function_name='f', callback=function() end, description={}}
#!lua name=l\nredis.register_function{function_name='f', callback=function() end, other=1}
#!lua name=l\nredis.register_function{function_name='f', callback=function() end, flags={'no-writes','allow-oom','allow-stale'}}
#!lua name=l\nwhile true do end
#!lua name=l\nlocal t = {} t.x.y = 1
#!lua name=a-b\nx
""".strip().splitlines()  # noqa: E501

BODIES = r"""
return 1
return {keys, args}
return keys[1] .. args[1]
return KEYS
return redis.call('set', keys[1], args[1])
return redis.call('nothing')
return redis.pcall('nothing')
error('x')
error({err='X y'})
return redis.register_function
return redis.register_function('x', function() end)
x = 1
return {err='X y'}
return redis.setresp(3)
redis.setresp(3) return true
return true
return cjson.encode({1})
return redis.sha1hex('')
return redis.replicate_commands
return getmetatable(redis)
redis.call('lpush', 's', 1) redis.call('set', 's', 1) return redis.call('lpush', 's', 1)
""".strip().splitlines()


@pytest.fixture
def servers(perdure: RealRedis, real_redis: RealRedis) -> tuple[RealRedis, RealRedis]:
    for server in (perdure, real_redis):
        server.ask("FUNCTION", "FLUSH")
    return perdure, real_redis


def test_libraries_load_as_in_redis(servers: tuple[RealRedis, RealRedis]) -> None:
    differ = {}
    for text in LOADS:
        code = text.replace("\\n", "\n")
        ours, theirs = [(s.ask("FUNCTION", "LOAD", "REPLACE", code), s.ask("FUNCTION", "LIST", "WITHCODE")) for s in servers]
        if ours != theirs:
            differ[text] = (ours, theirs)
    assert not differ


@pytest.mark.parametrize("protocol", [2, 3])
def test_functions_run_as_in_redis(servers: tuple[RealRedis, RealRedis], protocol: int) -> None:
    differ = {}
    for server in servers:
        server.ask("HELLO", protocol)
    for body in BODIES:
        told = []
        for server in servers:
            server.ask("FLUSHALL")
            code = f"#!lua name=l\nredis.register_function('f', function(keys, args) {body}\nend)"
            server.ask("FUNCTION", "LOAD", "REPLACE", code)
            told.append([server.ask("FCALL", "f", 1, "k", "a"), server.ask("FCALL_RO", "f", 0), server.ask("GET", "k")])
        if told[0] != told[1]:
            differ[body] = told
    assert not differ


DIALOGUES = {
    "words and numbers": r"""
        1 FUNCTION LOAD "#!lua name=l\nredis.register_function('f', function(k, a) return {k[1], a[1]} end)"
        1 FUNCTION LOAD "#!lua name=l\nredis.register_function('f', function(k, a) return 1 end)"
        1 FUNCTION LOAD "#!lua name=m\nredis.register_function('F', function(k, a) return 1 end)"
        1 FUNCTION LOAD nothing "#!lua name=m\n"
        1 FUNCTION LIST
        1 FUNCTION LIST LIBRARYNAME L*
        1 FUNCTION LIST LIBRARYNAME x*
        1 FUNCTION LIST WITHCODE
        1 FUNCTION LIST WITHCODE WITHCODE
        1 FUNCTION LIST LIBRARYNAME
        1 FUNCTION LIST nothing
        1 FUNCTION STATS
        1 FCALL f
        1 FCALL f x
        1 FCALL f -1
        1 FCALL f 3 a
        1 FCALL nothing 0
        1 FCALL f 1 a b
        1 fcall F 0
        1 FCALL_RO f 0
        1 FUNCTION DELETE nothing
        1 FUNCTION DELETE l
        1 FCALL f 0
        1 FUNCTION KILL
        1 FUNCTION FLUSH x
        1 FUNCTION FLUSH ASYNC
        1 FUNCTION FLUSH sync
        1 FUNCTION NOTHING
        1 FUNCTION
        1 FUNCTION RESTORE x
    """,
    "in a transaction": r"""
        1 MULTI
        1 FUNCTION LOAD "#!lua name=l\nredis.register_function('f', function(k, a) return redis.call('incr', k[1]) end)"
        1 FCALL f 1 n
        1 FCALL f 1 n
        1 EXEC
        1 GET n
    """,
    "FLUSHALL keeps them": r"""
        1 FUNCTION LOAD "#!lua name=l\nredis.register_function('f', function() return 1 end)"
        1 FLUSHALL
        1 FLUSHDB
        1 FCALL f 0
    """,
}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", DIALOGUES)
def test_dialogues_as_redis(
    name: str, protocol: int, perdure_server: PerdureServer, real_redis_port: int, servers: tuple[RealRedis, RealRedis]
) -> None:
    ours = play(perdure_server.port, DIALOGUES[name], protocol)
    assert ours == play(real_redis_port, DIALOGUES[name], protocol)


def library(name: str, value: str) -> str:
    return f"#!lua name={name}\nredis.register_function('{name}', function() return '{value}' end)"


def test_payloads_go_both_ways(servers: tuple[RealRedis, RealRedis]) -> None:
    for source, target in (servers, servers[::-1]):
        for server in servers:
            server.ask("FUNCTION", "FLUSH")
        source.ask("FUNCTION", "LOAD", library("one", "1" * 500))
        source.ask("FUNCTION", "LOAD", library("two", "2"))
        payload = source.ask("FUNCTION", "DUMP")
        target.ask("FUNCTION", "LOAD", library("one", "old"))
        assert "already exists" in str(target.ask("FUNCTION", "RESTORE", payload))
        assert target.ask("FCALL", "one", 0) == b"old"
        assert target.ask("FUNCTION", "RESTORE", payload, "REPLACE") == b"OK"
        assert target.ask("FCALL", "one", 0) == b"1" * 500
        assert target.ask("FUNCTION", "RESTORE", payload, "FLUSH") == b"OK"
        assert target.ask("FCALL", "two", 0) == b"2"
        assert "checksum are wrong" in str(target.ask("FUNCTION", "RESTORE", payload[:-1] + b"x"))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_libraries_are_there_after_a_restart(start_perdure: StartPerdure, how: signal.Signals) -> None:
    server = start_perdure("--appendfsync", "always")
    client = server.connect()
    long = "n" * 600
    for name in ("kept", "gone", long):
        assert client.ask("FUNCTION", "LOAD", library(name, name[:5])) == name.encode()
    client.ask("FUNCTION", "LOAD", "REPLACE", library("kept", "newer"))
    client.ask("FUNCTION", "DELETE", "gone")
    server.stop(how)
    server = start_perdure("--appendfsync", "always")
    client = server.connect()
    assert client.ask("FCALL", "kept", 0) == b"newer"
    assert client.ask("FCALL", long, 0) == b"nnnnn"
    assert "Function not found" in str(client.ask("FCALL", "gone", 0))
    assert client.ask("FUNCTION", "FLUSH") == b"OK"
    server.stop(how)
    assert start_perdure().connect().ask("FUNCTION", "LIST") == []


def test_stats_name_the_function_that_keeps_all_waiting(start_perdure: StartPerdure) -> None:
    server = start_perdure("--busy-reply-threshold", "50")
    caller, other = server.connect(), server.connect()
    other.ask("FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function() while true do end end)")
    caller.send("FCALL", "f", 1, "k", "a")
    while other.ask("PING") == b"PONG":
        time.sleep(0.01)
    told = other.ask("FUNCTION", "STATS")[1]
    assert told[:4] == [b"name", b"f", b"command", [b"fcall", b"f", b"1", b"k", b"a"]]
    assert "BUSY" in str(other.ask("SCRIPT", "KILL"))
    assert other.ask("FUNCTION", "KILL") == b"OK"
    assert "killed by user" in str(caller.read())


TABLE = "#!lua name=t\nredis.register_function('t', function() return redis.call('MGET', 'a', 'b') end)"


def test_replies_are_tables_where_the_library_was_loaded_first(start_perdure: StartPerdure) -> None:
    """With REPLACE before anything else, and by FUNCTION RESTORE … FLUSH: the function and its replies are of one Lua."""
    server = start_perdure()
    client = server.connect()
    client.ask("FUNCTION", "LOAD", "REPLACE", TABLE)
    assert client.ask("FCALL", "t", 0) == [None, None]
    payload = client.ask("FUNCTION", "DUMP")
    assert client.ask("FUNCTION", "RESTORE", payload, "FLUSH") == b"OK"
    assert client.ask("FCALL", "t", 0) == [None, None]
    server.stop(signal.SIGKILL)
    client = start_perdure().connect()
    client.ask("FUNCTION", "LOAD", "REPLACE", TABLE.replace("name=t", "name=u").replace("'t'", "'u'"))
    assert client.ask("FCALL", "u", 0) == [None, None]
    assert client.ask("FCALL", "t", 0) == [None, None]
