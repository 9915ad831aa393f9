"""Perdure answers what redis-server answers, whatever is sent, and restarts are not noticed."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import strategies as st
from tests.conftest import ROOT, PerdureServer
from tests.model import families, several_clients
from tests.model.differential import (
    COMMAND_STRATEGIES,
    DRAWN,
    PRELUDE,
    SCRIPTS,
    Connection,
    LocalServer,
    Program,
    Remote,
    Reply,
    commands_of,
    compare,
    explore,
    steps,
)
from tests.model.known_differences import KNOWN

from perdure_storage.testing import ManualClock

FAMILIES = sorted(COMMAND_STRATEGIES)
PROTOCOLS = st.sampled_from((2, 3))
assert families and several_clients  # their strategies count as drawn


@pytest.fixture(scope="module")
def redis(real_redis_port: int) -> Iterator[Remote]:
    remote = Remote(real_redis_port)
    yield remote
    remote.close()


class ServerProcess:
    """perdure-server as it is run, each program in a directory of its own. Any restart is SIGTERM or kill -9."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.programs = 0
        self.process: PerdureServer | None = None
        self.remote: Remote
        self.table = LocalServer().server.commands

    def begin(self) -> ServerProcess:
        """A new, empty server."""
        self.end()
        self.programs += 1
        self.start()
        return self

    def start(self) -> None:
        self.process = PerdureServer(self.root / str(self.programs))
        self.remote = Remote(self.process.port)

    def speak(self, protocol: int) -> None:
        assert protocol == 2, "RESP3 is compared in process"

    def knows(self, name: bytes) -> bool:
        return name.lower() in self.table

    def ask(self, *argv: bytes) -> Reply:
        return self.remote.ask(*argv)

    def restart(self, how: str) -> None:
        if how in ("close", "kill"):
            self.end(signal.SIGTERM if how == "close" else signal.SIGKILL)
            self.start()

    def end(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.remote.close()
            self.process.stop(number)
            self.process = None

    def close(self) -> None:
        self.end()


def still() -> LocalServer:
    """A server whose clock stands: the requests to redis-server are sent at once, so it has hardly any time either."""
    return LocalServer(ManualClock(time.time_ns() // 1_000_000))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_answers_as_redis_does(redis: Remote, family: str) -> None:
    def check(program: Program, protocol: int) -> None:
        compare(redis, still, program, [family], protocol)

    explore(100, check, program=steps(family), protocol=PROTOCOLS)


def test_all_families_together_answer_as_redis_does(redis: Remote) -> None:
    def check(program: Program, protocol: int) -> None:
        compare(redis, still, program, FAMILIES, protocol)

    explore(100, check, program=steps(*FAMILIES), protocol=PROTOCOLS)


def test_the_same_over_a_socket_with_kill_9(redis: Remote, tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)

    def check(program: Program) -> None:
        compare(redis, server.begin, program, FAMILIES, protocol=2)

    try:
        explore(4, check, program=steps(*FAMILIES))
    finally:
        server.end()


NOT_DRAWN: Final = {
    "is newer than the judge, and has tests of its own in tests/commands": """
        delex delifeq digest msetex hexpire hexpireat hexpiretime hgetdel hgetex hpersist hpexpire hpexpireat hpexpiretime
        hpttl hsetex httl xackdel xdelex""",
    "tells of memory, which restarts change: tests/commands and docs/differences.md": """
        object|encoding object|idletime memory|usage""",
    "is a text of our own": "object|help pubsub|help xgroup|help xinfo|help",
    "needs two servers: tests/commands/test_migrate.py": "migrate",
    "tests itself": "pfselftest",
    "is RESTORE": "restore-asking",
}
"""Why commands that read or change data have no strategy here."""


def test_every_data_command_is_drawn() -> None:
    commands = [
        command
        for each in LocalServer().server.commands.values()
        for command in (each.subcommands.values() if each.subcommands else [each])
    ]
    of_data = {
        command.name
        for command in commands
        if not command.context or command.first_key or command.movablekeys or command.family.group in GROUPS
    }
    excused = {name.encode() for names in NOT_DRAWN.values() for name in names.split()}
    assert sorted(of_data - DRAWN - excused) == []
    assert sorted(excused & DRAWN) == []
    assert sorted(excused - {command.name for command in commands}) == []


NEARLY_ALWAYS: Final = 0.9


def test_no_command_is_nearly_always_refused() -> None:
    """Random arguments are easily wrong, and then nothing but errors is compared."""
    told, refused = Counter[bytes](), Counter[bytes]()
    commands = LocalServer().server.commands
    containers = {name for name, command in commands.items() if command.subcommands}

    def count(program: Program) -> None:
        server, connection = still(), Connection()
        for argv in commands_of([*SCRIPTS, *PRELUDE, *program]):
            if not server.knows(argv[0]):
                continue
            reply = server.ask(*argv)
            for one, _, its_reply in connection.parts(argv, reply, reply):
                name = b"|".join(one[: 2 if one[0].lower() in containers else 1]).lower()
                if its_reply != ("+", b"QUEUED"):
                    told[name] += 1
                    refused[name] += its_reply[0] == "-"
            connection.note(argv, reply)
        server.close()

    explore(250, count, same=True, program=steps(*FAMILIES))
    known = {each.name for command in commands.values() for each in (command.subcommands or {b"": command}).values()}
    rarely = {
        name.decode(): refused[name] / told[name]
        for name in known & told.keys() - {b"exec"}  # whose replies count as those of its commands
        if told[name] >= 20 and refused[name] >= NEARLY_ALWAYS * told[name]
    }
    assert not rarely


GROUPS: Final = ("pubsub", "transactions")
"""Groups whose commands get the session, and are compared all the same."""


def test_every_known_difference_is_published() -> None:
    page = (ROOT / "docs" / "differences.md").read_text()
    assert [known.title for known in KNOWN if f"## {known.title}\n" not in page] == []
