"""What a user may do: commands, keys and channels, as the words of ACL SETUSER say it.

    +get -get +config|get +select|0 +@string -@all     commands, subcommands, first arguments, categories
    ~pattern %R~pattern %W~pattern allkeys resetkeys    keys, to read and write, to read, to write
    &pattern allchannels resetchannels                  channels

Rules about commands hold in the order in which they were given. They are kept, so that a user is shown as it was made;
but for those that say nothing any more: a later rule covers the earlier ones about the same commands, and one that
changes nothing is not taken down.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from perdure.errors import ReplyError
from perdure.globs import Matcher, compile_glob
from perdure.key_uses import key_uses
from perdure.registry import Args, Command, commands_not_here, every_command

CATEGORIES: Final = (
    "keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo", "stream",
    "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction", "scripting",
)  # fmt: skip
"""In the order in which ACL CAT has them."""


class BadRule(Exception):
    """A word that is no rule, or says what cannot be. The text is the reason, in Redis' words; `rule` is the word."""

    rule = b""


SYNTAX: Final = "Syntax error"
UNKNOWN_COMMAND: Final = "Unknown command or category name in ACL"
NO_FIRST_ARGUMENT: Final = "Allowing first-arg of a subcommand is not supported"
USELESS_KEYS: Final = (
    "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. "
    "Try 'resetkeys' to start with an empty list of patterns"
)
USELESS_CHANNELS: Final = (
    "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. "
    "Try 'resetchannels' to start with an empty list of channels"
)


class Denial(NamedTuple):
    """Why a call is refused: `reason` is "command", "key" or "channel", `object` the one in question, `at` its index."""

    reason: str
    object: bytes
    at: int

    @property
    def weight(self) -> tuple[int, int]:
        """Of several selectors' denials the heaviest is told: that of the selector that came nearest to a yes."""
        return ("command", "key", "channel").index(self.reason), self.at


# -- commands ------------------------------------------------------------------------------------------------------


class Vocabulary:
    """The commands that rules are about: those of a server's table, by name and by category."""

    def __init__(self, table: Mapping[bytes, Command]) -> None:
        self.table = table
        self.by_category: dict[bytes, frozenset[bytes]] = {}
        every = [*every_command(table)]
        self.all = frozenset(each.name for each in every) | commands_not_here()
        for category in CATEGORIES:
            names = frozenset(each.name for each in every if category in each.acl_categories)
            self.by_category[category.encode()] = names

    def named(self, word: bytes) -> frozenset[bytes]:
        """The commands that `word` stands for: "@all", a category, a command with its subcommands, a subcommand.

        Raises BadRule.
        """
        if word == b"@all":
            return self.all
        if word.startswith(b"@"):
            found = self.by_category.get(word[1:])
        elif word in self.table:
            found = frozenset(each.name for each in every_command({word: self.table[word]}))
        else:
            found = frozenset((word,)) if word in self.all else None
        if found is None:
            raise BadRule(UNKNOWN_COMMAND)
        return found


class CommandRule(NamedTuple):
    """One `+` or `-` rule. With `first_argument` its one command is allowed when that follows its name."""

    text: bytes
    allows: bool
    commands: frozenset[bytes]
    first_argument: bytes | None = None

    def covers(self, earlier: CommandRule) -> bool:
        """Does it say all that `earlier` has said?"""
        return self.first_argument is None and earlier.commands <= self.commands


def command_rule(word: bytes, vocabulary: Vocabulary) -> CommandRule:
    """Read `+…` or `-…`. Raises BadRule."""
    word = word.lower()
    allows, name = word[:1] == b"+", word[1:]
    if not allows or name.startswith(b"@") or b"|" not in name or name in vocabulary.all:
        return CommandRule(word, allows, vocabulary.named(name))
    name, _, argument = name.rpartition(b"|")
    commands = vocabulary.named(name)
    if name not in vocabulary.table:
        raise BadRule(NO_FIRST_ARGUMENT)
    if not argument:
        raise BadRule(SYNTAX)
    if len(commands) > 1:
        raise BadRule(UNKNOWN_COMMAND)
    return CommandRule(word, allows, commands, argument)


