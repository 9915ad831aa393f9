"""A client that writes values of all types, and knows what must be there when the server comes back.

It owns two databases, where nobody else writes, and sends its commands in order. So what these hold after a crash must
be one of the states from the one last acknowledged to the one after its last command, all keys together: an earlier
state is a lost write, any other one was never written. Where only the server can know an outcome (SPOP, XADD *, PFADD,
GEOADD), the client has it read back in the same transaction; such an operation comes last in a batch, and until it is
acknowledged anything plausible will do.

What it does to its keys is in `crash_steps.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from perdure_tools.crash_steps import (
    ADDING,
    EMPTY,
    KEYS,
    KINDS,
    QUESTIONS,
    STEPS,
    WHOLE_KEYS,
    Argv,
    Place,
    State,
    Value,
    fleeting,
    log_of,
    pairs,
    scores_of,
)
from perdure_tools.crash_wire import Broken, Connection

COUNTERS: Final = 5
PIPELINE: Final = (1, 1, 1, 2, 8)
BLUR_MS: Final = 200
"""What expires so close to the moment of reading may be there or not."""


class Plausible:
    """Equal to all that `test` says yes to."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, test: Callable[[Any], bool]) -> None:
        self.test = test

    def __eq__(self, other: object) -> bool:
        return self.test(other)


@dataclass
class Operation:
    """Commands that take effect together, and the state after them. `learn`: what the reply tells of that."""

    commands: list[Argv]
    after: State
    counter: bytes = b""
    learn: Callable[[Any], None] | None = None


@dataclass
class Client:
    """One writer, in a thread of its own while a round lasts. `databases` are its own."""

    number: int
    random: Random
    known: State = field(default_factory=dict)
    under_way: list[Operation] = field(default_factory=list)
    acknowledged: int = 0
    problem: BaseException | None = None
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = b"client%d" % self.number
        self.databases = (1 + 2 * self.number, 2 + 2 * self.number)
        self.state = self.known
        self.past = [self.known]
        self.sequence = 0
        self.selected = 0
        self.increments: dict[bytes, int] = {}
        self.answers: dict[bytes, list[int]] = {}

    def work(self, port: int) -> None:
        """Write until the connection breaks."""
        try:
            connection = Connection(port)
            self.selected = 0
            while True:
                batch = list(self.invent(self.random.choice(PIPELINE)))
                self.under_way += batch
                connection.send([words for operation in batch for words in operation.commands])
                for operation in batch:
                    replies = [connection.reply() for _ in operation.commands]
                    self.acknowledge(operation, replies[-1])
        except Broken:
            pass
        except BaseException as error:
            self.problem = error

    def acknowledge(self, operation: Operation, reply: Any) -> None:
        assert self.under_way.pop(0) is operation
        if operation.learn is not None:
            operation.learn(reply)
        self.known = operation.after
        self.past.append(self.known)
        self.acknowledged += 1
        if operation.counter:
            self.increments[operation.counter] = self.increments.get(operation.counter, 0) + 1
            self.answers.setdefault(operation.counter, []).append(reply)

    # -- inventing -------------------------------------------------------------------------------------------------

    def invent(self, count: int) -> Iterator[Operation]:
        """So many operations; `state` is what they lead to."""
        for left in reversed(range(count)):
            self.state = dict(self.state)
            chance = self.random.random()
            if chance < 0.1:
                counter = b"counter:%d" % self.random.randrange(COUNTERS)
                yield Operation([*self.select(0), [b"INCR", counter]], self.state, counter)
            elif chance < 0.25:
                yield self.transaction()
            elif chance < 0.35 and not left:
                yield self.question()
            elif chance < 0.45:
                yield Operation(fleeting(self), self.state)
            else:
                yield Operation(self.step(), self.state)

    def transaction(self) -> Operation:
        """Several steps as one: by MULTI, or by a script."""
        database = self.random.choice(self.databases)
        select = self.select(database)
        steps = [words for _ in range(self.random.randint(2, 4)) for words in self.step(database)]
        if self.random.random() < 0.3:
            arguments = [word for words in steps for word in (b"%d" % len(words), *words)]
            return Operation([*select, [b"EVAL", SCRIPT, b"0", *arguments]], self.state)
        return Operation([*select, [b"MULTI"], *steps, [b"EXEC"]], self.state)

    def question(self) -> Operation:
        """Something of which only the server can tell how it ends."""
        place = self.place()
        kind = self.state[place].kind if place in self.state else self.random.choice(list(QUESTIONS))
        if kind not in QUESTIONS:
            return Operation(self.step(), self.state)
        asked = self.random.choice(QUESTIONS[kind])(self, place)
        if asked is None:
            return Operation(self.step(), self.state)
        command, plausible, look, learned = asked
        expire = self.state[place].expire if place in self.state else 0
        after = self.state
        after[place] = Value(kind, Plausible(plausible), expire)

        def learn(reply: list[Any]) -> None:
            content = learned(reply[-1])
            if content:
                after[place] = Value(kind, content, expire)
            else:
                del after[place]

        return Operation([*self.select(place[0]), [b"MULTI"], command, look, [b"EXEC"]], after, learn=learn)

    def step(self, database: int | None = None) -> list[Argv]:
        """One command, with the SELECT that it needs."""
        place = self.place() if database is None else (database, self.key())
        held = self.state.get(place)
        random = self.random
        if held is not None and random.random() < 0.12:
            step = random.choice(WHOLE_KEYS if database is None else WHOLE_KEYS[:-2])
        else:
            step = random.choice(STEPS[held.kind] if held is not None else ADDING[random.choice(KINDS)])
        return [*self.select(place[0]), step(self, place)]

    def select(self, database: int) -> list[Argv]:
        if database == self.selected:
            return []
        self.selected = database
        return [[b"SELECT", b"%d" % database]]

    def key(self) -> bytes:
        return b"key:%d" % self.random.randrange(KEYS)

    def place(self) -> Place:
        return self.random.choice(self.databases), self.key()

    def value(self) -> bytes:
        """Never the same twice."""
        self.sequence += 1
        return b"%b:%d:" % (self.name, self.sequence) + b"x" * self.random.choice([0, 0, 0, 0, 50, 50, 2000, 40_000])

    def short(self) -> bytes:
        self.sequence += 1
        return b"%b:%d" % (self.name, self.sequence)

    def several(self) -> list[bytes]:
        return [self.short() for _ in range(self.random.choice([1, 1, 2, 5]))]

    def some(self, elements: Iterable[Any]) -> list[Any]:
        """A few of them, at least one. REQUIRES: there are any."""
        found = list(elements)
        return self.random.sample(found, min(len(found), self.random.choice([1, 1, 2, 5])))

    def content(self, place: Place, kind: str) -> Any:
        held = self.state.get(place)
        return EMPTY[kind] if held is None else held.content

    def put(self, place: Place, kind: str, content: Any, expire: int | None = None) -> None:
        """The key holds this from now on; its expiry stays if none is given."""
        if not content and kind != "string":
            self.state.pop(place, None)
            return
        held = self.state.get(place)
        if expire is None:
            expire = held.expire if held is not None else 0
        self.state[place] = Value(kind, content, expire)

    def another(self, place: Place, *kinds: str) -> Place | None:
        """A place in the same database that holds one of these kinds, or nothing if they include "none"."""
        other = (place[0], self.key())
        held = self.state.get(other)
        return other if other != place and (held.kind if held is not None else "none") in kinds else None

    # -- after the crash -------------------------------------------------------------------------------------------

    def compare(self, found: State, began_ms: int, ended_ms: int) -> tuple[int, int, int]:
        """(lost, never written, operations under way that were kept), where `found` was read between these times.
        From now on `found` is what is known."""

        def seen(state: State) -> State:
            return without(state, 1, ended_ms + BLUR_MS)

        states = [self.known, *(operation.after for operation in self.under_way)]
        shown = without(found, max(1, began_ms - BLUR_MS), ended_ms + BLUR_MS)
        applied = next((number for number, state in enumerate(states) if seen(state) == shown), None)
        lost = unwritten = 0
        if applied is None:
            candidates = [seen(state) for state in states]
            past = [seen(state) for state in self.past]
            for place in {place for state in (shown, *candidates) for place in state}:
                here = shown.get(place)
                if not any(state.get(place) == here for state in candidates):
                    written = here is None or any(state.get(place) == here for state in past)
                    lost, unwritten = lost + written, unwritten + (not written)
                    self.complaints.append(f"{place}: {states[-1].get(place)!r:.300} expected, {here!r:.300} found")
            if not lost + unwritten:
                lost = 1  # each key alone could be so, all of them together could not
        self.known = self.state = found
        self.past = [found]
        self.under_way = []
        return lost, unwritten, applied or 0


