"""The order of a sorted set: members by (score, member), found and counted by rank.

Both lie in chunks of up to 2 * LOAD, as in sortedcontainers; but the scores of a chunk are an array of doubles beside the
list of its members. A place is found in memory that lies together, and members are compared where scores are equal only:
with pairs in a SortedList, 100,000 of them, a change of score took 10 us, most of it waiting for memory.

What is true: chunks are not empty; `_lasts` and `_last_names` are the last score and member of each; `_starts` is how
many members are in front of each chunk, or None when that has to be counted again.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left as bisect_names
from collections.abc import Iterable, Iterator
from typing import Final

try:  # the same in C, where a compiler was present at installation
    from perdure_storage._fast import bisect_left as bisect_left
    from perdure_storage._fast import bisect_right as bisect_right
except ImportError:
    from bisect import bisect_left, bisect_right  # type: ignore[assignment]

LOAD: Final = 1000

Ranked = tuple[float, bytes]


class Ranking:
    """See the module. Scores are no NaN; 0 and -0 are the same to it."""

    __slots__ = ("_last_names", "_lasts", "_names", "_scores", "_starts", "size")

    def __init__(self, pairs: Iterable[Ranked] = ()) -> None:
        """`pairs` are different ones, in any order."""
        self._build(sorted(pairs))

    def _build(self, ranked: list[Ranked]) -> None:
        self.size = len(ranked)
        chunks = [ranked[start : start + LOAD] for start in range(0, len(ranked), LOAD)]
        self._scores = [array("d", [score for score, _ in chunk]) for chunk in chunks]
        self._names = [[name for _, name in chunk] for chunk in chunks]
        self._lasts = array("d", [scores[-1] for scores in self._scores])
        self._last_names = [names[-1] for names in self._names]
        self._starts: list[int] | None = None

    def __len__(self) -> int:
        return self.size

    # -- changing ------------------------------------------------------------------------------------------------

    def add(self, score: float, name: bytes) -> None:
        """REQUIRES: this pair is not there."""
        self.size += 1
        self._starts = None
        if not self._names:
            self._scores, self._names = [array("d", (score,))], [[name]]
            self._lasts, self._last_names = array("d", (score,)), [name]
            return
        at = self._chunk_of(score, name)
        if at == len(self._names):  # behind all others
            at -= 1
            place = len(self._names[at])
        else:
            place = self._place_in(at, score, name)
        scores, names = self._scores[at], self._names[at]
        scores.insert(place, score)
        names.insert(place, name)
        if place == len(names) - 1:
            self._lasts[at], self._last_names[at] = score, name
        if len(names) > 2 * LOAD:
            self._split(at)

    def remove(self, score: float, name: bytes) -> None:
        """REQUIRES: this pair is there."""
        at = self._chunk_of(score, name)
        place = self._place_in(at, score, name)
        self.size -= 1
        self._starts = None
        scores, names = self._scores[at], self._names[at]
        assert names[place] == name
        del scores[place], names[place]
        if not names:
            self._drop(at)
            return
        if place == len(names):
            self._lasts[at], self._last_names[at] = scores[-1], names[-1]
        if len(names) < LOAD // 4 and len(self._names) > 1:
            self._merge(at)

    def cut(self, start: int, stop: int) -> list[Ranked]:
        """Remove the pairs with these ranks, and return them."""
        found = self.slice(start, stop)
        if len(found) > self.size // 2:
            self._build(self.slice(0, start) + self.slice(stop, self.size))
        else:
            for score, name in found:
                self.remove(score, name)
        return found

    def _split(self, at: int) -> None:
        scores, names = self._scores[at], self._names[at]
        half = len(names) // 2
        self._scores.insert(at + 1, scores[half:])
        self._names.insert(at + 1, names[half:])
        del scores[half:], names[half:]
        self._lasts.insert(at, scores[-1])
        self._last_names.insert(at, names[-1])

    def _merge(self, at: int) -> None:
        """A small chunk joins the one in front of it; the first one, the one behind."""
        at = max(at, 1)
        self._scores[at - 1].extend(self._scores[at])
        self._names[at - 1].extend(self._names[at])
        self._lasts[at - 1], self._last_names[at - 1] = self._lasts[at], self._last_names[at]
        self._drop(at)
        if len(self._names[at - 1]) > 2 * LOAD:
            self._split(at - 1)

    def _drop(self, at: int) -> None:
        del self._scores[at], self._names[at], self._lasts[at], self._last_names[at]

    # -- finding -------------------------------------------------------------------------------------------------

    def _chunk_of(self, score: float, name: bytes) -> int:
        """The first chunk whose last pair is not before this one; the number of chunks where there is none."""
        lasts = self._lasts
        at: int = bisect_left(lasts, score)
        if at < len(lasts) and lasts[at] == score:
            at = bisect_names(self._last_names, name, at, bisect_right(lasts, score, at))
        return at

    def _place_in(self, at: int, score: float, name: bytes) -> int:
        """The first place in a chunk whose pair is not before this one."""
        scores = self._scores[at]
        place: int = bisect_left(scores, score)
        if place < len(scores) and scores[place] == score:
            place = bisect_names(self._names[at], name, place, bisect_right(scores, score, place))
        return place

    def rank(self, score: float, name: bytes = b"") -> int:
        """How many pairs are before this one, which may be there or not. The empty name is before all others."""
        at = self._chunk_of(score, name)
        if at == len(self._names):
            return self.size
        return self._counted()[at] + self._place_in(at, score, name)

    def _counted(self) -> list[int]:
        starts = self._starts
        if starts is None:
            starts, total = [], 0
            for names in self._names:
                starts.append(total)
                total += len(names)
            self._starts = starts
        return starts

    # -- reading -------------------------------------------------------------------------------------------------

    def __getitem__(self, rank: int) -> Ranked:
        """The pair with a rank, from the end if negative. Raises IndexError."""
        if rank < 0:
            rank += self.size
        if not 0 <= rank < self.size:
            raise IndexError(rank)
        starts = self._counted()
        at = bisect_names(starts, rank + 1) - 1
        return self._scores[at][rank - starts[at]], self._names[at][rank - starts[at]]

    def slice(self, start: int, stop: int) -> list[Ranked]:
        """The pairs with these ranks."""
        return [*zip(self.scores(start, stop), self.members(start, stop), strict=True)]

    def members(self, start: int, stop: int) -> list[bytes]:
        """The members with these ranks."""
        found: list[bytes] = []
        for at, first, last in self._pieces(start, stop):
            found += self._names[at][first:last]
        return found

    def scores(self, start: int, stop: int) -> list[float]:
        """Their scores."""
        found: list[float] = []
        for at, first, last in self._pieces(start, stop):
            found += self._scores[at][first:last]
        return found

    def _pieces(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """(chunk, first, last) where these ranks lie; `last` may be behind the end of the chunk."""
        pieces: list[tuple[int, int, int]] = []
        stop = min(stop, self.size)
        if start >= stop:
            return pieces
        starts = self._counted()
        at = bisect_names(starts, start + 1) - 1
        while start < stop:
            pieces.append((at, start - starts[at], stop - starts[at]))
            start = starts[at] + len(self._names[at])
            at += 1
        return pieces

    def between(self, start: int, stop: int) -> Iterator[Ranked]:
        """The same a few at a time. REQUIRES: nothing changes meanwhile."""
        for first in range(start, min(stop, self.size), LOAD):
            yield from self.slice(first, min(first + LOAD, stop))

    def __iter__(self) -> Iterator[Ranked]:
        for scores, names in zip(self._scores, self._names, strict=True):
            yield from zip(scores, names, strict=True)

    def names(self) -> list[bytes]:
        """All members in order."""
        return [name for names in self._names for name in names]

    def contents(self) -> list[list[bytes]]:
        """The lists that hold the members, to be emptied in slices when nobody needs the order any more."""
        return self._names

    def check(self) -> None:
        """Assert that what is said above is true."""
        pairs = [*self]
        assert pairs == sorted(pairs), "pairs are not in order"
        assert len(pairs) == self.size, "the size is wrong"
        assert [*self._lasts] == [scores[-1] for scores in self._scores], "last scores are wrong"
        assert self._last_names == [names[-1] for names in self._names], "last members are wrong"
        assert all(len(names) <= 2 * LOAD for names in self._names), "a chunk is too long"
        total = 0
        for names, start in zip(self._names, self._counted(), strict=True):
            assert start == total, "what is in front of a chunk is counted wrong"
            total += len(names)
