"""The engine under a simulator: one seed decides the operations, the faults, the crashes, and what survives them.

What must hold after every crash, whatever happened:

* The log goes on at an LSN that was given out, at or after the last one promised: by a sync before a power cut, by a
  write before a kill, by a recovery before either. The dataset is exactly what it was at that LSN, no part of it more
  or less.
* A transaction that was refused (disk full) has left no trace; a log that failed a sync gives nothing out any more,
  and shows what is durable.
* Counts, index of expiries, memory accounts and rows fit together, and rows say what memory says.

The oracle is a dict, copied at every LSN. `play(seed)` raises Failure; the same seed plays the same round.
"""

from __future__ import annotations

import errno
import secrets
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final

from perdure_storage.check import Finding, check_tables
from perdure_storage.engine import Engine, Options
from perdure_storage.errors import Corruption, DirectoryLocked, LogFull, LogPoisoned, StorageError
from perdure_storage.keyspace import COLLECTIONS, Dataset, Keyspace
from perdure_storage.testing import ManualClock, MemoryDisk, PowerCut
from perdure_storage.types.entry import Collection, Element, Kind
from perdure_storage.types.hash import Hash
from perdure_storage.types.list import List
from perdure_storage.types.set import Set
from perdure_storage.types.zset import ZSet
from perdure_storage.walk import walk

Value = tuple[str, Any, int]
"""(type, content, expire ms), never changed, only replaced. The content of a string is bytes, of a hash {field: (value,
expire ms)}, of a list a tuple, of a set a frozenset, of a sorted set {member: score}."""
State = dict[tuple[int, bytes], Value]

PATH: Final = "/db"
DATABASES: Final = 3
KEYS: Final = [b"k%d" % number for number in range(8)] + [b"long" * 150, b"long" * 150 + b"er", b"\x00\xff", b""]
FIELDS: Final = [b"f%d" % number for number in range(5)] + [b"field" * 120]
SIZES: Final = [8] * 12 + [0, 20, 255, 300, 3000, 15_990, 16_000, 16_001, 40_000]
FAULTS: Final = {"write": 40, "sync": 20, "rename": 10, "unlink": 8, "sync_dir": 15, "commit": 6, "committed": 6}
"""What a fault can be planned for, and up to how many of them ahead."""


class Failure(AssertionError):
    """The engine broke a promise. The text says which, at which seed and step."""


def alive(state: State, now: int) -> State:
    """`state` without what has expired."""
    living: State = {}
    for place, (kind, content, expire) in state.items():
        if expire and expire <= now:
            continue
        if kind == "hash" and any(due and due <= now for _, due in content.values()):
            content = {field: pair for field, pair in content.items() if not pair[1] or pair[1] > now}
            if not content:
                continue
        living[place] = (kind, content, expire)
    return living


CONTENT: Final[dict[str, Callable[[Iterable[Element]], Any]]] = {
    "string": lambda elements: b"".join(value for (value,) in elements),
    "hash": lambda elements: {field: (value, expire) for field, value, expire in elements},
    "list": lambda elements: tuple(value for _, value in elements),
    "set": lambda elements: frozenset(member for (member,) in elements),
    "zset": lambda elements: dict(elements),
}
"""What the model keeps of a value, from its elements."""


def contents(dataset: Dataset) -> State:
    """What a dataset holds, from memory and rows, without changing it."""
    state: State = {}
    for db in dataset.databases:
        for item in walk(db):
            state[db.index, item.key] = (item.type_name, CONTENT[item.type_name](item.elements()), item.expire)
    return alive(state, dataset.now)


def difference(wanted: State, found: State) -> str:
    """The first few places where two states differ."""
    wrong = [place for place in {**wanted, **found} if wanted.get(place) != found.get(place)]
    lines = [f"{place}: wanted {_short(wanted.get(place))}, found {_short(found.get(place))}" for place in wrong[:4]]
    return f"{len(wrong)} keys differ\n  " + "\n  ".join(lines)


