"""COMMAND: the table of commands, as clients and people ask for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from perdure import errors
from perdure.errors import ReplyError
from perdure.globs import compile_glob
from perdure.key_uses import KeyUse, key_uses
from perdure.registry import LOADING, STALE, Args, Command, Family, every_command
from perdure.resp import Map, Reply, Set
from perdure.session import Session
from perdure.usage import Argument, KeySpec

COMMANDS = Family("server", context=True)

HELP: Final = (
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand)",
    "    What COMMAND INFO says of every command.",
    "COUNT",
    "    The number of commands.",
    "DOCS [<command-name> ...]",
    "    Documentation of these commands, or of all.",
    "GETKEYS <command> [<arg> ...]",
    "    The keys in this call of a command.",
    "GETKEYSANDFLAGS <command> [<arg> ...]",
    "    The same, and what the command does with each.",
    "INFO [<command-name> ...]",
    "    Arity, flags, key positions, categories of these commands, or of all.",
    "LIST [FILTERBY <ACLCAT category | PATTERN pattern | MODULE module>]",
    "    Names of commands.",
    "HELP",
    "    Print this help.",
)

O_OF_N = "O(N) where N is the number of commands"


@COMMANDS.command(
    "COMMAND",
    LOADING | STALE,
    since="2.8.13",
    complexity=O_OF_N,
    arity=-1,
    acl="connection",
    tips="nondeterministic_output_order",
)
def command(ctx: Session, args: Args) -> Reply:
    """Return details of all commands."""
    return [describe(each) for each in ctx.server.commands.values()]


@COMMANDS.command("COMMAND COUNT", LOADING | STALE, since="2.8.13", complexity="O(1)", acl="connection")
def command_count(ctx: Session, args: Args) -> Reply:
    """Return the number of commands."""
    return len(ctx.server.commands)


@COMMANDS.command(
    "COMMAND INFO [command-name ...]",
    LOADING | STALE,
    since="2.8.13",
    complexity=O_OF_N,
    acl="connection",
    history=[("7.0.0", "Without names it tells about all commands.")],
    tips="nondeterministic_output_order",
)
def command_info(ctx: Session, args: Args) -> Reply:
    """Return details of some commands, or of all."""
    if not args:
        return command(ctx, args)
    found = (find(ctx, name) for name in args)
    return [None if each is None else describe(each) for each in found]


@COMMANDS.command(
    "COMMAND DOCS [command-name ...]",
    LOADING | STALE,
    since="7.0.0",
    complexity=O_OF_N,
    acl="connection",
    tips="nondeterministic_output_order",
)
def command_docs(ctx: Session, args: Args) -> Reply:
    """Return documentation of some commands, or of all."""
    found = [find(ctx, name) for name in args] if args else ctx.server.commands.values()
    return {each.name: document(each) for each in found if each is not None}


@COMMANDS.command(
    "COMMAND GETKEYS command [arg ...]",
    LOADING | STALE,
    since="2.8.13",
    acl="connection",
    arity=-4,
    complexity="O(N) where N is the number of arguments",
)
def command_getkeys(ctx: Session, args: Args) -> Reply:
    """Return the keys in a call of a command."""
    return [use.key for use in _keys_in(ctx, args)]


@COMMANDS.command(
    "COMMAND GETKEYSANDFLAGS command [arg ...]",
    LOADING | STALE,
    since="7.0.0",
    acl="connection",
    arity=-4,
    complexity="O(N) where N is the number of arguments",
)
def command_getkeysandflags(ctx: Session, args: Args) -> Reply:
    """Return the keys in a call of a command, and what it does with each."""
    return [[use.key, Set(use.flags)] for use in _keys_in(ctx, args)]


@COMMANDS.command(
    "COMMAND LIST [FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
    LOADING | STALE,
    since="7.0.0",
    complexity=O_OF_N,
    acl="connection",
    tips="nondeterministic_output_order",
)
def command_list(ctx: Session, args: Args) -> Reply:
    """Return the names of all commands, or of those that pass a filter."""
    if not args:
        return [each.name for each in every_command(ctx.server.commands)]
    if len(args) != 3 or args[0].lower() != b"filterby":
        raise errors.syntax()
    by, wanted = args[1].lower(), args[2]
    if by == b"module":
        return []
    if by == b"aclcat":
        category = wanted.decode("latin-1").lower()
        return [each.name for each in every_command(ctx.server.commands) if category in each.acl_categories]
    if by == b"pattern":
        matches = compile_glob(wanted, ignore_case=True)
        return [each.name for each in every_command(ctx.server.commands) if matches(each.name)]
    raise errors.syntax()


@COMMANDS.command("COMMAND HELP", LOADING | STALE, since="5.0.0", complexity="O(1)", acl="connection")
def command_help(ctx: Session, args: Args) -> Reply:
    """Return what the subcommands of COMMAND do."""
    return list(HELP)


def find(ctx: Session, name: bytes) -> Command | None:
    """The command of this name, subcommands as "config|get"; None if there is none."""
    first, _, word = name.lower().partition(b"|")
    found = ctx.server.commands.get(first)
    return (found.subcommands or {}).get(word) if found is not None and word else found


# -- keys of a call ------------------------------------------------------------------------------------------------


def _keys_in(ctx: Session, argv: Args) -> list[KeyUse]:
    """The keys of the call `argv`, each with its flags."""
    called = _called(ctx, argv)
    if called is None:
        raise ReplyError("ERR Invalid command specified")
    if not called.movablekeys and all("not_key" in spec.flags for spec in called.key_specs):
        raise ReplyError("ERR The command has no key arguments")
    if not called.min_argc <= len(argv) <= called.max_argc:
        raise ReplyError("ERR Invalid number of arguments specified for command")
    uses = key_uses(called, argv)
    if not uses and not called.no_mandatory_keys:
        raise ReplyError("ERR Invalid arguments specified for command")
    return uses


def _called(ctx: Session, argv: Args) -> Command | None:
    found = ctx.server.commands.get(argv[0].lower())
    if found is None or not found.subcommands or len(argv) == 1:
        return found
    return found.subcommands.get(argv[1].lower())


# -- INFO ----------------------------------------------------------------------------------------------------------


def describe(each: Command) -> Reply:
    """One entry of COMMAND INFO."""
    return [
        each.name,
        each.arity,
        Set(each.flag_names()),
        each.first_key,
        each.last_key,
        each.step,
        Set(["@" + category for category in sorted(each.acl_categories)]),
        Set([tip.encode() for tip in each.tips]),
        Set([_describe_keys(spec) for spec in each.key_specs]),
        Set([describe(sub) for sub in (each.subcommands or {}).values()]),
    ]


def _describe_keys(spec: KeySpec) -> Reply:
    if spec.unknown:
        nowhere = _search(b"unknown", {})
        return {b"flags": Set(spec.flags), b"begin_search": nowhere, b"find_keys": nowhere}
    begin: Reply = _search(b"index", {b"index": spec.start})
    if spec.keyword:
        begin = _search(b"keyword", {b"keyword": spec.keyword.encode(), b"startfrom": spec.start})
    keys = _search(b"range", {b"lastkey": spec.last, b"keystep": spec.step, b"limit": spec.limit})
    if spec.numkeys:
        keys = _search(b"keynum", {b"keynumidx": 0, b"firstkey": 1, b"keystep": 1})
    return {b"flags": Set(spec.flags), b"begin_search": begin, b"find_keys": keys}


def _search(kind: bytes, spec: dict[bytes, Reply]) -> Reply:
    return {b"type": kind, b"spec": spec}


# -- DOCS ----------------------------------------------------------------------------------------------------------


def document(each: Command) -> Reply:
    """One entry of COMMAND DOCS."""
    fields: dict[bytes, Reply] = {
        b"summary": each.summary.encode(),
        b"since": each.since.encode(),
        b"group": each.family.group.replace("_", "-").encode(),
        b"complexity": each.complexity.encode(),
    }
    if each.deprecated_since:
        fields[b"doc_flags"] = Set(["deprecated"])
        fields[b"deprecated_since"] = each.deprecated_since.encode()
        fields[b"replaced_by"] = each.replaced_by.encode()
    if each.history:
        fields[b"history"] = Set([[version.encode(), what.encode()] for version, what in each.history])
    if each.arguments:
        fields[b"arguments"] = _document_arguments(each.arguments, iter(range(len(each.key_specs))))
    if each.subcommands:
        fields[b"subcommands"] = {sub.name: document(sub) for sub in each.subcommands.values()}
    return Map([item for pair in fields.items() for item in pair])


def _document_arguments(arguments: Iterable[Argument], specs: Iterator[int]) -> Reply:
    """`specs`: the numbers of the key specs, in the order in which the arguments have keys."""
    return [_document_argument(argument, specs) for argument in arguments]


def _document_argument(argument: Argument, specs: Iterator[int]) -> Reply:
    fields: dict[bytes, Reply] = {b"name": argument.name.encode(), b"type": argument.type.encode()}
    if argument.type == "key":
        spec = next(specs, None)
        if spec is not None:
            fields[b"key_spec_index"] = spec
    if argument.token:
        fields[b"token"] = argument.token.encode()
    flags: list[Reply] = [name for name in ("optional", "multiple", "multiple_token") if getattr(argument, name)]
    if flags:
        fields[b"flags"] = Set(flags)
    if argument.arguments:
        fields[b"arguments"] = _document_arguments(argument.arguments, specs)
    return fields
