"""`perdure-server`: redis-server's command line.

    perdure-server [file | -] [--name value [value ...]]... [-]

A file of directives first, or `-` for one from standard input; then directives, which win over the file. There are no
options but directives, `--help` and `--version`, so the table of directives is the parser. An argument that starts with
`--` begins a directive, except right after a name, where it is the value: `--requirepass --secret` sets a password.

Everything is imported late: `--help` and a mistake should not wait for the server's modules.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from perdure.config import USER, Config, ConfigError, UnknownDirective
from perdure.directives import BY_NAME, GROUPS, Directive

__all__ = ["configure", "main"]

PROGRAM: Final = "perdure-server"
WIDTH: Final = 92
INDENT: Final = 32

NOT_HERE: Final = {
    "--sentinel": "there is no Sentinel mode: run one server and let the service manager restart it",
    "--test-memory": "there is no memory test: use memtester or memtest86+",
    "--check-system": "there is no system check: no kernel setting needs changing",
    "--check-rdb": "there are no RDB files: `perdure check DIR` checks a data directory",
    "--check-aof": "there is no AOF: `perdure check DIR` checks a data directory",
}

USAGE: Final = f"""\
Usage: {PROGRAM} [FILE | -] [--DIRECTIVE VALUE ...]...

A durable server for Redis clients. Every acknowledged write survives a power cut, by default.

Examples:
  {PROGRAM}                                   loopback, port 6379, data in ./perdure-data
  {PROGRAM} --port 7000 --dir /srv/perdure --maxmemory 512mb
  {PROGRAM} /etc/perdure.conf --hz 20         redis.conf's format; options win
  echo 'appendfsync everysec' | {PROGRAM} -   directives from standard input
  {PROGRAM} --port 0 --unixsocket /tmp/perdure.sock
  {PROGRAM} --help maxmemory-policy           all about one directive

Bytes take units: 1k is 1000, 1kb is 1024; likewise m, mb, g, gb.
"""


class Mistake(Exception):
    """What was typed cannot be run; the text is one line that says what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server (or print what was asked for) and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    first = words[0] if words else ""
    try:
        if first in ("-h", "--help"):
            print(help_text(words[1:]), end="")
            return 0
        if first in ("-v", "--version"):
            print(version_text())
            return 0
        config = configure(words)
    except (ConfigError, Mistake) as bad:
        print(f"{PROGRAM}: {bad}", file=sys.stderr)
        return 1
    try:
        start_logging(config)
    except OSError as error:
        print(f"{PROGRAM}: cannot write to logfile {config.at(config.logfile)}: {error.strerror}", file=sys.stderr)
        return 1
    if config.daemonize:
        go_to_background()
    from perdure.startup import run

    return run(config)


def configure(words: Sequence[str]) -> Config:
    """The configuration that a command line asks for. Reads files and standard input. Raises ConfigError, Mistake."""
    config = Config()
    rest = list(words)
    from_stdin = False
    if rest and not rest[0].startswith("--"):
        if rest[0].startswith("-") and rest[0] != "-":
            raise Mistake(f"unknown option '{rest[0]}': directives are written --name value, see {PROGRAM} --help")
        path = rest.pop(0)
        if path == "-":
            from_stdin = True
        else:
            from perdure.config_file import load_file

            load_file(config, path)
    if rest and rest[-1] == "-":
        rest.pop()
        from_stdin = True
    if from_stdin:
        from perdure.config_file import load_text

        load_text(config, sys.stdin.read(), "standard input")
    for name, values in options(rest):
        try:
            config.load(name, values)
        except ConfigError as bad:
            if isinstance(bad, UnknownDirective) or name.lower() == USER:  # whose rules may hold passwords
                raise
            typed = " ".join([name, *(f'"{value}"' for value in values)])
            raise Mistake(f"'{typed}': {bad.why}") from None
    return config


