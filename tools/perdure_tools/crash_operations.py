"""What happens to values in a simulated round: each function does one thing to the engine, and to the model beside it.

The model is a dict of plain values: `State`. A function draws what it does from `world.random`, asserts what the engine
answers, and leaves in `state` what must be there after the transaction. `OPERATIONS` says how often each is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any, Final, Protocol

from perdure_storage.engine import Engine
from perdure_storage.keyspace import Keyspace
from perdure_storage.types.entry import Collection, Element
from perdure_storage.types.hash import Hash
from perdure_storage.types.list import List
from perdure_storage.types.set import Set
from perdure_storage.types.stream import Stream, split
from perdure_storage.types.zset import ZSet

Value = tuple[str, Any, int]
"""(type, content, expire ms), never changed, only replaced. The content of a string is bytes, of a hash {field: (value,
expire ms)}, of a list a tuple, of a set a frozenset, of a sorted set {member: score}, of a stream its elements."""
State = dict[tuple[int, bytes], Value]
"""By database and key; libraries of functions, which are in no database, by LIBRARIES and name."""

DATABASES: Final = 3
LIBRARIES: Final = -1
KEYS: Final = [b"k%d" % number for number in range(8)] + [b"long" * 150, b"long" * 150 + b"er", b"\x00\xff", b""]
FIELDS: Final = [b"f%d" % number for number in range(5)] + [b"field" * 120]

CONTENT: Final[dict[str, Callable[[Iterable[Element]], Any]]] = {
    "string": lambda elements: b"".join(value for (value,) in elements),
    "hash": lambda elements: {field: (value, expire) for field, value, expire in elements},
    "list": lambda elements: tuple(value for _, value in elements),
    "set": lambda elements: frozenset(member for (member,) in elements),
    "zset": lambda elements: dict(elements),
    "stream": frozenset,
}
"""What the model keeps of a value, from its elements."""


class World(Protocol):
    """Where it happens: `crash_simulation.Round`."""

    random: Random
    engine: Engine

    def place(self) -> tuple[Keyspace, int, bytes]: ...
    def value(self) -> bytes: ...
    def expiry(self, now: int) -> int: ...


def set_(world: World, state: State, now: int) -> None:
    db, index, key = world.place()
    value, expire = world.value(), world.expiry(now)
    db.set_string(key, value, expire)
    state[index, key] = ("string", value, expire)


def place_of(world: World, state: State, kind: str) -> tuple[Keyspace, int, bytes]:
    """Some place, mostly one that holds this kind of value: else few collections would live to see many changes."""
    places = [place for place, value in state.items() if value[0] == kind]
    if not places or world.random.random() < 0.3:
        return world.place()
    index, key = world.random.choice(places)
    return world.engine.dataset.databases[index], index, key


def ghost(db: Keyspace, key: bytes) -> None:
    """A hash whose fields have all expired is there until somebody looks into it."""
    if isinstance(db.find(key), Hash):
        db.find_hash(key)


def patch(world: World, state: State, now: int) -> None:
    db, index, key = world.place()
    kind, content, expire = state.get((index, key), ("string", b"", 0))
    if kind != "string":
        return
    size = len(content)
    offset = world.random.choice([size, size, world.random.randint(0, size), size + world.random.randint(0, 20_000)])
    data = world.value()
    if not data:
        return
    ghost(db, key)
    db.write_string(key, db.find_string(key), offset, data)
    padded = content.ljust(offset, b"\0")
    state[index, key] = ("string", padded[:offset] + data + padded[offset + len(data) :], expire)


def list_change(world: World, state: State, now: int) -> None:
    """Everything that can be done to a list, one thing at a time."""
    db, index, key = place_of(world, state, "list")
    kind, content, expire = state.get((index, key), ("list", (), 0))
    if kind != "list":
        return
    ghost(db, key)
    entry, values, random = db.edit(key, List), list(content), world.random
    what = random.randrange(9) if values else random.randrange(3)
    if what < 3:
        many = [world.value()[:200] for _ in range(random.choice([1, 1, 3, 20]))] * random.choice([1, 1, 1, 1, 60])
        left = random.random() < 0.5
        entry.push(left, many)
        values = many[::-1] + values if left else values + many
    elif what == 3:
        for _ in range(random.randint(1, min(3, len(values)))):
            left = random.random() < 0.5
            assert entry.pop(left) == values.pop(0 if left else -1)
    elif what == 4:
        place = random.randrange(len(values))
        values[place] = world.value()[:200]
        entry.set(place, values[place])
    elif what < 7:
        place = random.randint(0, len(values) - 1)
        values.insert(place, world.value()[:200])
        entry.insert(place, values[place])
    elif what == 7:
        places = sorted(random.sample(range(len(values)), random.randint(1, len(values))))
        entry.remove(places)
        values = [value for place, value in enumerate(values) if place not in set(places)]
    else:
        start = random.randrange(len(values))
        stop = random.randint(start + 1, len(values))
        entry.keep(start, stop)
        values = values[start:stop]
    db.settle(entry)
    if values:
        state[index, key] = ("list", tuple(values), expire)
    else:
        del state[index, key]


def set_change(world: World, state: State, now: int) -> None:
    db, index, key = place_of(world, state, "set")
    kind, content, expire = state.get((index, key), ("set", frozenset(), 0))
    if kind != "set":
        return
    ghost(db, key)
    members = frozenset(world.random.sample(FIELDS, world.random.randint(1, len(FIELDS))))
    if content and world.random.random() < 0.5:
        entry = db.edit(key, Set)
        assert entry.remove(sorted(members)) == len(members & content)
        db.settle(entry)
        content -= members
    else:
        assert db.edit(key, Set).add(sorted(members)) == len(members - content)
        content |= members
    if content:
        state[index, key] = ("set", content, expire)
    else:
        del state[index, key]


def zset_change(world: World, state: State, now: int) -> None:
    db, index, key = place_of(world, state, "zset")
    kind, content, expire = state.get((index, key), ("zset", {}, 0))
    if kind != "zset":
        return
    ghost(db, key)
    random = world.random
    members, scores = random.sample(FIELDS, random.randint(1, len(FIELDS))), dict(content)
    what = random.randrange(4) if scores else 0
    entry = db.edit(key, ZSet)
    if what < 2:
        for member in members:
            score = random.choice([0.0, 1.5, -2.5, 0.1, 1 / 3, 1e300, float("inf"), float("-inf")])
            assert entry.set(member, score) == (member not in scores)
            scores[member] = score
    elif what == 2:
        for member in members:
            assert entry.remove(member) == (scores.pop(member, None) is not None)
    else:
        ranked = sorted((score, member) for member, score in scores.items())
        start = random.randrange(len(ranked))
        stop = random.randint(start + 1, len(ranked))
        entry.remove_ranks(start, stop)
        scores = {member: score for score, member in ranked[:start] + ranked[stop:]}
    db.settle(entry)
    if scores:
        state[index, key] = ("zset", scores, expire)
    else:
        del state[index, key]


class Told:
    """What the elements of a stream say, taken apart to be changed. Ids are (ms << 64 | seq)."""

    def __init__(self, elements: Iterable[Element]) -> None:
        self.last = self.deleted = self.added = 0
        self.entries: dict[int, tuple[bytes, ...]] = {}
        self.groups: dict[bytes, tuple[int, int]] = {}
        self.consumers: dict[tuple[bytes, bytes], tuple[int, int]] = {}
        self.pending: dict[tuple[bytes, int], tuple[bytes, int, int]] = {}
        for what, *rest in elements:
            if what == b"stream":
                self.last, self.deleted, self.added = joined(*rest[:2]), joined(*rest[2:4]), rest[4]
            elif what == b"entry":
                self.entries[joined(*rest[:2])] = tuple(rest[2:])
            elif what == b"group":
                self.groups[rest[0]] = (joined(*rest[1:3]), rest[3])
            elif what == b"consumer":
                self.consumers[rest[0], rest[1]] = (rest[2], rest[3])
            else:
                self.pending[rest[0], joined(*rest[2:4])] = (rest[1], *rest[4:])

    def elements(self) -> frozenset[Element]:
        """The inverse."""
        found: list[Element] = [(b"stream", *split(self.last), *split(self.deleted), self.added)]
        found += [(b"entry", *split(ident), *fields) for ident, fields in self.entries.items()]
        found += [(b"group", name, *split(last), read) for name, (last, read) in self.groups.items()]
        found += [(b"consumer", *names, *times) for names, times in self.consumers.items()]
        for (group, ident), (consumer, delivered, count) in self.pending.items():
            found.append((b"pending", group, consumer, *split(ident), delivered, count))
        return frozenset(found)

    def forget(self, group: bytes, consumer: bytes) -> int:
        """Nothing is pending for this consumer any more; returns how much was."""
        gone = [place for place, item in self.pending.items() if place[0] == group and item[0] == consumer]
        for place in gone:
            del self.pending[place]
        del self.consumers[group, consumer]
        return len(gone)


def joined(ms: int, seq: int) -> int:
    return ms << 64 | seq


def stream_change(world: World, state: State, now: int) -> None:
    """Entries and groups. Positions and counters are drawn: what they should be is the commands' business."""
    db, index, key = place_of(world, state, "stream")
    kind, content, expire = state.get((index, key), ("stream", frozenset(), 0))
    if kind != "stream":
        return
    ghost(db, key)
    random, told = world.random, Told(content)
    entry = db.find_collection(key, Stream)
    assert (entry is None) == (not content)
    if entry is None:
        entry = db.create(Stream, key)
        entry.set_state(0, 0, 0)
    if told.groups and random.random() < 0.5:
        group_change(world, entry, told, now)
    else:
        entries_change(world, entry, told)
    state[index, key] = ("stream", told.elements(), expire)


