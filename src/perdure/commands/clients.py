"""CLIENT: what connections there are, what each wants, and what may be done to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perdure import errors
from perdure.args import Words, integer
from perdure.clients import CLASSES, checked_name, class_of, describe, is_plain
from perdure.errors import ReplyError
from perdure.registry import ADMIN, LOADING, NOSCRIPT, STALE, Args, Family
from perdure.resp import Raw, Reply, Verbatim
from perdure.session import Level, Park, Session

COMMANDS = Family("connection", context=True)

ANYTIME: Final = NOSCRIPT | LOADING | STALE

HELP: Final = (
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CACHING <YES|NO>",
    "    Whether the next command's keys are tracked: YES with OPTIN, NO with OPTOUT.",
    "DURABILITY [ALWAYS|EVERYSEC|NO|DEFAULT]",
    "    How safe a write must be before this connection gets its reply; DEFAULT is what appendfsync says.",
    "GETNAME",
    "    The name of this connection.",
    "GETREDIR",
    "    The connection that gets our invalidation messages.",
    "ID",
    "    The number of this connection.",
    "INFO",
    "    What CLIENT LIST says of this connection.",
    "KILL <ip:port>",
    "    Close the connection from this address.",
    "KILL <option> <value> [<option> <value> ...]",
    "    Close connections that all these options fit:",
    "    ADDR <ip:port>, LADDR <ip:port>, ID <id>, USER <name>, MAXAGE <seconds>,",
    "    TYPE <NORMAL|MASTER|REPLICA|PUBSUB>, SKIPME <YES|NO> (spare this one, the default).",
    "LIST [TYPE <NORMAL|MASTER|REPLICA|PUBSUB> | ID <id> [<id> ...]]",
    "    One line for each connection.",
    "NO-EVICT <ON|OFF>",
    "    Protect this connection from being closed when clients take too much memory.",
    "NO-TOUCH <ON|OFF>",
    "    Whether reading a key leaves it as long unused as it was.",
    "PAUSE <milliseconds> [WRITE|ALL]",
    "    Hold back all clients, or those that write.",
    "REPLY <ON|OFF|SKIP>",
    "    Whether this connection gets replies; SKIP leaves out the next.",
    "SETINFO <LIB-NAME|LIB-VER> <value>",
    "    Tell which client library this is.",
    "SETNAME <name>",
    "    Name this connection.",
    "TRACKING <ON|OFF> [REDIRECT <id>] [BCAST] [PREFIX <prefix> ...] [OPTIN] [OPTOUT] [NOLOOP]",
    "    Whether this connection is told when keys change that it has read (client-side caching), or with BCAST",
    "    when any keys change that start with a prefix.",
    "TRACKINGINFO",
    "    The state of client-side caching.",
    "UNBLOCK <id> [TIMEOUT|ERROR]",
    "    End the wait of a blocked connection.",
    "UNPAUSE",
    "    End a pause.",
    "HELP",
    "    Print this help.",
)

# -- who there is --------------------------------------------------------------------------------------------------


@COMMANDS.command("CLIENT ID", ANYTIME, since="5.0.0", complexity="O(1)")
def client_id(ctx: Session, args: Args) -> Reply:
    """Return the number of the connection."""
    return ctx.id


@COMMANDS.command("CLIENT INFO", ANYTIME, since="6.2.0", complexity="O(1)", tips="nondeterministic_output")
def client_info(ctx: Session, args: Args) -> Reply:
    """Return what CLIENT LIST says of the connection."""
    return Verbatim(describe(ctx, [b"CLIENT", b"INFO"]) + b"\n")


@COMMANDS.command(
    "CLIENT LIST [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
    ADMIN | ANYTIME,
    since="2.4.0",
    complexity="O(N) where N is the number of clients",
    tips="nondeterministic_output",
)
def client_list(ctx: Session, args: Args) -> Reply | Park:
    """Return a line for each connection. What others had sent before is read first: sockets come in any order."""
    if ctx.in_exec or ctx.peer is None:
        return listed(ctx, args)
    ctx.server.hear_others()
    return Park("others", ready=lambda: True, again=lambda db: listed(ctx, args))


def listed(ctx: Session, args: Args) -> Reply:
    """CLIENT LIST's reply. Raises ReplyError."""
    sessions = list(ctx.server.sessions.values())
    if args:
        word = args[0].upper()
        if word == b"TYPE" and len(args) == 2:
            wanted = known_class(args[1])
            sessions = [session for session in sessions if class_of(session) == wanted]
        elif word == b"ID" and len(args) > 1:
            bad = ReplyError("ERR Invalid client ID")
            found = (ctx.server.sessions.get(integer(each, lambda: bad)) for each in args[1:])
            sessions = [session for session in found if session is not None]
        else:
            raise errors.syntax()
    request = [b"CLIENT", b"LIST", *args]
    lines = [describe(session, request if session is ctx else None) for session in sessions]
    return Verbatim(b"".join(line + b"\n" for line in lines))


