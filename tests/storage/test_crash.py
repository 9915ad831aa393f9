"""The simulation finds nothing in the engine, and everything that is planted there."""

from __future__ import annotations

import pytest

from perdure_tools.crash_planted import BUGS, Planted, can_plant, rounds_until_caught
from perdure_tools.crash_simulation import Failure, Round, play

plants = pytest.mark.skipif(not can_plant(), reason="compiled classes take no planted bugs: make pure, make smoke")

BATCHES = 6
SEEDS = 50
REGRESSIONS = [1, 2, 13, 14, 32, 39, 45, 52, 194]
"""Seeds that have found something once (with the operations of that time)."""


@pytest.mark.parametrize("batch", range(BATCHES))
def test_any_crash_leaves_a_state_that_was_promised(batch: int) -> None:
    for seed in range(batch * SEEDS, (batch + 1) * SEEDS):
        play(seed)


@plants
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_noticed(bug: Planted) -> None:
    rounds, failure = rounds_until_caught(bug)
    assert failure is not None, f"not noticed in {rounds} rounds"


@plants
def test_nothing_of_a_planted_bug_stays() -> None:
    for bug in BUGS:
        with bug.in_force():
            pass
    play(0)


def test_a_seed_plays_the_same_round_again() -> None:
    def story(seed: int) -> list[str]:
        world = Round(seed)
        told: list[str] = []
        world.disk.step = lambda operation, path: told.append(f"{operation} {path}")  # type: ignore[method-assign]
        world.run()
        return told

    assert story(3) == story(3)


@plants
def test_a_failure_names_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    bug = next(bug for bug in BUGS if bug.name == "counts not logged")
    with bug.in_force(), pytest.raises(Failure, match="seed 0, step"):
        for _ in range(10):
            play(0)
