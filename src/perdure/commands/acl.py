"""ACL: users and what they may do."""

from __future__ import annotations

import secrets
from typing import Final

from perdure import errors
from perdure.acl import DEFAULT, BadAclFile, BadName, BadRule, UnmatchedParenthesis, User
from perdure.acl.admission import changed, expel, in_full
from perdure.acl.log import Entry
from perdure.acl.selectors import CATEGORIES, Selector
from perdure.acl.users import follow
from perdure.args import integer
from perdure.errors import ReplyError
from perdure.registry import ADMIN, LOADING, NOSCRIPT, STALE, Args, Family
from perdure.resp import Map, Reply, Set
from perdure.session import Session
from perdure_storage.files import rewrite_file

COMMANDS = Family("server", context=True)

ANYTIME: Final = NOSCRIPT | LOADING | STALE
O_OF_RULES: Final = "O(N), N being the rules given"
O_OF_USERS: Final = "O(N), N being all users"

HELP: Final = (
    "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CAT [<category>]",
    "    The categories, or the commands of one.",
    "DELUSER <username> [<username> ...]",
    "    Delete users; their connections are closed.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Whether the user may run this. It is not run.",
    "GENPASS [<bits>]",
    "    A random password of so many bits (256).",
    "GETUSER <username>",
    "    What a user is and may do.",
    "LIST",
    "    All users, as the ACL file has them.",
    "LOAD",
    "    Have the users of the ACL file, instead of the present ones.",
    "LOG [<count> | RESET]",
    "    What was refused lately, newest first; or forget it.",
    "SAVE",
    "    Write the users to the ACL file.",
    "SETUSER <username> [<rule> ...]",
    "    Make or change a user.",
    "USERS",
    "    The names of all users.",
    "WHOAMI",
    "    The user of this connection.",
    "HELP",
    "    Print this help.",
)


# -- users ---------------------------------------------------------------------------------------------------------


@COMMANDS.command(
    "ACL SETUSER username [rule [rule ...]]",
    ADMIN | ANYTIME,
    since="6.0.0",
    complexity=O_OF_RULES,
    history=(("6.2.0", "Channel patterns."), ("7.0.0", "Selectors and rights to read or to write keys.")),
)
def acl_setuser(ctx: Session, args: Args) -> Reply:
    """Make a user, or change one: all rules hold, or none."""
    acl = ctx.server.acl
    name, *rules = args
    known = acl.users.get(name)
    try:
        user = known.copy() if known is not None else acl.new(name)
        follow(user, rules)
    except BadName as bad:
        raise ReplyError(f"ERR {bad}") from None
    except BadRule as bad:
        raise ReplyError(f"ERR Error in ACL SETUSER modifier '{errors.whole(bad.rule)}': {bad}") from None
    except UnmatchedParenthesis as bad:
        shown = errors.whole(bad.opening)
        raise ReplyError(f"ERR Unmatched parenthesis in acl selector starting at '{shown}'.") from None
    changed(ctx.server, acl.add(user))
    return "OK"


@COMMANDS.command("ACL DELUSER username [username ...]", ADMIN | ANYTIME, since="6.0.0",
                  complexity="O(1), and O(N) for the connections that are closed")  # fmt: skip
def acl_deluser(ctx: Session, args: Args) -> Reply:
    """Delete users and close their connections."""
    acl = ctx.server.acl
    if DEFAULT in args:
        raise ReplyError("ERR The 'default' user cannot be removed")
    gone = [user for name in args if (user := acl.users.pop(name, None)) is not None]
    expel(ctx.server, gone, ctx)
    return len(gone)


@COMMANDS.command(
    "ACL GETUSER username",
    ADMIN | ANYTIME,
    since="6.0.0",
    complexity=O_OF_RULES,
    history=(("6.2.0", "Channel patterns."), ("7.0.0", "Selectors; keys and channels as rules.")),
)
def acl_getuser(ctx: Session, args: Args) -> Reply:
    """Return what a user is and may do; null if there is none of this name."""
    user = ctx.server.acl.users.get(args[0])
    return None if user is None else describe(user)


def describe(user: User) -> Reply:
    """The reply of ACL GETUSER."""
    return Map(
        [
            b"flags", Set(user.flags()),
            b"passwords", list(user.passwords),
            *describe_selector(user.root),
            b"selectors", [Map(describe_selector(selector)) for selector in user.selectors[1:]],
        ]
    )  # fmt: skip


def describe_selector(selector: Selector) -> list[Reply]:
    return [
        b"commands", selector.command_rules(),
        b"keys", selector.key_rules(),
        b"channels", selector.channel_rules(),
    ]  # fmt: skip


@COMMANDS.command("ACL LIST", ADMIN | ANYTIME, since="6.0.0", complexity=O_OF_USERS)
def acl_list(ctx: Session, args: Args) -> Reply:
    """Return all users as lines of the ACL file."""
    return [*ctx.server.acl.lines()]


@COMMANDS.command("ACL USERS", ADMIN | ANYTIME, since="6.0.0", complexity=O_OF_USERS)
def acl_users(ctx: Session, args: Args) -> Reply:
    """Return the names of all users."""
    return [user.name for user in ctx.server.acl.sorted()]


@COMMANDS.command("ACL WHOAMI", ANYTIME, since="6.0.0", complexity="O(1)")
def acl_whoami(ctx: Session, args: Args) -> Reply:
    """Return the name of the connection's user."""
    return ctx.user.name


# -- their file ----------------------------------------------------------------------------------------------------


