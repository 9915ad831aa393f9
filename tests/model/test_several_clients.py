"""Several clients at once, who wait and listen: Perdure and redis-server serve them alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import strategies as st
from tests.conftest import PerdureServer
from tests.model.differential import explore
from tests.model.several_clients import FEEDING, LISTENING, WAITING, Side, Step, compare, dialogue


@pytest.fixture(scope="module")
def sides(real_redis_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    server = PerdureServer(tmp_path_factory.mktemp("several") / "data", "--appendfsync", "no")
    redis, perdure = Side(real_redis_port), Side(server.port)
    yield redis, perdure
    redis.close()
    perdure.close()
    server.stop()


PROGRAMS = {
    "wait for lists, sorted sets and streams": dialogue(WAITING, WAITING, FEEDING, FEEDING, FEEDING),
    "listen to channels": dialogue(LISTENING),
    "do both": dialogue(WAITING, FEEDING, FEEDING, LISTENING),
}


@pytest.mark.parametrize("what", PROGRAMS)
def test_clients_who(what: str, sides: tuple[Side, Side]) -> None:
    def check(program: list[Step], protocol: int) -> None:
        compare(*sides, program, protocol)

    explore(60, check, program=PROGRAMS[what], protocol=st.sampled_from((2, 3)))
