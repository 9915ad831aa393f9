# cython: annotation_typing=True
"""Lists: LPUSH, LRANGE and their kin, and commands that wait for an element.

A client that finds nothing parks, and its command runs again when one of the keys has come to be a list; those who wait
for the same key are served in order of arrival. What one command or transaction has left at its end counts: elements
that were pushed and gone again within it have never been there.
"""

from __future__ import annotations

from typing import Any, Final

from perdure import errors
from perdure.args import INT_MAX, Words, integer, integer_between, timeout_ms
from perdure.errors import ReplyError
from perdure.registry import BLOCKING, DENYOOM, FAST, NOSCRIPT, READ, RECORD_ONLY, WRITE, Args, Family
from perdure.resp import NULL_ARRAY, Reply
from perdure.session import Park
from perdure_storage.events import LIST
from perdure_storage.keyspace import Keyspace
from perdure_storage.types.entry import Kind
from perdure_storage.types.list import List

COMMANDS = Family("list")

# -- the ends ------------------------------------------------------------------------------------------------------

SEVERAL: Final = (("2.4.0", "Accepts multiple `element` arguments."),)
SEVERAL_X: Final = (("4.0.0", "Accepts multiple `element` arguments."),)
COUNTED: Final = (("6.2.0", "Added the `count` argument."),)


@COMMANDS.command(
    "LPUSH key element [element ...]",
    WRITE | DENYOOM | FAST,
    since="1.0.0",
    complexity="O(1) for each element",
    key_flags=("RW insert",),
    history=SEVERAL,
)
def lpush(db: Keyspace, args: Args) -> Reply:
    """Put elements before the first one, one after the other; returns the length."""
    entry: List = db.edit(args[0], List)
    entry.push_left(args[1:])
    if db.wants:
        db.notify(LIST, b"lpush", args[0])
    return entry.size


@COMMANDS.command(
    "RPUSH key element [element ...]",
    WRITE | DENYOOM | FAST,
    since="1.0.0",
    complexity="O(1) for each element",
    key_flags=("RW insert",),
    history=SEVERAL,
)
def rpush(db: Keyspace, args: Args) -> Reply:
    """Put elements behind the last one; returns the length."""
    entry: List = db.edit(args[0], List)
    entry.push_right(args[1:])
    if db.wants:
        db.notify(LIST, b"rpush", args[0])
    return entry.size


@COMMANDS.command(
    "LPUSHX key element [element ...]",
    WRITE | DENYOOM | FAST,
    since="2.2.0",
    complexity="O(1) for each element",
    key_flags=("RW insert",),
    history=SEVERAL_X,
)
def lpushx(db: Keyspace, args: Args) -> Reply:
    """Put elements before the first one if there is a list; returns the length."""
    return _push_x(db, args, left=True)


@COMMANDS.command(
    "RPUSHX key element [element ...]",
    WRITE | DENYOOM | FAST,
    since="2.2.0",
    complexity="O(1) for each element",
    key_flags=("RW insert",),
    history=SEVERAL_X,
)
def rpushx(db: Keyspace, args: Args) -> Reply:
    """Put elements behind the last one if there is a list; returns the length."""
    return _push_x(db, args, left=False)


def _push_x(db: Keyspace, args: Args, *, left: bool) -> Reply:
    entry = db.find_collection(args[0], List)
    if entry is None:
        return 0
    entry.push(left, args[1:])
    db.notify(LIST, b"lpush" if left else b"rpush", args[0])
    return entry.size


@COMMANDS.command(
    "LPOP key [count]",
    WRITE | FAST,
    since="1.0.0",
    complexity="O(1) for each element",
    key_flags=("RW access delete",),
    history=COUNTED,
)
def lpop(db: Keyspace, args: Args) -> Reply:
    """Take the first element, or the first `count` of them. The key goes with the last one."""
    return _pop(db, args, "lpop", left=True)


