"""Scripts of several clients, played to two servers: what one says must be what the other says.

A script has one command a line, after the number of the client that sends it:

    1 SET k v
    2 GET k
    1 -DEBUG SLEEP 0.01     a dash: run it, but do not compare the reply
"""

from __future__ import annotations

import re
import shlex
from typing import Any

from tests.conftest import RealRedis

LINE = re.compile(r"(\d+) (-?)(.+)")


def play(port: int, script: str, protocol: int = 2) -> list[tuple[str, Any]]:
    """Each line of the script with its reply."""
    clients: dict[str, RealRedis] = {}
    said: list[tuple[str, Any]] = []
    try:
        for raw in script.strip().splitlines():
            match = LINE.fullmatch(raw.strip())
            assert match is not None, raw
            number, ignored, command = match.groups()
            if number not in clients:
                clients[number] = RealRedis(port)
                if protocol == 3:
                    clients[number].ask("HELLO", "3")
            words = [word.encode().decode("unicode_escape").encode("latin-1") for word in shlex.split(command)]
            reply = clients[number].ask(*words)
            said.append((raw.strip(), "..." if ignored else reply))
    finally:
        for client in clients.values():
            client.close()
    return said
