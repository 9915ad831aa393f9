"""HyperLogLog: the string is Redis' to the byte; registers, hash and estimate by themselves.

Short histories are compared by `tests/model/families/hyperloglog.py`, restarts and all.
"""

from __future__ import annotations

from random import Random

import pytest
from tests.conftest import RealRedis
from tests.model.differential import LocalServer

from perdure import hyperloglog as hll


def test_a_long_history_leaves_the_bytes_that_redis_leaves(real_redis: RealRedis) -> None:
    server = LocalServer()
    random = Random(1)
    for step in range(400):
        key = random.choice((b"a", b"b", b"c"))
        words: tuple[bytes, ...]
        if random.random() < 0.8:
            size = random.choice((1, 1, 3, 20, 60, 500)) if key != b"c" else 1
            words = (b"PFADD", key, *(b"%d" % random.randrange(100_000) for _ in range(size)))
        elif random.random() < 0.5:
            words = (b"PFCOUNT", key)
        else:
            words = (b"PFMERGE", b"d", key)
        found = server.ask(*words)[1]
        assert real_redis.ask(*words) == found, (step, words)
        for each in (key, b"d"):
            assert server.ask(b"GET", each)[1] == real_redis.ask("GET", each), (step, words)
    assert server.ask(b"PFDEBUG", b"ENCODING", b"a")[1] == b"dense"
    assert server.ask(b"PFDEBUG", b"ENCODING", b"c")[1] == b"sparse"


@pytest.mark.parametrize("size", [0, 1, 100, 2_000, 50_000])
def test_the_estimate_is_redis_own(real_redis: RealRedis, size: int) -> None:
    server = LocalServer()
    elements = [b"element:%d" % number for number in range(size)]
    for start in range(0, size, 1000):
        server.ask(b"PFADD", b"k", *elements[start : start + 1000])
        real_redis.ask("PFADD", "k", *elements[start : start + 1000])
    assert server.ask(b"PFCOUNT", b"k")[1] == real_redis.ask("PFCOUNT", "k")
    assert abs(server.ask(b"PFCOUNT", b"k")[1] - size) <= size * 0.02


def test_a_value_moves_both_ways(real_redis: RealRedis) -> None:
    server = LocalServer()
    real_redis.ask("PFADD", "there", *range(5000))
    server.ask(b"SET", b"from there", real_redis.ask("GET", "there"))
    server.ask(b"PFADD", b"here", *(b"%d" % number for number in range(2500, 7500)))
    real_redis.ask("SET", "from here", server.ask(b"GET", b"here")[1])
    assert server.ask(b"PFCOUNT", b"here", b"from there")[1] == real_redis.ask("PFCOUNT", "there", "from here")


def test_the_hash_of_every_length_is_the_one_that_redis_uses(real_redis: RealRedis) -> None:
    for size in range(20):
        element = bytes(range(200, 200 + size))
        real_redis.ask("DEL", "k")
        real_redis.ask("PFADD", "k", element)
        index, count = hll.place(element)
        registers = real_redis.ask("PFDEBUG", "GETREG", "k")
        assert registers[index] == count and sum(registers) == count


def test_dense_registers_come_back() -> None:
    registers = bytearray(Random(2).choices(range(64), k=hll.REGISTERS))
    value = hll.pack(hll.empty(), registers)
    assert hll.registers_of(value) == registers
    assert [hll.dense_get(value, index) for index in range(hll.REGISTERS)] == list(registers)
    for index in (0, 1, 2, 3, 8191, hll.REGISTERS - 1):
        at, part = hll.dense_put(value, index, registers[index] ^ 63)
        value[at : at + len(part)] = part
        registers[index] ^= 63
    assert hll.registers_of(value) == registers


def test_a_union_has_the_greater_one_of_each_two_registers() -> None:
    random = Random(3)
    first, second = (bytes(random.choice((0, 1, 62, 63, random.randrange(64))) for _ in range(16384)) for _ in "ab")
    assert hll.union(first, second) == bytearray(map(max, first, second))


def test_the_self_test_passes() -> None:
    assert LocalServer().ask(b"PFSELFTEST") == ("+", b"OK")


def test_adding_to_a_dense_one_logs_little() -> None:
    server = LocalServer()
    server.ask(b"PFADD", b"k", *(b"%d" % number for number in range(5000)))
    server.ask(b"PFCOUNT", b"k")
    before = server.engine.log.appended_bytes
    for number in range(5000, 5100):
        server.ask(b"PFADD", b"k", b"%d" % number)
    assert server.engine.log.appended_bytes - before < 100 * 200


@pytest.mark.parametrize("body", [b"", b"\x7f\xfe", b"\x7f\xff\x00", b"\x3f" * 255 + b"\x3e\xff"])
def test_runs_that_are_not_16384_registers_are_refused_and_left_alone(real_redis: RealRedis, body: bytes) -> None:
    server = LocalServer()
    value = b"HYLL\1" + bytes(10) + b"\x80" + body
    for words in ((b"PFCOUNT", b"k"), (b"PFMERGE", b"other", b"k"), (b"PFDEBUG", b"TODENSE", b"k")):
        server.ask(b"SET", b"k", value)
        real_redis.ask("SET", "k", value)
        kind, text = server.ask(*words)
        assert kind == "-" and text.decode() == str(real_redis.ask(*words)), words
        assert server.ask(b"GET", b"k")[1] == value


def test_an_unknown_subcommand_of_pfdebug_is_repeated_whole(perdure: RealRedis, real_redis: RealRedis) -> None:
    for server in (perdure, real_redis):
        server.ask("PFADD", "k", "x")
    assert perdure.ask("PFDEBUG", "long" * 200, "k") == real_redis.ask("PFDEBUG", "long" * 200, "k")
