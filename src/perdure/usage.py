"""The usage line of a command is its specification: arity, key positions and the argument tree come from it.

    HSET key field value [field value ...]
    SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | KEEPTTL]
    XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]
    LMPOP numkeys key [key ...] <LEFT | RIGHT> [COUNT count]

A word with lowercase letters stands for an argument, any other word for itself (a token). `[...]` may be missing,
`<a | b>` is one of several, `x [x ...]` and `[x ...]` repeat. An argument named in KEY_NAMES is a key; `numkeys` says
how many follow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

KEY_NAMES: Final = frozenset(
    (
        "key", "key1", "key2", "newkey", "source", "destination", "destkey", "sourcekey", "src", "dst", "storekey",
        "sourceKey", "destKey",
    )
)  # fmt: skip
DESTINATION_NAMES: Final = frozenset(("newkey", "destination", "destkey", "dst", "storekey", "destKey"))
CHANNEL_NAMES: Final = frozenset(("shardchannel",))
INTEGER_NAMES: Final = frozenset(
    (
        "bit", "bits", "client-id", "cluster-bus-port", "config-epoch", "count", "cursor", "db", "decrement",
        "destination-db", "end", "end-slot", "entries-added", "entries-read", "frequency", "increment", "index", "index1",
        "index2", "len", "limit", "maxlen", "milliseconds", "min-match-len", "ms", "num-matches", "numfields", "numkeys",
        "numlocal", "numreplicas", "offset", "port", "protocol", "protover", "rank", "seconds", "size", "slot", "start",
        "start-slot", "stop", "timeout", "ttl", "version",
    )
)  # fmt: skip
DOUBLE_NAMES: Final = frozenset(
    ("height", "latitude", "longitude", "max", "min", "radius", "score", "weight", "width")
)  # fmt: skip
SECONDS: Final = {"timeout": "double"}
IDS: Final = {"start": "string", "end": "string"}
LEXICAL: Final = {"min": "string", "max": "string"}
TYPES: Final[dict[str, dict[str, str]]] = {
    "BITFIELD": {"value": "integer"}, "SETBIT": {"value": "integer"},
    "HINCRBYFLOAT": {"increment": "double"}, "INCRBYFLOAT": {"increment": "double"},
    "BLMOVE": SECONDS, "BLMPOP": SECONDS, "BLPOP": SECONDS, "BRPOP": SECONDS, "BRPOPLPUSH": SECONDS,
    "BZMPOP": SECONDS, "BZPOPMAX": SECONDS, "BZPOPMIN": SECONDS,
    "XAUTOCLAIM": IDS, "XPENDING": {"min-idle-time": "integer", **IDS}, "XRANGE": IDS, "XREVRANGE": IDS,
    "ZLEXCOUNT": LEXICAL, "ZRANGEBYLEX": LEXICAL, "ZREMRANGEBYLEX": LEXICAL, "ZREVRANGEBYLEX": LEXICAL,
    "ZRANGE": {"start": "string", "stop": "string"}, "ZRANGESTORE": LEXICAL,
    "CLUSTER KEYSLOT": {"key": "string"}, "FUNCTION LIST": {"library-name-pattern": "string"},
}  # fmt: skip
"""Types of arguments that their names alone do not tell, by command."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One node of the argument tree, with the words of COMMAND DOCS. `token` comes before the argument itself."""

    name: str
    type: str
    token: str = ""
    optional: bool = False
    multiple: bool = False
    multiple_token: bool = False
    arguments: tuple[Argument, ...] = ()

    def min_words(self) -> int:
        """How many arguments it takes at least."""
        if self.optional:
            return 0
        sizes = [child.min_words() for child in self.arguments]
        inner = {"pure-token": 0, "oneof": min(sizes, default=0), "block": sum(sizes)}.get(self.type, 1)
        return inner + bool(self.token)

    def is_fixed(self) -> bool:
        """Does it always take the same number of arguments?"""
        if self.optional or self.multiple or not all(child.is_fixed() for child in self.arguments):
            return False
        return self.type != "oneof" or len({child.min_words() for child in self.arguments}) == 1


@dataclass(frozen=True, slots=True)
class Usage:
    """A parsed usage line. `name` has one word or two ("CONFIG", "GET")."""

    name: tuple[str, ...]
    arguments: tuple[Argument, ...]

    @property
    def arity(self) -> int:
        """As Redis has it: the number of words, name included; negative when that is the least number."""
        least = len(self.name) + sum(argument.min_words() for argument in self.arguments)
        return least if all(argument.is_fixed() for argument in self.arguments) else -least


