"""The keys of a call, and what is done with each: what access control and COMMAND GETKEYSANDFLAGS want to know.

A command's key specs say it, but for the few commands where it hangs on the arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final, NamedTuple

from perdure.registry import Args, Command


class KeyUse(NamedTuple):
    """One key of a call: its index in argv, and the words of COMMAND INFO for what the command does with it."""

    at: int
    key: bytes
    flags: tuple[str, ...]


READ: Final = ("RO", "access")
UPDATE: Final = ("RW", "access", "update")
OVERWRITE: Final = ("OW", "update")
DELETE: Final = ("RW", "access", "delete")


def key_uses(command: Command, argv: Args) -> list[KeyUse]:
    """The keys of the call `argv`; none when its arguments cannot be right: then the command refuses them."""
    finder = FINDERS.get(command.name)
    try:
        if finder is not None:
            return list(finder(argv))
        return [
            KeyUse(at, argv[at], spec.flags)
            for spec in command.key_specs
            if "not_key" not in spec.flags
            for at in spec.positions(argv)
        ]
    except (IndexError, ValueError):
        return []


# -- where the arguments decide ------------------------------------------------------------------------------------


def _set(argv: Args) -> Iterator[KeyUse]:
    """SET writes; with GET it reads, too."""
    reads = any(word.upper() == b"GET" for word in argv[3:])
    yield KeyUse(1, argv[1], UPDATE if reads else OVERWRITE)


def _bitfield(argv: Args) -> Iterator[KeyUse]:
    """BITFIELD reads; with anything but GET it writes, too."""
    at = 2
    while at < len(argv):
        words = {b"GET": 3, b"OVERFLOW": 2}.get(argv[at].upper(), 0)
        if not words or at + words > len(argv):
            break
        at += words
    yield KeyUse(1, argv[1], READ if at == len(argv) else UPDATE)


def _msetex(argv: Args) -> Iterator[KeyUse]:
    """MSETEX numkeys key value [key value ...] ..."""
    if argv[1].isdigit() and len(argv[1]) < 10:
        for at in range(2, min(2 + 2 * int(argv[1]), len(argv)), 2):
            yield KeyUse(at, argv[at], OVERWRITE)


def _migrate(argv: Args) -> Iterator[KeyUse]:
    """MIGRATE names its key, or with "" there, its keys after KEYS."""
    if argv[3]:
        yield KeyUse(3, argv[3], DELETE)
        return
    for at in _behind(argv, 6, {b"COPY": 0, b"REPLACE": 0, b"AUTH": 1, b"AUTH2": 2}, frozenset((b"KEYS",))):
        yield from (KeyUse(each, argv[each], DELETE) for each in range(at, len(argv)))
        return


def _with_destination(argv: Args, *, start: int, options: Mapping[bytes, int]) -> Iterator[KeyUse]:
    """Reads its first key, and writes what stands behind STORE or STOREDIST: every time, though the last one counts."""
    yield KeyUse(1, argv[1], READ)
    for at in _behind(argv, start, options, frozenset((b"STORE", b"STOREDIST"))):
        yield KeyUse(at, argv[at], OVERWRITE)


def _behind(argv: Args, start: int, options: Mapping[bytes, int], wanted: frozenset[bytes]) -> Iterator[int]:
    """The indexes behind each of the words `wanted`, from `start` on; `options`: how many arguments others have."""
    at = start
    while at < len(argv):
        word = argv[at].upper()
        at += 1
        if word not in wanted:
            at += options.get(word, 0)
        elif at < len(argv):
            yield at
            at += 1


def _sort(argv: Args) -> Iterator[KeyUse]:
    """SORT reads its first key, and writes what stands behind the last STORE."""
    uses = [*_with_destination(argv, start=2, options={b"BY": 1, b"GET": 1, b"LIMIT": 2})]
    yield uses[0]
    yield from uses[1:][-1:]


_GEO: Final = partial(_with_destination, options={b"COUNT": 1})

FINDERS: Final[Mapping[bytes, Callable[[Args], Iterator[KeyUse]]]] = {
    b"bitfield": _bitfield,
    b"georadius": partial(_GEO, start=6),
    b"georadiusbymember": partial(_GEO, start=5),
    b"migrate": _migrate,
    b"msetex": _msetex,
    b"set": _set,
    b"sort": _sort,
}