def entries_change(world: World, entry: Stream, told: Told) -> None:
    random = world.random
    ids = sorted(told.entries)
    what = random.randrange(10) if ids else random.choice([0, 7, 8])
    if what < 5:
        for _ in range(random.choice([1, 1, 1, 3, 10] * 8 + [1500])):
            told.last += random.choice([1, 1, 5, 1 << 64])
            told.added += 1
            told.entries[told.last] = (random.choice(FIELDS), world.value()[:300]) * random.choice([1, 1, 3])
            entry.append(told.last, told.entries[told.last])
    elif what == 5:
        gone = random.sample(ids, random.randint(1, min(len(ids), 20)))
        assert entry.delete([*gone, 0]) == len(gone)
        for ident in gone:
            del told.entries[ident]
        told.deleted = max(told.deleted, *gone)
    elif what == 6:
        count = random.choice([1, len(ids) // 2, len(ids)])
        entry.drop_first(count)
        for ident in ids[:count]:
            del told.entries[ident]
    elif what == 7:
        told.last += random.choice([0, 1, 1 << 70])
        told.deleted, told.added = random.choice([0, told.deleted, told.last]), told.added + random.randint(0, 3)
        entry.set_state(told.last, told.deleted, told.added)
    else:
        name = random.choice(FIELDS)
        if name not in told.groups:
            position = random.choice([0, *ids[-2:]]), random.choice([-1, 0, 7])
            told.groups[name] = position
            entry.create_group(name, *position)


def group_change(world: World, entry: Stream, told: Told, now: int) -> None:
    random = world.random
    name, position = random.choice(list(told.groups.items()))
    group = entry.groups[name]
    theirs = [ident for group_name, ident in told.pending if group_name == name]
    consumers = [consumer for group_name, consumer in told.consumers if group_name == name]
    what = random.randrange(12)
    if what < 5:
        reader = random.choice(FIELDS[-3:])
        consumer = group.consumers.get(reader) or entry.create_consumer(group, reader, now)
        some = list(told.entries) + theirs
        items = [(ident, now, random.randint(1, 3)) for ident in {*random.sample(some, min(len(some), 4))}]
        entry.put_pending(group, consumer, items)
        entry.set_consumer(group, consumer, now + 1, now)
        told.consumers[name, reader] = (now + 1, now)
        told.pending.update(((name, ident), (reader, delivered, count)) for ident, delivered, count in items)
    elif what < 8:
        gone = random.sample(theirs, min(len(theirs), random.choice([1, 3, 100])))
        assert entry.settle_pending(group, [*gone, 0]) == len(gone)
        for ident in gone:
            del told.pending[name, ident]
    elif what < 10:
        position = random.choice([0, position[0] + 1, told.last]), random.choice([-1, position[1] + 1])
        entry.set_group(group, *position)
        told.groups[name] = position
    elif what == 10 and consumers:
        reader = random.choice(consumers)
        assert entry.delete_consumer(group, group.consumers[reader]) == told.forget(name, reader)
    else:
        entry.destroy_group(group)
        for reader in consumers:
            told.forget(name, reader)
        del told.groups[name]


def hash_set(world: World, state: State, now: int) -> None:
    db, index, key = place_of(world, state, "hash")
    kind, content, key_expire = state.get((index, key), ("hash", {}, 0))
    if kind != "hash":
        return
    entry = db.edit_hash(key)
    content = dict(content)
    for _ in range(world.random.choice([1, 1, 4])):
        field, value, expire = world.random.choice(FIELDS), world.value()[:300], world.expiry(now)
        entry.set(field, value, expire)
        content[field] = (value, expire)
    state[index, key] = ("hash", content, key_expire)


def some_hash(world: World, state: State) -> tuple[Keyspace, tuple[int, bytes]] | None:
    places = [place for place, value in state.items() if value[0] == "hash"]
    if not places:
        return None
    place = world.random.choice(places)
    return world.engine.dataset.databases[place[0]], place


def hash_delete(world: World, state: State, now: int) -> None:
    if (chosen := some_hash(world, state)) is None:
        return
    db, place = chosen
    entry = db.find_hash(place[1])
    assert entry is not None
    content = dict(state[place][1])
    for field in world.random.sample(FIELDS, world.random.randint(1, len(FIELDS))):
        assert entry.delete(field) == (content.pop(field, None) is not None)
    db.settle(entry)
    if content:
        state[place] = ("hash", content, state[place][2])
    else:
        del state[place]


def hash_expire(world: World, state: State, now: int) -> None:
    if (chosen := some_hash(world, state)) is None:
        return
    db, place = chosen
    entry = db.find_hash(place[1])
    assert entry is not None
    content = dict(state[place][1])
    field, expire = world.random.choice(list(content)), world.expiry(now)
    entry.expire_field(field, expire)
    content[field] = (content[field][0], expire)
    state[place] = ("hash", content, state[place][2])


def some_key(world: World, state: State) -> tuple[Keyspace, tuple[int, bytes], Any] | None:
    """(database, place, entry) of a key that is there; of a hash the fields are not loaded for it."""
    places = [place for place in state if place[0] != LIBRARIES]
    if not places:
        return None
    place = world.random.choice(places)
    db = world.engine.dataset.databases[place[0]]
    entry = db.find(place[1])
    assert entry is not None, f"{place} is not there"
    return db, place, entry


def expire(world: World, state: State, now: int) -> None:
    if (chosen := some_key(world, state)) is None:
        return
    db, place, entry = chosen
    due = world.expiry(now)
    db.set_expire(entry, due)
    state[place] = (*state[place][:2], due)


def delete(world: World, state: State, now: int) -> None:
    db, index, key = world.place()
    db.delete(key)
    state.pop((index, key), None)


def remove(world: World, state: State, now: int) -> None:
    if (chosen := some_key(world, state)) is None:
        return
    db, place, entry = chosen
    db.remove(entry)
    del state[place]


def rename(world: World, state: State, now: int) -> None:
    """RENAME and MOVE."""
    if (chosen := some_key(world, state)) is None:
        return
    db, place, entry = chosen
    target, index, key = world.place()
    if (index, key) == place:
        return
    target.delete(key)
    db.move(entry, target, key)
    state[index, key] = state.pop(place)


def copy(world: World, state: State, now: int) -> None:
    if (chosen := some_key(world, state)) is None:
        return
    db, place, entry = chosen
    target, index, key = world.place()
    if (index, key) == place:
        return
    target.delete(key)
    if isinstance(entry, Hash):
        entry = db.find_hash(place[1])
    elif isinstance(entry, Collection):
        entry = db.find_collection(place[1], type(entry))
    entry.copy(target, key)
    state[index, key] = state[place]


def clear(world: World, state: State, now: int) -> None:
    db, index, _ = world.place()
    if world.random.random() < 0.3:
        db.clear()
        for place in [place for place in state if place[0] == index]:
            del state[place]


def swap(world: World, state: State, now: int) -> None:
    first, second = world.random.sample(range(DATABASES), 2)
    world.engine.dataset.swap(first, second)
    turn = {first: second, second: first}
    moved = {(turn.get(index, index), key): value for (index, key), value in state.items()}
    state.clear()
    state.update(moved)


def library(world: World, state: State, now: int) -> None:
    dataset, name = world.engine.dataset, world.random.choice(FIELDS)
    if (LIBRARIES, name) in state and world.random.random() < 0.5:
        dataset.drop_libraries(name)
        del state[LIBRARIES, name]
    else:
        code = world.value()
        dataset.set_library(name, code)
        state[LIBRARIES, name] = ("library", code, 0)


Operation = Callable[[World, State, int], None]

OPERATIONS: Final[list[Operation]] = [
    *[set_] * 12,
    *[patch, hash_set, list_change] * 5,
    *[set_change, zset_change, stream_change] * 3,
    *[hash_delete, hash_expire, expire, delete, remove, rename, copy] * 2,
    *[clear, swap, library],
]
FAVOURITES: Final = [list_change, set_change, zset_change, hash_set, stream_change, stream_change]
"""What a round may do more of, so that values live to see many changes."""
