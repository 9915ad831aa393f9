"""redis.conf: reading it, and writing changed values back into it.

One directive a line, words separated by blanks; `"..."` with escapes (`\\n \\r \\t \\b \\a \\xHH`) or `'...'` hold blanks;
a line that starts with `#` is a comment. `include path` reads another file in its place, wildcards allowed. Relative
paths of included files are seen from the directory the server was started in. Later lines win over earlier ones.

`rewrite` keeps every comment, blank line and order, and every line whose value still holds, spelled as its author did.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from glob import glob as matching_paths
from typing import Final, NamedTuple

from perdure.config import USER, Config, ConfigError
from perdure.directives import BY_NAME, DIRECTIVES, Directive
from perdure.resp import split_words
from perdure.value_kinds import SaveRules
from perdure_storage.files import rewrite_file

__all__ = ["load_file", "load_text", "quote", "rewrite"]

ENCODING: Final = "utf-8"
INCLUDES_DEEP: Final = 16
ADDED: Final = "# Added by CONFIG REWRITE"

TO_ESCAPE: Final = re.compile(r'[\x00-\x1f"\\\x7f\udc80-\udcff]')
PLAIN: Final = re.compile(r"""[^\s"'\\#\x00-\x20\x7f\udc80-\udcff][^\s"'\\\x00-\x20\x7f\udc80-\udcff]*""")


class Line(NamedTuple):
    """A directive as written: where, and its words."""

    place: str
    name: str
    words: list[str]


def load_file(config: Config, path: str) -> None:
    """Take all directives of a file and remember it as the one to rewrite. Raises ConfigError with `file:line: why`."""
    config.file = os.path.abspath(path)
    load_text(config, _read(path), path)


def load_text(config: Config, text: str, source: str) -> None:
    """Take all directives of `text`; `source` names it in errors. Raises ConfigError with `source:line: why`."""
    for line in _lines(text, source):
        try:
            config.load(line.name, line.words)
        except ConfigError as bad:
            stray = any(word.startswith("#") for word in line.words[1:])
            hint = " (a comment needs a line of its own)" if stray else ""
            raise ConfigError("", f"{line.place}: {bad}{hint}") from None


def quote(word: str) -> str:
    """A word so that it is read back as it is."""
    if PLAIN.fullmatch(word):
        return word
    return '"' + TO_ESCAPE.sub(_escape, word) + '"'


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in '"\\':
        return "\\" + character
    return f"\\x{ord(character) & 0xFF:02x}"


def _read(path: str) -> str:
    try:
        with open(path, encoding=ENCODING, errors="surrogateescape", newline="\n") as file:
            return file.read()
    except OSError as error:
        raise ConfigError("", f"cannot read configuration file {path}: {error.strerror}") from None


def _lines(text: str, source: str, depth: int = 0) -> Iterator[Line]:
    """Each directive with its place, those of included files where they are included."""
    for number, raw in enumerate(text.split("\n"), 1):
        place = f"{source}:{number}"
        words = _directive_words(raw)
        if words is None:
            raise ConfigError("", f"{place}: quotes do not pair, or something follows a closing one")
        if not words:
            continue
        if words[0] != "include":
            yield Line(place, words[0], words[1:])
            continue
        if depth == INCLUDES_DEEP:
            raise ConfigError("", f"{place}: includes go {INCLUDES_DEEP} files deep here: does a file include itself?")
        for pattern in words[1:]:
            for path in sorted(matching_paths(pattern)) if set("*?[") & set(pattern) else [pattern]:
                yield from _lines(_read_included(path, place), path, depth + 1)


def _read_included(path: str, place: str) -> str:
    try:
        return _read(path)
    except ConfigError as error:
        raise ConfigError("", f"{place}: {error}") from None


def _directive_words(raw: str) -> list[str] | None:
    """Name (lower case) and words of a line; empty for blank lines and comments, None when its quotes do not pair."""
    line = raw.strip()
    if not line or line.startswith("#"):
        return []
    words = split_words(line.encode(ENCODING, "surrogateescape"))
    if words is None:
        return None
    name, *rest = (word.decode(ENCODING, "surrogateescape") for word in words)
    return [name.lower(), *rest]


# --------------------------------------------------------------------------------------------------------- rewrite


def rewrite(config: Config, *, whole: bool = False) -> None:
    """Make `config.file` say what is true now, all of it or nothing, whatever crashes. Raises ConfigError, OSError.

    `whole`: name every directive, those that have their default, too.
    """
    text = rewritten(config, _read(config.file) if os.path.exists(config.file) else "")
    if whole:
        named = {directive for line in text.split("\n") for directive in [_directive_of(line)]}
        text += "".join(_line(config, directive) + "\n" for directive in DIRECTIVES if directive not in named)
        assert not _differing(config, text)
    rewrite_file(config.file, text.encode(ENCODING, "surrogateescape"))


def rewritten(config: Config, text: str) -> str:
    """`text` made to yield the values of `config`. A changed directive is changed where it stands (its last line; any
    before that go), or added at the end when it stands nowhere or an included file has the last word. Raises ConfigError.
    """
    lines = _with_users(config, text.removesuffix("\n").split("\n") if text else [])
    changed = _differing(config, text)
    result: list[str] = []
    done: set[Directive] = set()
    for line in reversed(lines):
        directive = _directive_of(line)
        if directive is None or directive not in changed:
            result.append(line)
        elif directive not in done:
            done.add(directive)
            result.append(_line(config, directive))
    result.reverse()
    added = [line for directive in _differing(config, "\n".join(result)) for line in _new_lines(config, directive)]
    added += _missing_users(config, "\n".join(result))
    if added and ADDED not in result:
        result += ["", ADDED] if result else [ADDED]
    result += added
    after = "\n".join(result) + "\n" if result else ""
    assert not _differing(config, after), "a rewritten file must load as what it was written from"
    return after


def _directive_of(line: str) -> Directive | None:
    words = _directive_words(line)
    return BY_NAME.get(words[0]) if words else None


def _new_lines(config: Config, directive: Directive) -> list[str]:
    line = _line(config, directive)
    if isinstance(directive.kind, SaveRules) and config.text(directive):
        return [f'{directive.name} ""', line]  # or its rules would add to those of an included file
    return [line]


def _with_users(config: Config, lines: list[str]) -> list[str]:
    """`lines`, those that define users as `config` has them; the lines of users that are no more are gone."""
    result = []
    for line in lines:
        name, *words = _directive_words(line) or [""]
        rules = config.users.get(words[0]) if name == USER and words else None
        if rules is not None and rules != words[1:]:
            line = _user_line(words[0], rules)
        if name != USER or rules is not None:
            result.append(line)
    return result


def _missing_users(config: Config, text: str) -> list[str]:
    """Lines for the users that `text` does not define. Raises ConfigError when an included file defines other ones."""
    known = _fresh(config, text).users
    if any(config.users.get(name) != rules for name, rules in known.items()):
        raise ConfigError("", "a user that an included file defines was changed or deleted")
    return [_user_line(name, rules) for name, rules in config.users.items() if name not in known]


def _user_line(name: str, rules: list[str]) -> str:
    return " ".join([USER, quote(name), *map(quote, rules)])


def _differing(config: Config, text: str) -> list[Directive]:
    """The directives that a server started with `text` alone would see differently."""
    fresh = _fresh(config, text)
    return [directive for directive in DIRECTIVES if config.value(directive) != fresh.value(directive)]


def _fresh(config: Config, text: str) -> Config:
    """What a server is told that is started with `text` alone."""
    fresh = Config()
    load_text(fresh, text, config.file)
    return fresh


def _line(config: Config, directive: Directive) -> str:
    text = config.text(directive)
    words = text.split() if directive.kind.several and text else [text]
    return " ".join([directive.name, *map(quote, words)])
