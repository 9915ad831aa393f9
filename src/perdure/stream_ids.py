"""Stream ids as clients write them: `ms-seq`, and the ends of intervals. Inside an id is one integer (`types/stream.py`)."""

from __future__ import annotations

from typing import Final

from perdure import errors
from perdure.args import unsigned
from perdure.errors import ReplyError
from perdure.registry import Args
from perdure_storage.types.stream import MASK, MAX_ID

MAX_ID_TEXT: Final = 127


def parse_id(raw: bytes, seq: int = 0) -> int:
    """`ms-seq`, or `ms` alone, which gets this `seq`."""
    if len(raw) > MAX_ID_TEXT:
        raise errors.bad_stream_id()
    ms, dash, rest = raw.partition(b"-")
    low = unsigned(rest, errors.bad_stream_id) if dash else seq
    return unsigned(ms, errors.bad_stream_id) << 64 | low


def parse_ids(raws: Args) -> list[int]:
    return [parse_id(raw) for raw in raws]


def id_text(ident: int) -> bytes:
    return b"%d-%d" % (ident >> 64, ident & MASK)


def parse_edge(raw: bytes, seq: int, inwards: int, which: str) -> int:
    """One end of a range, where `-` and `+` are the ends of everything, and `(` leaves the id itself out."""
    if raw == b"-":
        return 0
    if raw == b"+":
        return MAX_ID
    if len(raw) < 2 or raw[:1] != b"(":
        return parse_id(raw, seq)
    ident = parse_id(raw[1:], seq) + inwards
    if not 0 <= ident <= MAX_ID:
        raise ReplyError(f"ERR invalid {which} ID for the interval")
    return ident


def parse_interval(start: bytes, end: bytes) -> tuple[int, int]:
    return parse_edge(start, 0, 1, "start"), parse_edge(end, MASK, -1, "end")
