r"""Redis' glob patterns, for keys, channels and names.

`?` one byte, `*` any run of bytes, `[a-z]` one of a class, `[^a-z]` one not of it, `\x` x itself. A class that is not
closed ends with the pattern; `[]` matches nothing and `[^]` any byte. All as in Redis, with one exception: there a
pattern of several stars does not match the empty text.

A pattern comes from a client, so matching must not blow up on `a*a*a*a*b`: what stands between two stars is taken at
its first place and never moved again, which is enough, because a later place can only leave less of the text for the
rest. Time is at most len(pattern) * len(text).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from operator import eq, methodcaller
from typing import Final, TypeAlias

from perdure.errors import ReplyError

Matcher: TypeAlias = Callable[[bytes], object]
"""Truthy for a text that matches as a whole."""

MAX_COMPILED: Final = 4096
"""Bytes of a pattern that is more than a literal and a star: compiling a class takes up to 90 us."""

_SPECIAL: Final = re.compile(rb"[*?\[\\]").search


def compile_glob(pattern: bytes, *, ignore_case: bool = False) -> Matcher:
    """The test of one pattern: `if compile_glob(b"user:*")(key): ...`

    Raises ReplyError for a pattern of over MAX_COMPILED bytes; literals and prefixes may have any length.
    """
    if pattern == b"*":
        return _anything
    if not ignore_case:
        literal = literal_prefix(pattern)
        if literal == pattern:
            return partial(eq, pattern)
        if len(literal) == len(pattern) - 1 and pattern.endswith(b"*"):
            return methodcaller("startswith", literal)
    if len(pattern) > MAX_COMPILED:
        raise ReplyError("ERR the pattern is too long")
    return _compile(pattern, ignore_case)


def literal_prefix(pattern: bytes) -> bytes:
    """The bytes every match starts with: what a scan in key order may seek to."""
    special = _SPECIAL(pattern)
    return pattern[: special.start()] if special else pattern


def _anything(text: bytes) -> bool:
    return True


@lru_cache(maxsize=128)
def _compile(pattern: bytes, ignore_case: bool) -> Matcher:
    head, *runs = _runs(pattern)
    if runs:
        *middle, tail = runs
        head += "".join(f"(?>.*?{run})" for run in middle if run) + ".*" + tail
    flags = re.DOTALL | re.IGNORECASE if ignore_case else re.DOTALL
    return re.compile(f"{head}\\Z".encode("latin-1"), flags).match


def _runs(pattern: bytes) -> list[str]:
    """The pattern split at its stars, each run as a regular expression of one item a byte."""
    runs = [""]
    for item in _items(pattern):
        if item == "*":
            runs.append("")
        else:
            runs[-1] += item
    return runs


def _items(pattern: bytes) -> Iterator[str]:
    at, end = 0, len(pattern)
    while at < end:
        byte = pattern[at : at + 1]
        at += 1
        if byte == b"*":
            yield "*"
        elif byte == b"?":
            yield "."
        elif byte == b"[":
            item, at = _class(pattern, at)
            yield item
        else:
            if byte == b"\\" and at < end:
                byte = pattern[at : at + 1]
                at += 1
            yield f"\\x{byte[0]:02x}"


def _class(pattern: bytes, at: int) -> tuple[str, int]:
    """The class whose `[` ends before `at`, and the position after it."""
    end = len(pattern)
    negated = pattern[at : at + 1] == b"^"
    at += negated
    members = ""
    while at < end and pattern[at] != ord("]"):
        if pattern[at] == ord("\\") and at + 1 < end:
            low = high = pattern[at + 1]
            at += 2
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < end:
            low, high = sorted((pattern[at], pattern[at + 2]))
            at += 3
        else:
            low = high = pattern[at]
            at += 1
        members += f"\\x{low:02x}-\\x{high:02x}"
    if not members:
        return ("." if negated else "(?!)"), at + 1
    return f"[{'^' if negated else ''}{members}]", at + 1
