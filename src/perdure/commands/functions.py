"""FUNCTION and FCALL: programs in Lua that are part of the data."""

from __future__ import annotations

from typing import Final

from perdure import errors
from perdure.args import integer
from perdure.errors import ReplyError
from perdure.globs import compile_glob
from perdure.registry import (
    ALLOW_BUSY,
    DENYOOM,
    LOADING,
    NO_MANDATORY_KEYS,
    NOSCRIPT,
    READONLY,
    SKIP_MONITOR,
    STALE,
    WRITE,
    Args,
    Family,
)
from perdure.resp import Map, Reply, Set
from perdure.scripting.functions import Library
from perdure.session import Session
from perdure_storage.rdb.libraries import dump_libraries, load_libraries
from perdure_storage.rdb.payload import BadChecksum
from perdure_storage.rdb.reading import BadPayload

COMMANDS = Family("scripting", context=True)

RUNS: Final = NO_MANDATORY_KEYS | NOSCRIPT | SKIP_MONITOR | STALE
DEPENDS: Final = "Depends on the function that is executed"
EVERYWHERE: Final = "request_policy:all_shards response_policy:all_succeeded"

HELP: Final = (
    "FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DELETE <LIBRARY NAME>",
    "    Delete a library.",
    "DUMP",
    "    All libraries as a payload for FUNCTION RESTORE.",
    "FLUSH [ASYNC|SYNC]",
    "    Delete all libraries.",
    "KILL",
    "    End the function that is running, if it has not written yet.",
    "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    "    The libraries and their functions, with WITHCODE their code, too.",
    "LOAD [REPLACE] <FUNCTION CODE>",
    "    Make a library.",
    "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
    "    Make the libraries of a payload: instead of all that are there (FLUSH), if there are none of these names (APPEND,",
    "    the default), or instead of those that are there (REPLACE).",
    "STATS",
    "    What function runs, and how many there are.",
    "HELP",
    "    Print this help.",
)


# -- calling -------------------------------------------------------------------------------------------------------


@COMMANDS.command("FCALL function numkeys [key [key ...]] [arg [arg ...]]", RUNS, since="7.0.0", complexity=DEPENDS,
                  key_flags=("RW access update",))  # fmt: skip
def fcall(ctx: Session, args: Args) -> Reply:
    """Call a function."""
    return call(ctx, args, read_only=False)


@COMMANDS.command("FCALL_RO function numkeys [key [key ...]] [arg [arg ...]]", RUNS | READONLY, since="7.0.0",
                  complexity=DEPENDS, key_flags=("RO access",))  # fmt: skip
def fcall_ro(ctx: Session, args: Args) -> Reply:
    """Call a function that must not write."""
    return call(ctx, args, read_only=True)


def call(ctx: Session, args: Args, *, read_only: bool) -> Reply:
    libraries = ctx.server.libraries
    function = libraries.find(args[0])
    try:
        count = integer(args[1])
    except ReplyError:
        raise ReplyError("ERR Bad number of keys provided") from None
    if count > len(args) - 2:
        raise errors.too_many_keys()
    if count < 0:
        raise errors.negative_keys()
    return libraries.run(ctx, function, count, args, read_only=read_only)


# -- libraries -----------------------------------------------------------------------------------------------------


@COMMANDS.command("FUNCTION LOAD [REPLACE] function-code", NOSCRIPT | WRITE | DENYOOM, since="7.0.0",
                  complexity="O(1), and what the code does when it is loaded", tips=EVERYWHERE, arity=-3)  # fmt: skip
def function_load(ctx: Session, args: Args) -> Reply:
    """Make a library."""
    *options, code = args
    for option in options:
        if option.lower() != b"replace":
            raise ReplyError(f"ERR Unknown option given: {errors.whole(option)}")
    return ctx.server.libraries.load(code, replace=bool(options))


@COMMANDS.command("FUNCTION DELETE library-name", NOSCRIPT | WRITE, since="7.0.0", complexity="O(1)", tips=EVERYWHERE)
def function_delete(ctx: Session, args: Args) -> Reply:
    """Delete a library."""
    ctx.server.libraries.delete(args[0])
    return "OK"


@COMMANDS.command("FUNCTION FLUSH [ASYNC | SYNC]", NOSCRIPT | WRITE, since="7.0.0",
                  complexity="O(N), N being the libraries", tips=EVERYWHERE)  # fmt: skip