def parse_usage(line: str, name: str = "") -> Usage:
    """Read a usage line. `name` is needed only when the name's last word is followed by a token ("XREADGROUP GROUP").

    Raises ValueError with the place where the line makes no sense.
    """
    words = re.findall(r"\.\.\.|[\[\]<>|]|[^\s\[\]<>|]+", line)
    leading = name.split() if name else [word for word in words[:2] if _is_name(word)]
    if not leading or words[: len(leading)] != leading:
        raise ValueError(f"{line!r} does not start with the name of a command")
    reader = _Reader(words[len(leading) :], line)
    arguments = reader.sequence("")
    return Usage(tuple(leading), _typed(arguments, TYPES.get(" ".join(leading), {})))


def _typed(arguments: Sequence[Argument], types: dict[str, str]) -> tuple[Argument, ...]:
    """The same with other types, by name."""
    if not types:
        return tuple(arguments)
    return tuple(
        replace(argument, arguments=_typed(argument.arguments, types))
        if argument.arguments
        else replace(argument, type=types.get(argument.name, argument.type))
        for argument in arguments
    )


def _is_name(word: str) -> bool:
    return word[0].isalpha() and word == word.upper()


def _is_token(word: str) -> bool:
    return word == word.upper()


class _Reader:
    """Recursive descent over the words of a usage line."""

    def __init__(self, words: list[str], line: str) -> None:
        self._words = words
        self._at = 0
        self._line = line

    def _next(self) -> str:
        word = self._words[self._at] if self._at < len(self._words) else ""
        self._at += 1
        return word

    def sequence(self, closing: str) -> tuple[Argument, ...]:
        """Arguments side by side, up to `closing` (which is consumed)."""
        alternatives, repeated = self._alternatives(closing)
        if len(alternatives) != 1 or repeated:
            raise ValueError(f"{self._line!r}: alternatives belong in brackets")
        return alternatives[0]

    def _alternatives(self, closing: str) -> tuple[list[tuple[Argument, ...]], bool]:
        """What stands between brackets: the alternatives, and whether it ends in `...`."""
        alternatives: list[tuple[Argument, ...]] = []
        items: list[Argument] = []
        repeated = False
        while (word := self._next()) != closing:
            if not word or word in "]>":
                raise ValueError(f"{self._line!r}: unbalanced brackets")
            if word == "|":
                alternatives.append(_with_tokens(items))
                items = []
            elif word == "...":
                repeated = True
            elif word == "[":
                self._optional(items)
            elif word == "<":
                items.append(_one_of(self._alternatives(">")[0]))
            else:
                items.append(_word(word))
        alternatives.append(_with_tokens(items))
        return alternatives, repeated

    def _optional(self, items: list[Argument]) -> None:
        """`[...]`: something optional, or the repetition of the items before."""
        alternatives, repeated = self._alternatives("]")
        if len(alternatives) == 1 and repeated:
            size = _repeats(items, alternatives[0])
            if size:
                again = _with_tokens(items[-size:])
                items[-size:] = [replace(_one(again, "data"), multiple=True, multiple_token=bool(again[0].token))]
                return
        one = _one_of(alternatives)
        items.append(replace(one, optional=True, multiple=one.multiple or repeated))


def _repeats(items: list[Argument], again: tuple[Argument, ...]) -> int:
    """How many of the last `items` are what stands in `again`; 0 when it is something else."""
    for size in range(1, len(items) + 1):
        if _with_tokens(items[-size:]) == again:
            return size
    return 0


def _word(word: str) -> Argument:
    if _is_token(word):
        return Argument(word.lower(), "pure-token", word)
    return Argument(word, _type_of(word))


def _type_of(name: str) -> str:
    if name in KEY_NAMES:
        return "key"
    if name == "pattern" or name.endswith("-pattern"):
        return "pattern"
    if name.startswith("unix-time"):
        return "unix-time"
    if name in INTEGER_NAMES:
        return "integer"
    return "double" if name in DOUBLE_NAMES else "string"


def _with_tokens(items: Sequence[Argument]) -> tuple[Argument, ...]:
    """Give each token the arguments that follow it: `LIMIT offset count` is one block."""
    found: list[Argument] = []
    at = 0
    while at < len(items):
        item = items[at]
        at += 1
        if item.type == "pure-token" and not item.optional:
            follow = at
            while follow < len(items) and not (items[follow].token or items[follow].optional):
                follow += 1
            values = tuple(items[at:follow])
            if values:
                name = values[0].name if len(values) == 1 else item.name
                item = replace(_one(values, name), token=item.token)
                at = follow
        found.append(item)
    return tuple(found)


def _one(arguments: tuple[Argument, ...], name: str) -> Argument:
    return arguments[0] if len(arguments) == 1 else Argument(name, "block", arguments=arguments)