def acl_file(ctx: Session) -> str:
    """The path of the ACL file. Raises ReplyError when there is none."""
    path = ctx.server.config.aclfile
    if not path:
        raise ReplyError(
            "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL "
            "SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in "
            "order to store users in the Redis configuration."
        )
    return path


@COMMANDS.command("ACL LOAD", ADMIN | ANYTIME, since="6.0.0", complexity=O_OF_USERS)
def acl_load(ctx: Session, args: Args) -> Reply:
    """Have the users of the ACL file instead of the present ones, whose connections are closed."""
    path, acl = acl_file(ctx), ctx.server.acl
    try:
        gone = acl.load(acl.read_file())
    except OSError as error:
        raise ReplyError(f"ERR Error loading ACLs, opening file '{path}': {error.strerror}") from None
    except BadAclFile as bad:
        raise ReplyError(
            f"ERR {bad} WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
        ) from None
    expel(ctx.server, gone, ctx)
    changed(ctx.server, acl.default)
    return "OK"


@COMMANDS.command("ACL SAVE", ADMIN | ANYTIME, since="6.0.0", complexity=O_OF_USERS)
def acl_save(ctx: Session, args: Args) -> Reply:
    """Write the users to the ACL file, whole or not at all."""
    path = acl_file(ctx)
    try:
        rewrite_file(ctx.server.config.at(path), b"".join(line + b"\n" for line in ctx.server.acl.lines()))
    except OSError as error:
        raise ReplyError(f"ERR There was an error trying to save the ACLs: {path}: {error.strerror}") from None
    return "OK"


# -- commands and categories ---------------------------------------------------------------------------------------


@COMMANDS.command("ACL CAT [category]", ANYTIME, since="6.0.0", complexity="O(1), or O(N), N being all commands")
def acl_cat(ctx: Session, args: Args) -> Reply:
    """Return the categories, or the commands of one."""
    if not args:
        return [category.encode() for category in CATEGORIES]
    only_one(args, "CAT")
    found = ctx.server.acl.vocabulary.by_category.get(args[0].lower())
    if found is None:
        raise ReplyError(f"ERR Unknown category '{errors.whole(args[0])}'")
    return sorted(found)


def only_one(args: Args, name: str) -> None:
    """Raises ReplyError for a second argument, in the words Redis has for it."""
    if len(args) > 1:
        raise errors.misused("ACL", name)


@COMMANDS.command("ACL DRYRUN username command [arg [arg ...]]", ADMIN | ANYTIME, since="7.0.0",
                  complexity="O(1)")  # fmt: skip
def acl_dryrun(ctx: Session, args: Args) -> Reply:
    """Say whether a user may run a command, without running it."""
    server = ctx.server
    name, *argv = args
    user = server.acl.users.get(name)
    if user is None:
        raise ReplyError(f"ERR User '{errors.whole(name)}' not found")
    command = server.commands.get(argv[0].lower())
    if command is not None and command.subcommands and len(argv) > 1:
        command = command.subcommands.get(argv[1].lower())
    if command is None:
        raise ReplyError(f"ERR Command '{errors.whole(argv[0])}' not found")
    if not command.min_argc <= len(argv) <= command.max_argc:
        raise errors.wrong_arity(command.name)
    denial = user.denial(command, argv)
    return "OK" if denial is None else in_full(denial).encode("latin-1")


# -- passwords and the log -----------------------------------------------------------------------------------------

BITS_MAX: Final = 4096


@COMMANDS.command("ACL GENPASS [bits]", ANYTIME, since="6.0.0", complexity="O(1)")
def acl_genpass(ctx: Session, args: Args) -> Reply:
    """Return a random password, in hexadecimal."""
    only_one(args, "GENPASS")
    bits = integer(args[0]) if args else 256
    if not 0 < bits <= BITS_MAX:
        raise ReplyError(
            "ERR ACL GENPASS argument must be the number of bits for the output password, "
            f"a positive number up to {BITS_MAX}"
        )
    digits = (bits + 3) // 4
    return secrets.token_hex(digits)[:digits].encode()


@COMMANDS.command(
    "ACL LOG [count | RESET]",
    ADMIN | ANYTIME,
    since="6.0.0",
    complexity="O(N), N being the entries shown",
    history=(("7.2.0", "Entries have a number and tell when they began and were last seen."),),
)
def acl_log(ctx: Session, args: Args) -> Reply:
    """Return what was refused lately, the newest first."""
    log = ctx.server.acl.log
    only_one(args, "LOG")
    if args and args[0].lower() == b"reset":
        log.clear()
        return "OK"
    count = integer(args[0]) if args else 10
    return [describe_entry(entry, ctx.ds.now) for entry in log.entries[: max(0, count)]]


def describe_entry(entry: Entry, now_ms: int) -> Reply:
    return Map(
        [
            b"count", entry.count,
            b"reason", entry.reason.encode(),
            b"context", entry.context.encode(),
            b"object", entry.object,
            b"username", entry.username,
            b"age-seconds", (now_ms - entry.updated_ms) / 1000,
            b"client-info", entry.client,
            b"entry-id", entry.id,
            b"timestamp-created", entry.created_ms,
            b"timestamp-last-updated", entry.updated_ms,
        ]
    )  # fmt: skip


@COMMANDS.command("ACL HELP", LOADING | STALE, since="6.0.0", complexity="O(1)")
def acl_help(ctx: Session, args: Args) -> Reply:
    """Return what the subcommands of ACL do."""
    return list(HELP)
