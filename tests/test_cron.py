"""What happens by the clock, without waiting for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from perdure.cron import HANDSHAKE_MS, close_idle


def client(**what: Any) -> SimpleNamespace:
    usual = {"authenticated": True, "created_ms": 0, "active_ms": 0, "parked": None, "monitoring": False}
    return SimpleNamespace(**{**usual, "channels": set(), "patterns": set(), "shard_channels": set(), **what})


def closed(clients: list[SimpleNamespace], now: int, timeout_s: int = 0) -> list[SimpleNamespace]:
    """Which of the clients are closed at `now`."""
    gone: list[SimpleNamespace] = []
    named = {id(each): each for each in clients}
    server: Any = SimpleNamespace(
        dataset=SimpleNamespace(now=now),
        config=SimpleNamespace(timeout=timeout_s),
        strangers=Strangers(each for each in clients if not each.authenticated),
        sessions=named,
        kill=gone.append,
    )
    close_idle(server)
    return gone


class Strangers(list[SimpleNamespace]):
    """Stands for a dict of things that cannot be hashed."""

    def __delitem__(self, item: Any) -> None:
        self.remove(item)


@pytest.mark.parametrize(("age_ms", "is_closed"), [(0, False), (HANDSHAKE_MS, False), (HANDSHAKE_MS + 1, True)])
def test_strangers_have_so_long_to_authenticate(age_ms: int, is_closed: bool) -> None:
    stranger, friend = client(authenticated=False), client()
    assert closed([stranger, friend], age_ms) == ([stranger] if is_closed else [])


def test_idle_clients_are_closed_but_not_those_that_listen_or_wait() -> None:
    idle, busy = client(), client(active_ms=9_500)
    spared = [client(parked=object()), client(monitoring=True), client(channels={b"c"}), client(patterns={b"p"})]
    assert closed([idle, busy, *spared], 10_000, timeout_s=1) == [idle]
    assert closed([idle, busy, *spared], 10_000) == []