def _short(value: Value | None) -> str:
    text = repr(value)
    return text if len(text) < 200 else f"{text[:100]}...{text[-60:]} ({len(text)} characters)"


class Round:
    """One seed's story: some lives of an engine on one disk, each ended by a crash, a kill or a shutdown."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.disk = MemoryDisk()
        self.clock = ManualClock()
        self.segment_size = 0
        self.engine: Engine
        self.history: dict[int, State] = {0: {}}
        self.state: State = {}
        self.durable = 0
        self.written = 0
        self.floor = 0
        self.clean = False
        self.steps = 0
        self.doing = "start"
        self.values = 0
        style = self.random.random()
        self.uniform, self.narrow = style < 0.25, style > 0.85
        self.steps_of_life: list[tuple[int, Callable[[], None]]] = [
            (60, self.transaction),
            (6, self.flush),
            (8, self.sync),
            (5, self.checkpoint_begun),
            (4, self.checkpoint),
            (8, self.advance),
            (5, self.sweep),
            (6, self.evict),
            (4, self.compare),
            (3, self.read_all),
            (2, self.restore),
            (2, self.pages),
            (1, self.random_key),
            (1, self.second_server),
            (2, self.space_returns),
        ]
        if self.uniform:  # short lives, records all alike: what one crash leaves fits where the next life writes
            self.steps_of_life = [(10, self.transaction), (10, self.flush), (2, self.sync), (1, self.checkpoint)]
        if self.narrow:  # few keys: what one checkpoint folds has come, changed and gone
            self.steps_of_life += [(60, self.transaction), (20, self.checkpoint)]

    def run(self) -> None:
        """Raises Failure."""
        try:
            for _ in range(self.random.randint(2, 5) * (5 if self.uniform else 1)):
                self.life()
            self.open()
            self.close()
            self.open()
            self.expect(self.engine.recovered.clean, "the mark of a clean shutdown is missing")
            self.read_all()
            self.engine.close()
        except Failure:
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise self.failure(f"{type(error).__name__}: {error}\n{traceback.format_exc()}") from error

    def failure(self, what: str) -> Failure:
        return Failure(f"seed {self.seed}, step {self.steps} ({self.doing}): {what}")

    def expect(self, condition: bool, what: str) -> None:
        if not condition:
            raise self.failure(what)

    # -- lives and deaths ----------------------------------------------------------------------------------------

    def life(self) -> None:
        """Open, work, and end in some way. Faults planned here may strike at any point of it."""
        random, disk = self.random, self.disk
        if not self.segment_size or (random.random() < 0.2 and not self.uniform):
            self.segment_size = random.choice([2048, 6000, 20_000, 100_000])
        self.plan_faults()
        try:
            try:
                self.open()
            except Corruption:
                raise
            except (StorageError, OSError):
                self.end()
                return
            for _ in range(random.randint(1, 6) if self.uniform else random.randint(3, 70)):
                self.step()
                if self.engine.log.poison is not None and random.random() < 0.3:
                    break
            if self.engine.log.poison is None and random.random() < 0.2:
                self.close()
                return
        except PowerCut:
            pass
        disk.capacity = 1 << 40
        self.end()

    def plan_faults(self) -> None:
        random, disk = self.random, self.disk
        for _ in range(random.choice([0, 1, 1, 2])):
            operation = random.choice(["sync", "sync", "commit", "commit", "commit", *FAULTS])
            number = disk.trace.get(operation, 0) + random.randint(1, 8 if self.uniform else FAULTS[operation])
            fault: BaseException = PowerCut()
            if operation != "committed" and random.random() < 0.5:
                fault = OSError(errno.EIO, "planned")
                if random.random() < 0.4:
                    disk.lasting.add(fault)
            disk.faults[operation, number] = fault
        if random.random() < 0.15:
            disk.capacity = disk.used + random.randint(0, 3 * self.segment_size)

    def end(self) -> None:
        """The process is killed, or the machine loses power."""
        self.disk.capacity = 1 << 40
        if self.random.random() < 0.6:
            self.doing = "power cut"
            self.floor = self.written = self.durable
            self.disk.crash(self.random)
        else:
            self.doing = "kill"
            self.floor = max(self.durable, self.written)
            self.disk.kill()
        self.clean = False

    def close(self) -> None:
        """A shutdown; where the disk does not let it end well, the process is gone all the same."""
        self.doing = "close"
        self.settle()
        last = self.engine.log.next_lsn - 1
        self.written = last
        try:
            self.engine.close()
        except Corruption:
            raise
        except (StorageError, OSError) as error:
            self.expect(bool(self.disk.faults) or self.disk.capacity < 1 << 40, f"close: {error!r}")
            self.written = self.durable
            self.end()
            return
        self.durable = last
        self.clean = True
        self.disk.faults.clear()
        if self.random.random() < 0.5:
            self.disk.crash(self.random)
        self.floor = last
        self.disk.capacity = 1 << 40

    def open(self) -> None:
        """Open and compare. What was recovered counts as promised from now on: a client may have seen it."""
        self.doing = "open"
        options = Options(
            databases=DATABASES,
            segment_size=self.segment_size,
            files=self.disk,
            clock=self.clock,
            random=Random(self.seed),
            open_tables=self.disk.open_tables,
        )
        engine = self.engine = Engine.open(PATH, options)
        last = engine.recovered.tail.last_lsn
        self.expect(last >= self.floor, f"LSN {self.floor} was promised, the log ends at {last}")
        self.expect(last in self.history, f"the log ends at LSN {last}, which was never given out")
        self.expect(not self.clean or last == self.floor, f"LSN {last} after a clean shutdown at {self.floor}")
        self.durable = self.written = last
        self.state = self.history[last]
        self.history = {lsn: state for lsn, state in self.history.items() if lsn <= last}
        for lsn in range(last + 1, engine.log.next_lsn):
            self.history[lsn] = self.state
        self.compare()
        self.audit()

    # -- what is compared ----------------------------------------------------------------------------------------

    def compare(self) -> None:
        """All keys, as they are in memory or in rows, and what memory says of itself."""
        dataset = self.engine.dataset
        wanted, found = alive(self.state, dataset.now), contents(dataset)
        if wanted != found:
            raise self.failure(difference(wanted, found))
        for db in dataset.databases:
            self.expect(dataset.spaces.get(db.space) is db, f"database {db.index} is not where its space says")
            entries = [entry for entry in db.hot.values() if entry.kind]
            cost = sum(entry.cost() for entry in entries)
            self.expect(db.used == cost, f"database {db.index} takes {cost} bytes and says {db.used}")
            ring = {id(entry) for entry in db.ring}
            self.expect(all(id(entry) in ring for entry in entries), f"an entry of database {db.index} is in no ring")

    def audit(self) -> None:
        """The rows: sound in themselves, and saying at `applied_lsn` what was true then."""
        snapshot = self.engine.snapshot()
        findings = [step for step in check_tables(snapshot) if isinstance(step, Finding)]
        self.expect(not findings, "the tables: " + "; ".join(map(str, findings[:3])))
        dataset = Dataset(snapshot, DATABASES)
        dataset.now = self.engine.dataset.now
        if snapshot.applied_lsn in self.history:
            wanted, found = alive(self.history[snapshot.applied_lsn], dataset.now), contents(dataset)
            if wanted != found:
                raise self.failure("in the tables " + difference(wanted, found))

    def counts(self) -> None:
        """REQUIRES: nothing expired is left."""
        living = alive(self.state, self.engine.dataset.now)
        for db in self.engine.dataset.databases:
            mine = [value for (index, _), value in living.items() if index == db.index]
            due = sum(1 for value in mine if value[2])
            self.expect(db.keys == len(mine), f"database {db.index} has {len(mine)} keys and counts {db.keys}")
            self.expect(db.expires == due, f"database {db.index} has {due} expiring keys and counts {db.expires}")

    # -- steps ---------------------------------------------------------------------------------------------------

    def step(self) -> None:
        weights, steps = zip(*self.steps_of_life, strict=True)
        step = self.random.choices(steps, weights)[0]
        self.steps += 1
        self.doing = step.__name__
        self.engine.update_time()
        step()

    def settle(self) -> None:
        """Commit what the open transaction holds; expects that it comes to nothing that the model does not know."""
        self.commit(alive(self.state, self.engine.dataset.now))

    def commit(self, after: State) -> bool:
        """Commit a transaction that makes the state `after`. False when it was refused, and then it left no trace."""
        engine = self.engine
        lsn, poisoned = engine.log.next_lsn, engine.log.poison is not None
        nothing = not engine.dataset.effects and not engine.dataset.touched and not engine.dataset.counted
        self.history[lsn] = after
        try:
            got = engine.commit()
        except LogFull:
            del self.history[lsn]
            self.expect(bool(self.disk.faults) or self.disk.capacity < 1 << 40, "no room on a sound disk")
            self.compare()
            return False
        except LogPoisoned:
            del self.history[lsn]
            self.poisoned()
            return False
        self.expect(not poisoned or nothing, "a poisoned log took a transaction")
        if got != lsn:
            del self.history[lsn]
            self.expect(nothing and got == lsn - 1, f"LSN {got} instead of {lsn}")
            return True
        self.state = after
        return True

    def poisoned(self) -> None:
        """The log has failed: what is shown now is what is durable."""
        self.expect(bool(self.disk.faults), "poisoned on a sound disk")
        durable = self.engine.log.durable_lsn
        self.expect(durable >= self.durable, f"LSN {self.durable} was durable, now {durable} is")
        self.state = self.history[durable]
        self.compare()

    def transaction(self) -> None:
        now = self.engine.dataset.now
        state = dict(alive(self.state, now))
        for _ in range(1 if self.uniform else self.random.choice([1, 1, 1, 2, 3, 6])):
            operation = set_ if self.uniform else self.random.choice(OPERATIONS)
            operation(self, state, now)
        if self.commit(state) and self.random.random() < 0.1:
            self.compare()

    def flush(self) -> None:
        try:
            self.engine.log.flush()
        except LogPoisoned:
            self.engine.restore(self.engine.log.durable_lsn)
            self.poisoned()
            return
        self.written = self.engine.log.next_lsn - 1

    def sync(self) -> None:
        try:
            self.engine.sync()
        except LogPoisoned:
            self.poisoned()
            return
        self.durable = self.written = self.engine.log.next_lsn - 1

    def checkpoint_begun(self) -> None:
        """What is durable is folded, and the log behind it may go."""
        try:
            self.engine.request_checkpoint()
        except OSError:
            self.expect(bool(self.disk.faults), "a checkpoint failed on a sound disk")

    def checkpoint(self) -> None:
        self.settle()
        last = self.engine.log.next_lsn - 1
        try:
            self.engine.checkpoint()
        except LogPoisoned:
            self.poisoned()
            return
        except OSError:
            self.expect(bool(self.disk.faults), "a checkpoint failed on a sound disk")
            self.durable = self.written = self.engine.log.durable_lsn
            return
        self.durable = self.written = last
        self.expect(self.engine.applied_lsn == last, f"checkpoint at {self.engine.applied_lsn} instead of {last}")
        self.audit()

    def advance(self) -> None:
        self.clock.advance(self.random.choice([1, 10, 100, 1000, 5000]))
        self.clock.step(self.random.randint(-10_000, 10_000))

    def sweep(self) -> None:
        """All that is due goes, and nothing else; found without looking at the keys."""
        engine = self.engine
        while engine.log.poison is None:
            done = engine.sweeper.run(self.random.choice([1, 3, 200]))
            if not self.commit(alive(self.state, engine.dataset.now)):
                return
            if not done:
                self.counts()
                return

    def evict(self) -> None:
        self.engine.dataset.tick += 2
        self.engine.dataset.evict(self.random.choice([0, 0, 5000]), 1000)

    def read_all(self) -> None:
        """As clients read: what has expired is deleted on the way."""
        found: State = {}
        for db in self.engine.dataset.databases:
            for key, kind in list(db.scan()):
                if kind == Kind.HASH:
                    entry: Any = db.hash(key)
                elif kind in COLLECTIONS:
                    entry = db.collection(key, COLLECTIONS[kind])
                else:
                    entry = db.find_string(key)
                if entry is not None:
                    content = CONTENT[entry.type_name](entry.elements())
                    found[db.index, key] = (entry.type_name, content, entry.expire)
        wanted = alive(self.state, self.engine.dataset.now)
        if wanted != found:
            raise self.failure(difference(wanted, found))
        self.settle()

    def restore(self) -> None:
        """Forget memory and replay: nothing may be different. A write of the log on the way may fail."""
        engine = self.engine
        self.settle()
        if engine.log.poison is not None:
            engine.restore(engine.log.durable_lsn)
        else:
            try:
                engine.restore(engine.log.next_lsn - 1)
            except LogPoisoned:
                self.poisoned()
                return
        self.compare()

    def pages(self) -> None:
        """SCAN: a key that is there all the time is seen, whatever happens between two pages."""
        db = self.random.choice(self.engine.dataset.databases)
        now = self.engine.dataset.now
        before = {key for index, key in alive(self.state, now) if index == db.index}
        prefix = self.random.choice([b"", b"", b"k", b"long"])
        seen: set[bytes] = set()
        after = b""
        steady = set(before)
        space = db.space
        while True:
            after, found = db.scan_page(after, prefix, self.random.randint(1, 4))
            seen.update(key for key, _ in found)
            if not after:
                break
            if self.random.random() < 0.3:
                self.random.choice([self.transaction, self.evict, self.checkpoint_begun])()
                steady &= {key for index, key in self.state if index == db.index}
                if db.space != space:
                    return
        missing = {key for key in steady if key.startswith(prefix)} - seen
        self.expect(not missing or db.space != space, f"not seen by a scan of database {db.index}: {missing}")

    def random_key(self) -> None:
        db = self.random.choice(self.engine.dataset.databases)
        key = db.random_key(self.random)
        living = {key for index, key in alive(self.state, self.engine.dataset.now) if index == db.index}
        if key is None:
            self.expect(not living, "no random key where there are some")
        else:
            kind = self.engine.dataset.now and db.find(key).kind
            self.expect(key in living or kind == Kind.HASH, f"random key {key!r} is not there")
        self.settle()

    def second_server(self) -> None:
        try:
            Engine.open(PATH, Options(files=self.disk, clock=self.clock, open_tables=self.disk.open_tables))
        except DirectoryLocked:
            return
        raise self.failure("a second engine opened the directory")

    def space_returns(self) -> None:
        self.disk.capacity = 1 << 40
        self.engine.log.retry_prepare()

    # -- operations, on the engine and on the model ----------------------------------------------------------------

    def place(self) -> tuple[Keyspace, int, bytes]:
        db = self.engine.dataset.databases[0 if self.narrow else self.random.randrange(DATABASES)]
        return db, db.index, KEYS[0] if self.uniform else self.random.choice(KEYS[:2] if self.narrow else KEYS)

    def value(self) -> bytes:
        """Never the same twice, as far as its size allows."""
        self.values += 1
        size = 8 if self.uniform else self.random.choice(SIZES)
        return (b"%08d" % self.values).ljust(size, b"abcdefg"[self.values % 7 :][:1])[: max(size, 0)]

    def expiry(self, now: int) -> int:
        if self.uniform:
            return 0
        return now + self.random.choice([1, 50, 1000, 100_000]) if self.random.random() < 0.4 else 0


def set_(world: Round, state: State, now: int) -> None:
    db, index, key = world.place()
    value, expire = world.value(), world.expiry(now)
    db.set_string(key, value, expire)
    state[index, key] = ("string", value, expire)


def ghost(db: Keyspace, key: bytes) -> None:
    """A hash whose fields have all expired is there until somebody looks into it."""
    if isinstance(db.find(key), Hash):
        db.find_hash(key)


def patch(world: Round, state: State, now: int) -> None:
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


def list_change(world: Round, state: State, now: int) -> None:
    """Everything that can be done to a list, one thing at a time."""
    db, index, key = world.place()
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


def set_change(world: Round, state: State, now: int) -> None:
    db, index, key = world.place()
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


def zset_change(world: Round, state: State, now: int) -> None:
    db, index, key = world.place()
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
            score = random.choice([0.0, 1.5, -2.5, 1e300, float("inf"), float("-inf")])
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


def hash_set(world: Round, state: State, now: int) -> None:
    db, index, key = world.place()
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


def some_hash(world: Round, state: State) -> tuple[Keyspace, tuple[int, bytes]] | None:
    places = [place for place, value in state.items() if value[0] == "hash"]
    if not places:
        return None
    place = world.random.choice(places)
    return world.engine.dataset.databases[place[0]], place


def hash_delete(world: Round, state: State, now: int) -> None:
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


def hash_expire(world: Round, state: State, now: int) -> None:
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


def some_key(world: Round, state: State) -> tuple[Keyspace, tuple[int, bytes], Any] | None:
    """(database, place, entry) of a key that is there; of a hash the fields are not loaded for it."""
    if not state:
        return None
    place = world.random.choice(list(state))
    db = world.engine.dataset.databases[place[0]]
    entry = db.find(place[1])
    assert entry is not None, f"{place} is not there"
    return db, place, entry


def expire(world: Round, state: State, now: int) -> None:
    if (chosen := some_key(world, state)) is None:
        return
    db, place, entry = chosen
    due = world.expiry(now)
    db.set_expire(entry, due)
    state[place] = (*state[place][:2], due)


def delete(world: Round, state: State, now: int) -> None:
    db, index, key = world.place()
    db.delete(key)
    state.pop((index, key), None)


def remove(world: Round, state: State, now: int) -> None:
    if (chosen := some_key(world, state)) is None:
        return
    db, place, entry = chosen
    db.remove(entry)
    del state[place]


def rename(world: Round, state: State, now: int) -> None:
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


def copy(world: Round, state: State, now: int) -> None:
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


def clear(world: Round, state: State, now: int) -> None:
    db, index, _ = world.place()
    if world.random.random() < 0.3:
        db.clear()
        for place in [place for place in state if place[0] == index]:
            del state[place]


def swap(world: Round, state: State, now: int) -> None:
    first, second = world.random.sample(range(DATABASES), 2)
    world.engine.dataset.swap(first, second)
    turn = {first: second, second: first}
    moved = {(turn.get(index, index), key): value for (index, key), value in state.items()}
    state.clear()
    state.update(moved)


OPERATIONS: Final[list[Callable[[Round, State, int], None]]] = [
    *[set_] * 12,
    *[patch, hash_set, list_change] * 5,
    *[set_change, zset_change] * 3,
    *[hash_delete, hash_expire, expire, delete, remove, rename, copy] * 2,
    *[clear, swap],
]


def play(seed: int) -> int:
    """One round; returns the number of steps. Raises Failure."""
    world = Round(seed)
    with salts_from(Random(seed)):
        world.run()
    return world.steps


@contextmanager
def salts_from(random: Random) -> Iterator[None]:
    """Segments get their salts from here: how long a manifest is decides how it can be torn."""
    true = secrets.randbits

    def randbits(k: int) -> int:
        return random.getrandbits(k)

    secrets.randbits = randbits
    try:
        yield
    finally:
        secrets.randbits = true
