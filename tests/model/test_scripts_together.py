"""Random scripts, ours and redis-server's side by side: what redis.call is given, what comes back, what an error says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import RealRedis
from tests.model.differential import examples

VALUES = [
    "KEYS[1]", "KEYS[2]", "'string'", "'list'", "'hash'", "'none'", "ARGV[1]", "ARGV[2]", "ARGV[9]", "#KEYS", "a",
    "nil", "true", "false", "0", "1", "-1", "3", "2.5", "-0.5", "1e15", "1e17", "2^53", "1e300", "0/0", "1/0",
    "''", "'x'", "'10'", "'a\\0b'", "('y'):rep(15)", "{}", "{1, 'two', 3}", "{err='MINE it is'}", "{ok='FINE'}",
    "cjson.null", "print",
]  # fmt: skip
COMMANDS = [
    "get", "SET", "append", "incr", "incrbyfloat", "getrange", "strlen", "mget", "lpush", "lrange", "llen",
    "hset", "hget", "hgetall", "hmget", "hincrby", "sismember", "zadd", "zscore", "zrange", "xlen",
    "type", "exists", "del", "expire", "echo", "ping", "publish", "select",
    "nothing", "eval", "multi", "client", "object", "",
]  # fmt: skip
SURROUNDINGS = [
    "%s",
    "(%s)",
    "#(%s or '')",
    "type(%s)",
    "select('#', %s)",
    "select(2, pcall(function() return %s end))",
    "pcall(function() return %s end)",
    "coroutine.wrap(function() return %s end)()",
    "select(2, coroutine.resume(coroutine.create(function() return %s end)))",
    "(function(...) return select('#', ...) end)(%s)",
    "({%s})[1]",
    "((%s) or {}).err",
    "((%s) or {}).ok",
    "tostring((%s) == false)",
    "cjson.encode({%s})",
    "unpack({1, %s, 3})",
]


def call(how: str, command: str, arguments: list[str]) -> str:
    return f"redis.{how}({', '.join([repr(command), *arguments])})"


def script(resp: int, before: list[str], values: list[str]) -> str:
    returned = values[0] if len(values) == 1 else "{" + ", ".join(values) + "}"
    return "\n".join([f"redis.setresp({resp})", "local a", *before, f"return {returned}"])


def lists_of(few: int, many: int) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(VALUES), min_size=few, max_size=many)


calls = st.builds(call, st.sampled_from(["call", "pcall"]), st.sampled_from(COMMANDS), lists_of(0, 4) | lists_of(6, 12))
odd = st.sampled_from(["redis.call()", "redis.pcall()", "redis.call(unpack(KEYS))", "redis.pcall(unpack(ARGV))"])
expressions = st.builds(str.__mod__, st.sampled_from(SURROUNDINGS), calls | odd)
statements = st.builds(str.__mod__, st.sampled_from(["local a = %s", "a = %s"]), expressions)
scripts = st.builds(
    script,
    st.sampled_from([2, 2, 3]),
    st.lists(statements, max_size=3),
    st.lists(expressions, min_size=1, max_size=3),
)


def content(server: RealRedis, key: bytes) -> object:
    read = {
        b"string": ("GET", key),
        b"list": ("LRANGE", key, 0, -1),
        b"hash": ("HGETALL", key),
        b"zset": ("ZRANGE", key, 0, -1, "WITHSCORES"),
    }
    return server.ask(*read[server.ask("TYPE", key)])


@examples(200)
@given(scripts, st.sampled_from([2, 3]))
def test_scripts_do_what_they_do_in_redis(
    perdure: RealRedis, real_redis: RealRedis, script: str, protocol: int
) -> None:
    told = []
    for server in (perdure, real_redis):
        server.ask("HELLO", protocol)
        server.ask("FLUSHALL")
        server.ask("CONFIG", "RESETSTAT")
        server.ask("SET", "string", "10")
        server.ask("RPUSH", "list", "a", "b", "c")
        server.ask("HSET", "hash", "f", "v", "n", "5")
        reply = server.ask("EVAL", script, 2, "string", "key", "argument", "7")
        errors = sorted(server.ask("INFO", "errorstats").split()[2:])
        told.append((reply, errors, [(name, content(server, name)) for name in sorted(server.ask("KEYS", "*"))]))
    assert told[0] == told[1]