@COMMANDS.command(
    "RPOP key [count]",
    WRITE | FAST,
    since="1.0.0",
    complexity="O(1) for each element",
    key_flags=("RW access delete",),
    history=COUNTED,
)
def rpop(db: Keyspace, args: Args) -> Reply:
    """Take the last element, or the last `count` of them, the last one first. The key goes with the last one."""
    return _pop(db, args, "rpop", left=False)


def _pop(db: Keyspace, args: Args, name: str, *, left: bool) -> Reply:
    if len(args) == 1:
        entry = db.find_collection(args[0], List)
        return None if entry is None else _take_one(entry, left)
    if len(args) > 2:
        raise errors.wrong_arity(name.encode())
    count = integer_between(args[1], 0, INT_MAX, errors.must_be_positive().text)
    entry = db.find_collection(args[0], List)
    return NULL_ARRAY if entry is None else _take(entry, left, count)


def _take_one(entry: List, left: bool) -> bytes:
    value = entry.pop(left)
    db = entry.db
    if db.wants:
        db.notify(LIST, b"lpop" if left else b"rpop", entry.key)
    if not entry.size:
        db.drop(entry)
    return value


def _take(entry: List, left: bool, count: int) -> list[bytes]:
    """Up to `count` elements from one end, in the order in which single pops would give them."""
    db, size = entry.db, entry.size
    if not count:
        return []
    db.notify(LIST, b"lpop" if left else b"rpop", entry.key)
    if count >= size:
        taken = entry.values()
        db.drop(entry)
    elif left:
        taken = entry.between(0, count)
        entry.keep(count, size)
    else:
        taken = entry.between(size - count, size)
        entry.keep(0, size - count)
    return taken if left else taken[::-1]


# -- reading -------------------------------------------------------------------------------------------------------


@COMMANDS.command("LLEN key", READ | FAST | RECORD_ONLY, since="1.0.0", complexity="O(1)", key_flags=("RO",))
def llen(db: Keyspace, args: Args) -> Reply:
    """Return the number of elements."""
    return db.size_of(args[0], List)


@COMMANDS.command("LRANGE key start stop", READ, since="1.0.0", complexity="O(N), N being the elements returned")
def lrange(db: Keyspace, args: Args) -> Reply:
    """Return the elements from one place to another, both included; negative ones count from the end."""
    start, stop = integer(args[1]), integer(args[2])
    entry = db.collection(args[0], List)
    return [] if entry is None else entry.between(*_span(start, stop, entry.size))


def _span(start: int, stop: int, size: int) -> tuple[int, int]:
    """A range of places as Redis has it → (first, behind the last) within a list of this size."""
    first = max(0, start + size if start < 0 else start)
    behind = min(size, (stop + size if stop < 0 else stop) + 1)
    return (first, behind) if first < behind else (0, 0)


@COMMANDS.command("LINDEX key index", READ, since="1.0.0", complexity="O(1)")
def lindex(db: Keyspace, args: Args) -> Reply:
    """Return the element at a place; a negative one counts from the end."""
    entry = db.collection(args[0], List)
    if entry is None:
        return None
    place = _place(integer(args[1]), entry.size)
    return None if place is None else entry.get(place)


def _place(index: int, size: int) -> int | None:
    """An index as Redis has it → a place; None outside of the list."""
    place = index + size if index < 0 else index
    return place if 0 <= place < size else None


RANK_ZERO: Final = (
    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from "
    "the end of the list"
)
ALL: Final = 1 << 62
BACK_STEP: Final = 64


