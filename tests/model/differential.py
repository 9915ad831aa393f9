"""The same commands to Perdure and to redis-server, and the same replies from both: anything else is a difference.

What hypothesis draws is a list of steps: commands, and in between things that must not be noticed, which only Perdure
goes through (`RESTARTS`: closed and reopened, killed, cut off from power, checkpointed, everything clean dropped from
memory). After the steps, `PROBES` read every key. A failing list is cut down to the steps it needs.

**Adding a family** (`tests/model/families/hashes.py`, and its name in `families/__init__.py`) is:

    COMMAND_STRATEGIES["hash"] = st.one_of(
        command("HSET", KEY, st.lists(pair(FIELD, VALUE), min_size=1, max_size=3)),
        command("HRANDFIELD", KEY, optional(SMALL, flag("WITHVALUES"))),
        wild("HSET HGET HINCRBY", KEY | FIELD | NUMBER | word("WITHVALUES")),
    )
    PROBES["hash"] = [("HGETALL", KEYS), ("HLEN", KEYS)]
    SAME["hgetall"] = any_order_of_pairs

* `command(name, part, ...)`: parts are words, strategies of bytes, or strategies of lists, which are spliced in.
* `wild(names, words)`: any of these commands with any words in any number: finds errors told in another order.
* `KEY` draws from few keys, so that commands meet. Some of them hold other types (`PRELUDE`), for WRONGTYPE.
* Times: `SECONDS` and the like are far in the future or in the past, never near: nothing expires during a run.
* `SAME[name]` compares where equal is too much to ask: `any_order` for sets, `random_choice` where only the shape can be
  told; `TIMES` are compared as times.
* `steps` puts the commands into transactions and scripts as well, where each reply is compared as it would be outside.
* `mostly("hash")` are keys that mostly hold what the family works on; `mainly` and `rarely` weigh strategies. A command that
  is nearly always refused tells nothing: `test_no_command_is_nearly_always_refused`.
* A difference that shall stay is a `Difference` in `known_differences.py` and a heading in docs/differences.md.

The number of examples is PERDURE_EXAMPLES, or 100.
"""

from __future__ import annotations

import operator
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha1
from io import BytesIO
from itertools import chain, starmap
from random import Random
from traceback import format_exc
from typing import Any, BinaryIO, Final, Protocol

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from perdure.config import Config
from perdure.dispatch import execute
from perdure.server import Server
from perdure.session import Session
from perdure_storage.clock import Clock, SystemClock
from perdure_storage.codec import unpack
from perdure_storage.engine import Engine, Options
from perdure_storage.testing import MemoryDisk
from perdure_storage.wal import LogReader

Argv = tuple[bytes, ...]
Reply = tuple[str, Any]
"""The first byte of the reply, and what follows: bytes, int, a list of replies, None."""


EXAMPLES: Final = 100
"""How many a test tries unless told otherwise by PERDURE_EXAMPLES."""
SHRINKING: Final = 40
ROUND: Final = 10
"""After ten examples hypothesis makes five variations of each, mostly with the same commands, and it remembers all it
has tried. A long search is many short ones: all examples are new."""


def scaled(few: int) -> int:
    """`few` examples, or as many more as PERDURE_EXAMPLES is above EXAMPLES."""
    return few * int(os.environ.get("PERDURE_EXAMPLES", EXAMPLES)) // EXAMPLES or 1


def examples(few: int) -> settings:
    """For tests of their own with @given: how long to search."""
    return settings(max_examples=scaled(few), deadline=None, suppress_health_check=list(HealthCheck))


def explore(few: int, check: Callable[..., None], *, same: bool = False, **drawn: SearchStrategy[Any]) -> None:
    """Call `check` with this many examples (see `scaled`). What fails is made small by `smallest`.

    PERDURE_SEED makes a search the same each time, and so does `same`.
    """
    left = scaled(few)
    seed = int(os.environ.get("PERDURE_SEED") or (1 if same else Random().getrandbits(64)))
    while left > 0:
        search = settings(
            max_examples=min(left, ROUND),
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            report_multiple_bugs=False,
        )
        try:
            hypothesis.seed((seed << 32) + left)(search(given(**drawn)(check)))()
        except Differs as failure:
            raise Differs(str(failure)) from None  # without hypothesis' notes: the program before it was cut down
        left -= ROUND


