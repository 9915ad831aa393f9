"""SORT: the elements of a list, set or sorted set in another order, by themselves or by what other keys hold.

Keys that BY and GET lead to are not declared: they are read as they turn up, from the tables where they are cold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perdure import errors
from perdure.args import INT_MAX, INT_MIN, Words, integer_between, to_number
from perdure.errors import ReplyError
from perdure.key_uses import FINDERS
from perdure.registry import DENYOOM, READ, WRITE, Args, Family
from perdure.resp import Reply
from perdure.session import Session
from perdure.usage import KeySpec
from perdure_storage.errors import WrongType
from perdure_storage.events import GENERIC, LIST
from perdure_storage.keyspace import Keyspace
from perdure_storage.types.hash import Hash
from perdure_storage.types.list import List
from perdure_storage.types.set import Set
from perdure_storage.types.string import String
from perdure_storage.types.zset import ZSet

COMMANDS = Family("generic", context=True)

ITSELF: Final = b"#"
BLANKS: Final = b" \t\n\v\f\r"
NOT_ALLOWED: Final = "ERR {} option of SORT denied due to insufficient ACL permissions."


class Wishes:
    """What SORT has been asked: see `parse`. `by` is None where elements are compared themselves.

    `repeatable`: the order must not be left to chance, since it will be stored or a script decides by it.
    """

    def __init__(self, *, repeatable: bool) -> None:
        self.repeatable = repeatable
        self.descending = self.letters = self.unsorted = False
        self.start, self.count = 0, -1
        self.by: bytes | None = None
        self.get: list[bytes] = []
        self.store: bytes | None = None

    def parse(self, words: Words, *, may_store: bool, may_read_all: Callable[[], bool]) -> None:
        for word in words:
            if word in (b"ASC", b"DESC"):
                self.descending = word == b"DESC"
            elif word == b"ALPHA":
                self.letters = True
            elif word == b"LIMIT":
                start, count = words.take_many(2)
                self.start, self.count = (integer_between(raw, INT_MIN, INT_MAX) for raw in (start, count))
            elif word == b"STORE" and may_store:
                self.store = words.take()
                self.repeatable = True
            elif word == b"BY":
                self.by = words.take()
                constant = b"*" not in _c_string(self.by)
                self.unsorted = self.unsorted or constant  # a later BY does not change that
                if not constant and not may_read_all():
                    raise ReplyError(NOT_ALLOWED.format("BY"))
            elif word == b"GET":
                self.get.append(words.take())
                if not may_read_all():
                    raise ReplyError(NOT_ALLOWED.format("GET"))
            else:
                raise errors.syntax()


def _sort(name: bytes, *, may_store: bool) -> Callable[[Session, Args], Reply]:
    def handler(ctx: Session, args: Args) -> Reply:
        """Return the elements of a list, set or sorted set in order."""

        def may_read_all() -> bool:
            user = ctx.user
            return user.unrestricted or user.reads_all_keys(ctx.server.commands[name], [name, *args])

        wishes = Wishes(repeatable=ctx.server.stage.run is not None)
        wishes.parse(Words(args, 1), may_store=may_store, may_read_all=may_read_all)
        db = ctx.db
        chosen = _chosen(db, args[0], wishes)
        found: list[bytes | None]
        if wishes.get:
            lookups = [Lookup(db, pattern) for pattern in wishes.get]
            found = [lookup(element) for element in chosen for lookup in lookups]
        else:
            found = [*chosen]
        if wishes.store is None:
            return found
        _store(db, wishes.store, [value or b"" for value in found])
        return len(found)

    return handler


def _store(db: Keyspace, key: bytes, values: list[bytes]) -> None:
    replaced = db.delete(key)
    if values:
        db.create(List, key, replacing=replaced).push_right(values)
        db.notify(LIST, b"sortstore", key)
    elif replaced:
        db.notify(GENERIC, b"del", key)


def _chosen(db: Keyspace, key: bytes, wishes: Wishes) -> list[bytes]:
    """The elements that are asked for, in the order that is asked for."""
    entry = db.lookup(key)
    if entry is None:
        elements: list[bytes] = []
    elif not isinstance(entry, List | Set | ZSet):
        raise WrongType
    else:
        if not entry.loaded:
            entry.load(db.ds.snapshot)
        elements = _elements(entry, wishes)
    if not wishes.unsorted:
        elements = _sorted(db, elements, wishes)
    start = max(wishes.start, 0)
    return elements[start:] if wishes.count < 0 else elements[start : start + wishes.count]


def _elements(entry: List | Set | ZSet, wishes: Wishes) -> list[bytes]:
    if isinstance(entry, Set):
        if wishes.unsorted and wishes.repeatable:
            wishes.unsorted, wishes.letters, wishes.by = False, True, None
        return [*entry.values]
    if isinstance(entry, List):
        elements = entry.values()
    else:
        entry.wide = True  # Redis unpacks a sorted set to sort it, and leaves it so
        elements = entry.ranking.names()
    if wishes.unsorted and wishes.descending:
        elements.reverse()
    return elements


# -- order ---------------------------------------------------------------------------------------------------------


def _sorted(db: Keyspace, elements: list[bytes], wishes: Wishes) -> list[bytes]:
    """By weights, in letters or as numbers; equal numbers by the elements themselves."""
    by = wishes.by
    weights: list[bytes | None] = [*elements] if by is None else [*map(Lookup(db, by), elements)]
    keys: list[tuple[object, ...]]
    if not wishes.letters:
        keys = [(_number(weight), element) for weight, element in zip(weights, elements, strict=True)]
    elif wishes.store is not None:
        keys = [(weight is not None, weight or b"") for weight in weights]
    else:  # strcoll of the C locale: letters up to the first NUL
        keys = [(weight is not None, _c_string(weight or b"")) for weight in weights]
    places = sorted(range(len(elements)), key=keys.__getitem__, reverse=wishes.descending)
    return [elements[place] for place in places]


def _number(weight: bytes | None) -> float:
    """As C's strtod reads it; nothing is 0."""
    text = _c_string(weight or b"")
    value = to_number(text.lstrip(BLANKS)) if text else 0.0
    if value is None:
        raise ReplyError("ERR One or more scores can't be converted into double")
    return value


