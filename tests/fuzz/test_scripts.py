"""Scripts that nobody would write, against a server: it must not end, hang, leak, or say that it met an error of its own.

PERDURE_FUZZ_SECONDS is how long (5); `make fuzz` takes ten minutes. PERDURE_SEED repeats a run. A script that does
not end within 0.1 s is killed by another client, as an operator would do it.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from random import Random

import pytest
from tests.commands.test_scripting import BOMBS, CONVERSIONS, ENDLESS, ERRORS, LIBRARIES
from tests.conftest import RealRedis, StartPerdure

SECONDS = float(os.environ.get("PERDURE_FUZZ_SECONDS", "5"))
PATIENCE_S = 30
GROWTH_MAX = 300 << 20
"""Bytes that the server may have grown by at the end: one script may take 256 MB, and interpreters give it back."""

SEEDS = [*CONVERSIONS, *ERRORS, *LIBRARIES, *ENDLESS.values(), *BOMBS.values()]


def words_of(text: str) -> list[str]:
    return text.split()


NAMES = words_of("""
    KEYS ARGV KEYS[1] ARGV[1] _G redis redis.call redis.pcall redis.error_reply redis.status_reply redis.sha1hex
    redis.log redis.setresp redis.acl_check_cmd string string.rep string.find string.gsub string.format string.byte
    table table.concat table.insert table.sort table.remove unpack select next pairs ipairs pcall xpcall error assert
    setmetatable getmetatable rawset rawget rawequal loadstring load tostring tonumber type coroutine.create
    coroutine.wrap coroutine.resume coroutine.yield math.random math.floor cjson.encode cjson.decode cjson.null cjson.new
    cmsgpack.pack cmsgpack.unpack struct.pack struct.unpack bit.band bit.lshift collectgarbage a b c f g
""")
LITERALS = words_of("""
    nil true false 0 1 -1 2 0.5 1e300 -1e300 2^53 1/0 0/0 '' 'x' 'key' '%s' '%d' '(a*)*b' '.-.-' '[' '%' '\\0' 'set' 'get'
    'lpush' 'hset' 'zadd' 'xadd' 'incr' 'del' 'eval' '{}' '[1' '>i8' 'c0' {} {1,2,3} {a=1} {err='E'} {ok='O'} {map={}}
    function()end function(...)return(...)end ('x'):rep(1e5) string.rep('a',1e4)
