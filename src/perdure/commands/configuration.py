"""CONFIG: what the server is set to, asked and changed while it runs.

The words of directives are text, those of clients bytes: UTF-8 where it is, byte for byte where it is not.
"""

from __future__ import annotations

from perdure import errors
from perdure.config import ConfigError, UnknownDirective
from perdure.errors import ReplyError
from perdure.registry import ADMIN, LOADING, NOSCRIPT, STALE, Args, Family
from perdure.resp import Map, Reply
from perdure.session import Session

COMMANDS = Family("server", context=True)

HELP = (
    "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET <pattern> [<pattern> ...]",
    "    Names and values of the parameters that match a glob pattern.",
    "SET <parameter> <value> [<parameter> <value> ...]",
    "    Change parameters, all of them or none.",
    "RESETSTAT",
    "    Start the counters of INFO again from zero.",
    "REWRITE",
    "    Write the present values into the configuration file.",
    "HELP",
    "    Print this help.",
)


@COMMANDS.command(
    "CONFIG GET parameter [parameter ...]",
    ADMIN | NOSCRIPT | LOADING | STALE,
    since="2.0.0",
    complexity="O(N) in the number of parameters given",
    history=(("7.0.0", "Takes several patterns."),),
)
def config_get(ctx: Session, args: Args) -> Reply:
    """Return the values of configuration parameters."""
    pairs = ctx.server.config.get(map(text, args))
    return Map([word.encode(errors="surrogateescape") for pair in pairs for word in pair])


@COMMANDS.command(
    "CONFIG SET parameter value [parameter value ...]",
    ADMIN | NOSCRIPT | LOADING | STALE,
    since="2.0.0",
    complexity="O(N) in the number of parameters given",
    history=(("7.0.0", "Takes several parameters."),),
    tips="request_policy:all_nodes response_policy:all_succeeded",
)
def config_set(ctx: Session, args: Args) -> Reply:
    """Change configuration parameters while the server runs, all of them or none."""
    if len(args) % 2:
        raise errors.syntax()
    words = [text(word) for word in args]
    try:
        config = ctx.server.config
        config.set(zip(words[::2], words[1::2], strict=True), protected=ctx.may(config.enable_protected_configs))
    except UnknownDirective as bad:
        raise ReplyError(f"ERR Unknown option or number of arguments for CONFIG SET - '{shown(bad.unknown)}'") from None
    except ConfigError as bad:
        raise ReplyError(
            f"ERR CONFIG SET failed (possibly related to argument '{shown(bad.name)}') - {bad.why}"
        ) from None
    return "OK"


@COMMANDS.command("CONFIG RESETSTAT", ADMIN | NOSCRIPT | LOADING | STALE, since="2.0.0", complexity="O(1)")
def config_resetstat(ctx: Session, args: Args) -> Reply:
    """Start the server's counters again from zero."""
    ctx.server.reset_stats()
    return "OK"


@COMMANDS.command("CONFIG REWRITE", ADMIN | NOSCRIPT | LOADING | STALE, since="2.8.0", complexity="O(1)")
def config_rewrite(ctx: Session, args: Args) -> Reply:
    """Write the present values into the configuration file, keeping its comments and order."""
    ctx.server.rewrite_config()
    return "OK"


@COMMANDS.command("CONFIG HELP", LOADING | STALE, since="5.0.0", complexity="O(1)")
def config_help(ctx: Session, args: Args) -> Reply:
    """Return helpful text about the subcommands."""
    return list(HELP)


def text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def shown(name: str) -> str:
    """A name as an error repeats it."""
    return errors.shown(name.encode(errors="surrogateescape"))
