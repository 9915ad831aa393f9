"""What is said about a client: its line in CLIENT LIST, its class, the names it may have."""

from __future__ import annotations

from perdure.errors import ReplyError
from perdure.session import Argv, Session

CLASSES = ("normal", "master", "replica", "slave", "pubsub")
BARE_CLIENT = 2000
"""Bytes of memory of a session, its parser and its socket when nothing is under way. Roughly."""
NAMED = 150
"""The same for each watched key, subscription, prefix."""


def checked_name(raw: bytes) -> bytes:
    """A client's name; empty takes it away. Raises ReplyError."""
    if not is_plain(raw):
        raise ReplyError("ERR Client names cannot contain spaces, newlines or special characters.")
    return raw


def is_plain(raw: bytes) -> bool:
    """Visible ASCII only: it goes into a line of words."""
    return all(33 <= byte <= 126 for byte in raw)


def class_of(session: Session) -> str:
    """normal or pubsub: one of CLASSES."""
    return "pubsub" if session.channels or session.patterns or session.shard_channels else "normal"


def flags_of(session: Session) -> str:
    """The letters of CLIENT LIST's `flags`."""
    tracking = session.tracking
    signs = (
        (session.monitoring, "O"),
        (class_of(session) == "pubsub", "P"),
        (session.multi is not None, "x"),
        (session.parked is not None, "b"),
        (tracking is not None, "t"),
        (tracking is not None and tracking.broken, "R"),
        (tracking is not None and tracking.bcast, "B"),
        (session.watch_broken, "d"),
        (session.closing, "c"),
        (session.address.startswith("/"), "U"),
        (session.no_evict, "e"),
        (session.no_touch, "T"),
    )
    return "".join(sign for holds, sign in signs if holds) or "N"


def waiting_output(session: Session) -> tuple[int, int]:
    """(number, bytes) of the replies that have not left."""
    unsent = session.peer.waiting_bytes if session.peer is not None else 0
    return len(session.pending) + len(session.out), session.pending_bytes + sum(map(len, session.out)) + unsent


def waiting_input(session: Session) -> tuple[int, int]:
    """Bytes that the client has sent: (of requests that are not whole or have not run, of the arguments among them)."""
    backlog = sum(request_size(argv) for argv in session.backlog)
    if session.peer is None:
        return backlog, 0
    parser = session.peer.parser
    return parser.waiting_bytes + backlog, parser.argument_bytes


def request_size(argv: Argv) -> int:
    """Bytes of a request on the wire."""
    size = 3 + len(str(len(argv)))
    for arg in argv:
        size += 5 + len(str(len(arg))) + len(arg)
    return size


def memory_of(session: Session) -> int:
    """Estimated bytes of memory that the client takes."""
    return kept_for(session) + sum(map(len, session.out))


def kept_for(session: Session) -> int:
    """The same without the replies that leave with this tick, which are no reason to make room."""
    unsent = session.peer.waiting_bytes if session.peer is not None else 0
    named = len(session.watched) + len(session.channels) + len(session.patterns) + len(session.shard_channels)
    if session.tracking is not None:
        named += len(session.tracking.prefixes)
    taken = unsent + session.pending_bytes + sum(waiting_input(session)) + session.multi_bytes
    return BARE_CLIENT + NAMED * named + taken


def describe(session: Session, request: Argv | None = None) -> bytes:
    """The client's line in CLIENT LIST, without its end. `request`: what it has asked, if it is the one who asks.

    Redis 7.2's fields, those about buffers that do not exist here as 0; then `durability`, which is ours.
    """
    now = session.ds.now
    replies, waiting = waiting_output(session)
    received, arguments = waiting_input(session)
    if request is not None:
        received += request_size(request)
        arguments += sum(map(len, request))
    fields: dict[str, object] = {
        "id": session.id,
        "addr": session.address,
        "laddr": session.local_address,
        "fd": session.peer.fileno() if session.peer is not None else -1,
        "name": session.name.decode("latin-1"),
        "age": max(0, now - session.created_ms) // 1000,
        "idle": max(0, now - session.active_ms) // 1000,
        "flags": flags_of(session),
        "db": session.db.index,
        "sub": len(session.channels),
        "psub": len(session.patterns),
        "ssub": len(session.shard_channels),
        "multi": -1 if session.multi is None else len(session.multi),
        "qbuf": received,
        "qbuf-free": 0,
        "argv-mem": arguments,
        "multi-mem": session.multi_bytes,
        "rbs": 0,
        "rbp": 0,
        "obl": 0,
        "oll": replies,
        "omem": waiting,
        "tot-mem": memory_of(session) + (received + arguments if request is not None else 0),
        "events": "rw" if waiting > sum(map(len, session.out)) else "r",
        "cmd": session.last_command.name.decode() if session.last_command is not None else "NULL",
        "user": session.user.name.decode("latin-1"),
        "redir": -1 if session.tracking is None else session.tracking.redirect,
        "resp": session.protocol,
        "lib-name": session.lib_name.decode("latin-1"),
        "lib-ver": session.lib_ver.decode("latin-1"),
        "durability": session.durability.name.lower(),
    }
    return " ".join(f"{name}={value}" for name, value in fields.items()).encode("latin-1")