""")
COMMANDS = words_of(
    "set get del incr append lpush rpush lrange hset hget hgetall sadd smembers zadd zrange xadd xrange"
)


def expression(random: Random, depth: int) -> str:
    """A random expression."""
    if depth <= 0:
        return random.choice(random.choice([NAMES, LITERALS]))
    more = [expression(random, depth - 1) for _ in range(random.randrange(4))]
    joined = ", ".join(more)
    one = more[0] if more else "1"
    two = more[-1] if more else "'x'"
    return random.choice(
        [
            random.choice(NAMES),
            random.choice(LITERALS),
            f"{random.choice(NAMES)}({joined})",
            f"redis.{random.choice(['call', 'pcall'])}('{random.choice(COMMANDS)}', {joined or one})",
            f"({one} {random.choice(['+', '-', '*', '/', '%', '^', '..', '==', '<', 'and', 'or'])} {two})",
            f"{{{joined}}}",
            f"{{[{one}] = {two}}}",
            f"({one})[{two}]",
            f"(function(...) {statement(random, depth - 1)} return {one} end)({two})",
            f"{random.choice(['not', '-', '#'])} {one}",
            f"select(2, pcall({random.choice(NAMES)}, {joined or one}))",
        ]
    )


def statement(random: Random, depth: int) -> str:
    """A random statement, or several."""
    value = expression(random, max(depth, 0))
    inner = statement(random, depth - 1) if depth > 0 else ""
    return random.choice(
        [
            f"local {random.choice('abcfg')} = {value}",
            f"local {random.choice('fg')} = function(a, ...) {inner} return a end",
            f"if {value} then {inner} end",
            f"for a = 1, {random.choice(['3', '100', '1e9'])} do {inner} end",
            f"while {random.choice(['false', 'true', value])} do {inner} break end",
            f"for a, b in pairs({value}) do {inner} end",
            f"pcall(function() {inner} end)",
            f"{random.choice(NAMES)} = {value}",
            f"redis.call('{random.choice(COMMANDS)}', KEYS[1], {value})",
            f"do {inner} {inner} end",
        ]
    )


def script(random: Random) -> bytes:
    """A script: made, or one that is known, damaged."""
    kind = random.randrange(10)
    if kind < 6:
        text = " ".join(statement(random, random.randrange(4)) for _ in range(random.randrange(4)))
        text += f" return {expression(random, random.randrange(5))}"
        return text.encode()
    raw = bytearray(random.choice(SEEDS).encode())
    if kind < 8:
        raw += b" " + random.choice(SEEDS).encode()
    for _ in range(random.randrange(4)):
        at = random.randrange(len(raw) + 1)
        what = random.randrange(3)
        if what == 0:
            raw[at : at + random.randrange(4)] = b""
        elif what == 1:
            raw[at:at] = random.choice(
                [random.randbytes(2), random.choice(NAMES).encode(), random.choice(LITERALS).encode()]
            )
        else:
            other = random.choice(SEEDS).encode()
            cut = random.randrange(len(other))
            raw[at:at] = other[cut : cut + random.randrange(12)]
    return bytes(raw)


def argument(random: Random) -> bytes:
    return random.choice(
        [b"", b"k", b"1", b"-1", b"1e400", b"nan", random.randbytes(random.randrange(20)), b"x" * 10_000]
    )


class Killer(threading.Thread):
    """Ends what does not end by itself: by SCRIPT KILL, or with the server, if it has written."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.client = RealRedis(port)
        self.client.socket.settimeout(PATIENCE_S)
        self.ended_server = False
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.02):
            said = ""
            if "BUSY" in str(self.client.ask("PING")):
                said = str(self.client.ask("SCRIPT", "KILL")) + str(self.client.ask("FUNCTION", "KILL"))
            if "UNKILLABLE" in said:
                self.ended_server = True
                self.client.send("SHUTDOWN", "NOSAVE")
                return


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Fuzz:
    """One run: a server, started again whenever a script had to be ended with it."""

    def __init__(self, seed: int, start: StartPerdure) -> None:
        self.random = Random(seed)
        self.start_perdure = start
        self.text, self.count = b"", 0

    def start(self) -> None:
        self.server = self.start_perdure("--busy-reply-threshold", "100", "--appendfsync", "no")
        self.client = self.server.connect()
        self.client.socket.settimeout(PATIENCE_S)
        self.client.ask("EVAL", "return 1", 0)
        self.before = resident(self.server.process.pid)
        self.killer = Killer(self.server.port)
        self.killer.start()

    def stop(self) -> None:
        self.killer.over.set()
        self.killer.join()

    def step(self) -> None:
        random, client = self.random, self.client
        self.text, keys = script(random), [argument(random) for _ in range(random.randrange(3))]
        words = [argument(random) for _ in range(random.randrange(4))]
        if random.random() < 0.1:
            self.text = b"#!lua name=l\nredis.register_function('f', function(KEYS, ARGV) " + self.text + b"\nend)"
            client.ask("FUNCTION", "LOAD", "REPLACE", self.text)
            reply = client.ask(random.choice(["FCALL", "FCALL_RO"]), "f", len(keys), *keys, *words)
        else:
            reply = client.ask(random.choice(["EVAL", "EVAL", "EVAL_RO"]), self.text, len(keys), *keys, *words)
        assert "internal error" not in str(reply)[:200]
        self.count += 1
        if self.count % 500 == 0:
            self.judge()

    def judge(self) -> None:
        """What has to be true when no script runs."""
        for words in (("FLUSHALL",), ("SCRIPT", "FLUSH"), ("FUNCTION", "FLUSH")):
            assert self.client.ask(*words) == b"OK"
        assert resident(self.server.process.pid) < self.before + GROWTH_MAX
        assert self.client.ask("EVAL", "return cjson.encode({KEYS[1]})", 1, "k") == b'["k"]'
        assert "Traceback" not in self.server.log


@pytest.mark.timeout(SECONDS + 120)
def test_scripts_that_nobody_would_write(start_perdure: StartPerdure) -> None:
    seed = int(os.environ.get("PERDURE_SEED", "0")) or Random().randrange(1, 1 << 32)
    fuzz = Fuzz(seed, start_perdure)
    fuzz.start()
    end = time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            try:
                fuzz.step()
            except (EOFError, ConnectionResetError):
                if not fuzz.killer.ended_server:
                    raise
                assert fuzz.server.process.wait(PATIENCE_S) == 0
                fuzz.start()
        fuzz.judge()
    except (OSError, EOFError, AssertionError) as problem:
        pytest.fail(f"seed {seed}, script {fuzz.count}: {problem!r}: {fuzz.text!r}\n{fuzz.server.log[-2000:]}")
    finally:
        fuzz.stop()
    assert fuzz.count > 10 * SECONDS / 5
