"""What a command is: its usage line gives arity, key positions and documentation; flags say when it may run.

A family is one Redis group. Its handlers register themselves; `build_table` makes the table of a server:

    COMMANDS = Family("hash")

    @COMMANDS.command("HGETALL key", READ, since="2.0.0", complexity="O(N)")
    def hgetall(db: Keyspace, args: Args) -> Reply:
        "Return all fields and values of a hash."

Flags are asked for on every command, so the table has them as plain bools: a slot costs 26 ns, an enum test 633.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import IntFlag, auto
from operator import itemgetter
from typing import Any, Final, TypeAlias, TypeVar

from perdure.errors import ReplyError
from perdure.usage import Argument, KeySpec, Usage, key_specs, parse_usage

Args: TypeAlias = list[bytes]
Handler: TypeAlias = Callable[[Any, Args], Any]
KeyFinder: TypeAlias = Callable[[Args], list[bytes]]
H = TypeVar("H", bound=Handler)

REDIS_VERSION: Final = "7.4.0"
"""The Redis whose commands and replies are here. Clients decide by it what they may ask for."""
OPEN: Final = 1 << 62
"""`max_argc` of a command that takes any number of arguments."""


class Flag(IntFlag):
    """When and where a command may run. The names in lower case are Redis' and those of Command's slots."""

    WRITE = auto()
    READONLY = auto()
    DENYOOM = auto()
    ADMIN = auto()
    PUBSUB = auto()
    NOSCRIPT = auto()
    BLOCKING = auto()
    LOADING = auto()
    STALE = auto()
    SKIP_MONITOR = auto()
    SKIP_SLOWLOG = auto()
    ASKING = auto()
    FAST = auto()
    NO_AUTH = auto()
    NO_MULTI = auto()
    NO_ASYNC_LOADING = auto()
    ALLOW_BUSY = auto()
    NO_MANDATORY_KEYS = auto()
    MOVABLEKEYS = auto()
    """Derived: the arguments have to be read to know the keys."""
    RECORD_ONLY = auto()
    """Ours: the records of its keys are enough, no elements of a collection are needed."""


WRITE, READONLY, DENYOOM, ADMIN = Flag.WRITE, Flag.READONLY, Flag.DENYOOM, Flag.ADMIN
PUBSUB, NOSCRIPT, BLOCKING, LOADING = Flag.PUBSUB, Flag.NOSCRIPT, Flag.BLOCKING, Flag.LOADING
STALE, SKIP_MONITOR, SKIP_SLOWLOG, ASKING = Flag.STALE, Flag.SKIP_MONITOR, Flag.SKIP_SLOWLOG, Flag.ASKING
FAST, NO_AUTH, NO_MULTI, ALLOW_BUSY = Flag.FAST, Flag.NO_AUTH, Flag.NO_MULTI, Flag.ALLOW_BUSY
NO_ASYNC_LOADING, NO_MANDATORY_KEYS = Flag.NO_ASYNC_LOADING, Flag.NO_MANDATORY_KEYS
RECORD_ONLY = Flag.RECORD_ONLY
READ = READONLY

INTERNAL: Final = frozenset((Flag.RECORD_ONLY,))
CATEGORY_OF_GROUP: Final = {
    "generic": "keyspace", "sorted_set": "sortedset", "transactions": "transaction", "server": "", "cluster": "",
    "sentinel": "", "pubsub": "",
}  # fmt: skip
"""Groups whose ACL category has another name, or that have none."""


class Command:
    """One entry of the table, built once. A container (CONFIG) has `subcommands`; those are commands "config|get".

    arity, first_key, last_key, step: as COMMAND INFO shows them. min_argc and max_argc bound len(argv), name included.
    words: how many of argv are the name. calls, failed, rejected, nanoseconds: counted by dispatch. histogram: of the
    times taken, see `perdure.latency`; None until there is one.
    """

    __slots__ = (
        "acl_categories", "admin", "allow_busy", "arguments", "arity", "asking", "blocking", "calls",
        "complexity", "context", "denyoom", "deprecated_since", "failed", "family", "fast", "first_key",
        "flags", "handler", "histogram", "history", "key_specs", "keys", "last_key", "loading", "max_argc", "min_argc",
        "movablekeys", "name", "nanoseconds", "no_async_loading", "no_auth", "no_mandatory_keys", "no_multi",
        "noscript", "pubsub", "readonly", "record_only", "rejected", "replaced_by", "since", "skip_monitor", "skip_slowlog",
        "stale", "step", "subcommands", "summary", "tips", "usage", "words", "write",
    )  # fmt: skip


    def __init__(self, name: bytes, handler: Handler, family: Family, usage: str) -> None:
        self.name = name
        self.handler = handler
        self.family = family
        self.context = family.context
        self.usage = usage
        self.words = 1 + name.count(b"|")
        self.since = self.complexity = self.summary = self.deprecated_since = self.replaced_by = ""
        self.tips: tuple[str, ...] = ()
        self.history: tuple[tuple[str, str], ...] = ()
        self.arguments: tuple[Argument, ...] = ()
        self.subcommands: dict[bytes, Command] | None = None
        self.acl_categories: frozenset[str] = frozenset()
        self.calls = self.failed = self.rejected = self.nanoseconds = 0
        self.histogram: list[int] | None = None
        self.write = self.readonly = self.denyoom = self.admin = self.pubsub = self.noscript = self.blocking = False
        self.loading = self.stale = self.skip_monitor = self.skip_slowlog = self.asking = self.fast = False
        self.no_auth = self.no_multi = self.no_async_loading = self.allow_busy = self.no_mandatory_keys = False
        self.movablekeys = self.record_only = False
        self.set_arity(0)
        self.set_flags(Flag(0))
        self.set_key_specs([])

    def __repr__(self) -> str:
        return f"<Command {self.name.decode()}>"

    def set_arity(self, arity: int) -> None:
        """Redis' convention: negative means at least so many."""
        self.arity = arity
        self.min_argc = abs(arity)
        self.max_argc = arity if arity >= 0 else OPEN

    def set_flags(self, flags: Flag) -> None:
        """Unfold the flags into slots."""
        self.flags = flags
        for flag in Flag:
            assert flag.name is not None
            setattr(self, flag.name.lower(), bool(flags & flag))

    def set_key_specs(self, specs: Sequence[KeySpec]) -> None:
        """The keys are where `specs` say."""
        self.key_specs = tuple(specs)
        self.first_key, self.last_key, self.step = _range_of(self.key_specs)
        real = [spec for spec in self.key_specs if "not_key" not in spec.flags]
        if not all(spec.simple for spec in specs):
            self.set_flags(self.flags | Flag.MOVABLEKEYS)
            self.keys: KeyFinder = KeyFinderOf(real)
        elif real:
            stop = self.last_key + 1 or None
            self.keys = itemgetter(slice(self.first_key, stop, self.step))
        else:
            self.keys = _no_keys

    def flag_names(self) -> list[str]:
        """As COMMAND INFO shows them."""
        return [flag.name.lower() for flag in Flag if flag & self.flags and flag not in INTERNAL and flag.name]


