"""kill -9 of the real server, a few rounds at each level; and the judge that decides what was lost."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from tests.commands.dialogue import until

from perdure_tools.cli import main
from perdure_tools.crash_client import Client, Operation, read
from perdure_tools.crash_server import Harness, Server, children, now_ms
from perdure_tools.crash_steps import State, Value
from perdure_tools.crash_wire import Connection


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
            until(lambda: server.checkpointer() in children(server.pid))
            harness.kill_checkpointer(server)
        assert harness.result.checkpointer_kills >= 3
        assert server.process.poll() is None
        until(lambda: server.checkpointer() in children(server.pid))
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


def known(**strings: bytes) -> State:
    return {(1, name.encode()): Value("string", value) for name, value in strings.items()}


A1, A2 = known(a=b"1"), known(a=b"2")
A2_BC = known(a=b"2", b=b"3", c=b"3")
BC = known(b=b"3", c=b"3")


def client(*states: State) -> Client:
    """One that has seen the first of these states acknowledged, and has sent what leads to the others."""
    made = Client(0, Random(0), known=states[0])
    made.under_way = [Operation([], state) for state in states[1:]]
    return made


@pytest.mark.parametrize(
    ("found", "judgement"),
    [
        (A1, (0, 0, 0)),
        (A2, (0, 0, 1)),
        (A2_BC, (0, 0, 2)),
        (BC, (0, 0, 3)),
        (A1 | BC, (1, 0, 0)),  # the second without the first
        (known(a=b"2", b=b"3"), (1, 0, 0)),  # half a transaction
        ({}, (1, 0, 0)),
        (known(a=b"9"), (0, 1, 0)),
        (known(a=b"1", d=b"1"), (0, 1, 0)),
    ],
)
def test_what_is_found_must_be_what_was_acknowledged_and_a_first_part_of_the_rest(
    found: State, judgement: tuple[int, int, int]
) -> None:
    assert client(A1, A2, A2_BC, BC).compare(found, 5, 6) == judgement


def test_an_older_value_is_a_lost_write() -> None:
    made = client(A1, A2)
    made.acknowledge(made.under_way[0], b"OK")
    assert made.compare(A1, 5, 6) == (1, 0, 0)


def test_what_expires_while_it_is_read_may_be_there_or_not() -> None:
    soon, later = Value("string", b"x", 10_000), Value("string", b"x", 20_000)
    fields = Value("hash", {b"soon": (b"x", 10_000), b"stays": (b"x", 0)})
    for found in ({}, {(1, b"k"): soon}):
        assert client({(1, b"k"): soon}).compare(found, 9_990, 10_010) == (0, 0, 0)
    assert client({(1, b"k"): soon}).compare({}, 20_000, 20_010) == (0, 0, 0)
    assert client({(1, b"k"): soon}).compare({(1, b"k"): soon}, 20_000, 20_010) == (0, 1, 0)
    assert client({(1, b"k"): later}).compare({}, 9_990, 10_010) == (1, 0, 0)
    stays = {(1, b"h"): Value("hash", {b"stays": (b"x", 0)})}
    assert client({(1, b"h"): fields}).compare(stays, 20_000, 20_010) == (0, 0, 0)
    assert client({(1, b"h"): fields}).compare({(1, b"h"): fields}, 20_000, 20_010) == (0, 1, 0)


def test_an_outcome_that_only_the_server_knows_is_learned_from_its_reply() -> None:
    place = (1, b"key:0")
    made = client({place: Value("set", frozenset((b"x", b"y", b"z")))})
    made.selected = 1
    while True:
        made.state = dict(made.known)
        asked = made.question()
        if asked.learn is not None and place in asked.after and asked.after[place] != made.known[place]:
            break
    left = 3 - int(next(words[2] for words in asked.commands if words[0] == b"SPOP"))
    for members, judgement in ((b"xyz", (0, 0, 0)), (b"zyx"[:left], (0, 0, 1)), (b"abcd"[:left], (0, 1, 0))):
        found = {place: Value("set", frozenset(bytes((member,)) for member in members))}
        assert client(made.known, asked.after).compare(found, 5, 6) == judgement
    made.under_way = [asked]
    made.acknowledge(asked, [[], [b"y"]])
    assert made.known == {place: Value("set", frozenset((b"y",)))}


def test_every_type_is_written_and_read_back(tmp_path: Path) -> None:
    harness = Harness(str(tmp_path), "no", clients=1, random=Random(5))
    harness.start()
    server, writer = harness.server, harness.clients[0]
    assert server is not None
    connection = Connection(server.port)
    try:
        for _ in range(1500):
            (operation,) = writer.invent(1)
            connection.send(operation.commands)
            writer.under_way = [operation]
            writer.acknowledge(operation, [connection.reply() for _ in operation.commands][-1])
        began = now_ms()
        found = read(connection, writer.databases)
        kinds = {value.kind for state in writer.past for value in state.values()}
        assert kinds == {"string", "hash", "list", "set", "zset", "stream", "hll"}
        assert (writer.compare(found, began, now_ms()), writer.complaints) == ((0, 0, 0), [])
    finally:
        connection.close()
        server.kill()
