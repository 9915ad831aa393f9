"""The ranking of a sorted set does what a sorted list of pairs does."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure_storage.types import ranking
from perdure_storage.types.ranking import Ranked, Ranking

SCORES = st.sampled_from((-inf, -1.5, -0.0, 0.0, 1.0, 2.0, 3.0, 1e300, inf))
NAMES = st.binary(max_size=2)


@pytest.fixture(params=[8, 1000], ids=["short chunks", "long chunks"], scope="module")
def load(request: pytest.FixtureRequest) -> Iterator[int]:
    usual, ranking.LOAD = ranking.LOAD, request.param  # type: ignore[misc]
    yield request.param
    ranking.LOAD = usual  # type: ignore[misc]


@settings(deadline=None)
@given(
    st.dictionaries(NAMES, SCORES, max_size=40),
    st.lists(st.tuples(NAMES, SCORES) | NAMES | st.tuples(st.integers(0, 40), st.integers(0, 40))),
)
def test_it_is_the_sorted_list_of_its_pairs(load: int, first: dict[bytes, float], steps: list[object]) -> None:
    made = Ranking((score, name) for name, score in first.items())
    scores = dict(first)
    for step in steps:
        match step:
            case (bytes() as name, float() as score):
                if name in scores:
                    made.remove(scores[name], name)
                scores[name] = score
                made.add(score, name)
            case bytes() as name:
                if name in scores:
                    made.remove(scores.pop(name), name)
            case (int() as start, int() as stop):
                gone = in_order(scores)[start:stop]
                assert made.cut(start, stop) == gone
                for _, name in gone:
                    del scores[name]
        made.check()
        expected = in_order(scores)
        assert [*made] == expected and len(made) == len(expected)
    expected = in_order(scores)
    assert made.names() == [name for _, name in expected]
    for at, pair in enumerate(expected):
        assert made[at] == made[at - len(expected)] == pair
        assert made.rank(*pair) == at
        assert made.rank(pair[0]) == bisect_left(expected, (pair[0],))
    for at in (len(expected), -len(expected) - 1):
        with pytest.raises(IndexError):
            made[at]
    for start in range(0, len(expected) + 2, 5):
        assert made.slice(start, start + 7) == [*made.between(start, start + 7)] == expected[start : start + 7]


def in_order(scores: dict[bytes, float]) -> list[Ranked]:
    return sorted((score, name) for name, score in scores.items())


def test_scores_keep_their_bits() -> None:
    made = Ranking()
    for score, name in ((-0.0, b"a"), (5e-324, b"b"), (0.1 + 0.2, b"c")):
        made.add(score, name)
    assert repr([*made]) == repr([(-0.0, b"a"), (5e-324, b"b"), (0.1 + 0.2, b"c")])


def test_a_hundred_thousand_in_random_order() -> None:
    names = [b"%d" % (number * 7919 % 100_003) for number in range(100_000)]
    made = Ranking()
    for name in names:
        made.add(float(int(name) // 10), name)
    made.check()
    assert made.names() == sorted(names, key=lambda name: (int(name) // 10, name))
    for name in names[::2]:
        made.remove(float(int(name) // 10), name)
    made.check()
    assert len(made) == 50_000