def _no_keys(argv: Args) -> list[bytes]:
    return []


class KeyFinderOf:
    """Finds the keys of commands whose arguments have to be read for that. Wrong arguments have no keys."""

    __slots__ = ("_specs",)

    def __init__(self, specs: Sequence[KeySpec]) -> None:
        self._specs = specs

    def __call__(self, argv: Args) -> list[bytes]:
        try:
            return [argv[at] for spec in self._specs for at in spec.positions(argv)]
        except ValueError:
            return []


def _range_of(specs: Sequence[KeySpec]) -> tuple[int, int, int]:
    """What COMMAND INFO shows as first key, last key and step: the specs that follow one another without a gap."""
    simple = [spec for spec in specs if spec.simple]
    if not simple:
        return 0, 0, 0
    first, last, step = simple[0].start, 0, simple[0].step
    for spec in simple:
        if spec is simple[0] or spec.start == last + 1:
            last = spec.start + spec.last if spec.last >= 0 else spec.last
    return first, last, step


class Family:
    """The commands of one Redis group. `context`: handlers get the session instead of its database."""

    def __init__(self, group: str, *, context: bool = False) -> None:
        self.group = group
        self.context = context
        self.commands: dict[bytes, Command] = {}

    def __repr__(self) -> str:
        return f"<Family {self.group}>"

    def command(
        self,
        usage: str,
        flags: int = 0,
        *,
        since: str,
        complexity: str = "",
        summary: str = "",
        name: str = "",
        arity: int | None = None,
        keys: KeyFinder | None = None,
        key_specs: Sequence[KeySpec] | None = None,
        key_flags: Sequence[str] = (),
        acl: str = "",
        tips: str = "",
        deprecated_since: str = "",
        replaced_by: str = "",
        history: Sequence[tuple[str, str]] = (),
    ) -> Callable[[H], H]:
        """Register a handler; the function itself stays as it was, so it may have several names.

        name: where the usage line does not show it ("XREADGROUP"). arity, key_specs, keys: where the line cannot say
        it. key_flags: for each key spec its access as COMMAND INFO words it ("RW access delete"). acl: categories
        besides those that group and flags imply. tips: COMMAND INFO's, separated by blanks.
        summary: the first line of the docstring, if not given.
        """
        parsed = parse_usage(usage, name)

        def register(handler: H) -> H:
            command = Command("|".join(parsed.name).lower().encode(), handler, self, usage)
            command.arguments = parsed.arguments
            command.set_arity(parsed.arity if arity is None else arity)
            command.set_flags(Flag(flags))
            specs = _key_specs(parsed, Flag(flags)) if key_specs is None else key_specs
            command.set_key_specs(_with_flags(specs, key_flags, usage))
            if keys is not None:
                command.keys = keys
            command.since, command.complexity = since, complexity
            command.summary = summary or (handler.__doc__ or "").partition("\n")[0].rstrip(".")
            command.deprecated_since, command.replaced_by = deprecated_since, replaced_by
            command.history = tuple(history)
            command.tips = tuple(tips.split())
            command.acl_categories = _acl_categories(self.group, command, acl)
            if command.name in self.commands:
                raise ValueError(f"{usage!r}: there is another command of this name")
            self.commands[command.name] = command
            return handler

        return register