@COMMANDS.command(
    "LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
    READ,
    since="6.0.6",
    complexity="O(N), N being the elements compared",
)
def lpos(db: Keyspace, args: Args) -> Reply:
    """Return the place of the first element that is equal, or with `num-matches` the places of several (0: all).

    `rank` says at which match to begin, a negative one counting from the end; no more than `len` elements are compared.
    """
    rank, count, longest = 1, -1, 0
    for word in (words := Words(args, 2)):
        if word == b"RANK":
            rank = integer_between(words.take(), -INT_MAX, INT_MAX)
            if not rank:
                raise ReplyError(RANK_ZERO)
        elif word == b"COUNT":
            count = integer_between(words.take(), 0, INT_MAX, "ERR COUNT can't be negative")
        elif word == b"MAXLEN":
            longest = integer_between(words.take(), 0, INT_MAX, "ERR MAXLEN can't be negative")
        else:
            raise errors.syntax()
    entry = db.collection(args[0], List)
    skipped = min(abs(rank) - 1, ALL)
    wanted = min(skipped + (abs(count) or ALL), ALL)
    found: list[int] = []
    if entry is not None:
        window = min(longest or ALL, entry.size)
        found = (
            entry.places(args[1], 0, window, wanted)
            if rank > 0
            else _places_from_behind(entry, args[1], entry.size - window, wanted)
        )
    matches: list[Any] = found[skipped:wanted]
    if count < 0:
        return matches[0] if matches else None
    return matches


def _places_from_behind(entry: List, value: bytes, start: int, limit: int) -> list[int]:
    """Up to `limit` places not before `start`, the last one first."""
    found: list[int] = []
    high, step = entry.size, BACK_STEP
    while high > start and len(found) < limit:
        low = max(start, high - step)
        found += reversed(entry.places(value, low, high, ALL))
        high, step = low, 2 * step
    return found


# -- the middle ----------------------------------------------------------------------------------------------------


@COMMANDS.command("LSET key index element", WRITE | DENYOOM, since="1.0.0", complexity="O(1)", key_flags=("RW update",))
def lset(db: Keyspace, args: Args) -> Reply:
    """Replace the element at a place; a negative one counts from the end."""
    entry = db.find_collection(args[0], List)
    if entry is None:
        raise errors.no_such_key()
    place = _place(integer(args[1]), entry.size)
    if place is None:
        raise errors.bad_index()
    entry.set(place, args[2])
    db.notify(LIST, b"lset", args[0])
    return "OK"


@COMMANDS.command(
    "LINSERT key <BEFORE | AFTER> pivot element",
    WRITE | DENYOOM,
    since="2.2.0",
    complexity="O(N); the elements on the shorter side of the pivot are logged again",
    key_flags=("RW insert",),
)
def linsert(db: Keyspace, args: Args) -> Reply:
    """Put an element before or behind the first one equal to `pivot`; returns the length, -1 if there is none."""
    where = args[1].upper()
    if where not in (b"BEFORE", b"AFTER"):
        raise errors.syntax()
    entry = db.find_collection(args[0], List)
    if entry is None:
        return 0
    found = entry.places(args[2], 0, entry.size, 1)
    if not found:
        return -1
    place = found[0] + (where == b"AFTER")
    if place == entry.size:
        entry.push_right((args[3],))
    else:
        entry.insert(place, args[3])
    db.notify(LIST, b"linsert", args[0])
    return entry.size


@COMMANDS.command(
    "LREM key count element",
    WRITE,
    since="1.0.0",
    complexity="O(N); elements beside the longest part that stays in one piece are logged again",
    key_flags=("RW delete",),
)
def lrem(db: Keyspace, args: Args) -> Reply:
    """Remove the first `count` equal elements, the last `-count`, or with 0 all; returns how many there were."""
    count = integer(args[1])
    entry = db.find_collection(args[0], List)
    if entry is None:
        return 0
    if count < 0:
        found = _places_from_behind(entry, args[2], 0, -count)[:-count][::-1]
    else:
        found = entry.places(args[2], 0, entry.size, count or ALL)
    if found:
        db.notify(LIST, b"lrem", args[0])
    if len(found) == entry.size:
        db.drop(entry)
    else:
        entry.remove(found)
    return len(found)


