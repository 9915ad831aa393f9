"""What a directive's text can mean: kinds of values, each with the way in and the way out.

A kind parses text as Redis does, with Redis' wording of what is wrong (`BadValue`), and formats a value so that parsing
gives it back: CONFIG GET, CONFIG SET, the file and the command line all go through here. Two kinds need the value they
replace: limits for one class of clients keep those of the others, and `save` lines of a file add up.
"""

from __future__ import annotations

import os
from typing import Final, Generic, NamedTuple, TypeVar

INT_MAX: Final = 2**31 - 1
UINT_MAX: Final = 2**32 - 1
LONG_MAX: Final = 2**63 - 1
ULONG_MAX: Final = 2**64 - 1


class BadValue(ValueError):
    """Why a text is not a value of its kind; whoever knows the directive turns it into a `ConfigError`."""


class BufferLimit(NamedTuple):
    """When a client that does not read its replies is cut off: at `hard` bytes, or `soft` for `soft_seconds` on end.
    Zero is no limit."""

    hard: int
    soft: int
    soft_seconds: int


class SavePoint(NamedTuple):
    seconds: int
    changes: int


Words = tuple[str, ...]
BufferLimits = dict[str, BufferLimit]
SavePoints = tuple[SavePoint, ...]
T = TypeVar("T")


class Kind(Generic[T]):
    """Text to value and back. `several` kinds take more than one word of a line, joined here by single spaces."""

    several = False
    adds_up = False
    """Lines of a file add up, beginning with nothing: the default is for files without any."""

    def __init__(self, shape: str) -> None:
        self.shape = shape
        """What to type, for help texts: `yes|no`, `<bytes>`."""

    def parse(self, text: str, current: T) -> T:
        """The value of `text`; `current` is what it replaces, or refines. Raises BadValue."""
        raise NotImplementedError

    def load(self, text: str, current: T) -> T:
        """As `parse`, when read from a file or the command line, where some directives add up over several lines."""
        return self.parse(text, current)

    def format(self, value: T) -> str:
        """The text CONFIG GET answers. `parse(format(v))` is v."""
        return str(value)


class Switch(Kind[bool]):
    def __init__(self) -> None:
        super().__init__("yes|no")

    def parse(self, text: str, current: bool) -> bool:
        lowered = text.lower()
        if lowered not in ("yes", "no"):
            raise BadValue("argument must be 'yes' or 'no'")
        return lowered == "yes"

    def format(self, value: bool) -> str:
        return "yes" if value else "no"


def strict_int(text: str) -> int:
    """A decimal 64-bit integer without blanks, plus sign or leading zeros, as Redis reads them. Raises BadValue."""
    digits = text.removeprefix("-")
    plain = digits.isascii() and digits.isdigit() and (digits[0] != "0" or text == "0")
    if not plain or len(digits) > 19 or not -LONG_MAX - 1 <= int(text) <= LONG_MAX:
        raise BadValue("argument couldn't be parsed into an integer")
    return int(text)


def within(value: int, low: int, high: int, spell: str = "d") -> int:
    if not low <= value <= high:
        raise BadValue(f"argument must be between {low:{spell}} and {high:{spell}} inclusive")
    return value


class Int(Kind[int]):
    """An integer in a range. Values beyond `clamp` are pulled back to it without a word, as Redis does for `hz`."""

    def __init__(self, low: int = 0, high: int = INT_MAX, shape: str = "<n>", clamp: tuple[int, int] | None = None):
        super().__init__(shape)
        self.low, self.high, self.clamp = low, high, clamp

    def parse(self, text: str, current: int) -> int:
        value = within(strict_int(text), self.low, self.high)
        return min(max(value, self.clamp[0]), self.clamp[1]) if self.clamp else value


class Octal(Kind[int]):
    """File permission bits."""

    def __init__(self) -> None:
        super().__init__("<octal>")

    def parse(self, text: str, current: int) -> int:
        try:
            value = int(text, 8)
        except ValueError:
            raise BadValue("argument couldn't be parsed as an octal number") from None
        return within(value, 0, 0o777, "o")

    def format(self, value: int) -> str:
        return f"{value:o}"