class Commands(NamedTuple):
    """Which commands a list of rules leaves allowed, wholly or with certain first arguments."""

    allowed: frozenset[bytes]
    first_arguments: frozenset[tuple[bytes, bytes]]

    def after(self, rule: CommandRule) -> Commands:
        """When `rule` is added."""
        if rule.first_argument is not None:
            (name,) = rule.commands
            more = set() if name in self.allowed else {(name, rule.first_argument)}
            return Commands(self.allowed, self.first_arguments | more)
        allowed = self.allowed | rule.commands if rule.allows else self.allowed - rule.commands
        return Commands(allowed, frozenset(pair for pair in self.first_arguments if pair[0] not in rule.commands))


NO_COMMANDS: Final = Commands(frozenset(), frozenset())


# -- keys and channels ---------------------------------------------------------------------------------------------

TO_READ: Final = 1
TO_WRITE: Final = 2
TO_DO_ALL: Final = TO_READ | TO_WRITE
ACCESS_BY_LETTERS: Final = {b"R": TO_READ, b"W": TO_WRITE, b"RW": TO_DO_ALL, b"WR": TO_DO_ALL}
KEY_RULES: Final = {TO_READ: b"%%R~%b", TO_WRITE: b"%%W~%b", TO_DO_ALL: b"~%b"}

has_blank: Final = re.compile(rb"[\s\0]").search


class KeyPattern(NamedTuple):
    pattern: bytes
    access: int
    matches: Matcher


@lru_cache(maxsize=64)
def access_needed(flags: tuple[str, ...]) -> int:
    """What a use of a key needs, from COMMAND INFO's words; nothing where only its existence is asked for."""
    writes = not {"insert", "delete", "update"}.isdisjoint(flags)
    return TO_READ * ("access" in flags) + TO_WRITE * writes


PUBLISHES: Final = frozenset((b"publish", b"spublish"))
SUBSCRIBES: Final = frozenset((b"subscribe", b"ssubscribe", b"psubscribe"))


def channels_of(command: Command, argv: Args) -> Iterator[tuple[int, bytes]]:
    """The channels or patterns of a call with their indexes. Whoever unsubscribes needs no permission."""
    if command.name in PUBLISHES:
        yield from enumerate(argv[1:2], 1)
    elif command.name in SUBSCRIBES:
        yield from enumerate(argv[1:], 1)


# -- all three -----------------------------------------------------------------------------------------------------