@COMMANDS.command(
    "LTRIM key start stop",
    WRITE,
    since="1.0.0",
    complexity="O(N), N being the elements that go or those that stay, whichever are fewer",
    key_flags=("RW delete",),
)
def ltrim(db: Keyspace, args: Args) -> Reply:
    """Keep the elements from one place to another, both included, and remove the others."""
    start, stop = integer(args[1]), integer(args[2])
    entry = db.find_collection(args[0], List)
    if entry is None:
        return "OK"
    first, behind = _span(start, stop, entry.size)
    db.notify(LIST, b"ltrim", args[0])
    if first == behind:
        db.drop(entry)
    else:
        entry.touch()  # also where nothing goes: for whoever watches the key Redis counts it as a change
        entry.keep(first, behind)
    return "OK"


# -- from one list to another --------------------------------------------------------------------------------------


@COMMANDS.command(
    "LMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT>",
    WRITE | DENYOOM,
    since="6.2.0",
    complexity="O(1)",
    key_flags=("RW access delete", "RW insert"),
)
def lmove(db: Keyspace, args: Args) -> Reply:
    """Take an element from one end of a list, put it at one end of another, perhaps the same, and return it."""
    return _move(db, args[0], args[1], _is_left(args[2]), _is_left(args[3]))


@COMMANDS.command(
    "RPOPLPUSH source destination",
    WRITE | DENYOOM,
    since="1.2.0",
    complexity="O(1)",
    key_flags=("RW access delete", "RW insert"),
    deprecated_since="6.2.0",
    replaced_by="`LMOVE` with the `RIGHT` and `LEFT` arguments",
)
def rpoplpush(db: Keyspace, args: Args) -> Reply:
    """Move the last element of a list to the beginning of another, perhaps the same, and return it."""
    return _move(db, args[0], args[1], False, True)


def _is_left(word: bytes) -> bool:
    side = word.upper()
    if side not in (b"LEFT", b"RIGHT"):
        raise errors.syntax()
    return side == b"LEFT"


def _move(db: Keyspace, source: bytes, destination: bytes, from_left: bool, to_left: bool) -> bytes | None:
    entry = db.find_collection(source, List)
    if entry is None:
        return None
    target = db.edit(destination, List)
    value = entry.pop(from_left)
    target.push(to_left, (value,))
    if db.wants:
        db.notify(LIST, b"lpush" if to_left else b"rpush", destination)
        db.notify(LIST, b"lpop" if from_left else b"rpop", source)
    db.settle(entry)
    return value


# -- from the first of several lists -------------------------------------------------------------------------------


@COMMANDS.command(
    "LMPOP numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
    WRITE,
    since="7.0.0",
    complexity="O(N+M), N being the keys and M the elements taken",
    key_flags=("RW access delete",),
)
def lmpop(db: Keyspace, args: Args) -> Reply:
    """Take elements from one end of the first list that has any; returns its key and the elements."""
    keys, left, count = _pop_options(args)
    found = _take_first(db, keys, left, count)
    return NULL_ARRAY if found is None else found


def _pop_options(args: Args) -> tuple[Args, bool, int]:
    """(keys, from the left?, how many) of `numkeys key ... LEFT|RIGHT [COUNT count]`."""
    numkeys = integer_between(args[0], 1, INT_MAX, errors.bad_numkeys().text)
    if len(args) < numkeys + 2:
        raise errors.syntax()
    left, count = _is_left(args[numkeys + 1]), 0
    for word in (words := Words(args, numkeys + 2)):
        if word != b"COUNT" or count:
            raise errors.syntax()
        count = integer_between(words.take(), 1, INT_MAX, "ERR count should be greater than 0")
    return args[1 : numkeys + 1], left, count or 1


def _take_first(db: Keyspace, keys: Args, left: bool, count: int) -> list[Any] | None:
    for key in keys:
        entry = db.find_collection(key, List)
        if entry is not None:
            return [key, _take(entry, left, count)]
    return None


