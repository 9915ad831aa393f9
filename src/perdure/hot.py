"""What the hot path asks of a server, in one place so that it can be compiled to fields of C: `Server` extends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import deque

    from perdure.registry import Command
    from perdure.resp import Raw
    from perdure.session import Session, Watched
    from perdure.tracking import Tracking
    from perdure_storage.engine import Engine
    from perdure_storage.keyspace import Dataset


class Hot:
    """`gate` is set while anything about the server makes admission more than a look-up in `lookup`. `held_back` is what
    a transaction makes to be told: see Server.hold_back.

    `watchers`, `waited_for`, `trackers` and `monitors` are asked whether they are empty; `signaled` are keys for which
    a waiting client may be served now. A command that takes longer than `slow_ns` is remembered,
    and with `histograms` all are counted.
    """

    __slots__ = (
        "changes", "dataset", "engine", "gate", "held_back", "histograms", "lookup", "monitors", "ready", "signaled",
        "slow_ns", "trackers", "waited_for", "watchers",
    )  # fmt: skip

    def __init__(self, engine: Engine, lookup: dict[bytes, Command]) -> None:
        self.engine = engine
        self.dataset: Dataset = engine.dataset
        self.lookup = lookup
        self.gate = False
        self.changes = 0
        self.held_back: list[tuple[Session, Raw]] | None = None
        self.slow_ns = 0
        self.histograms = True
        self.ready: list[Session] = []
        self.monitors: set[Session] = set()
        self.watchers: dict[Watched, set[Session]] = {}
        self.waited_for: dict[Watched, dict[Session, None]] = {}
        self.signaled: deque[Watched]
        self.trackers: dict[Session, Tracking] = {}
