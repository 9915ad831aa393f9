"""How many files the process may have open: clients must not take what the log and the tables need."""

from __future__ import annotations

from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit
from typing import Final

OURS: Final = 64
"""Files that clients leave us: listening sockets, segments of the log, tables, pipes, connections of MIGRATE."""


def room_for(clients: int) -> int:
    """How many clients can be let in, at most `clients`, once the limit of open files is raised for them as far as may be.

    Below 1 when there is not even room for what is ours.
    """
    soft, hard = getrlimit(RLIMIT_NOFILE)
    wanted = clients + OURS
    if soft == RLIM_INFINITY or soft >= wanted:
        return clients
    enough = hard if hard == RLIM_INFINITY else max(hard, wanted)  # more than it was: only for the superuser
    for limits in ((wanted, enough), (hard, hard)):
        try:
            setrlimit(RLIMIT_NOFILE, limits)
        except (ValueError, OSError):
            continue
        return min(clients, limits[0] - OURS)
    return soft - OURS
