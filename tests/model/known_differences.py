"""Where Perdure differs from redis-server 7.0 and means to: `docs/differences.md` says why, under these headings."""

from __future__ import annotations

from typing import Final

from tests.model.differential import SAME, Argv, Difference, Reply
from tests.model.families.dumps import same_but_for_idlers
from tests.model.families.streams import alike, without_idlers

NULL: Final = (("*", None), ("_", b""))
"""What is not there, in either protocol."""


def _named(argv: Argv, *names: bytes) -> bool:
    return argv[0].lower() in names


def _is_error(reply: Reply) -> bool:
    return reply[0] == "-"


def _reordered(redis: Reply, perdure: Reply) -> bool:
    return redis[0] == perdure[0] == "*" and sorted(redis[1], key=repr) == sorted(perdure[1], key=repr)


def _wrong_type(reply: Reply) -> bool:
    return _is_error(reply) and bool(reply[1].startswith(b"WRONGTYPE"))


def _bad_range_of_nothing(argv: Argv, redis: Reply, perdure: Reply) -> bool:
    return _named(argv, b"bitcount", b"bitpos") and _is_error(perdure) and (redis[0] == ":" or _wrong_type(redis))


def _newer_options(argv: Argv, redis: Reply, perdure: Reply) -> bool:
    words = {arg.upper() for arg in argv[2:]}
    if _named(argv, b"set"):
        return bool(words & {b"IFEQ", b"IFNE", b"IFDEQ", b"IFDNE"}) and _is_error(redis)
    if _named(argv, b"hscan"):
        return b"NOVALUES" in words and _is_error(redis)
    return _named(argv, b"bitop") and argv[1:2][0].upper() in (b"DIFF", b"DIFF1", b"ANDOR", b"ONE") and _is_error(redis)


def _foreign_cursor(argv: Argv, redis: Reply, perdure: Reply) -> bool:
    if redis[0] != "*" or perdure[0] != "*":
        return False
    if _named(argv, b"scan"):
        return argv[1].lstrip(b"+0") != b""
    drawn = _named(argv, b"sscan", b"hscan", b"zscan") and argv[2].isdigit()
    return drawn and 0 < int(argv[2]) < 1 << 32  # those that a server gave are larger


def _negative_zero(argv: Argv, redis: Reply, perdure: Reply) -> bool:
    if argv[0].lower()[:1] not in (b"z", b"b"):
        return False
    theirs, ours = _unsigned(redis), _unsigned(perdure)
    judge = SAME.get(argv[0].lower().decode("latin-1"))
    return theirs == ours or (judge is not None and judge(theirs, ours))


def _unsigned(reply: Reply) -> Reply:
    kind, content = reply
    if isinstance(content, list):
        return kind, [_unsigned(item) for item in content]
    return kind, b"0" if content == b"-0" else content


def _references(argv: Argv, redis: Reply, perdure: Reply) -> bool:
    return _named(argv, b"object") and argv[1].lower() == b"refcount" and redis[0] == perdure[0] == ":"


def _dead_keys(argv: Argv, redis: Reply, perdure: Reply) -> bool:
    return _named(argv, b"dbsize") and redis[0] == perdure[0] == ":" and redis[1] > perdure[1]


def _over_at_once(argv: Argv, redis: Reply, perdure: Reply) -> bool:
    return _named(argv, b"exec") and isinstance(perdure[1], list) and redis in NULL


def _seen_by_watch(argv: Argv, redis: Reply, perdure: Reply) -> bool:
    return _named(argv, b"exec") and isinstance(redis[1], list) and perdure in NULL


def _idle_consumers(argv: Argv, redis: Reply, perdure: Reply) -> bool:
    if _named(argv, b"xgroup"):
        return argv[1].lower() == b"createconsumer" and (redis, perdure) == ((":", 1), (":", 0))
    if _named(argv, b"dump"):
        return same_but_for_idlers(redis, perdure)
    return _named(argv, b"xinfo") and alike(redis, without_idlers(redis, perdure))


def _below_deleted(argv: Argv, redis: Reply, perdure: Reply) -> bool:
    return _named(argv, b"xsetid") and _is_error(perdure) and perdure[1].endswith(b"current max_deleted_entry_id")


def _end_of_time(argv: Argv, redis: Reply, perdure: Reply) -> bool:
    return _named(argv, b"restore", b"restore-asking") and perdure[1] == b"ERR invalid expire time in 'restore' command"


def _same_weights(argv: Argv, redis: Reply, perdure: Reply) -> bool:
    words = {arg.upper() for arg in argv[2:]}
    return _named(argv, b"sort", b"sort_ro") and {b"BY", b"ALPHA"} <= words and _reordered(redis, perdure)


def _left_over_errno(argv: Argv, redis: Reply, perdure: Reply) -> bool:
    leftover = _is_error(redis) and redis[1] == b"ERR One or more scores can't be converted into double"
    return _named(argv, b"sort", b"sort_ro") and leftover and not _is_error(perdure)


def _same_distances(argv: Argv, redis: Reply, perdure: Reply) -> bool:
    ordered = {arg.upper() for arg in argv[2:]} & {b"COUNT", b"ASC", b"DESC"}
    return argv[0].lower().startswith((b"geosearch", b"georadius")) and bool(ordered) and _reordered(redis, perdure)


KNOWN: Final = (
    Difference("BITCOUNT and BITPOS check their arguments also when there is no key", _bad_range_of_nothing),
    Difference("Options of newer versions", _newer_options),
    Difference("SCAN with a cursor that it did not give begins at the start", _foreign_cursor),
    Difference("A score of -0 keeps its sign", _negative_zero),
    Difference("OBJECT REFCOUNT", _references),
    Difference("DBSIZE does not count keys whose time is over", _dead_keys, after="EXAT PXAT"),
    Difference("WATCH does not see a key whose time is over at once", _over_at_once, after="EXAT PXAT", of_watch=True),
    Difference("SORT BY … ALPHA of elements with the same weight", _same_weights),
    Difference("SORT after a number that is next to nothing", _left_over_errno),
    Difference("Members at the same distance", _same_distances),
    Difference("BITFIELD … OVERFLOW FAIL that makes a string longer", _seen_by_watch, after="FAIL", of_watch=True),
    Difference(
        "WATCH sees a stream's consumer groups change",
        _seen_by_watch,
        after="XREADGROUP XACK XCLAIM XAUTOCLAIM XGROUP XSETID",
        of_watch=True,
    ),
    Difference(
        "Consumers are made when they ask, as in 7.2", _idle_consumers, after="XREADGROUP XCLAIM XAUTOCLAIM"
    ),
    Difference("XSETID to an id below a deleted one", _below_deleted),
    Difference("PFDEBUG is a change for WATCH", _seen_by_watch, after="PFDEBUG", of_watch=True),
    Difference("RESTORE with a time to live beyond the end of time", _end_of_time),
)
