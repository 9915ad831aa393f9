"""Scripts of several clients, played to two servers: what one says must be what the other says.

A script has one command a line, after the number of the client that sends it:

    1 SET k v
    2 GET k
    1 -DEBUG SLEEP 0.01     a dash: run it, but do not compare the reply
    1 >BLPOP k 0            send it; the client has to wait
    1 <                     now it must have its reply
    1 !                     it hangs up

`%2` stands for the number that the server gives to client 2.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable
from typing import Any

from tests.conftest import RealRedis

LINE = re.compile(r"(\d+) ([-><!]?)(.*)")
NUMBER = re.compile(rb"%\d+").fullmatch


def play(port: int, script: str, protocol: int = 2) -> list[tuple[str, Any]]:
    """Each line of the script with its reply."""
    clients: dict[str, RealRedis] = {}
    said: list[tuple[str, Any]] = []
    try:
        for raw in script.strip().splitlines():
            match = LINE.fullmatch(raw.strip())
            assert match is not None, raw
            number, mark, command = match.groups()
            if number not in clients:
                clients[number] = RealRedis(port)
                if protocol == 3:
                    clients[number].ask("HELLO", "3")
            words = [word.encode().decode("unicode_escape").encode("latin-1") for word in shlex.split(command)]
            words = [b"%d" % clients[word[1:].decode()].ask("CLIENT", "ID") if NUMBER(word) else word for word in words]
            if mark == ">":
                waiting = blocked_clients(port)
                clients[number].send(*words)
                until(lambda: blocked_clients(port) == waiting + 1)  # noqa: B023
            elif mark == "<":
                said.append((raw.strip(), clients[number].read()))
            elif mark == "!":
                waiting = blocked_clients(port)
                clients.pop(number).close()
                until(lambda: blocked_clients(port) == waiting - 1)  # noqa: B023
            else:
                reply = clients[number].ask(*words)
                said.append((raw.strip(), "..." if mark else reply))
    finally:
        for client in clients.values():
            client.close()
    return said


def blocked_clients(port: int) -> int:
    """How many wait, as INFO says."""
    client = RealRedis(port)
    try:
        return int(client.ask("INFO", "clients").partition(b"blocked_clients:")[2].split()[0])
    finally:
        client.close()


def until(ready: Callable[[], object], seconds: float = 20) -> None:
    """Wait for that, but not for long."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)
