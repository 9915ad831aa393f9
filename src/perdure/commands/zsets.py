# cython: annotation_typing=True
"""Sorted sets: ZADD, ZRANGE and their kin.

All that asks for an order first turns what it is asked for into ranks `start` up to, but not, `stop`, and then takes
those out of the ranking.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from math import inf
from typing import Any, Final, TypeAlias

from perdure import errors, sampling
from perdure.args import (
    INT_MAX,
    ScanOptions,
    Words,
    integer,
    integer_between,
    number,
    timeout_ms,
    to_integer,
    to_number,
)
from perdure.args import cursor as parse_cursor
from perdure.errors import ReplyError
from perdure.globs import compile_glob
from perdure.registry import BLOCKING, DENYOOM, FAST, NOSCRIPT, READ, RECORD_ONLY, WRITE, Args, Family
from perdure.resp import NULL_ARRAY, Pairs, Reply, format_double
from perdure.session import Park
from perdure_storage.events import GENERIC, ZSET
from perdure_storage.keyspace import Keyspace
from perdure_storage.types.entry import Kind
from perdure_storage.types.ranking import Ranked
from perdure_storage.types.set import Set
from perdure_storage.types.zset import Position, ZSet, after, before

COMMANDS = Family("sorted_set")

Scores: TypeAlias = dict[bytes, float]

# -- members and scores --------------------------------------------------------------------------------------------

ADD_WORDS: Final = frozenset((b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"))


@COMMANDS.command(
    "ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
    WRITE | DENYOOM | FAST,
    since="1.2.0",
    complexity="O(log(N)) for each member",
    key_flags=("RW update",),
    history=(
        ("2.4.0", "Accepts multiple elements."),
        ("3.0.2", "Added the `XX`, `NX`, `CH` and `INCR` options."),
        ("6.2.0", "Added the `GT` and `LT` options."),
    ),
)
def zadd(db: Keyspace, args: Args) -> Reply:
    """Give members scores; returns how many members are new."""
    if len(args) == 3 and (score := to_number(args[1])) is not None:
        return 1 if _set(db, args[0], args[2], score) else 0
    at = 1
    while at < len(args) and args[at].upper() in ADD_WORDS:
        at += 1
    words, pairs = {word.upper() for word in args[1:at]}, args[at:]
    if not pairs or len(pairs) & 1:
        raise errors.syntax()
    if {b"NX", b"XX"} <= words:
        raise ReplyError("ERR XX and NX options at the same time are not compatible")
    if len(words & {b"NX", b"GT", b"LT"}) > 1:
        raise ReplyError("ERR GT, LT, and/or NX options at the same time are not compatible")
    if b"INCR" in words and len(pairs) > 2:
        raise ReplyError("ERR INCR option supports a single increment-element pair")
    scores = [number(raw) for raw in pairs[::2]]
    if b"INCR" in words:
        return _increment(db, args[0], pairs[1], scores[0], words)
    added, updated = _add(db, args[0], zip(pairs[1::2], scores, strict=True), words)
    return added + updated if b"CH" in words else added


def _set(db: Keyspace, key: bytes, member: bytes, score: float) -> bool:
    """ZADD without options; True when the member is new."""
    entry: ZSet = db.edit(key, ZSet)
    if not db.wants:
        return entry.set(member, score)
    changed = entry.values.get(member) != score
    added = entry.set(member, score)
    if changed:
        db.notify(ZSET, b"zadd", key)
    return added


def _add(db: Keyspace, key: bytes, pairs: Iterable[tuple[bytes, float]], words: set[bytes]) -> tuple[int, int]:
    """(members that are new, members whose score is another one now)."""
    entry = db.find_collection(key, ZSet)
    added = updated = 0
    for member, score in pairs:
        old = None if entry is None else entry.values.get(member)
        if old is None:
            if b"XX" not in words:
                if entry is None:
                    entry = db.create(ZSet, key)
                entry.set(member, score)
                added += 1
        elif entry is not None and score != old and _may_become(old, score, words):
            entry.set(member, score)
            updated += 1
    if added or updated:
        db.notify(ZSET, b"zadd", key)
    return added, updated


def _may_become(old: float, score: float, words: set[bytes]) -> bool:
    """May a member that is there have another score?"""
    if b"GT" in words:
        return score > old
    if b"LT" in words:
        return score < old
    return b"NX" not in words


def _increment(db: Keyspace, key: bytes, member: bytes, increment: float, words: set[bytes]) -> float | None:
    """The new score, or None where the words forbid it."""
    entry = db.find_collection(key, ZSet)
    old = None if entry is None else entry.values.get(member)
    score = increment if old is None else old + increment
    if old is None:
        if b"XX" in words:
            return None
    elif b"NX" in words:
        return None
    elif score != score:
        raise errors.score_would_be_nan()
    elif not _may_become(old, score, words):
        return None
    db.edit(key, ZSet).set(member, score)
    if db.wants and score != old:
        db.notify(ZSET, b"zincr", key)
    return score


@COMMANDS.command("ZINCRBY key increment member", WRITE | DENYOOM | FAST, since="1.2.0", complexity="O(log(N))")
def zincrby(db: Keyspace, args: Args) -> Reply:
    """Add to the score of a member, 0 if there is none; returns the new score."""
    if args[1].upper() in ADD_WORDS:  # to Redis this is a kind of ZADD, with options
        raise errors.syntax()
    return _increment(db, args[0], args[2], number(args[1]), set())


@COMMANDS.command(
    "ZREM key member [member ...]",
    WRITE | FAST,
    since="1.2.0",
    complexity="O(log(N)) for each member",
    key_flags=("RW delete",),
    history=(("2.4.0", "Accepts multiple elements."),),
)
def zrem(db: Keyspace, args: Args) -> Reply:
    """Remove members; returns how many there were. The key goes with the last one."""
    entry = db.find_collection(args[0], ZSet)
    if entry is None:
        return 0
    removed = sum(map(entry.remove, args[1:]))
    if removed:
        db.notify(ZSET, b"zrem", args[0])
    db.settle(entry)
    return removed


@COMMANDS.command("ZCARD key", READ | FAST | RECORD_ONLY, since="1.2.0", complexity="O(1)", key_flags=("RO",))
def zcard(db: Keyspace, args: Args) -> Reply:
    """Return the number of members."""
    return db.size_of(args[0], ZSet)


@COMMANDS.command("ZSCORE key member", READ | FAST | RECORD_ONLY, since="1.2.0", complexity="O(1)")
def zscore(db: Keyspace, args: Args) -> Reply:
    """Return the score of a member."""
    scores = db.few(args[0], ZSet)
    return None if scores is None else scores.get(args[1])


@COMMANDS.command(
    "ZMSCORE key member [member ...]", READ | FAST | RECORD_ONLY, since="6.2.0", complexity="O(1) for each member"
)
def zmscore(db: Keyspace, args: Args) -> Reply:
    """Return the scores of members, null for those that are not there."""
    scores = db.few(args[0], ZSet)
    return [None] * (len(args) - 1) if scores is None else [*map(scores.get, args[1:])]


def _rank(name: bytes, *, reverse: bool) -> Callable[[Keyspace, Args], Reply]:
    def handler(db: Keyspace, args: Args) -> Reply:
        """Return how many members come before a member, and its score if wanted."""
        if len(args) > 3:
            raise errors.wrong_arity(name)
        if len(args) == 3 and args[2].upper() != b"WITHSCORE":
            raise errors.syntax()
        entry = db.collection(args[0], ZSet)
        rank = None if entry is None else entry.rank(args[1])
        if entry is None or rank is None:
            return NULL_ARRAY if len(args) == 3 else None
        if reverse:
            rank = entry.size - 1 - rank
        return [rank, entry.values[args[1]]] if len(args) == 3 else rank

    return handler


for _name, _reverse, _summary in (
    ("ZRANK", False, "Return the place of a member, counted from the lowest score"),
    ("ZREVRANK", True, "Return the place of a member, counted from the highest score"),
):
    COMMANDS.command(
        f"{_name} key member [WITHSCORE]",
        READ | FAST,
        since="2.0.0",
        complexity="O(log(N))",
        summary=_summary,
        history=(("7.2.0", "Added the optional `WITHSCORE` argument."),),
    )(_rank(_name.lower().encode(), reverse=_reverse))

# -- ranges --------------------------------------------------------------------------------------------------------

RANK: Final = b"BYRANK"
SCORE: Final = b"BYSCORE"
LEX: Final = b"BYLEX"

ENDLESS: Final = {b"-inf": -inf, b"+inf": inf}
_BOUND: Final = re.compile(
    rb"""[ \t\n\v\f\r]* (?P<number> [+-]? (?:
         0x (?P<hex> [0-9a-f]+ \.?[0-9a-f]* | \.[0-9a-f]+ ) (?: p[+-]?[0-9]+ )?
       | (?: [0-9]+ \.?[0-9]* | \.[0-9]+ ) (?: e[+-]?[0-9]+ )?
       | inf (?: inity )? ) )""",
    re.VERBOSE | re.IGNORECASE,
).fullmatch


def _bound(raw: bytes) -> tuple[float, bool]:
    """`1.5` or `(1.5`: a score, and whether it is left out itself.

    What strtod takes: leading blanks are fine, too large is infinite, nothing is 0, and a NUL ends it.
    """
    is_open = raw.startswith(b"(")
    text = raw[1:] if is_open else raw
    known = to_integer(text) if text not in ENDLESS else ENDLESS[text]
    if known is not None:
        return float(known), is_open
    match = _BOUND(text.partition(b"\0")[0] or b"0")
    if match is None:
        raise errors.bad_score_range()
    if match["hex"] is None:
        return float(match["number"]), is_open
    try:
        return float.fromhex(match["number"].decode()), is_open
    except OverflowError:
        return (-inf if match["number"].startswith(b"-") else inf), is_open


def score_range(low: bytes, high: bytes) -> tuple[Position, Position]:
    """Where members with scores from `low` to `high` begin and end."""
    (least, above), (most, below) = _bound(low), _bound(high)
    return (after if above else before)(least), (before if below else after)(most)


def lex_range(low: bytes, high: bytes) -> tuple[bytes | None, bytes | None]:
    """Where members from `low` to `high` begin and end: `[m`, `(m`, `-` or `+` (which is None)."""
    return _lex_bound(low, b"["), _lex_bound(high, b"(")


def _lex_bound(raw: bytes, exact: bytes) -> bytes | None:
    if raw == b"+":
        return None
    if raw == b"-":
        return b""
    if raw[:1] not in (b"[", b"("):
        raise errors.bad_lex_range()
    return raw[1:] if raw[:1] == exact else raw[1:] + b"\0"


def rank_range(size: int, start: int, end: int) -> tuple[int, int]:
    """Ranks from `start` to `end` with it; negative ones count from the end."""
    start = max(start + size, 0) if start < 0 else start
    end = end + size if end < 0 else end
    return start, max(start, min(end + 1, size))


class _Range:
    """What ZRANGE and its kin ask for: `key min max`, and option words where the command leaves the choice.

    by: RANK, SCORE or LEX, None where the words say it; `reverse` likewise. Raises ReplyError.
    """

    def __init__(self, args: Args, by: bytes | None, reverse: bool | None, *, storing: bool = False) -> None:
        self.with_scores = False
        self.offset, self.limit = 0, -1
        if len(args) > 3:
            for word in (words := Words(args, 3)):
                if word == b"WITHSCORES" and not storing:
                    self.with_scores = True
                elif word == b"LIMIT" and len(args) - words.at >= 2:
                    self.offset, self.limit = integer(words.take()), integer(words.take())
                elif word == b"REV" and reverse is None:
                    reverse = True
                elif word in (SCORE, LEX) and by is None:
                    by = word
                else:
                    raise errors.syntax()
        self.by, self.reverse = by or RANK, bool(reverse)
        if self.limit != -1 and self.by == RANK:
            raise ReplyError("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
        if self.with_scores and self.by == LEX:
            raise ReplyError("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
        low, high = args[1:3]
        if self.reverse and self.by != RANK:
            low, high = high, low
        parse: Callable[[bytes, bytes], Any] = PARSERS[self.by]
        self.ends = parse(low, high)

    def select(self, entry: ZSet | None) -> list[Ranked]:
        """The members asked for with their scores, in the order asked for."""
        if entry is None:
            return []
        start, stop = self._ranks(entry)
        found = entry.ranking.slice(start, stop)
        if self.reverse:
            found.reverse()
        return found

    def reply(self, entry: ZSet | None) -> Reply:
        """The members, with their scores if they are wanted, in the order asked for."""
        if entry is None:
            return Pairs([]) if self.with_scores else []
        start, stop = self._ranks(entry)
        members = entry.ranking.members(start, stop)
        scores = entry.ranking.scores(start, stop) if self.with_scores else []
        if self.reverse:
            members.reverse()
            scores.reverse()
        if not self.with_scores:
            return members
        flat: list[Reply] = [None] * (2 * len(members))
        flat[::2], flat[1::2] = members, scores
        return Pairs(flat)

    def _ranks(self, entry: ZSet) -> tuple[int, int]:
        """(start, stop), the same where there are none."""
        if self.offset < 0 and self.by != RANK:
            return 0, 0
        start, stop = ranks(entry, self.by, self.ends, backward=self.reverse, skip=self.offset)
        if self.by == RANK:
            if self.reverse:
                start, stop = entry.size - stop, entry.size - start
        elif self.limit >= 0 and self.reverse:
            start = max(start, stop - self.limit)
        elif self.limit >= 0:
            stop = min(stop, start + self.limit)
        return (start, stop) if 0 <= start < stop else (0, 0)


PARSERS: Final[dict[bytes, Callable[[bytes, bytes], Any]]] = {
    RANK: lambda low, high: (integer(low), integer(high)),
    SCORE: score_range,
    LEX: lex_range,
}


def ranks(entry: ZSet, by: bytes, ends: Any, *, backward: bool = False, skip: int = 0) -> tuple[int, int]:
    """(start, stop) of what a parser of PARSERS has read, but for the first `skip` of a range that is no RANK, in the
    direction of reading; empty if start is not before stop. REQUIRES: the set is not empty."""
    if by == RANK:
        return rank_range(entry.size, *ends)
    if by == LEX:
        return entry.between_members(*ends, backward=backward, skip=skip)
    start, stop = entry.between(ends[0], ends[1])
    return (start, stop - skip) if backward else (start + skip, stop)


def _reply(ranked: Iterable[Ranked], with_scores: bool) -> Reply:
    if not with_scores:
        return [member for _, member in ranked]
    flat: list[Reply] = []
    for score, member in ranked:
        flat += (member, score)
    return Pairs(flat)


def _range(by: bytes | None, reverse: bool | None) -> Callable[[Keyspace, Args], Reply]:
    def handler(db: Keyspace, args: Args) -> Reply:
        """Return members in their order, by rank, score or name."""
        wanted = _Range(args, by, reverse)
        return wanted.reply(db.collection(args[0], ZSet))

    return handler


_COMPLEXITY: Final = "O(log(N)+M), M being the members returned"
for _usage, _by, _from_end, _since, _instead, _summary in (
    ("ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]", None, None, "1.2.0", "",
     "Return members by place, score or name"),
    ("ZREVRANGE key start stop [WITHSCORES]", RANK, True, "1.2.0", "`REV`", "Return members by place, highest first"),
    ("ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]", SCORE, False, "1.0.5", "`BYSCORE`",
     "Return members with scores in a range"),
    ("ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]", SCORE, True, "2.2.0", "`REV` and `BYSCORE`",
     "Return members with scores in a range, highest first"),
    ("ZRANGEBYLEX key min max [LIMIT offset count]", LEX, False, "2.8.9", "`BYLEX`",
     "Return members in a range of names, all scores being equal"),
    ("ZREVRANGEBYLEX key max min [LIMIT offset count]", LEX, True, "2.8.9", "`REV` and `BYLEX`",
     "Return members in a range of names, last first, all scores being equal"),
):  # fmt: skip
    COMMANDS.command(
        _usage,
        READ,
        since=_since,
        complexity=_COMPLEXITY,
        summary=_summary,
        deprecated_since="6.2.0" if _instead else "",
        replaced_by=f"`ZRANGE` with the {_instead} argument{'s' * (' ' in _instead)}" if _instead else "",
        history=() if _instead else (("6.2.0", "Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options."),),
    )(_range(_by, _from_end))


@COMMANDS.command(
    "ZRANGESTORE dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
    WRITE | DENYOOM,
    since="6.2.0",
    complexity="O(log(N)+M), M being the members kept",
)
def zrangestore(db: Keyspace, args: Args) -> Reply:
    """Keep a range of members, in place of what the destination held; returns how many."""
    wanted = _Range(args[1:], None, None, storing=True)
    ranked = wanted.select(db.collection(args[1], ZSet))
    return _store(db, args[0], {member: score for score, member in ranked}, b"zrangestore")


def _store(db: Keyspace, key: bytes, scores: Scores, event: bytes) -> int:
    """Make `scores` the sorted set at `key`, whatever was there."""
    existed = db.delete(key)
    if scores:
        db.create(ZSet, key, replacing=existed).fill(scores.items())
        db.notify(ZSET, event, key)
    elif existed:
        db.notify(GENERIC, b"del", key)
    return len(scores)


def _count(by: bytes) -> Callable[[Keyspace, Args], Reply]:
    def handler(db: Keyspace, args: Args) -> Reply:
        """Return how many members are in a range."""
        ends = PARSERS[by](args[1], args[2])
        entry = db.collection(args[0], ZSet)
        if entry is None:
            return 0
        start, stop = ranks(entry, by, ends)
        return stop - start

    return handler


def _remove_range(by: bytes, event: bytes) -> Callable[[Keyspace, Args], Reply]:
    def handler(db: Keyspace, args: Args) -> Reply:
        """Remove the members in a range; returns how many."""
        ends = PARSERS[by](args[1], args[2])
        entry = db.find_collection(args[0], ZSet)
        if entry is None:
            return 0
        return len(_take(db, entry, *ranks(entry, by, ends), event))

    return handler


def _take(db: Keyspace, entry: ZSet, start: int, stop: int, event: bytes) -> list[Ranked]:
    """Remove the members with these ranks and return them. With all of them the key goes: O(1) for log and tables."""
    if start < stop:
        db.notify(ZSET, event, entry.key)
    if stop - start < entry.size:
        return entry.remove_ranks(start, stop)
    ranked = [*entry.ranking]
    db.drop(entry)
    return ranked


for _by, _count_usage, _removal_usage, _since, _removal_since, _what in (
    (RANK, "", "ZREMRANGEBYRANK key start stop", "", "2.0.0", "with places"),
    (SCORE, "ZCOUNT key min max", "ZREMRANGEBYSCORE key min max", "2.0.0", "1.2.0", "with scores"),
    (LEX, "ZLEXCOUNT key min max", "ZREMRANGEBYLEX key min max", "2.8.9", "2.8.9", "with names"),
):
    if _count_usage:
        COMMANDS.command(
            _count_usage,
            READ | FAST,
            since=_since,
            complexity="O(log(N))",
            summary=f"Return the number of members {_what} in a range",
        )(_count(_by))
    COMMANDS.command(
        _removal_usage,
        WRITE,
        since=_removal_since,
        complexity="O(log(N)+M), M being the members removed",
        summary=f"Remove the members {_what} in a range",
        key_flags=("RW delete",),
    )(_remove_range(_by, _removal_usage.partition(" ")[0].lower().encode()))

# -- several sets --------------------------------------------------------------------------------------------------


class _Source:
    """One of the sets to combine, sorted or not: members of a plain set have the score 1."""

    __slots__ = ("names", "scored", "weight")

    def __init__(self, db: Keyspace, key: bytes) -> None:
        self.weight = 1.0
        self.scored = True
        self.names: dict[bytes, Any] = {}
        entry = db.lookup(key)
        if type(entry) is Set:
            plain = db.find_collection(key, Set)
            assert plain is not None
            self.names, self.scored = plain.values, False
        elif entry is not None:
            ranked = db.find_collection(key, ZSet)
            assert ranked is not None
            self.names = ranked.values

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, member: bytes) -> float:
        """The weighted score of a member, which may be NaN."""
        score: float = self.names[member] if self.scored else 1.0
        return self.weight * score

    def items(self) -> Iterator[tuple[bytes, float]]:
        """Members with their weighted scores, none of which is NaN."""
        weight = self.weight
        for member, score in self.names.items():
            value = weight * score if self.scored else weight
            yield member, (value if value == value else 0.0)


def _sum(total: float, value: float) -> float:
    total += value
    return total if total == total else 0.0


Aggregate: TypeAlias = Callable[[float, float], float]
AGGREGATES: Final[dict[bytes, Aggregate]] = {
    b"SUM": _sum,
    b"MIN": lambda total, value: value if value < total else total,
    b"MAX": lambda total, value: value if value > total else total,
}


def union(sources: Sequence[_Source], aggregate: Aggregate) -> Scores:
    """What is in any of them. The smallest first: it is the order in which Redis adds up, and rounding shows it."""
    first, *others = sorted(sources, key=len)
    found = dict(first.items())
    for source in others:
        for member, value in source.items():
            total = found.get(member)
            found[member] = value if total is None else aggregate(total, value)
    return found


def intersection(sources: Sequence[_Source], aggregate: Aggregate) -> Scores:
    """What is in all of them."""
    first, *others = sorted(sources, key=len)
    found: Scores = {}
    for member, total in first.items():
        for source in others:
            if member not in source.names:
                break
            total = aggregate(total, source[member])
        else:
            found[member] = total
    return found


def difference(sources: Sequence[_Source], aggregate: Aggregate) -> Scores:
    """What is in the first only."""
    first, *others = sources
    return {member: value for member, value in first.items() if not any(member in each.names for each in others)}


_bad_weight: Final = partial(ReplyError, "ERR weight value is not a float")
Combine: TypeAlias = Callable[[Sequence[_Source], Aggregate], Scores]


def _sources(db: Keyspace, args: Args, name: str) -> list[_Source]:
    """Those of `numkeys key [key ...]`, with which `args` begins."""
    numkeys = integer(args[0])
    if numkeys < 1:
        raise ReplyError(f"ERR at least 1 input key is needed for '{name}' command")
    if numkeys >= len(args):
        raise errors.syntax()
    return [_Source(db, key) for key in args[1 : numkeys + 1]]


def _combined(db: Keyspace, args: Args, name: str, combine: Combine, *, storing: bool) -> tuple[Scores, bool]:
    """(members with scores, whether the scores are asked for). `args`: from numkeys on."""
    sources = _sources(db, args, name)
    aggregate, with_scores, weighted = AGGREGATES[b"SUM"], False, combine is not difference
    for word in (words := Words(args, len(sources) + 1)):
        if word == b"WEIGHTS" and weighted and len(args) - words.at >= len(sources):
            for source in sources:
                source.weight = number(words.take(), _bad_weight)
        elif word == b"AGGREGATE" and weighted:
            found = AGGREGATES.get(words.take().upper())
            if found is None:
                raise errors.syntax()
            aggregate = found
        elif word == b"WITHSCORES" and not storing:
            with_scores = True
        else:
            raise errors.syntax()
    return combine(sources, aggregate), with_scores


def _answer(name: str, combine: Combine) -> Callable[[Keyspace, Args], Reply]:
    def handler(db: Keyspace, args: Args) -> Reply:
        """Return the members of the combined set in their order."""
        scores, with_scores = _combined(db, args, name, combine, storing=False)
        return _reply(sorted((score, member) for member, score in scores.items()), with_scores)

    return handler


def _keep(name: str, combine: Combine) -> Callable[[Keyspace, Args], Reply]:
    def handler(db: Keyspace, args: Args) -> Reply:
        """Make the combined set the value of a key, in place of what was there; returns its size."""
        return _store(db, args[0], _combined(db, args[1:], name, combine, storing=True)[0], name.encode())

    return handler


_WEIGHTS: Final = " [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]"
for _name, _combine, _options, _since, _complexity, _summary in (
    ("ZUNION", union, _WEIGHTS, "2.0.0", "O(N)+O(M log(M)), N being the members of all sets, M of the result",
     "what is in any of several sorted sets"),
    ("ZINTER", intersection, _WEIGHTS, "2.0.0", "O(N*K)+O(M log(M)), N being the members of the smallest of K sets",
     "what is in all of several sorted sets"),
    ("ZDIFF", difference, "", "6.2.0", "O(N*K)+O(M log(M)), N being the members of the first of K sets",
     "what is in a sorted set but not in others"),
):  # fmt: skip
    COMMANDS.command(
        f"{_name} numkeys key [key ...]{_options} [WITHSCORES]",
        READ,
        since="6.2.0",
        complexity=_complexity,
        summary=f"Return {_summary}",
    )(_answer(_name.lower(), _combine))
    COMMANDS.command(
        f"{_name}STORE destination numkeys key [key ...]{_options}",
        WRITE | DENYOOM,
        since=_since,
        complexity=_complexity,
        summary=f"Keep {_summary}, in place of what the destination held",
    )(_keep(f"{_name.lower()}store", _combine))


@COMMANDS.command(
    "ZINTERCARD numkeys key [key ...] [LIMIT limit]",
    READ,
    since="7.0.0",
    complexity="O(N*K), N being the members of the smallest of K sets; less with a limit",
)
def zintercard(db: Keyspace, args: Args) -> Reply:
    """Return how many members are in all of several sorted sets, counting to `limit` at most (0: no limit)."""
    sources = _sources(db, args, "zintercard")
    limit = 0
    for word in (words := Words(args, len(sources) + 1)):
        if word != b"LIMIT":
            raise errors.syntax()
        limit = integer(words.take(), _bad_limit)
        if limit < 0:
            raise _bad_limit()
    first, *others = sorted(sources, key=len)
    count = 0
    for member in first.names:
        if all(member in other.names for other in others):
            count += 1
            if count == limit:
                break
    return count


_bad_limit: Final = partial(ReplyError, "ERR LIMIT can't be negative")

# -- taking members away, waiting for one ---------------------------------------------------------------------------


def _pop(db: Keyspace, entry: ZSet, highest: bool, count: int = 1) -> list[Ranked]:
    """Take up to `count` members from one end; the outermost comes first."""
    count = min(count, entry.size)
    if not highest:
        return _take(db, entry, 0, count, b"zpopmin")
    return _take(db, entry, entry.size - count, entry.size, b"zpopmax")[::-1]


def _pop_one(highest: bool) -> Callable[[Keyspace, Args], Reply]:
    def handler(db: Keyspace, args: Args) -> Reply:
        """Take members with the lowest or highest scores, and return them with their scores."""
        if len(args) > 2:
            raise errors.syntax()
        count = integer_between(args[1], 0, INT_MAX, errors.must_be_positive().text) if len(args) == 2 else 1
        entry = db.find_collection(args[0], ZSet)
        if entry is None or not count:
            return []
        if len(args) == 1:
            ((score, member),) = _pop(db, entry, highest)
            return [member, score]
        return _reply(_pop(db, entry, highest, count), with_scores=True)

    return handler


def _pop_one_or_wait(highest: bool) -> Callable[[Keyspace, Args], Reply | Park]:
    def handler(db: Keyspace, args: Args) -> Reply | Park:
        """Take the member with the lowest or highest score of the first set that there is, or wait for one."""
        timeout, keys = timeout_ms(args[-1]), args[:-1]
        for key in keys:
            entry = db.find_collection(key, ZSet)
            if entry is not None:
                ((score, member),) = _pop(db, entry, highest)
                return [key, member, score]
        return _wait(db, keys, timeout)

    return handler


def _wait(db: Keyspace, keys: Args, timeout: int) -> Park:
    """Until one of the keys is a sorted set, or `timeout` ms have passed (0: for ever)."""
    deadline = db.ds.now + timeout if timeout else 0
    return Park("zset", keys=tuple(keys), kind=Kind.ZSET, deadline_ms=deadline, on_timeout=NULL_ARRAY)


for _name, _highest in (("ZPOPMIN", False), ("ZPOPMAX", True)):
    _which = "highest" if _highest else "lowest"
    COMMANDS.command(
        f"{_name} key [count]",
        WRITE | FAST,
        since="5.0.0",
        complexity="O(log(N)*M), M being the members taken",
        summary=f"Take the members with the {_which} scores",
        key_flags=("RW access delete",),
    )(_pop_one(_highest))
    COMMANDS.command(
        f"B{_name} key [key ...] timeout",
        WRITE | NOSCRIPT | BLOCKING | FAST,
        since="5.0.0",
        complexity="O(log(N))",
        summary=f"Take the member with the {_which} score of the first set that there is, waiting for one if need be",
        key_flags=("RW access delete",),
        history=(("6.0.0", "`timeout` is interpreted as a double instead of an integer."),),
    )(_pop_one_or_wait(_highest))


@COMMANDS.command(
    "ZMPOP numkeys key [key ...] <MIN | MAX> [COUNT count]",
    WRITE,
    since="7.0.0",
    complexity="O(K)+O(log(N)*M), K being the keys and M the members taken",
    key_flags=("RW access delete",),
)
def zmpop(db: Keyspace, args: Args) -> Reply:
    """Take members from one end of the first sorted set that there is."""
    keys, highest, count = _pop_options(args)
    return _pop_first(db, keys, highest, count) or NULL_ARRAY


@COMMANDS.command(
    "BZMPOP timeout numkeys key [key ...] <MIN | MAX> [COUNT count]",
    WRITE | BLOCKING,
    since="7.0.0",
    complexity="O(K)+O(log(N)*M), K being the keys and M the members taken",
    key_flags=("RW access delete",),
)
def bzmpop(db: Keyspace, args: Args) -> Reply | Park:
    """Take members from one end of the first sorted set that there is, waiting for one if need be."""
    keys, highest, count = _pop_options(args[1:])
    timeout = timeout_ms(args[0])
    return _pop_first(db, keys, highest, count) or _wait(db, keys, timeout)


def _pop_options(args: Args) -> tuple[Args, bool, int]:
    """(keys, whether from the highest end, count) of `numkeys key [key ...] <MIN | MAX> [COUNT count]`."""
    numkeys = integer_between(args[0], 1, INT_MAX, errors.bad_numkeys().text)
    words = Words(args, 1)
    keys, end = words.take_many(numkeys), words.take().upper()
    if end not in (b"MIN", b"MAX"):
        raise errors.syntax()
    count = 0
    for word in words:
        if word != b"COUNT" or count:
            raise errors.syntax()
        count = integer_between(words.take(), 1, INT_MAX, "ERR count should be greater than 0")
    return keys, end == b"MAX", count or 1


def _pop_first(db: Keyspace, keys: Args, highest: bool, count: int) -> list[Reply] | None:
    for key in keys:
        entry = db.find_collection(key, ZSet)
        if entry is not None:
            return [key, [[member, score] for score, member in _pop(db, entry, highest, count)]]
    return None


# -- random members, pages -----------------------------------------------------------------------------------------

PACKED_SCORE_MAX: Final = float(1 << 62)
"""Up to here Redis looks whether a score is whole when it puts it into a listpack."""


@COMMANDS.command(
    "ZRANDMEMBER key [count [WITHSCORES]]",
    READ,
    since="6.2.0",
    complexity="O(log(N)) for each member returned",
    tips="nondeterministic_output",
)
def zrandmember(db: Keyspace, args: Args) -> Reply:
    """Return random members: up to `count` different ones, or exactly `-count` with repetitions."""
    random = db.ds.random
    if len(args) == 1:
        entry = db.collection(args[0], ZSet)
        return None if entry is None else entry.ranking[random.randrange(entry.size)][1]
    count = integer_between(args[1], -INT_MAX, INT_MAX)
    if len(args) > 3 or (len(args) == 3 and args[2].upper() != b"WITHSCORES"):
        raise errors.syntax()
    if len(args) == 3 and abs(count) > INT_MAX // 2:
        raise errors.out_of_range()
    entry = db.collection(args[0], ZSet)
    if entry is None:
        return []
    sampling.check_count(count)
    ranking, size = entry.ranking, entry.size
    if count < 0:
        ranked = [ranking[random.randrange(size)] for _ in range(-count)]
    elif count >= size:
        ranked = [*ranking]
    else:
        ranked = [ranking[at] for at in random.sample(range(size), count)]
    return _reply(ranked, with_scores=len(args) == 3)


@COMMANDS.command(
    "ZSCAN key cursor [MATCH pattern] [COUNT count]",
    READ,
    since="2.8.0",
    complexity="O(1) for each call, O(N) for all; O(N) the first time that a large set is asked",
    tips="nondeterministic_output",
)
def zscan(db: Keyspace, args: Args) -> Reply:
    """Return a page of members with their scores, and the cursor of the next page.

    A small set comes whole, as in Redis. Members that are there from the first page to the last are returned.
    """
    parse_cursor(args[1])  # Redis asks for the rest only when there is a set
    entry = db.collection(args[0], ZSet)
    if entry is None:
        return [b"0", []]
    options = ScanOptions(args[1:])
    packed = entry.encoding() == "listpack"
    if packed:
        cursor, members = 0, entry.ranking.names()
    else:
        cursor, members = entry.ordered().page(options.cursor, options.count)
    if options.match is not None:
        members = [*filter(compile_glob(options.match), members)]
    show = _packed_score if packed else format_double
    flat: list[Reply] = []
    for member in members:
        flat += (member, show(entry.values[member]))
    return [b"%d" % cursor, flat]


def _packed_score(score: float) -> bytes:
    """As a listpack of Redis has it, from where only ZSCAN takes it as it is: a whole number without an exponent."""
    if abs(score) <= PACKED_SCORE_MAX and score.is_integer():
        return b"%d" % score
    return format_double(score)