def options(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each directive of a command line with its values. Raises Mistake."""
    at = 0
    while at < len(words):
        option = words[at]
        at += 1
        if option in NOT_HERE:
            raise Mistake(f"{option}: {NOT_HERE[option]}")
        option = option.removeprefix("--")  # redis-server takes the first one without it, too
        name, equals, value = option.partition("=")
        values = [value] if equals else []
        if " " in name:  # "--maxmemory 1gb" in one argument, quoted as in a file
            name, *values = words_of(option)
        follows = words[at] if at < len(words) else "--"
        if not values and name.lower() == "save" and follows.startswith("--"):
            values = [""]  # a bare --save is "never"
        elif not values and at < len(words):
            values = [follows]
            at += 1
        while at < len(words) and not words[at].startswith("--"):
            values.append(words[at])
            at += 1
        yield name, values


def words_of(line: str) -> list[str]:
    """The words of one line, as in a file. Raises Mistake."""
    from perdure.resp import split_words

    words = split_words(line.encode(errors="surrogateescape"))
    if not words:
        raise Mistake(f"'{line}' has quotes that do not match")
    return [word.decode(errors="surrogateescape") for word in words]


def go_to_background() -> None:
    """Leave the terminal: the parent exits at once, the child goes on in a session of its own."""
    if os.fork():
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)


def start_logging(config: Config) -> None:
    """Send the server's messages where `logfile` says, from `loglevel` on. Raises OSError."""
    import logging
    from logging.handlers import WatchedFileHandler  # goes on in a new file when logrotate moves the old one

    from perdure.messages import LEVELS, RedisFormatter

    if config.logfile and config.is_set("dir"):
        os.makedirs(config.dir, mode=0o700, exist_ok=True)
    console = sys.stderr if config.port == 0 else sys.stdout  # where a port is asked for, that alone is said on stdout
    handler = WatchedFileHandler(config.at(config.logfile)) if config.logfile else logging.StreamHandler(console)
    handler.setFormatter(RedisFormatter())
    logger = logging.getLogger("perdure")
    logger.handlers = [handler]
    logger.setLevel(LEVELS[config.loglevel])
    config.on_change("loglevel", lambda level: logger.setLevel(LEVELS[level]))


# ------------------------------------------------------------------------------------------------------ help texts


def version_text() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("perdure")
    except PackageNotFoundError:
        own = "(run from source)"
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{PROGRAM} {own}, Python {python}"


def help_text(names: Sequence[str]) -> str:
    """The help page, or what there is to say of each named directive. Raises ConfigError."""
    if names:
        return "\n".join(about(find(name.removeprefix("--"))) for name in names)
    parts = [USAGE]
    for group in GROUPS:
        entries = [entry(d) for d in group.directives if not (group.why or d.later or d.only)]
        parts += [f"\n{group.title}:\n", *entries] if entries else []
    quiet = sum(len(group.directives) for group in GROUPS if group.why)
    parts.append(f"\n{quiet} more directives of Redis are accepted and do nothing here: docs/directives.md says why.\n")
    return "".join(parts)


def find(name: str) -> Directive:
    from perdure.config import UnknownDirective

    directive = BY_NAME.get(name.lower())
    if directive is None:
        raise UnknownDirective(name)
    return directive


def entry(directive: Directive) -> str:
    """A directive in the help page: how to type it on the left, what it does and its default on the right."""
    note = directive.note + (f" [{directive.default}]" if directive.default else "")
    left = f"  --{directive.name} {directive.kind.shape}"
    if len(left) > WIDTH:
        left, note = f"  --{directive.name} <word>", f"{note} Words: {directive.kind.shape.replace('|', ', ')}"
    if len(left) > INDENT - 2:
        return f"{left}\n{wrapped(note, ' ' * INDENT)}"
    return wrapped(note, left.ljust(INDENT))


def about(directive: Directive) -> str:
    """All about one directive."""
    group = next(group for group in GROUPS if directive in group.directives)
    lines = [
        f"--{directive.name} {directive.kind.shape}\n",
        wrapped(f"{directive.note or group.title}.", "  "),
        wrapped(f"No effect here: {group.why}", "  ") if group.why else "",
        wrapped("Not obeyed yet.", "  ") if directive.later else "",
        wrapped(f"Refused: {directive.only}.", "  ") if directive.only else "",
        f"  Default: {directive.default or 'empty'}\n",
        f"  Also called: {', '.join(directive.aliases)}\n" if directive.aliases else "",
        f"  CONFIG SET: {'yes' if directive.change == 'runtime' else 'no'}\n",
    ]
    return "".join(lines)


def wrapped(text: str, lead: str) -> str:
    """`text` after `lead`, further lines indented as far."""
    import textwrap

    return textwrap.fill(text, WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead)) + "\n"


if __name__ == "__main__":
    sys.exit(main())