def function_flush(ctx: Session, args: Args) -> Reply:
    """Delete all libraries."""
    if len(args) > 1:
        raise errors.misused("FUNCTION", "flush")
    if args and args[0].lower() not in (b"sync", b"async"):
        raise ReplyError("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
    ctx.server.libraries.flush()
    return "OK"


@COMMANDS.command("FUNCTION LIST [LIBRARYNAME library-name-pattern] [WITHCODE]", NOSCRIPT, since="7.0.0",
                  complexity="O(N), N being the functions",
                  tips="nondeterministic_output_order")  # fmt: skip
def function_list(ctx: Session, args: Args) -> Reply:
    """Return the libraries."""
    pattern, with_code = None, False
    words = iter(args)
    for word in words:
        if word.lower() == b"withcode" and not with_code:
            with_code = True
        elif word.lower() == b"libraryname" and pattern is None:
            pattern = next(words, None)
            if pattern is None:
                raise ReplyError("ERR library name argument was not given")
        else:
            raise ReplyError(f"ERR Unknown argument {errors.whole(word)}")
    wanted = compile_glob(pattern, ignore_case=True) if pattern is not None else lambda name: True
    libraries = ctx.server.libraries.all()
    return [described(library, with_code=with_code) for name, library in libraries.items() if wanted(name)]


def described(library: Library, *, with_code: bool) -> Reply:
    functions = [
        Map([b"name", each.name, b"description", each.description, b"flags", Set(each.flags)])
        for each in library.functions
    ]
    code = [b"library_code", library.code] if with_code else []
    return Map([b"library_name", library.name, b"engine", b"LUA", b"functions", functions, *code])


@COMMANDS.command("FUNCTION STATS", NOSCRIPT | ALLOW_BUSY, since="7.0.0", complexity="O(1)",
                  tips="nondeterministic_output request_policy:all_shards response_policy:special")  # fmt: skip
def function_stats(ctx: Session, args: Args) -> Reply:
    """Return what function runs, and how many there are."""
    server = ctx.server
    running = server.stage.running_function()
    libraries = server.libraries
    counts = Map([b"libraries_count", len(libraries.all()), b"functions_count", len(libraries.functions())])
    told = None
    if running is not None:
        name, command, milliseconds = running
        told = Map([b"name", name, b"command", command, b"duration_ms", milliseconds])
    return Map([b"running_script", told, b"engines", Map([b"LUA", counts])])


@COMMANDS.command("FUNCTION KILL", NOSCRIPT | ALLOW_BUSY, since="7.0.0", complexity="O(1)",
                  tips="request_policy:all_shards response_policy:one_succeeded")  # fmt: skip
def function_kill(ctx: Session, args: Args) -> Reply:
    """End the function that is running, if it has not written yet."""
    ctx.server.stage.kill(function=True)
    return "OK"


@COMMANDS.command("FUNCTION DUMP", NOSCRIPT, since="7.0.0", complexity="O(N), N being the libraries")
def function_dump(ctx: Session, args: Args) -> Reply:
    """Return all libraries as a payload."""
    return dump_libraries(library.code for library in ctx.server.libraries.all().values())


@COMMANDS.command("FUNCTION RESTORE serialized-value [FLUSH | APPEND | REPLACE]", NOSCRIPT | WRITE | DENYOOM,
                  since="7.0.0", complexity="O(N), N being the libraries of the payload", tips=EVERYWHERE)  # fmt: skip
def function_restore(ctx: Session, args: Args) -> Reply:
    """Make the libraries of a payload."""
    if len(args) > 2:
        raise errors.misused("FUNCTION", "restore")
    policy = args[1].lower() if len(args) > 1 else b"append"
    if policy not in (b"flush", b"append", b"replace"):
        raise ReplyError("ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.")
    try:
        codes = load_libraries(args[0])
    except BadChecksum:
        raise ReplyError("ERR DUMP payload version or checksum are wrong") from None
    except BadPayload:
        raise ReplyError("ERR given type is not a function") from None
    ctx.server.libraries.restore(codes, flush=policy == b"flush", replace=policy == b"replace")
    return "OK"


@COMMANDS.command("FUNCTION HELP", LOADING | STALE, since="7.0.0", complexity="O(1)")
def function_help(ctx: Session, args: Args) -> Reply:
    """List the subcommands."""
    return list(HELP)
