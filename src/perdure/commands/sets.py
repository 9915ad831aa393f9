# cython: annotation_typing=True
"""Sets: SADD, SINTER and their kin."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from perdure import errors, sampling
from perdure.args import INT_MAX, ScanOptions, integer_between
from perdure.args import cursor as parse_cursor
from perdure.globs import compile_glob
from perdure.registry import DENYOOM, FAST, READ, RECORD_ONLY, WRITE, Args, Family
from perdure.resp import Reply
from perdure.resp import Set as SetReply
from perdure_storage.events import GENERIC, SET
from perdure_storage.keyspace import Keyspace
from perdure_storage.types.set import Set

COMMANDS = Family("set")

Members = dict[bytes, None]
NOTHING: Final[Members] = {}

# -- members -------------------------------------------------------------------------------------------------------


@COMMANDS.command(
    "SADD key member [member ...]",
    WRITE | DENYOOM | FAST,
    since="1.0.0",
    complexity="O(1) for each member",
    key_flags=("RW insert",),
    history=(("2.4.0", "Accepts multiple `member` arguments."),),
)
def sadd(db: Keyspace, args: Args) -> Reply:
    """Add members; returns how many are new."""
    entry: Set = db.edit(args[0], Set)
    added = entry.add(args[1:])
    if added and db.wants:
        db.notify(SET, b"sadd", args[0])
    return added


@COMMANDS.command(
    "SREM key member [member ...]",
    WRITE | FAST,
    since="1.0.0",
    complexity="O(1) for each member",
    key_flags=("RW delete",),
    history=(("2.4.0", "Accepts multiple `member` arguments."),),
)
def srem(db: Keyspace, args: Args) -> Reply:
    """Remove members; returns how many there were. The key goes with the last one."""
    entry = db.find_collection(args[0], Set)
    if entry is None:
        return 0
    removed = entry.remove(args[1:])
    if removed and db.wants:
        db.notify(SET, b"srem", args[0])
    db.settle(entry)
    return removed


@COMMANDS.command(
    "SMOVE source destination member",
    WRITE | FAST,
    since="1.0.0",
    complexity="O(1)",
    key_flags=("RW access delete", "RW insert"),
)
def smove(db: Keyspace, args: Args) -> Reply:
    """Move a member from one set to another; returns 0 if it is not there."""
    entry = db.find_collection(args[0], Set)
    if entry is None:
        return 0
    target = db.find_collection(args[1], Set)
    members = args[2:]
    if entry is target:
        return int(members[0] in entry.values)
    if not entry.remove(members):
        return 0
    db.notify(SET, b"srem", args[0])
    db.settle(entry)
    if target is None:
        target = db.create(Set, args[1])
    if target.add(members):
        db.notify(SET, b"sadd", args[1])
    return 1


@COMMANDS.command("SMEMBERS key", READ, since="1.0.0", complexity="O(N)", tips="nondeterministic_output_order")
def smembers(db: Keyspace, args: Args) -> Reply:
    """Return all members."""
    entry = db.collection(args[0], Set)
    return SetReply(entry.values if entry is not None else ())


@COMMANDS.command(
    "SISMEMBER key member", READ | FAST | RECORD_ONLY, since="1.0.0", complexity="O(1)", key_flags=("RO",)
)
def sismember(db: Keyspace, args: Args) -> Reply:
    """Return 1 if this is a member."""
    members = db.few(args[0], Set)
    return 1 if members is not None and args[1] in members else 0


@COMMANDS.command(
    "SMISMEMBER key member [member ...]", READ | FAST | RECORD_ONLY, since="6.2.0", complexity="O(1) for each member"
)
def smismember(db: Keyspace, args: Args) -> Reply:
    """Return 1 for each one that is a member, 0 for the others."""
    members = db.few(args[0], Set) or NOTHING
    return [1 if member in members else 0 for member in args[1:]]


@COMMANDS.command("SCARD key", READ | FAST | RECORD_ONLY, since="1.0.0", complexity="O(1)", key_flags=("RO",))
def scard(db: Keyspace, args: Args) -> Reply:
    """Return the number of members."""
    return db.size_of(args[0], Set)


# -- random members, pages -----------------------------------------------------------------------------------------


@COMMANDS.command(
    "SPOP key [count]",
    WRITE | FAST,
    since="1.0.0",
    complexity="O(1) for each member taken; O(N) the first time that a set of more than 64 members is asked",
    key_flags=("RW access delete",),
    tips="nondeterministic_output",
    history=(("3.2.0", "Added the `count` argument."),),
)
def spop(db: Keyspace, args: Args) -> Reply:
    """Take a random member, or up to `count` of them. The key goes with the last one."""
    random = db.ds.random
    if len(args) == 1:
        entry = db.find_collection(args[0], Set)
        if entry is None:
            return None
        member = sampling.one(entry, entry.values, random)
        entry.remove((member,))
        db.notify(SET, b"spop", args[0])
        db.settle(entry)
        return member
    if len(args) > 2:
        raise errors.syntax()
    count = integer_between(args[1], 0, INT_MAX, errors.must_be_positive().text)
    entry = db.find_collection(args[0], Set)
    if entry is None or not count:
        return SetReply(())
    taken = sampling.some(entry, entry.values, count, random)
    db.notify(SET, b"spop", args[0])
    if len(taken) == entry.size:
        db.drop(entry)
    else:
        entry.remove(taken)
    return SetReply(taken)


@COMMANDS.command(
    "SRANDMEMBER key [count]",
    READ,
    since="1.0.0",
    complexity="O(1) for each member returned; O(N) the first time that a set of more than 64 members is asked",
    tips="nondeterministic_output",
    history=(("2.6.0", "Added the optional `count` argument."),),
)
def srandmember(db: Keyspace, args: Args) -> Reply:
    """Return random members: up to `count` different ones, or exactly `-count` with repetitions."""
    if len(args) == 1:
        entry = db.collection(args[0], Set)
        return None if entry is None else sampling.one(entry, entry.values, db.ds.random)
    if len(args) > 2:
        raise errors.syntax()
    count = integer_between(args[1], -INT_MAX, INT_MAX)
    entry = db.collection(args[0], Set)
    if entry is None or not count:
        return []
    return sampling.some(entry, entry.values, count, db.ds.random)


@COMMANDS.command(
    "SSCAN key cursor [MATCH pattern] [COUNT count]",
    READ,
    since="2.8.0",
    complexity="O(1) for each call, O(N) for all; O(N) the first time that a large set is asked",
    tips="nondeterministic_output",
)
def sscan(db: Keyspace, args: Args) -> Reply:
    """Return a page of members, and the cursor of the next page.

    A small set comes whole, as in Redis. Members that are there from the first page to the last are returned.
    """
    parse_cursor(args[1])  # Redis asks for the rest only when there is a set
    entry = db.collection(args[0], Set)
    if entry is None:
        return [b"0", []]
    options = ScanOptions(args[1:])
    if entry.encoding() != "hashtable":
        cursor, members = 0, [*entry.values]
    else:
        cursor, members = entry.ordered().page(options.cursor, options.count)
    if options.match is not None:
        members = [*filter(compile_glob(options.match), members)]
    return [b"%d" % cursor, members]


# -- several sets --------------------------------------------------------------------------------------------------


def _sets(db: Keyspace, keys: Args) -> list[Members]:
    """The members of each; none where there is no such key. Raises WrongType."""
    return [NOTHING if entry is None else entry.values for entry in [db.collection(key, Set) for key in keys]]


def intersection(sets: list[Members]) -> Iterable[bytes]:
    """What is in all of them. O(N*M), N being the members of the smallest of M sets."""
    smallest, *others = sorted(sets, key=len)
    found: Iterable[bytes] = smallest
    for other in others:
        found = [member for member in found if member in other]
    return found


def union(sets: list[Members]) -> Iterable[bytes]:
    """What is in any of them."""
    found: Members = {}
    for members in sets:
        found.update(members)
    return found


def difference(sets: list[Members]) -> Iterable[bytes]:
    """What is in the first only. O(N*M), N being the members of the first of M sets."""
    first, *others = sets
    found: Iterable[bytes] = first
    for other in others:
        found = [member for member in found if member not in other]
    return found


Combine = Callable[[list[Members]], Iterable[bytes]]


def _answer(combine: Combine) -> Callable[[Keyspace, Args], Reply]:
    def handler(db: Keyspace, args: Args) -> Reply:
        """Return the members of the combined set."""
        return SetReply(combine(_sets(db, args)))

    return handler


def _store(combine: Combine, event: bytes) -> Callable[[Keyspace, Args], Reply]:
    def handler(db: Keyspace, args: Args) -> Reply:
        """Make the combined set the value of a key, in place of what was there; returns its size."""
        members = [*combine(_sets(db, args[1:]))]
        existed = db.delete(args[0])
        if members:
            db.create(Set, args[0], replacing=existed).add(members)
            db.notify(SET, event, args[0])
        elif existed:
            db.notify(GENERIC, b"del", args[0])
        return len(members)

    return handler


for _combine, _name, _complexity, _summary, _access in (
    (intersection, "INTER", "O(N*M), N being the members of the smallest of M sets", "what is in all of several sets",
     "RW update"),
    (union, "UNION", "O(N), N being the members of all sets", "what is in any of several sets", "OW update"),
    (difference, "DIFF", "O(N*M), N being the members of the first of M sets", "what is in a set but not in others",
     "OW update"),
):  # fmt: skip
    COMMANDS.command(
        f"S{_name} key [key ...]",
        READ,
        since="1.0.0",
        complexity=_complexity,
        summary=f"Return {_summary}",
        tips="nondeterministic_output_order",
    )(_answer(_combine))
    COMMANDS.command(
        f"S{_name}STORE destination key [key ...]",
        WRITE | DENYOOM,
        since="1.0.0",
        complexity=_complexity,
        summary=f"Keep {_summary}, in place of what the destination held",
        key_flags=(_access, "RO access"),
    )(_store(_combine, b"s%bstore" % _name.lower().encode()))


@COMMANDS.command(
    "SINTERCARD numkeys key [key ...] [LIMIT limit]",
    READ,
    since="7.0.0",
    complexity="O(N*M), N being the members of the smallest of M sets; less with a limit",
)
def sintercard(db: Keyspace, args: Args) -> Reply:
    """Return how many members are in all of several sets, counting to `limit` at most (0: no limit)."""
    numkeys = integer_between(args[0], 1, INT_MAX, errors.bad_numkeys().text)
    if numkeys > len(args) - 1:
        raise errors.too_many_keys()
    limit, rest = 0, args[numkeys + 1 :]
    while rest:
        if rest[0].upper() != b"LIMIT" or len(rest) < 2:
            raise errors.syntax()
        limit = integer_between(rest[1], 0, INT_MAX, "ERR LIMIT can't be negative")
        rest = rest[2:]
    smallest, *others = sorted(_sets(db, args[1 : numkeys + 1]), key=len)
    count = 0
    for member in smallest:
        if all(member in other for other in others):
            count += 1
            if count == limit:
                break
    return count