def known_class(raw: bytes) -> str:
    """A class of clients. Raises ReplyError."""
    name = raw.decode("latin-1").lower()
    if name not in CLASSES:
        raise ReplyError(f"ERR Unknown client type '{errors.shown(raw)}'")
    return name


# -- names ---------------------------------------------------------------------------------------------------------


@COMMANDS.command("CLIENT SETNAME connection-name", ANYTIME, since="2.6.9", complexity="O(1)")
def client_setname(ctx: Session, args: Args) -> Reply:
    """Name the connection."""
    ctx.name = checked_name(args[0])
    return "OK"


@COMMANDS.command("CLIENT GETNAME", ANYTIME, since="2.6.9", complexity="O(1)")
def client_getname(ctx: Session, args: Args) -> Reply:
    """Return the name of the connection."""
    return ctx.name or None


@COMMANDS.command(
    "CLIENT SETINFO <LIB-NAME libname | LIB-VER libver>", ANYTIME, since="7.2.0", complexity="O(1)", arity=4
)
def client_setinfo(ctx: Session, args: Args) -> Reply:
    """Tell which client library is at the other end."""
    attribute, value = args
    word = attribute.lower()
    if word not in (b"lib-name", b"lib-ver"):
        raise ReplyError(f"ERR Unrecognized option '{errors.shown(attribute)}'")
    if not is_plain(value):
        shown = errors.shown(attribute)
        raise ReplyError(f"ERR {shown} cannot contain spaces, newlines or special characters.")
    if word == b"lib-name":
        ctx.lib_name = value
    else:
        ctx.lib_ver = value
    return "OK"


# -- closing and holding back --------------------------------------------------------------------------------------

Filter = Callable[[Session], bool]


@COMMANDS.command(
    "CLIENT KILL <old-format | <[ID client-id] | [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] | [USER username] | "
    "[ADDR addr] | [LADDR laddr] | [SKIPME <YES | NO>] | [MAXAGE maxage]> ...>",
    ADMIN | ANYTIME,
    since="2.4.0",
    complexity="O(N) where N is the number of clients",
    arity=-3,
)
def client_kill(ctx: Session, args: Args) -> Reply:
    """Close connections."""
    everybody = list(ctx.server.sessions.values())
    if len(args) == 1:
        victims = [session for session in everybody if session.address.encode() == args[0]]
        if not victims:
            raise ReplyError("ERR No such client")
    else:
        filters, spare_me = kill_filters(ctx, args)
        victims = [s for s in everybody if all(fits(s) for fits in filters) and not (spare_me and s is ctx)]
    for session in victims:
        ctx.server.kill(session, after_reply=session is ctx)
    return "OK" if len(args) == 1 else len(victims)


def kill_filters(ctx: Session, args: Args) -> tuple[list[Filter], bool]:
    """What CLIENT KILL's options ask of a client, and whether the one who asks is spared. Raises ReplyError."""
    if len(args) % 2:
        raise errors.syntax()
    filters: list[Filter] = []
    spare_me = True
    now = ctx.ds.now
    for word in (words := Words(args)):
        value = words.take()
        if word == b"ID":
            ident = positive_or(value, "ERR client-id should be greater than 0")
            filters.append(lambda session, ident=ident: session.id == ident)  # type: ignore[misc]
        elif word == b"MAXAGE":
            age_ms = positive_or(value, "ERR maxage should be greater than 0") * 1000
            filters.append(lambda session, age_ms=age_ms: now - session.created_ms >= age_ms)  # type: ignore[misc]
        elif word == b"TYPE":
            wanted = known_class(value)
            filters.append(lambda session, wanted=wanted: class_of(session) == wanted)  # type: ignore[misc]
        elif word == b"ADDR":
            filters.append(lambda session, value=value: session.address.encode() == value)  # type: ignore[misc]
        elif word == b"LADDR":
            filters.append(lambda session, value=value: session.local_address.encode() == value)  # type: ignore[misc]
        elif word == b"USER":
            user = ctx.server.acl.users.get(value)
            if user is None:
                raise ReplyError(f"ERR No such user '{errors.shown(value)}'")
            filters.append(lambda session, user=user: session.user is user)  # type: ignore[misc]
        elif word == b"SKIPME" and value.lower() in (b"yes", b"no"):
            spare_me = value.lower() == b"yes"
        else:
            raise errors.syntax()
    return filters, spare_me


def positive_or(raw: bytes, wrong: str) -> int:
    value = integer(raw, lambda: ReplyError(wrong))
    if value < 1:
        raise ReplyError(wrong)
    return value


