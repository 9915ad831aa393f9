"""EXPIRE on a hash left no effect but the RECORD that sealing makes; dispatch asks for effects, and did not seal.

The time to live was gone after a restart. Found by the differential test.
"""

from __future__ import annotations

import pytest
from tests.model.differential import RESTARTS, LocalServer


@pytest.mark.parametrize("how", RESTARTS)
def test_the_time_to_live_of_a_hash_outlasts_a_restart(how: str) -> None:
    server = LocalServer()
    server.ask(b"HSET", b"h", b"f", b"v")
    server.ask(b"EXPIRE", b"h", b"1000")
    server.restart(how)
    assert server.ask(b"TTL", b"h") == (":", 1000)
    assert server.ask(b"PERSIST", b"h") == (":", 1)
    server.restart(how)
    assert server.ask(b"TTL", b"h") == (":", -1)
    server.close()