def _c_string(raw: bytes) -> bytes:
    """What C takes these bytes for: all up to the first NUL."""
    return raw.partition(b"\0")[0]


# -- other keys ----------------------------------------------------------------------------------------------------


class Lookup:
    """What a pattern leads to: `weight_*` the string there, `object_*->price` the field of a hash, `#` the element
    itself. None where there is no such thing."""

    def __init__(self, db: Keyspace, pattern: bytes) -> None:
        self._db = db
        self._itself = pattern == ITSELF
        star = _c_string(pattern).find(b"*")
        self._leads_nowhere = star < 0
        arrow = _c_string(pattern).find(b"->", star + 1)
        if arrow < 0 or arrow + 2 >= len(_c_string(pattern)):
            arrow = len(pattern)
        self._before, self._behind = pattern[:star], pattern[star + 1 : arrow]
        self._field = pattern[arrow + 2 :]

    def __call__(self, element: bytes) -> bytes | None:
        if self._itself:
            return element
        if self._leads_nowhere:
            return None
        db = self._db
        entry = db.lookup(self._before + element + self._behind)
        if self._field:
            if type(entry) is not Hash:
                return None
            found = db.find_hash(entry.key)
            return None if found is None else found.values.get(self._field)
        return bytes(entry.value) if type(entry) is String else None


_OPTIONS: Final = "[BY by-pattern] [LIMIT offset count] [GET get-pattern [GET get-pattern ...]] [ASC | DESC] [ALPHA]"
_HIDDEN: Final = KeySpec(0, unknown=True)
"""Where patterns lead, and behind a word that may stand anywhere."""
_COMPLEXITY: Final = "O(N+M*log(M)), N being the elements and M those returned; O(N) when they are not sorted"

COMMANDS.command(
    f"SORT key {_OPTIONS} [STORE destination]",
    WRITE | DENYOOM,
    since="1.0.0",
    complexity=_COMPLEXITY,
    summary="Sort the elements of a list, set or sorted set, and store them perhaps",
    acl="set sortedset list dangerous -keyspace",
    key_specs=(KeySpec(1), _HIDDEN, _HIDDEN),
    key_flags=("RO access", "RO access", "OW update"),
    keys=lambda argv: [use.key for use in FINDERS[b"sort"](argv)],
)(_sort(b"sort", may_store=True))

COMMANDS.command(
    f"SORT_RO key {_OPTIONS}",
    READ,
    since="7.0.0",
    complexity=_COMPLEXITY,
    summary="Sort the elements of a list, set or sorted set",
    acl="set sortedset list dangerous -keyspace",
    key_specs=(KeySpec(1), _HIDDEN),
    key_flags=("RO access", "RO access"),
)(_sort(b"sort_ro", may_store=False))
