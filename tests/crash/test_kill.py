"""kill -9 of the real server, a few rounds at each level; and the judge that decides what was lost."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from perdure_tools.cli import main
from perdure_tools.crash_server import Client, Harness, Known, Operation, Server, children


@pytest.mark.parametrize("level", ["always", "everysec", "no"])
def test_nothing_acknowledged_is_lost(level: str, tmp_path: Path) -> None:
    result = Harness(str(tmp_path), level, clients=4, random=Random()).run(3)
    assert result.rounds == 3
    assert result.acknowledged > 0
    assert (result.lost, result.never_written) == (0, 0)


def test_the_server_goes_on_when_its_checkpointer_is_killed(tmp_path: Path) -> None:
    harness = Harness(str(tmp_path), "always", clients=1, random=Random(1))
    harness.start()
    server = harness.server
    assert server is not None
    try:
        for _ in range(3):
            harness.kill_checkpointer(server)
        assert harness.result.checkpointer_kills >= 3
        assert server.process.poll() is None
        assert server.checkpointer() in children(server.pid)
        harness.stop()
    finally:
        if harness.server is not None:
            server.kill()


def test_a_server_that_does_not_start_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    server = Server(str(tmp_path / "file"), "always", str(tmp_path / "log"))
    with pytest.raises(AssertionError, match="did not start"):
        server.wait_until_ready()
    server.kill()


def test_the_verb_reports(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crash", "--rounds", "1", "--clients", "2", "--simulate", "3", "--json"]) == 0
    simulated, killed = map(json.loads, capsys.readouterr().out.splitlines())
    assert simulated["rounds"] == 3
    assert simulated["good"]
    assert killed["good"]
    assert (killed["lost"], killed["never_written"]) == (0, 0)


# -- the judge ---------------------------------------------------------------------------------------------------------


def client(known: Known, *under_way: Known) -> Client:
    """One that has seen `known` acknowledged, and has sent more."""
    made = Client(0, 0)
    made.known = dict(known)
    made.under_way = [Operation([], changes) for changes in under_way]
    for state in (known, *under_way):
        for name, value in state.items():
            made.written.setdefault(name, set()).add(value)
    return made


@pytest.mark.parametrize(
    ("found", "judgement"),
    [
        ({b"a": b"1"}, (0, 0, 0)),
        ({b"a": b"2"}, (0, 0, 1)),
        ({b"a": b"2", b"b": b"3", b"c": b"3"}, (0, 0, 2)),
        ({b"b": b"3", b"c": b"3"}, (0, 0, 3)),
        ({b"a": b"1", b"b": b"3", b"c": b"3"}, (1, 0, 0)),  # the second without the first
        ({b"a": b"2", b"b": b"3"}, (1, 0, 0)),  # half a transaction
        ({}, (1, 0, 0)),
        ({b"a": b"9"}, (0, 1, 0)),
        ({b"a": b"1", b"d": b"1"}, (0, 1, 0)),
    ],
)
def test_what_is_found_must_be_what_was_acknowledged_and_a_first_part_of_the_rest(
    found: Known, judgement: tuple[int, int, int]
) -> None:
    made = client({b"a": b"1"}, {b"a": b"2"}, {b"b": b"3", b"c": b"3"}, {b"a": None})
    assert made.compare(found) == judgement


def test_an_older_value_is_a_lost_write() -> None:
    made = client({b"a": b"1"})
    made.acknowledge(*_acknowledged(made, {b"a": b"2"}))
    assert made.compare({b"a": b"1"}) == (1, 0, 0)


def _acknowledged(made: Client, changes: Known) -> tuple[Operation, bytes]:
    operation = Operation([], changes)
    made.under_way.append(operation)
    for name, value in changes.items():
        made.written.setdefault(name, set()).add(value)
    return operation, b"OK"
