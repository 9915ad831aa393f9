"""Glob patterns, as Redis has them, and never in more than linear time."""

from __future__ import annotations

import time
from random import Random
from typing import TYPE_CHECKING

import pytest

from perdure.errors import ReplyError
from perdure.globs import compile_glob, literal_prefix

if TYPE_CHECKING:
    from tests.conftest import RealRedis

MATCHES = [
    (b"", b""), (b"*", b""), (b"*", b"any\n\0"), (b"**", b"x"), (b"h?llo", b"hello"), (b"h*llo", b"hllo"),
    (b"h*llo", b"heeello"), (b"h[ae]llo", b"hallo"), (b"h[^e]llo", b"hallo"), (b"h[a-c]llo", b"hbllo"),
    (b"h[c-a]llo", b"hbllo"), (b"h\\?llo", b"h?llo"), (b"a\\", b"a\\"), (b"[\\]]", b"]"), (b"[a-]", b"^"),
    (b"*ab", b"abab"), (b"a*b*c", b"axbxbxc"), (b"[^]", b"x"), (b"a.b", b"a.b"), (b"[a", b"a"),
    (b"?", b"\xff"), (b"[\x80-\xff]", b"\xe9"), (b"*\n*", b"a\nb"), (b"a**b", b"ab"), (b"ab*", b"ab"),
]  # fmt: skip

MISSES = [
    (b"", b"x"), (b"?", b""), (b"h?llo", b"hllo"), (b"h[^e]llo", b"hello"), (b"h[ae]llo", b"hillo"), (b"[]", b"]"),
    (b"h\\?llo", b"hello"), (b"[", b""), (b"[", b"["), (b"[a-]", b"-"), (b"a.b", b"axb"), (b"*ab", b"abc"),
    (b"a*b*c", b"axc"), (b"abc", b"abc\n"), (b"a", b"A"),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "text"), MATCHES)
def test_matches(pattern: bytes, text: bytes) -> None:
    assert compile_glob(pattern)(text)


@pytest.mark.parametrize(("pattern", "text"), MISSES)
def test_misses(pattern: bytes, text: bytes) -> None:
    assert not compile_glob(pattern)(text)


def test_case_may_be_ignored() -> None:
    assert compile_glob(b"MAX[a-z]*", ignore_case=True)(b"maxMemory")


def test_a_hostile_pattern_takes_no_time() -> None:
    started = time.perf_counter()
    assert not compile_glob(b"a*" * 200 + b"b")(b"a" * 20_000)
    assert time.perf_counter() - started < 1


def test_a_long_pattern_is_a_literal_or_refused() -> None:
    assert compile_glob(b"x" * 5_000_000 + b"*")(b"x" * 5_000_001)
    with pytest.raises(ReplyError, match="too long"):
        compile_glob(b"[ab]" * 2000)


PIECES = [
    b"a", b"b", b"c", b"*", b"*", b"?", b"[", b"]", b"^", b"-", b"\\", b"[ab]", b"[^a]", b"[a-c]", b"\n",
]  # fmt: skip
BYTES = b"abc][-\\^\n*?"


def test_redis_matches_the_same_keys(real_redis: RealRedis) -> None:
    random = Random(9)
    texts = {bytes(random.choices(BYTES, k=random.randrange(1, 6))) for _ in range(400)}
    real_redis.ask("MSET", *(word for text in texts for word in (text, b"")))
    for _ in range(1000):
        pattern = b"".join(random.choices(PIECES, k=random.randrange(1, 8)))
        matches = compile_glob(pattern)
        assert set(real_redis.ask("KEYS", pattern)) == {text for text in texts if matches(text)}, pattern


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [(b"user:*", b"user:"), (b"*", b""), (b"plain", b"plain"), (b"a?b", b"a"), (b"a[bc]", b"a"), (b"a\\*", b"a")],
)
def test_the_prefix_a_scan_may_seek_to(pattern: bytes, prefix: bytes) -> None:
    assert literal_prefix(pattern) == prefix
