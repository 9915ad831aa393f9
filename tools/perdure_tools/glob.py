r"""Redis' glob patterns for `--match`: `?` one byte, `*` any run, `[a-c]` and `[^a-c]` one of a class, `\x` x itself.

The last star alone is ever taken back, which is enough: time is at most len(pattern) * len(text).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Item: TypeAlias = frozenset[int] | None
"""The bytes that fit in this place; None is a star."""


def compile_glob(pattern: bytes) -> Callable[[bytes], bool]:
    """The test of one pattern."""
    items = _items(pattern)

    def matches(text: bytes) -> bool:
        at = place = 0
        star, resume = -1, 0
        while at < len(text):
            item = items[place] if place < len(items) else frozenset[int]()
            if item is None:
                star, resume = place, at
                place += 1
            elif text[at] in item:
                at += 1
                place += 1
            elif star >= 0:
                resume += 1
                at, place = resume, star + 1
            else:
                return False
        return all(item is None for item in items[place:])

    return matches


def literal_prefix(pattern: bytes) -> bytes:
    """The bytes every match begins with."""
    size = next((at for at, byte in enumerate(pattern) if byte in b"*?[\\"), len(pattern))
    return pattern[:size]


def _items(pattern: bytes) -> list[Item]:
    items: list[Item] = []
    at, end = 0, len(pattern)
    while at < end:
        byte = pattern[at]
        at += 1
        if byte == ord("*"):
            items.append(None)
        elif byte == ord("?"):
            items.append(frozenset(range(256)))
        elif byte == ord("["):
            item, at = _class(pattern, at)
            items.append(item)
        else:
            if byte == ord("\\") and at < end:
                byte = pattern[at]
                at += 1
            items.append(frozenset((byte,)))
    return items


def _class(pattern: bytes, at: int) -> tuple[frozenset[int], int]:
    """The class whose `[` ends before `at`, and the position behind it."""
    end = len(pattern)
    negated = pattern[at : at + 1] == b"^"
    at += negated
    members: set[int] = set()
    while at < end and pattern[at] != ord("]"):
        if pattern[at] == ord("\\") and at + 1 < end:
            at += 1
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < end:
            low, high = sorted((pattern[at], pattern[at + 2]))
            members.update(range(low, high + 1))
            at += 3
            continue
        members.add(pattern[at])
        at += 1
    return (frozenset(range(256)) - members if negated else frozenset(members)), at + 1