@COMMANDS.command("CLIENT PAUSE timeout [WRITE | ALL]", ADMIN | ANYTIME, since="3.0.0", complexity="O(1)")
def client_pause(ctx: Session, args: Args) -> Reply:
    """Hold clients back for a while."""
    mode = args[1].upper() if len(args) == 2 else b"ALL"
    if mode not in (b"WRITE", b"ALL") or len(args) > 2:
        raise ReplyError("ERR CLIENT PAUSE mode must be WRITE or ALL")
    ctx.server.pause(ctx.ds.now + milliseconds(args[0]), mode == b"ALL")
    return "OK"


def milliseconds(raw: bytes) -> int:
    """A time to wait. Raises ReplyError."""
    value = integer(raw, lambda: ReplyError("ERR timeout is not an integer or out of range"))
    if value < 0:
        raise errors.negative_timeout()
    return value


@COMMANDS.command(
    "CLIENT UNPAUSE", ADMIN | ANYTIME, since="6.2.0", complexity="O(N) where N is the number of paused clients"
)
def client_unpause(ctx: Session, args: Args) -> Reply:
    """End a pause."""
    ctx.server.unpause()
    return "OK"


@COMMANDS.command("CLIENT UNBLOCK client-id [TIMEOUT | ERROR]", ADMIN | ANYTIME, since="5.0.0", complexity="O(1)")
def client_unblock(ctx: Session, args: Args) -> Reply:
    """End the wait of a blocked connection."""
    ident = integer(args[0])
    how = args[1].upper() if len(args) == 2 else b"TIMEOUT"
    if how not in (b"TIMEOUT", b"ERROR") or len(args) > 2:
        raise ReplyError("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    session = ctx.server.sessions.get(ident)
    park = session.parked if session is not None else None
    if session is None or park is None or not park.unblockable:
        return 0
    failed = ReplyError("UNBLOCKED client unblocked via CLIENT UNBLOCK")
    ctx.server.unpark(session, park.on_timeout if how == b"TIMEOUT" else failed)
    return 1


# -- what this connection wants ------------------------------------------------------------------------------------


@COMMANDS.command("CLIENT REPLY <ON | OFF | SKIP>", ANYTIME, since="3.2.0", complexity="O(1)")
def client_reply(ctx: Session, args: Args) -> Reply:
    """Switch the connection's replies on or off."""
    mode = args[0].upper()
    if mode == b"ON":
        ctx.reply_on, ctx.skip_next = True, 0
    elif mode == b"OFF":
        ctx.reply_on = False
    elif mode == b"SKIP":
        if ctx.reply_on:
            ctx.skip_next = 2  # this command's own reply, and the next
    else:
        raise errors.syntax()
    ctx.update_gate()
    return "OK" if mode == b"ON" else Raw(b"")


@COMMANDS.command("CLIENT NO-EVICT <ON | OFF>", ADMIN | ANYTIME, since="7.0.0", complexity="O(1)")
def client_no_evict(ctx: Session, args: Args) -> Reply:
    """Protect the connection from being closed for the memory it takes."""
    ctx.no_evict = on_or_off(args[0])
    if ctx.server.client_memory.watching:
        ctx.server.client_memory.measure(ctx)
    return "OK"


@COMMANDS.command("CLIENT NO-TOUCH <ON | OFF>", ANYTIME, since="7.2.0", complexity="O(1)")
def client_no_touch(ctx: Session, args: Args) -> Reply:
    """Leave keys as long unused as they were when this connection reads them."""
    ctx.no_touch = on_or_off(args[0])
    ctx.update_gate()
    return "OK"


def on_or_off(raw: bytes) -> bool:
    word = raw.upper()
    if word not in (b"ON", b"OFF"):
        raise errors.syntax()
    return word == b"ON"


LEVELS: Final = {b"ALWAYS": Level.ALWAYS, b"EVERYSEC": Level.EVERYSEC, b"NO": Level.NO, b"DEFAULT": None}


@COMMANDS.command(
    "CLIENT DURABILITY [ALWAYS | EVERYSEC | NO | DEFAULT]",
    ANYTIME,
    since="0.1.0",
    complexity="O(1)",
)
def client_durability(ctx: Session, args: Args) -> Reply:
    """Choose how safe a write must be before this connection gets its reply (Perdure's own).

    The words are those of `appendfsync`; DEFAULT follows it. Without one, the level in force is returned. It holds for
    this connection's replies only, reads too, until RESET or the end of the connection.
    """
    if not args:
        return ctx.durability.name.lower().encode()
    if len(args) > 1 or args[0].upper() not in LEVELS:
        raise errors.syntax()
    ctx.level = LEVELS[args[0].upper()]
    return "OK"


@COMMANDS.command("CLIENT HELP", LOADING | STALE, since="5.0.0", complexity="O(1)")
def client_help(ctx: Session, args: Args) -> Reply:
    """Return what the subcommands of CLIENT do."""
    return list(HELP)
