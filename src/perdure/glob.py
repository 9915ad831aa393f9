r"""Redis' glob patterns, for keys, channels and directive names.

`?` one byte, `*` any run of bytes, `[a-z]` one of a class, `[^a-z]` one not of it, `\x` x itself. A class that is not
closed ends with the pattern; `[]` matches nothing and `[^]` any byte, as in Redis.

A pattern comes from a client, so matching must not blow up on `a*a*a*a*b`: each run between two stars is taken at its
first place and never moved again (an atomic group), which is enough because a later place can only leave less of the
text for the runs that follow. Time is at most len(pattern) * len(text).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

__all__ = ["glob_matcher", "literal_prefix"]

Matcher = Callable[[bytes], object]
"""Truthy for a text that matches as a whole."""


def glob_matcher(pattern: bytes, *, ignore_case: bool = False) -> Matcher:
    """The test of one pattern. `if glob_matcher(b"user:*")(key): ...`"""
    head, *runs = _runs(pattern)
    if runs:
        *middle, tail = runs
        head += "".join(f"(?>.*?{run})" for run in middle if run) + ".*" + tail
    flags = re.DOTALL | re.IGNORECASE if ignore_case else re.DOTALL
    return re.compile(f"{head}\\Z".encode("latin-1"), flags).match


def literal_prefix(pattern: bytes) -> bytes:
    """The bytes every match starts with: what a scan in key order may seek to."""
    special = re.search(rb"[*?\[\\]", pattern)
    return pattern[: special.start()] if special else pattern


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
