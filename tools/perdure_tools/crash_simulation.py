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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final

from perdure_storage.check import Finding, check_tables
from perdure_storage.engine import Engine, Options
from perdure_storage.errors import Corruption, DirectoryLocked, LogFull, LogPoisoned, StorageError
from perdure_storage.keyspace import COLLECTIONS, Dataset, Keyspace
from perdure_storage.testing import ManualClock, MemoryDisk, PowerCut
from perdure_storage.types.entry import Kind
from perdure_storage.walk import walk
from perdure_tools.crash_operations import (
    CONTENT,
    DATABASES,
    FAVOURITES,
    KEYS,
    LIBRARIES,
    OPERATIONS,
    Operation,
    State,
    Value,
    set_,
)

PATH: Final = "/db"
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


def contents(dataset: Dataset) -> State:
    """What a dataset holds, from memory and rows, without changing it."""
    state: State = {}
    for db in dataset.databases:
        for item in walk(db):
            state[db.index, item.key] = (item.type_name, CONTENT[item.type_name](item.elements()), item.expire)
    return alive(state | libraries(dataset), dataset.now)


def libraries(dataset: Dataset) -> State:
    return {(LIBRARIES, name): ("library", code, 0) for name, code in dataset.libraries.items()}


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
        self.favourite = self.random.choice(FAVOURITES) if 0.5 < style < 0.95 else None
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
            (3, self.restore),
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
            ringed = len(db.ring) == len(entries) and all(db.ring[entry.ring_at] is entry for entry in entries)
            self.expect(ringed, f"the ring of database {db.index} is not what it has in memory")

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
            self.operation()(self, state, now)
        if self.commit(state) and self.random.random() < 0.1:
            self.compare()

    def operation(self) -> Operation:
        if self.uniform:
            return set_
        if self.favourite is not None and self.random.random() < 0.5:
            return self.favourite
        return self.random.choice(OPERATIONS)

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
        found: State = libraries(self.engine.dataset)
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
