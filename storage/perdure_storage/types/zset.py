"""Sorted sets: members with scores, in the order of (score, member).

Rows of table ZSETS: key `(id u64, member)`, content the score, a double to the bit. Effects ZSET_PUT and ZSET_DEL.
The tables have no index of scores: whoever asks for an order has the set in memory.

In memory a dict from member to score, and the `Ranking` of all (score, member). Positions are such pairs (with the empty
member: before all that have this score); END is behind all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from math import inf, nextafter
from operator import itemgetter
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from perdure_storage.effects import ZSET_DEL, ZSET_PUT
from perdure_storage.tables import ZSETS, Rows, Snapshot, Table, element_key, split_key, with_key
from perdure_storage.types.cold import Cold
from perdure_storage.types.entry import Collection, Element, Kind, LoadSteps
from perdure_storage.types.order import Order
from perdure_storage.types.ranking import Ranked, Ranking

if TYPE_CHECKING:
    from perdure_storage.keyspace import Keyspace

SCORE: Final = Struct("<d")
ID: Final = Struct(">Q")
MEMBER_COST: Final = 160
"""Bytes of memory of one member beside its own: dict slot, number, place in the ranking. Measured: 108 to 156."""

WALKED_MAX: Final = 128
"""Up to so many members a range of names is walked through where scores differ."""

Position: TypeAlias = "Ranked | None"
"""A place between two members; None is behind the last one."""

END: Final = None


def before(score: float) -> Position:
    """In front of all members with this score."""
    return score, b""


def after(score: float) -> Position:
    """Behind all members with this score."""
    return (nextafter(score, inf), b"") if score < inf else END


_name: Final = itemgetter(1)
_pack_id = ID.pack
_pack_score = SCORE.pack


def _score(content: bytes) -> float:
    score: float = SCORE.unpack(content)[0]
    return score


def _run(flags: list[bool]) -> int:
    """How many are true from the beginning on."""
    return flags.index(False) if False in flags else len(flags)


def fold_put(rows: list[Rows], ident: int, *pairs: Any) -> None:
    """ZSET_PUT as row changes."""
    table = rows[ZSETS]
    for at in range(0, len(pairs), 2):
        pair = pairs[at : at + 2]
        member, score = pair
        table[element_key(ident, member)] = with_key(member, _pack_score(score))


def fold_del(rows: list[Rows], ident: int, *members: bytes) -> None:
    """ZSET_DEL as row changes."""
    table = rows[ZSETS]
    for member in members:
        table[element_key(ident, member)] = None


def replay_put(value: ZSet, *pairs: bytes | float) -> None:
    """ZSET_PUT on a value in memory."""
    flat = iter(pairs)
    for member, score in zip(flat, flat, strict=True):
        assert isinstance(member, bytes) and isinstance(score, float)
        value.set(member, score)


def replay_del(value: ZSet, *members: bytes) -> None:
    """ZSET_DEL on a value in memory."""
    for member in members:
        value.remove(member)


class ZSet(Collection):
    """`scores` is None until loaded. REQUIRES for all but the record: `loaded`.

    `order` is there from the first time that one is needed. `wide` remembers, while in memory, that the set was once
    beyond the limits of a listpack: Redis never turns back.
    """

    __slots__ = ("order", "ranking", "scores", "wide")
    kind = Kind.ZSET.value
    type_name = "zset"
    folds = {ZSET_PUT: fold_put, ZSET_DEL: fold_del}
    replays = {ZSET_PUT: replay_put, ZSET_DEL: replay_del}

    def __init__(self, db: Keyspace, key: bytes, lsn: int, expire: int, ident: int, *, new: bool = True) -> None:
        super().__init__(db, key, lsn, expire, ident, new=new)
        self.scores: dict[bytes, float] | None = {} if new else None
        self.ranking = Ranking()
        self.order: Order | None = None
        self.wide = False

    @property
    def loaded(self) -> bool:
        return self.scores is not None

    def contents(self) -> list[Any]:
        order = self.order
        return [self.scores or {}, *self.ranking.contents(), *([order.names, order.gone] if order is not None else [])]

    @property
    def values(self) -> dict[bytes, float]:
        """The scores by member, for reading only."""
        assert self.scores is not None
        return self.scores

    # -- changing ------------------------------------------------------------------------------------------------

    def set(self, member: bytes, score: float) -> bool:
        """Give `member` this score, which is not NaN. True when the member is new."""
        scores, db = self.scores, self.db
        assert scores is not None
        old = scores.get(member)
        weight = 0
        if old is None:
            self.size += 1
            if self.order is not None:
                self.order.add(member)
            weight = MEMBER_COST + len(member)
        else:
            if old == score:  # among them 0 and -0, which Redis does not tell apart here
                return False
            self.ranking.remove(old, member)
        scores[member] = score
        self.ranking.add(score, member)
        db.change(self, weight).append((ZSET_PUT, self.id, member, score))
        return old is None

    def fill(self, pairs: Iterable[tuple[bytes, float]]) -> None:
        """The same for many members at once. REQUIRES: the set is empty, and the members are different ones."""
        scores = self.scores = dict(pairs)
        self.ranking = Ranking(zip(scores.values(), scores, strict=True))
        self.size = len(scores)
        self.grow(sum(map(len, scores)) + MEMBER_COST * self.size)
        flat: list[Any] = []
        for pair in scores.items():
            flat += pair
        self.touch().effects.append((ZSET_PUT, self.id, *flat))

    def remove(self, member: bytes) -> bool:
        """Remove a member; True when it was there. The caller drops the key of an empty set (`Keyspace.settle`)."""
        score = self.values.get(member)
        if score is None:
            return False
        self.ranking.remove(score, member)
        self._forget([member])
        return True

    def remove_ranks(self, start: int, stop: int) -> list[Ranked]:
        """Remove the members with these ranks, and return them."""
        ranked = self.ranking.cut(start, stop)
        if ranked:
            self._forget([member for _, member in ranked])
        return ranked

    def _forget(self, members: list[bytes]) -> None:
        """What remains to be done for members that are in the ranking no more."""
        scores, order = self.values, self.order
        if not self.wide:
            self.wide = self._is_wide(members)
        for member in members:
            del scores[member]
            if order is not None:
                order.drop(member)
        self.size -= len(members)
        self.touch().effects.append((ZSET_DEL, self.id, *members))
        self.grow(-sum(map(len, members)) - MEMBER_COST * len(members))

    # -- reading -------------------------------------------------------------------------------------------------

    def rank(self, member: bytes) -> int | None:
        """How many members come before this one; None when it is not there."""
        score = self.values.get(member)
        return None if score is None else self.ranking.rank(score, member)

    def between(self, low: Position, high: Position) -> tuple[int, int]:
        """(start, stop) of the ranks from position `low` up to position `high`."""
        start = self._rank_of(low)
        return start, max(start, self._rank_of(high))

    def between_members(
        self, low: bytes | None, high: bytes | None, *, backward: bool = False, skip: int = 0
    ) -> tuple[int, int]:
        """(start, stop) of the ranks with low <= member < high, but for the first `skip` in the direction of reading; None
        is beyond all. REQUIRES: not empty.

        That makes sense only where all scores are equal. Where not, Redis walks through a small set from one end, over
        `skip` members whatever their names, and so do we; in a large one the places are found as if the names were in order.
        """
        ranking = self.ranking
        score = ranking[0][0]
        if score == ranking[-1][0]:
            start, stop = self.between(END if low is None else (score, low), END if high is None else (score, high))
            return (start, stop - skip) if backward else (start + skip, stop)
        if self.size > WALKED_MAX:
            start, stop = (
                self.size if bound is None else bisect_left(ranking, bound, key=_name) for bound in (low, high)
            )
            stop = max(start, stop)
            return (start, stop - skip) if backward else (start + skip, stop)
        behind = [low is not None and member >= low for _, member in ranking]
        ahead = [high is None or member < high for _, member in ranking]
        if not behind[-1] or not ahead[0]:
            return 0, 0
        if not backward:
            start = behind.index(True) + skip
            return start, start + _run(ahead[start:])
        stop = max(0, self.size - ahead[::-1].index(True) - skip)
        return stop - _run(behind[:stop][::-1]), stop

    def _rank_of(self, position: Position) -> int:
        return self.size if position is None else self.ranking.rank(position[0], position[1])

    def ordered(self) -> Order:
        """The members in an order that does not depend on scores: see `Order`. O(n) the first time."""
        order = self.order
        if order is None:
            order = self.order = Order(self.values, self.db.ds.random)
            self.grow(8 * self.size)
        return order

    def _is_wide(self, members: Iterable[bytes]) -> bool:
        limits = self.db.ds.limits
        longest = limits.zset_max_listpack_value
        return self.size > limits.zset_max_listpack_entries or any(len(member) > longest for member in members)

    def encoding(self) -> str:
        if self.wide or self.size > self.db.ds.limits.zset_max_listpack_entries:
            return "skiplist"
        if not self.loaded:
            self.load(self.db.ds.snapshot)
        return "skiplist" if self._is_wide(self.values) else "listpack"

    def copy(self, target: Keyspace, key: bytes) -> None:
        made = target.create(ZSet, key)
        made.expire = self.expire
        target.expires += 1 if self.expire else 0
        made.fill(self.values.items())
        made.wide = self.wide

    # -- rows ----------------------------------------------------------------------------------------------------

    def load_steps(self, snapshot: Snapshot, rows_per_step: int) -> LoadSteps:
        return self._load_steps(snapshot, rows_per_step)

    def _load_steps(self, snapshot: Snapshot, rows_per_step: int) -> Iterator[None]:
        scores: dict[bytes, float] = {}
        ranking = Ranking()
        weight = 0
        for member, score in self.stored(snapshot, self.id):
            scores[member] = score
            ranking.add(score, member)
            weight += MEMBER_COST + len(member)
            if len(scores) % rows_per_step == 0:
                yield
        if self.loaded:
            return  # it has been loaded meanwhile, and perhaps changed
        self.scores, self.ranking = scores, ranking
        self.size = len(scores)
        self.came_in(weight)

    def cold(self) -> Cold[float]:
        """The scores, one at a time. REQUIRES: not loaded."""
        return Cold(self, ZSETS, _score)

    tables = (ZSETS,)

    def elements(self) -> Iterator[Element]:
        return iter(self.values.items())

    @staticmethod
    def stored(snapshot: Snapshot, ident: int) -> Iterator[Element]:
        for row_key, content in snapshot.scan(ZSETS, ID.pack(ident), ID.pack(ident + 1)):
            member, content = split_key(ID.size, row_key, content)
            yield member, SCORE.unpack(content)[0]

    @staticmethod
    def plain(elements: Iterator[Element]) -> dict[str, Any]:
        return {"value": dict(sorted(elements, key=lambda element: (element[1], element[0])))}

    @staticmethod
    def weigh_row(table: Table, row_key: bytes, content: bytes) -> int:
        (score,) = SCORE.unpack(split_key(ID.size, row_key, content)[1])
        if score != score:
            raise ValueError("a score that is not a number")
        return 1