def without(state: State, since_ms: int, until_ms: int) -> State:
    """Without what expires in that time (an expiry of 0 is none: REQUIRES since_ms > 0)."""
    found: State = {}
    for place, value in state.items():
        if since_ms <= value.expire <= until_ms:
            continue
        if value.kind == "hash":
            fields = {name: pair for name, pair in value.content.items() if not since_ms <= pair[1] <= until_ms}
            if not fields:
                continue
            value = value._replace(content=fields)
        found[place] = value
    return found


SCRIPT: Final = b"""
local at = 1
while at <= #ARGV do
  local words = tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, at + words))
  at = at + 1 + words
end
return 'OK'
"""
"""Runs the commands in its arguments, each after the number of its words."""


# -- reading everything ------------------------------------------------------------------------------------------------


def read(connection: Connection, databases: Iterable[int]) -> State:
    """All that the server holds in these databases."""
    found: State = {}
    for database in databases:
        connection.call(b"SELECT", b"%d" % database)
        keys = connection.call(b"KEYS", b"*")
        connection.send([words for key in keys for words in ([b"TYPE", key], [b"PEXPIRETIME", key])])
        records = [(key, connection.reply().decode(), connection.reply()) for key in keys]
        records = [record for record in records if record[1] != "none" and record[2] != -2]  # it expired meanwhile
        connection.send([[word if word is not None else key for word in LOOKS[kind][0]] for key, kind, _ in records])
        replies = [connection.reply() for _ in records]
        for (key, kind, expire), reply in zip(records, replies, strict=True):
            content = LOOKS[kind][1](reply)
            if kind == "string" and content[:4] == b"HYLL":
                kind = "hll"
            elif kind == "hash" and content:
                times = connection.call(b"HPEXPIRETIME", key, b"FIELDS", b"%d" % len(content), *content)
                timed = zip(content.items(), times, strict=True)
                content = {name: (value, max(when, 0)) for (name, value), when in timed if when != -2}
            found[database, key] = Value(kind, content, max(expire, 0))
    return found


LOOKS: Final[dict[str, tuple[tuple[bytes | None, ...], Callable[[Any], Any]]]] = {
    "string": ((b"GET", None), lambda value: value or b""),
    "hash": ((b"HGETALL", None), lambda flat: dict(pairs(flat))),
    "list": ((b"LRANGE", None, b"0", b"-1"), tuple),
    "set": ((b"SMEMBERS", None), frozenset),
    "zset": ((b"ZRANGE", None, b"0", b"-1", b"WITHSCORES"), scores_of),
    "stream": ((b"XINFO", b"STREAM", None, b"FULL", b"COUNT", b"0"), log_of),
}
"""By type: what to ask (None stands for the key), and what the reply means."""