# -- waiting for an element ----------------------------------------------------------------------------------------


def _wait(db: Keyspace, keys: Args, timeout: int, at_once: Reply = NULL_ARRAY) -> Park:
    """Until one of the keys is a list, or `timeout` ms have passed (0: for ever)."""
    deadline = db.ds.now + timeout if timeout else 0
    return Park("list", keys=tuple(keys), kind=Kind.LIST, deadline_ms=deadline, on_timeout=NULL_ARRAY, at_once=at_once)


@COMMANDS.command(
    "BLPOP key [key ...] timeout",
    WRITE | NOSCRIPT | BLOCKING,
    since="2.0.0",
    complexity="O(N), N being the keys",
    key_flags=("RW access delete",),
    history=(("6.0.0", "`timeout` is interpreted as a double instead of an integer."),),
)
def blpop(db: Keyspace, args: Args) -> Reply | Park:
    """Take the first element of the first list that has any, waiting for one if need be."""
    return _pop_or_wait(db, args, left=True)


@COMMANDS.command(
    "BRPOP key [key ...] timeout",
    WRITE | NOSCRIPT | BLOCKING,
    since="2.0.0",
    complexity="O(N), N being the keys",
    key_flags=("RW access delete",),
    history=(("6.0.0", "`timeout` is interpreted as a double instead of an integer."),),
)
def brpop(db: Keyspace, args: Args) -> Reply | Park:
    """Take the last element of the first list that has any, waiting for one if need be."""
    return _pop_or_wait(db, args, left=False)


def _pop_or_wait(db: Keyspace, args: Args, *, left: bool) -> Reply | Park:
    timeout, keys = timeout_ms(args[-1]), args[:-1]
    for key in keys:
        entry = db.find_collection(key, List)
        if entry is not None:
            return [key, _take_one(entry, left)]
    return _wait(db, keys, timeout)


@COMMANDS.command(
    "BLMPOP timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
    WRITE | BLOCKING,
    since="7.0.0",
    complexity="O(N+M), N being the keys and M the elements taken",
    key_flags=("RW access delete",),
)
def blmpop(db: Keyspace, args: Args) -> Reply | Park:
    """Take elements from one end of the first list that has any, waiting for one if need be."""
    keys, left, count = _pop_options(args[1:])
    timeout = timeout_ms(args[0])
    return _take_first(db, keys, left, count) or _wait(db, keys, timeout)


@COMMANDS.command(
    "BLMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
    WRITE | DENYOOM | NOSCRIPT | BLOCKING,
    since="6.2.0",
    complexity="O(1)",
    key_flags=("RW access delete", "RW insert"),
)
def blmove(db: Keyspace, args: Args) -> Reply | Park:
    """Move an element from one end of a list to one end of another, waiting for one if need be, and return it."""
    from_left, to_left = _is_left(args[2]), _is_left(args[3])
    return _move_or_wait(db, args, from_left, to_left, timeout_ms(args[4]))


@COMMANDS.command(
    "BRPOPLPUSH source destination timeout",
    WRITE | DENYOOM | NOSCRIPT | BLOCKING,
    since="2.2.0",
    complexity="O(1)",
    key_flags=("RW access delete", "RW insert"),
    deprecated_since="6.2.0",
    replaced_by="`BLMOVE` with the `RIGHT` and `LEFT` arguments",
    history=(("6.0.0", "`timeout` is interpreted as a double instead of an integer."),),
)
def brpoplpush(db: Keyspace, args: Args) -> Reply | Park:
    """Move the last element of a list to the beginning of another, waiting for one if need be, and return it."""
    return _move_or_wait(db, args, False, True, timeout_ms(args[2]))


def _move_or_wait(db: Keyspace, args: Args, from_left: bool, to_left: bool, timeout: int) -> Reply | Park:
    value = _move(db, args[0], args[1], from_left, to_left)
    return _wait(db, args[:1], timeout, at_once=None) if value is None else value