def _key_specs(parsed: Usage, flags: Flag) -> list[KeySpec]:
    """The usage line's key specs, with the access that flags and names suggest."""
    specs = key_specs(parsed)
    stores = any("destination" in spec.flags for spec in specs)
    return [replace(spec, flags=_access(spec, flags, stores)) for spec in specs]


def _access(spec: KeySpec, flags: Flag, stores: bool) -> tuple[str, ...]:
    if "not_key" in spec.flags:
        return ("not_key",)
    if "destination" in spec.flags:
        return ("OW", "update")
    return ("RW", "access", "update") if flags & Flag.WRITE and not stores else ("RO", "access")


def _with_flags(specs: Sequence[KeySpec], key_flags: Sequence[str], usage: str) -> list[KeySpec]:
    if not key_flags:
        return list(specs)
    if len(key_flags) != len(specs):
        raise ValueError(f"{usage!r} has {len(specs)} key specs, key_flags are for {len(key_flags)}")
    return [replace(spec, flags=tuple(words.split())) for spec, words in zip(specs, key_flags, strict=True)]


def _acl_categories(group: str, command: Command, more: str) -> frozenset[str]:
    """What Redis makes of a command's group and flags, and `more` (`-word`: but not that one)."""
    words = more.split()
    found = {CATEGORY_OF_GROUP.get(group, group), *(word for word in words if word[0] != "-")} - {""}
    found -= {word[1:] for word in words}
    found.add("fast" if command.fast else "slow")
    if command.write:
        found.add("write")
    if command.readonly and "scripting" not in found:
        found.add("read")
    if command.admin:
        found |= {"admin", "dangerous"}
    if command.pubsub:
        found.add("pubsub")
    if command.blocking:
        found.add("blocking")
    return frozenset(found)


def _container(ctx: Any, args: Args) -> Any:
    """Only its subcommands can be run."""
    raise ReplyError("ERR this command needs a subcommand")


def build_table(families: Iterable[Family]) -> dict[bytes, Command]:
    """The commands of one server, by name in lower case, subcommands inside their containers.

    Each table has commands of its own, because they count calls.
    """
    table: dict[bytes, Command] = {}
    subcommands: list[Command] = []
    for family in families:
        for command in map(copy.copy, family.commands.values()):
            if command.words > 1:
                subcommands.append(command)
            elif command.name in table:
                raise ValueError(f"two families have a command {command.name.decode()}")
            else:
                table[command.name] = command
    for command in subcommands:
        name, _, word = command.name.partition(b"|")
        container = table.get(name) or table.setdefault(name, _new_container(name, command))
        if container.subcommands is None:
            container.subcommands = {}
        container.subcommands[word] = command
    return table


def _new_container(name: bytes, first: Command) -> Command:
    container = Command(name, _container, first.family, name.decode().upper())
    container.set_arity(-2)
    container.since = first.since
    container.complexity = "Depends on subcommand."
    container.summary = f"A container for the {name.decode().upper()} commands"
    container.acl_categories = frozenset(("slow",))
    return container


def every_command(table: Mapping[bytes, Command]) -> Iterator[Command]:
    """The commands of a table, containers too, each followed by its subcommands."""
    for command in table.values():
        yield command
        if command.subcommands is not None:
            yield from command.subcommands.values()


def with_upper_case(table: dict[bytes, Command]) -> dict[bytes, Command]:
    """A look-up table with both spellings that clients use, lower case and upper case, so that neither is converted."""
    return table | {name.upper(): command for name, command in table.items()}


NOT_HERE: Final[dict[str, tuple[str, ...]]] = {
    "Not for a single server, which has no replicas": (
        "FAILOVER", "PSYNC", "REPLCONF", "SYNC",
    ),
    "Not without loadable modules": ("MODULE LOAD LOADEX UNLOAD",),
}  # fmt: skip
"""What of Redis 7.2 is not there, by reason: commands, or a container with those of its subcommands."""


def commands_not_here() -> frozenset[bytes]:
    """Their names, as those of commands and subcommands in a table. Rules of users may name them, which has no effect."""
    found: set[str] = set()
    for names in NOT_HERE.values():
        for name, *subcommands in (each.lower().split() for each in names):
            found.update([f"{name}|{word}" for word in subcommands] or [name])
    return frozenset(name.encode() for name in found)