# -- the two sides -------------------------------------------------------------------------------------------------


def request(argv: Sequence[bytes]) -> bytes:
    """A request as clients send it."""
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in argv)


def read_reply(stream: BinaryIO) -> Reply:
    """The next reply, types kept."""
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise EOFError(f"the server hung up after {line!r}")
    kind, rest = chr(line[0]), line[1:-2]
    if kind in "$=" and rest != b"-1":
        return kind, stream.read(int(rest) + 2)[:-2]
    if kind in "*~>" and rest != b"-1":
        return kind, [read_reply(stream) for _ in range(int(rest))]
    if kind == "%":
        return kind, [read_reply(stream) for _ in range(2 * int(rest))]
    if kind == ":":
        return kind, int(rest)
    return kind, None if rest == b"-1" else rest


class Remote:
    """A server at the other end of a socket."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.stream = self.socket.makefile("rb")

    def ask(self, *argv: bytes) -> Reply:
        return self.ask_all([argv])[0]

    def ask_all(self, requests: Sequence[Argv]) -> list[Reply]:
        self.socket.sendall(b"".join(map(request, requests)))
        return [read_reply(self.stream) for _ in requests]

    def close(self) -> None:
        self.stream.close()
        self.socket.close()


RESTARTS: Final = ("close", "kill", "power cut", "checkpoint", "forget")


class LocalServer:
    """Perdure in this process, without sockets and loop, on a disk in memory."""

    def __init__(self, clock: Clock | None = None, *, seed: int = 0) -> None:
        self.disk = MemoryDisk()
        self.clock = clock or SystemClock()
        self.random = Random(seed)
        self.protocol = 2
        self._open()

    def _open(self) -> None:
        options = Options(
            files=self.disk,
            open_tables=self.disk.open_tables,
            clock=self.clock,
            random=self.random,
            segment_size=1 << 16,
        )
        self.engine = Engine.open("/db", options)
        self.server = Server(Config(), self.engine)
        self.session = self.server.sessions[1] = Session(self.server, 1)
        self.session.set_protocol(self.protocol)

    def speak(self, protocol: int) -> None:
        """RESP2 or RESP3 from now on."""
        self.protocol = protocol
        self.session.set_protocol(protocol)

    def knows(self, name: bytes) -> bool:
        return name.lower() in self.server.commands

    def ask(self, *argv: bytes) -> Reply:
        """Run one command as a client would; its change is durable when the reply is there."""
        self.engine.update_time()
        raw = execute(self.session, list(argv))
        self.engine.sync()
        stream = BytesIO(raw)
        reply = read_reply(stream)
        assert not stream.read(), f"more than one reply to {argv}: {raw!r}"
        return reply

    def logged(self, *argv: bytes) -> list[tuple[Any, ...]]:
        """The effects of a command, which must not fail, as they stand in the log."""
        before = self.engine.log.written_lsn
        reply = self.ask(*argv)
        assert reply[0] != "-", reply
        reader = LogReader(self.disk, "/db/wal")
        try:
            return [effect for record in reader.rest(before) for effect in unpack(record.payload)]
        finally:
            reader.close()

    def restart(self, how: str) -> None:
        """What clients must not notice: one of RESTARTS."""
        if how == "checkpoint":
            self.engine.checkpoint()
            return
        if how == "forget":
            self.engine.checkpoint()
            dataset = self.engine.dataset
            dataset.tick += 10
            for _ in range(20):
                dataset.evict(0, 1 << 30)
            return
        index = self.session.db.index
        if how == "close":
            self.engine.close()
        elif how == "kill":
            self.disk.kill()
        else:
            self.disk.crash(self.random)
        self._open()
        self.session.select(index)

    def close(self) -> None:
        self.engine.close()


# -- words and commands ----------------------------------------------------------------------------------------------

KEYS: Final = (b"a", b"b", b"c", b"long key " * 100)
OTHER_TYPES: Final = {
    b"hash": (b"HSET", b"hash", b"field", b"value"),
    b"list": (b"RPUSH", b"list", b"x", b"y"),
    b"set": (b"SADD", b"set", b"x", b"y"),
    b"stream": (b"XADD", b"stream", b"1-0", b"field", b"value"),
    b"string": (b"SET", b"string", b"10"),
    b"zset": (b"ZADD", b"zset", b"3", b"1", b"2", b"2", b"1", b"3"),
}
"""Keys that hold something else in the beginning, and the command that makes them."""

KEY: Final = st.sampled_from((*KEYS, *KEYS, *OTHER_TYPES))


def mostly(*keys: bytes) -> SearchStrategy[bytes]:
    """Keys for a family whose values are there, so that most commands find what they can work on."""
    return st.sampled_from((*keys * (16 // len(keys)), *KEYS, *OTHER_TYPES))


VALUE: Final = (
    st.binary(max_size=6)
    | st.sampled_from((b"", b"1", b"-1", b"10.5", b"foo", b"foobar", b"\0\xff", b"x" * 300, b"\xff" * 20_000))
    | st.integers(-20, 20).map(b"%d".__mod__)
)


def mainly(usual: SearchStrategy[Any], other: SearchStrategy[Any], times: int = 5) -> SearchStrategy[Any]:
    """`usual` so many times as often as `other`. (In `a | a | b` the second `a` means nothing to hypothesis.)"""
    return st.sampled_from([usual] * times + [other]).flatmap(lambda drawn: drawn)


SMALL: Final = st.integers(-12, 12).map(b"%d".__mod__)
ODD_NUMBER: Final = st.sampled_from(
    (b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"9999999999", b"1.5", b"07", b"+1",
     b" 1", b"", b"x", b"-0", b"1e3")
)  # fmt: skip
NUMBER: Final = mainly(SMALL, ODD_NUMBER, 4)
FLOAT: Final = st.sampled_from(
    (b"0", b"0.1", b"1.5", b"-2.25", b"3", b"1e5", b"1e-5", b"5e20", b"1e300", b"inf", b"-inf", b"nan", b"abc", b"",
     b" 1", b"1 ", b"0x1p3", b".5", b"5.", b"+1", b"-0", b"-0.0", b"1e", b"1e5000", b"3.0e-3")
) | st.floats(-1e6, 1e6).map(lambda x: b"%r" % x) | NUMBER  # fmt: skip
SECONDS: Final = st.sampled_from((b"1000", b"99999", b"5000000000"))
MILLISECONDS: Final = st.sampled_from((b"1000000", b"99999999"))
UNIX_SECONDS: Final = st.sampled_from((b"4000000000", b"5000000000", b"1", b"1000000000"))
UNIX_MILLISECONDS: Final = st.sampled_from((b"4000000000000", b"5000000000123", b"1", b"1000000000000"))
BAD_TIMES: Final = st.sampled_from((b"0", b"-1", b"9223372036854775807", b"9223372036854775", b"x", b"1.5"))

Part = bytes | str | SearchStrategy[bytes] | SearchStrategy[list[bytes]] | SearchStrategy[Any]


def _strategy(part: Part) -> SearchStrategy[Any]:
    if isinstance(part, str):
        return word(part)
    return st.just(part) if isinstance(part, bytes) else part


def _flat(items: Iterable[Any]) -> list[bytes]:
    """Lists within lists spliced in."""
    flat: list[bytes] = []
    for item in items:
        if isinstance(item, bytes):
            flat.append(item)
        else:
            flat += _flat(item)
    return flat


def word(text: str) -> SearchStrategy[bytes]:
    """One of some words, rarely in lower case."""
    words = [each.encode() for each in text.split()]
    return st.sampled_from([*words, *words, *words, *(each.lower() for each in words)])


DRAWN: Final[set[bytes]] = set()
"""Commands that a strategy draws, in lower case, and words behind a command that may be subcommands: "xinfo|stream"."""


def _drawn(names: str, subcommands: str = "") -> None:
    for name in names.lower().encode().split():
        DRAWN.add(name)
        DRAWN.update(name + b"|" + word for word in subcommands.lower().encode().split())


def command(name: str, *parts: Part) -> SearchStrategy[Argv]:
    """A command with these arguments."""
    _drawn(name, parts[0] if parts and isinstance(parts[0], str) else "")
    return st.tuples(word(name), *map(_strategy, parts)).map(lambda items: tuple(_flat(items)))


def group(*parts: Part) -> SearchStrategy[list[bytes]]:
    """Words side by side."""
    return st.tuples(*map(_strategy, parts)).map(_flat)


def optional(*parts: Part) -> SearchStrategy[list[bytes]]:
    """All of these words, or none."""
    return st.just([]) | group(*parts)


def rarely(*parts: Part) -> SearchStrategy[list[bytes]]:
    """None of these words, but now and then."""
    return mainly(st.just([]), group(*parts), 7)


def many(*parts: Part, least: int = 1, most: int = 3) -> SearchStrategy[list[bytes]]:
    """The group again and again."""
    return st.lists(group(*parts), min_size=least, max_size=most).map(_flat)


def shuffled(*groups: SearchStrategy[list[bytes]]) -> SearchStrategy[list[bytes]]:
    """Options in any order."""
    return st.tuples(*groups).flatmap(lambda drawn: st.permutations(list(drawn))).map(_flat)


def wild(names: str, words: SearchStrategy[bytes], most: int = 6) -> SearchStrategy[Argv]:
    """Any of the commands with any words."""
    _drawn(names)
    return st.tuples(word(names), st.lists(words, max_size=most)).map(lambda items: (items[0], *items[1]))


COMMAND_STRATEGIES: Final[dict[str, SearchStrategy[Argv]]] = {}
"""By family: what its commands look like."""

PROBES: Final[dict[str, list[tuple[str, Sequence[bytes]]]]] = {}
"""By family: commands that read one key ("LRANGE 0 -1": with further words), and the keys to ask for, after a run."""

PRELUDE: Final[list[Argv]] = list(OTHER_TYPES.values())

# -- comparing -----------------------------------------------------------------------------------------------------

Judge = Callable[[Reply, Reply], bool]


def within(tolerance: float) -> Judge:
    """Numbers that differ by no more than that: times. -1 and -2 have their meanings."""

    def judge(expected: Reply, found: Reply) -> bool:
        if expected[0] != ":" or found[0] != ":" or min(expected[1], found[1]) < 0:
            return expected == found
        return bool(abs(expected[1] - found[1]) <= tolerance)

    return judge


def any_order(expected: Reply, found: Reply) -> bool:
    """The same elements."""
    if not isinstance(expected[1], list) or not isinstance(found[1], list):
        return expected == found
    return expected[0] == found[0] and sorted(expected[1], key=repr) == sorted(found[1], key=repr)


def any_order_of_pairs(expected: Reply, found: Reply) -> bool:
    """The same map."""
    if not isinstance(expected[1], list) or not isinstance(found[1], list):
        return expected == found
    return expected[0] == found[0] and _pairs(expected[1]) == _pairs(found[1])


def _pairs(items: list[Reply]) -> list[tuple[Reply, Reply]]:
    return sorted(zip(items[::2], items[1::2], strict=True), key=repr)


def pages(expected: Reply, found: Reply) -> bool:
    """Of SCAN and its kin: all is the same, in any order; a page is a part of it, which one is nobody's business.

    One side may give a page where the other gives all: Redis has no page of what it keeps in one piece.
    """
    if not expected[0] == found[0] == "*":
        return expected == found
    (theirs_at, theirs), (ours_at, ours) = expected[1], found[1]
    whole = ("$", b"0")
    if theirs_at == ours_at == whole:
        return any_order(theirs, ours)
    if ours_at == whole:
        return all(element in ours[1] for element in theirs[1])
    return theirs_at != whole or all(element in theirs[1] for element in ours[1])


def random_choice(expected: Reply, found: Reply) -> bool:
    """Something of the same kind and size."""
    if isinstance(expected[1], list) and isinstance(found[1], list):
        return expected[0] == found[0] and len(expected[1]) == len(found[1])
    return expected[0] == found[0] and (expected[1] is None) == (found[1] is None)


SAME: Final[dict[str, Judge]] = {}
"""By command in lower case: how to compare where `==` does not do."""
TIMES: Final = {"ttl": 1, "expiretime": 1, "pttl": 1000, "pexpiretime": 1000}
"""Commands that reply times, and what a second is in their unit. Redis-server runs a program at once, we may start anew
in the middle of it: times may differ by as much as the run took, and by two seconds for two clocks that round.
"""


def judge_of(name: str, seconds: float) -> Judge:
    """How to compare replies of this command that were given within so many seconds."""
    if name in TIMES:
        return within(TIMES[name] * (2 + seconds))
    return SAME.get(name, operator.eq)


Step = Argv | str
"""A command, or one of RESTARTS."""


def commands_of(steps: Iterable[Step]) -> Iterable[Argv]:
    return (step for step in steps if not isinstance(step, str))


class Difference:
    """A difference that is meant: `title` is a heading in docs/differences.md, which says why.

    It can be there only when one of the words `after` has been sent before, in any case; when the difference is one of
    WATCH, in a command that names a key which was watched by then.
    """

    def __init__(
        self, title: str, covers: Callable[[Argv, Reply, Reply], bool], after: str = "", of_watch: bool = False
    ) -> None:
        self.title = title
        self.covers = covers
        self.after = {word.encode() for word in after.split()}
        self.of_watch = of_watch

    def prepared(self, steps: Iterable[Step], connection: Connection) -> bool:
        before = connection.on_watched if self.of_watch else commands_of(steps)
        return not self.after or any(not self.after.isdisjoint(map(bytes.upper, argv)) for argv in before)


class Program(list[Step]):
    """Steps that show themselves in a readable way."""

    def __repr__(self) -> str:
        return "\n  " + "\n  ".join(f"-- {step}" if isinstance(step, str) else shown(step) for step in self)


def steps(*families: str) -> SearchStrategy[Program]:
    """Commands of these families, alone or within transactions and scripts; something that must not be noticed now and then.

    Hypothesis likes lists of about five: some lists of some steps are long enough.
    """
    commands = st.one_of([COMMAND_STRATEGIES[family] for family in families])
    restarts: SearchStrategy[Step] = st.sampled_from(RESTARTS)
    some = st.lists(mainly(commands, restarts, 9), min_size=1, max_size=12)
    together = st.lists(commands, min_size=1, max_size=6)
    inside = st.builds(transaction, together, word("EXEC EXEC EXEC DISCARD")) | st.builds(script, CALLS, together)
    few = st.lists(commands, min_size=1, max_size=2)
    observed = st.builds(watched, few, mainly(st.just([]), st.just([(b"UNWATCH",)])))
    blocks = mainly(some, inside | observed, 2)
    return st.lists(blocks, min_size=1, max_size=12).map(lambda lists: Program(chain.from_iterable(lists)))


def transaction(commands: list[Argv], end: bytes) -> list[Step]:
    return [(b"MULTI",), *commands, (end,)]


def watched(commands: list[Argv], end: list[Argv]) -> list[Step]:
    """Have the commands changed what the first of them is about? EXEC tells."""
    first = commands[0][1:] or (b"a",)
    return [(b"WATCH", *first), *commands, *end, (b"MULTI",), (b"PING",), (b"EXEC",)]


SCRIPT: Final = b"""\
local replies, at = {}, 1
while ARGV[at] do
    local size = tonumber(ARGV[at])
    replies[#replies + 1] = redis.pcall(unpack(ARGV, at + 1, at + size))
    at = at + size + 1
end
return replies"""
"""Runs the commands in its arguments, each after the number of its words, and returns what they replied."""
DIGEST: Final = sha1(SCRIPT).hexdigest().encode()
LIBRARY: Final = (
    b"""\
#!lua name=differential
local function run(KEYS, ARGV)
%b
end
redis.register_function('run', run)
redis.register_function{function_name = 'look', callback = run, flags = {'no-writes'}}"""
    % SCRIPT
)
CALLS: Final = st.sampled_from(
    (
        *[(b"EVAL", SCRIPT), (b"FCALL", b"run"), (b"EVALSHA", DIGEST)] * 4,
        (b"EVAL_RO", SCRIPT),
        (b"EVALSHA_RO", DIGEST),
        (b"FCALL_RO", b"look"),
    )
)
_drawn("EVAL EVAL_RO EVALSHA EVALSHA_RO FCALL FCALL_RO")
SCRIPTS: Final[list[Argv]] = [(b"SCRIPT", b"LOAD", SCRIPT), (b"FUNCTION", b"LOAD", b"REPLACE", LIBRARY)]


def script(call: Argv, commands: list[Argv]) -> list[Step]:
    """One step that runs them all."""
    words = chain.from_iterable((b"%d" % len(argv), *argv) for argv in commands)
    return [(*call, b"0", *words)]


def called(argv: Argv) -> list[Argv]:
    """The commands that a script made by `script` runs."""
    commands, at = [], 3
    while at < len(argv):
        size = int(argv[at])
        commands.append(argv[at + 1 : at + 1 + size])
        at += size + 1
    return commands


def probes(*families: str) -> list[Argv]:
    """What reads everything after a run."""
    found: list[Argv] = []
    for words, keys in chain.from_iterable(PROBES[family] for family in families):
        name, *rest = words.encode().split()
        found += [(name, key, *rest) for key in keys]
    return found


class Perdure(Protocol):
    """Our side of a comparison."""

    def knows(self, name: bytes) -> bool: ...
    def speak(self, protocol: int) -> None: ...
    def ask(self, *argv: bytes) -> Reply: ...
    def restart(self, how: str) -> None: ...
    def close(self) -> None: ...


class Differs(AssertionError):
    """The shortest program after which the replies differ, and the replies."""


def compare(
    redis: Remote, start: Callable[[], Perdure], program: Program, families: Sequence[str], protocol: int
) -> None:
    """Run the program on both sides; `start` makes an empty Perdure. Raises Differs."""

    def look(steps: Program) -> str:
        return difference(redis, start(), steps, families, protocol)

    confirm(look, program)


def confirm(look: Callable[[Any], str], program: Any) -> None:
    """Tell the difference that `look` finds, with the shortest program. Raises Differs.

    The two servers have two clocks: a difference that does not come again in three tries is a warning.
    """
    found = look(program)
    if not found:
        return
    if not any(look(program) for _ in range(3)):
        warnings.warn(f"did not come again: {found}", stacklevel=3)
        return
    raise Differs(look(smallest(program, lambda shorter: bool(look(shorter)))) or found)


class Connection:
    """What a server remembers of a client, as the replies tell: what MULTI has queued, what WATCH and SELECT did."""

    def __init__(self) -> None:
        self.queued: list[Argv] = []
        self.open = self.elsewhere = False
        self.watched: set[bytes] = set()
        self.on_watched: list[Argv] = []
        """Commands with a watched key among their words."""

    @property
    def watching(self) -> bool:
        return bool(self.watched)

    def unwatch(self) -> None:
        self.watched, self.on_watched = set(), []

    def parts(self, argv: Argv, wanted: Reply, found: Reply) -> list[tuple[Argv, Reply, Reply]]:
        """What is to be compared: of EXEC and of scripts each command with its own reply."""
        theirs, ours = wanted[1], found[1]
        if not isinstance(theirs, list) or not isinstance(ours, list):
            return [(argv, wanted, found)]
        if argv[0].lower() == b"exec":
            commands = self.queued
        elif argv[0].lower().startswith((b"eval", b"fcall")):
            commands = called(argv)
        else:
            return [(argv, wanted, found)]
        if not len(theirs) == len(ours) == len(commands):
            return [(argv, wanted, found)]
        replies = zip(commands, theirs, ours, strict=True)
        return list(chain.from_iterable(starmap(self.parts, replies)))

    def note(self, argv: Argv, reply: Reply) -> None:
        name = argv[0].lower()
        if reply != ("+", b"QUEUED") and not self.watched.isdisjoint(argv):
            self.on_watched.append(argv)
        if name == b"exec" and isinstance(reply[1], list):
            for each in zip([*self.queued], reply[1], strict=False):
                self.note(*each)
        if reply == ("+", b"QUEUED"):
            self.queued.append(argv)
        elif reply[0] == "-" and not reply[1].startswith(b"EXECABORT"):
            pass
        elif name in (b"exec", b"discard"):
            self.queued, self.open = [], False
            self.unwatch()
        elif reply[0] != "+":
            pass
        elif name == b"multi":
            self.open = True
        elif name == b"watch":
            self.watched.update(argv[1:])
        elif name == b"unwatch":
            self.unwatch()
        elif name == b"select":
            self.elsewhere = argv[1] != b"0"

    def survives(self, restart: str) -> bool:
        """Restarts are not noticed, but by whoever has something open."""
        return restart in ("checkpoint", "forget") or not (self.open or self.watching or self.elsewhere)


def difference(redis: Remote, perdure: Perdure, program: Program, families: Sequence[str], protocol: int) -> str:
    """The first difference, told with the program up to there; empty when there is none."""
    from tests.model.known_differences import KNOWN

    perdure.speak(protocol)
    whole = Program([*SCRIPTS, *PRELUDE, *program, (b"DISCARD",), *probes(*families)])
    whole = Program(step for step in whole if isinstance(step, str) or perdure.knows(step[0]))
    requests = [*commands_of(whole)]
    version = b"%d" % protocol
    began = time.monotonic()
    expected = iter(redis.ask_all([(b"RESET",), (b"FLUSHALL",), (b"HELLO", version), *requests])[3:])
    at, connection = 0, Connection()
    try:
        for at, step in enumerate(whole):
            if isinstance(step, str):
                if connection.survives(step):
                    perdure.restart(step)
                    if not (connection.open or connection.watching):
                        perdure.ask(*SCRIPTS[0])  # restarts forget scripts, but not functions
                continue
            found, wanted = perdure.ask(*step), next(expected)
            for argv, theirs, ours in connection.parts(step, wanted, found):
                judge = judge_of(argv[0].lower().decode("latin-1"), time.monotonic() - began)
                if ours == theirs or judge(theirs, ours):
                    continue
                if any(known.covers(argv, theirs, ours) and known.prepared(whole[:at], connection) for known in KNOWN):
                    return ""  # what follows may differ because of it
                told = Program(whole[: at + 1])
                return f"RESP{protocol}{told!r}\nredis-server: {theirs!r:.300}\nPerdure:      {ours!r:.300}"
            connection.note(step, found)
        perdure.close()
        return ""
    except Exception:
        return f"RESP{protocol}{Program(whole[: at + 1])!r}\n{format_exc(limit=-4)}"


def smallest(program: Program, fails: Callable[[Program], bool]) -> Program:
    """What is left of a failing program without the steps that it fails without, long runs of them tried first.

    Hypothesis would also make arguments smaller, but takes minutes, and leaves steps behind. After SHRINKING seconds
    the program is told as it is: a test that is ended for its time tells nothing.
    """
    size, enough = len(program), time.monotonic() + SHRINKING
    while size := size // 2:
        at = 0
        while at < len(program) and time.monotonic() < enough:
            shorter = Program(program[:at] + program[at + size :])
            if fails(shorter):
                program = shorter
            else:
                at += size
    return program


def shown(argv: Argv) -> str:
    """A command as people read it."""
    return " ".join(repr(arg)[1:] if len(arg) < 100 else f"{arg[:20]!r}...({len(arg)} bytes)" for arg in argv)