class Selector:
    """A set of permissions. A call is allowed by one selector that allows all of it."""

    def __init__(self, vocabulary: Vocabulary, *, all_channels: bool) -> None:
        self.vocabulary = vocabulary
        self.all_commands = False
        """Where rules start from: everything, future commands too, or nothing."""
        self.rules: list[CommandRule] = []
        self.commands = NO_COMMANDS
        self.all_keys = False
        self.keys: dict[bytes, KeyPattern] = {}
        self.all_channels = all_channels
        self.channels: dict[bytes, Matcher] = {}

    def copy(self) -> Selector:
        twin = Selector(self.vocabulary, all_channels=self.all_channels)
        twin.all_commands, twin.rules, twin.commands = self.all_commands, self.rules.copy(), self.commands
        twin.all_keys, twin.keys = self.all_keys, self.keys.copy()
        twin.channels = self.channels.copy()
        return twin

    # -- rules ---------------------------------------------------------------------------------------------------

    def apply(self, word: bytes) -> None:
        """Follow one rule. Raises BadRule, and has changed nothing then."""
        keyword = KEYWORDS.get(word.lower())
        sign = word[:1]
        if keyword is not None:
            keyword(self)
        elif sign in (b"+", b"-"):
            self._add_command_rule(command_rule(word, self.vocabulary))
        elif sign in (b"~", b"%"):
            self._add_keys(word)
        elif sign == b"&":
            self._add_channels(word[1:])
        else:
            raise BadRule(SYNTAX)

    def _add_command_rule(self, rule: CommandRule) -> None:
        rules = [earlier for earlier in self.rules if not rule.covers(earlier)]
        before = self._start()
        for earlier in rules:
            before = before.after(earlier)
        self.commands = before.after(rule)
        self.rules = [*rules, rule] if self.commands != before else rules

    def _start(self) -> Commands:
        return Commands(self.vocabulary.all, frozenset()) if self.all_commands else NO_COMMANDS

    def set_commands(self, all_commands: bool) -> None:
        """+@all or -@all: whatever was said about commands before is forgotten."""
        self.all_commands = all_commands
        self.rules = []
        self.commands = self._start()

    def set_keys(self, all_keys: bool) -> None:
        self.all_keys = all_keys
        self.keys = {}

    def set_channels(self, all_channels: bool) -> None:
        self.all_channels = all_channels
        self.channels = {}

    def _add_keys(self, word: bytes) -> None:
        letters, _, pattern = word[1:].partition(b"~") if word.startswith(b"%") else (b"RW", b"", word[1:])
        if self.all_keys:
            raise BadRule(USELESS_KEYS)
        access = ACCESS_BY_LETTERS.get(letters.upper(), 0)
        if not access or has_blank(pattern):
            raise BadRule(SYNTAX)
        if pattern in self.keys:
            access |= self.keys[pattern].access
        self.keys[pattern] = KeyPattern(pattern, access, compiled(pattern))

    def _add_channels(self, pattern: bytes) -> None:
        if self.all_channels:
            raise BadRule(USELESS_CHANNELS)
        if has_blank(pattern):
            raise BadRule(SYNTAX)
        self.channels[pattern] = compiled(pattern)

    # -- the same rules again ------------------------------------------------------------------------------------

    def command_rules(self) -> bytes:
        """As ACL GETUSER shows them."""
        return b" ".join([b"+@all" if self.all_commands else b"-@all", *(rule.text for rule in self.rules)])

    def key_rules(self) -> bytes:
        if self.all_keys:
            return b"~*"
        return b" ".join(KEY_RULES[each.access] % each.pattern for each in self.keys.values())

    def channel_rules(self) -> bytes:
        return b"&*" if self.all_channels else b" ".join(b"&" + pattern for pattern in self.channels)

    def rule_text(self) -> bytes:
        """The rules that make a new selector what this one is."""
        channels = self.channel_rules() if self.all_channels else b"resetchannels " + self.channel_rules()
        return b" ".join(part for part in (self.key_rules(), channels.strip(), self.command_rules()) if part)

    # -- what they allow -----------------------------------------------------------------------------------------

    @property
    def unrestricted(self) -> bool:
        """May it do everything?"""
        return self.all_commands and not self.rules and self.all_keys and self.all_channels

    def denial(self, command: Command, argv: Args) -> Denial | None:
        """The first thing in a call that is not allowed."""
        if not self.allows_command(command, argv):
            return Denial("command", command.name, 0)
        if not self.all_keys:
            for at, key, flags in key_uses(command, argv):
                if not self.allows_key(key, access_needed(flags)):
                    return Denial("key", key, at)
        if command.pubsub and not self.all_channels:
            for at, channel in channels_of(command, argv):
                if not self.allows_channel(channel, pattern=command.name == b"psubscribe"):
                    return Denial("channel", channel, at)
        return None

    def allows_command(self, command: Command, argv: Args) -> bool:
        if command.name in self.commands.allowed or command.no_auth:
            return True
        following = argv[command.words : command.words + 1]
        return bool(following) and (command.name, following[0].lower()) in self.commands.first_arguments

    def allows_key(self, key: bytes, access: int) -> bool:
        """May `key` be used so? Without any access asked for, any right to it will do."""
        for pattern in self.keys.values():
            if pattern.access & access == access and pattern.matches(key):
                return True
        return self.all_keys

    def allows_channel(self, channel: bytes, *, pattern: bool) -> bool:
        """A pattern has to be there to the letter: what it matches cannot be compared."""
        if self.all_channels or (pattern and channel in self.channels):
            return True
        return not pattern and any(matches(channel) for matches in self.channels.values())

    def reads_all_keys(self) -> bool:
        everything = self.keys.get(b"*")
        return self.all_keys or (everything is not None and bool(everything.access & TO_READ))


def compiled(pattern: bytes) -> Matcher:
    """Raises BadRule when the pattern is too long."""
    try:
        return compile_glob(pattern)
    except ReplyError as error:
        raise BadRule(error.text.removeprefix("ERR ")) from None


KEYWORDS: Final[dict[bytes, Callable[[Selector], None]]] = {
    b"allcommands": lambda selector: selector.set_commands(True),
    b"+@all": lambda selector: selector.set_commands(True),
    b"nocommands": lambda selector: selector.set_commands(False),
    b"-@all": lambda selector: selector.set_commands(False),
    b"allkeys": lambda selector: selector.set_keys(True),
    b"~*": lambda selector: selector.set_keys(True),
    b"resetkeys": lambda selector: selector.set_keys(False),
    b"allchannels": lambda selector: selector.set_channels(True),
    b"&*": lambda selector: selector.set_channels(True),
    b"resetchannels": lambda selector: selector.set_channels(False),
}