def _one_of(alternatives: list[tuple[Argument, ...]]) -> Argument:
    choices = tuple(_one(items, items[0].name if items else "nothing") for items in alternatives)
    return choices[0] if len(choices) == 1 else Argument(choices[0].name, "oneof", arguments=choices)


# -- keys ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeySpec:
    """Where some of a command's keys are: `begin` finds the first word, `find` says which from there on are keys.

    `keyword`: begin behind this word, looked for from index `start` on (negative: from the end, backwards); without
    it begin at index `start`. `numkeys`: the word there is a number, and that many keys follow. Otherwise the keys go
    up to `last`, relative to the beginning or, when negative, to the end; `limit` n leaves out all but the first 1/n.
    `unknown`: no such rule finds them.
    """

    start: int
    keyword: str = ""
    numkeys: bool = False
    last: int = 0
    step: int = 1
    limit: int = 0
    flags: tuple[str, ...] = ()
    unknown: bool = False

    @property
    def simple(self) -> bool:
        """Are the positions known without looking at the arguments?"""
        return not self.keyword and not self.numkeys and not self.unknown

    def positions(self, argv: Sequence[bytes]) -> range:
        """The indexes of the keys in `argv`. Raises ValueError when the arguments cannot be right."""
        first = 0 if self.unknown else self._begin(argv)
        if not first:
            return range(0)
        if self.numkeys:
            count = int(argv[first])
            if count < 0 or first + count >= len(argv):
                raise ValueError("wrong number of keys")
            return range(first + 1, first + 1 + count)
        last = first + self.last if self.last >= 0 else len(argv) + self.last
        if self.limit > 1:
            last = first + (last - first + 1) // self.limit - 1
        if last >= len(argv):
            raise ValueError("a key is missing")
        return range(first, last + 1, self.step)

    def _begin(self, argv: Sequence[bytes]) -> int:
        if not self.keyword:
            return self.start
        word = self.keyword.lower().encode()
        places = range(self.start, len(argv) - 1) if self.start > 0 else range(len(argv) + self.start, 0, -1)
        return next((at + 1 for at in places if argv[at].lower() == word), 0)


def key_specs(usage: Usage) -> list[KeySpec]:
    """Where a usage line has its keys, in order. Flags: only `destination` and `not_key`, for the registry to read."""
    return list(_specs(usage.arguments, len(usage.name), sum(a.min_words() for a in usage.arguments)))


def _specs(arguments: Sequence[Argument], at: int, least: int) -> Iterator[KeySpec]:
    """`at`: index of the first argument, right as long as all so far were fixed. `least`: words from there on."""
    counted = 0
    for argument in arguments:
        least -= argument.min_words()
        if counted and argument.type == "key":
            yield replace(_marked(argument, counted), numkeys=True)
        elif argument.token and argument.type != "pure-token":
            yield from _keyword_specs(argument, at, least)
        elif argument.optional or argument.type == "oneof":
            yield from _choice_specs(argument, at)
        elif argument.type == "block" and argument.multiple and argument.arguments[0].type == "key":
            yield KeySpec(at, last=-1 - least, step=len(argument.arguments))
        elif argument.type == "key" or argument.name in CHANNEL_NAMES:
            spec = _marked(argument, at)
            yield replace(spec, last=-1 - least) if argument.multiple else spec
        counted = at if argument.name == "numkeys" else 0
        at += argument.min_words()


def _marked(argument: Argument, start: int, keyword: str = "") -> KeySpec:
    flags: tuple[str, ...] = ()
    if argument.name in CHANNEL_NAMES:
        flags = ("not_key",)
    elif argument.name in DESTINATION_NAMES:
        flags = ("destination",)
    return KeySpec(start, keyword, flags=flags)


def _keyword_specs(argument: Argument, at: int, least: int) -> Iterator[KeySpec]:
    """`STORE key`, `KEYS key [key ...]`, `STREAMS key [key ...] id [id ...]`."""
    if argument.type == "key":
        spec = _marked(argument, at, argument.token)
        yield replace(spec, last=-1 - least) if argument.multiple else spec
    elif argument.type == "block":
        repeated = [child for child in argument.arguments if child.multiple]
        if repeated and repeated[0].type == "key":
            yield KeySpec(at, argument.token, last=-1 - least, limit=len(repeated))


def _choice_specs(argument: Argument, at: int) -> Iterator[KeySpec]:
    if argument.type == "key" or argument.name in CHANNEL_NAMES:
        spec = _marked(argument, at)
        yield replace(spec, last=-1) if argument.multiple else spec
    for choice in argument.arguments:
        if choice.token and choice.type != "pure-token":
            yield from _keyword_specs(choice, at, 0)
        elif choice.type == "key" and argument.type == "oneof":
            yield _marked(choice, at)