UNITS: Final = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1 << 10,
    "m": 1000**2,
    "mb": 1 << 20,
    "g": 1000**3,
    "gb": 1 << 30,
}


class Memory(Kind[int]):
    """A number of bytes: `100mb` is 100 * 2**20, `100m` is 100 * 10**6. Unlike Redis, `kb` without a number is an error."""

    def __init__(self, low: int = 0, high: int = LONG_MAX) -> None:
        super().__init__("<bytes>")
        self.low, self.high = low, high

    def parse(self, text: str, current: int) -> int:
        digits = text.rstrip("bBkKmMgG")
        unit = UNITS.get(text[len(digits) :].lower())
        if unit is None or not (digits.isascii() and digits.isdigit()) or len(digits) > 20:
            raise BadValue("argument must be a memory value")
        return within(int(digits) * unit, self.low, self.high)


class MemoryOrPercent(Memory):
    """Bytes, or `10%` of maxmemory, which is kept as -10."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = "<bytes>|<n>%"

    def parse(self, text: str, current: int) -> int:
        if not text.endswith("%"):
            try:
                return super().parse(text, current)
            except BadValue as bad:
                raise BadValue(str(bad).replace("a memory value", "a memory or percent value")) from None
        try:
            percent = strict_int(text[:-1])
        except BadValue:
            percent = -1
        if percent < 0:
            raise BadValue("argument must be a memory or percent value")
        if percent > 100:
            raise BadValue("percentage argument must be less or equal to 100")
        return -percent

    def format(self, value: int) -> str:
        return f"{-value}%" if value < 0 else str(value)


class Choice(Kind[str]):
    def __init__(self, *choices: str) -> None:
        super().__init__("|".join(choices))
        self.choices = choices

    def parse(self, text: str, current: str) -> str:
        lowered = text.lower()
        if lowered not in self.choices:
            raise BadValue(f"argument(s) must be one of the following: {', '.join(self.choices)}")
        return lowered


class Text(Kind[str]):
    def __init__(self, shape: str = "<text>") -> None:
        super().__init__(shape)

    def parse(self, text: str, current: str) -> str:
        return text


class Locale(Text):
    """One that puts strings in the order of their bytes: there is no other order here."""

    def parse(self, text: str, current: str) -> str:
        if text not in ("", "C", "C.UTF-8", "POSIX"):
            raise BadValue("strings are compared byte by byte, as in the locale C")
        return text


class FileName(Text):
    """A name within the data directory, never a path."""

    def __init__(self, name: str) -> None:
        super().__init__("<name>")
        self.name = name

    def parse(self, text: str, current: str) -> str:
        if not text:
            raise BadValue(f"{self.name} can't be empty")
        if text != os.path.basename(text):
            raise BadValue(f"{self.name} can't be a path, just a filename")
        return text


class Path(Text):
    """A path, made absolute where it is read: it must not change its meaning later. Empty stays empty."""

    def __init__(self) -> None:
        super().__init__("<path>")

    def parse(self, text: str, current: str) -> str:
        return os.path.abspath(text) if text else ""


class WordList(Kind[Words]):
    several = True

    def parse(self, text: str, current: Words) -> Words:
        return tuple(text.split())

    def format(self, value: Words) -> str:
        return " ".join(map(str, value))


class MasterAddress(WordList):
    """A host and a port, or nothing."""

    def __init__(self) -> None:
        super().__init__("<host> <port>")

    def parse(self, text: str, current: Words) -> Words:
        words = super().parse(text, current)
        if not words or [word.lower() for word in words] == ["no", "one"]:
            return ()
        if len(words) != 2:
            raise BadValue("wrong number of arguments")
        try:
            within(strict_int(words[1]), 0, 65535)
        except BadValue:
            raise BadValue("Invalid master port") from None
        return words


class Percentiles(Kind[tuple[float, ...]]):
    several = True

    def __init__(self) -> None:
        super().__init__("<percentile> ...")

    def parse(self, text: str, current: tuple[float, ...]) -> tuple[float, ...]:
        try:
            values = tuple(float(word) for word in text.split())
        except ValueError:
            raise BadValue("Invalid latency-tracking-info-percentiles parameters") from None
        if not all(0 <= value <= 100 for value in values):
            raise BadValue("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]")
        return values

    def format(self, value: tuple[float, ...]) -> str:
        return " ".join(repr(number).removesuffix(".0") for number in value)


class SaveRules(Kind[SavePoints]):
    """`<seconds> <changes>` pairs. In a file each line adds its pairs; an empty one forgets those before it."""

    several = True
    adds_up = True

    def __init__(self) -> None:
        super().__init__("<seconds> <changes> ... | ''")

    def parse(self, text: str, current: SavePoints) -> SavePoints:
        numbers = text.split(" ") if text else []
        if len(numbers) % 2:
            raise BadValue("Invalid save parameters")
        try:
            points = [SavePoint(int(numbers[i]), int(numbers[i + 1])) for i in range(0, len(numbers), 2)]
        except ValueError:
            raise BadValue("Invalid save parameters") from None
        if any(point.seconds < 1 or point.changes < 0 for point in points):
            raise BadValue("Invalid save parameters")
        return tuple(points)

    def load(self, text: str, current: SavePoints) -> SavePoints:
        points = self.parse(text, current)
        return (*current, *points) if points else ()

    def format(self, value: SavePoints) -> str:
        return " ".join(f"{seconds} {changes}" for seconds, changes in value)


CLIENT_CLASSES: Final = ("normal", "slave", "pubsub")


class OutputLimits(Kind[BufferLimits]):
    """`<class> <hard> <soft> <soft seconds>` groups; classes that are not named keep their limits."""

    several = True

    def __init__(self) -> None:
        super().__init__("<class> <hard> <soft> <seconds> ...")

    def parse(self, text: str, current: BufferLimits) -> BufferLimits:
        words = text.split()
        if len(words) % 4:
            raise BadValue("Wrong number of arguments in buffer limit configuration.")
        limits = dict(current)
        size = Memory()
        for i in range(0, len(words), 4):
            name = words[i].lower().replace("replica", "slave")
            if name not in CLIENT_CLASSES:
                raise BadValue("Invalid client class specified in buffer limit configuration.")
            try:
                hard, soft = size.parse(words[i + 1], 0), size.parse(words[i + 2], 0)
                limits[name] = BufferLimit(hard, soft, within(strict_int(words[i + 3]), 0, INT_MAX))
            except BadValue:
                raise BadValue("Error in hard, soft or soft_seconds setting in buffer limit configuration.") from None
        return limits

    def format(self, value: BufferLimits) -> str:
        return " ".join(f"{name} {' '.join(map(str, value[name]))}" for name in CLIENT_CLASSES)


class Flags(Kind[Words]):
    """Some of a set of words; kept in the order of the table, `none` when there are none."""

    several = True

    def __init__(self, none: str, *flags: str, exclusive: tuple[str, str]) -> None:
        super().__init__("|".join((none, *flags)))
        self.none, self.flags, self.exclusive = none, flags, exclusive

    def parse(self, text: str, current: Words) -> Words:
        chosen = text.lower().split()
        if not chosen or not set(chosen) <= {self.none, *self.flags}:
            raise BadValue(f"argument(s) must be one of the following: {', '.join((self.none, *self.flags))}")
        if set(self.exclusive) <= set(chosen):
            first, second = (flag.upper() for flag in self.exclusive)
            raise BadValue(f"shutdown options {first} and {second} can't be used simultaneously")
        return tuple(flag for flag in self.flags if flag in chosen)

    def format(self, value: Words) -> str:
        return " ".join(map(str, value)) or self.none


EVENT_CLASSES: Final = "g$lshzxetd"
"""What `A` stands for: generic, string, list, set, hash, zset, expired, evicted, stream, module."""


class EventClasses(Kind[str]):
    """Letters of keyspace notifications, in the order Redis answers them, `A` for all of EVENT_CLASSES."""

    def __init__(self) -> None:
        super().__init__("<letters>")

    def parse(self, text: str, current: str) -> str:
        letters = set(text)
        if not letters <= set("AKEmn" + EVENT_CLASSES):
            raise BadValue("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
        if "A" in letters or letters >= set(EVENT_CLASSES):
            letters = letters - set(EVENT_CLASSES) | {"A"}
        return "".join(letter for letter in "A" + EVENT_CLASSES + "nKEm" if letter in letters)
