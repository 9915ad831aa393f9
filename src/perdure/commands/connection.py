"""The connection itself: HELLO, AUTH, SELECT and what else a client says about itself. CLIENT is in `clients`."""

from __future__ import annotations

from perdure import errors
from perdure.acl import DEFAULT
from perdure.acl.admission import log_in
from perdure.args import integer, integer_between
from perdure.clients import checked_name
from perdure.errors import ReplyError
from perdure.registry import ALLOW_BUSY, FAST, LOADING, NO_AUTH, NOSCRIPT, REDIS_VERSION, STALE, Args, Family
from perdure.resp import Map, Reply
from perdure.session import Session

COMMANDS = Family("connection", context=True)

ALWAYS = NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY


@COMMANDS.command(
    "HELLO [protover [AUTH username password] [SETNAME clientname]]",
    ALWAYS,
    since="6.0.0",
    complexity="O(1)",
    history=(("6.2.0", "`protover` is optional: without it the connection's properties are told, unchanged."),),
)
def hello(ctx: Session, args: Args) -> Reply:
    """Choose the protocol, authenticate and name the connection; tell about the server."""
    version = 0
    credentials: tuple[bytes, bytes] | None = None
    name: bytes | None = None
    if args:
        version = integer(args[0], lambda: ReplyError("ERR Protocol version is not an integer or out of range"))
        if version not in (2, 3):
            raise errors.no_proto()
    at = 1
    while at < len(args):
        word = args[at].upper()
        if word == b"AUTH" and at + 2 < len(args):
            credentials = (args[at + 1], args[at + 2])
            at += 3
        elif word == b"SETNAME" and at + 1 < len(args):
            name = checked_name(args[at + 1])
            at += 2
        else:
            raise ReplyError(f"ERR Syntax error in HELLO option '{errors.shown(args[at])}'")
    if credentials is not None:
        log_in(ctx, *credentials, b"HELLO")
    if not ctx.authenticated:
        raise ReplyError(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH "
            "<user> <pass> option can be used to authenticate the client and select the RESP protocol version "
            "at the same time"
        )
    if name is not None:
        ctx.name = name
    if version:
        ctx.set_protocol(version)
    return Map(
        [
            b"server", b"redis",
            b"version", REDIS_VERSION.encode(),
            b"proto", ctx.protocol,
            b"id", ctx.id,
            b"mode", b"standalone",
            b"role", b"master",
            b"modules", [],
        ]
    )  # fmt: skip


@COMMANDS.command(
    "AUTH [username] password",
    ALWAYS,
    since="1.0.0",
    complexity="O(N) where N is the number of passwords of the user",
    history=(("6.0.0", "A user name may come first."),),
)
def auth(ctx: Session, args: Args) -> Reply:
    """Authenticate the connection."""
    if len(args) > 2:
        raise errors.syntax()
    if len(args) == 1 and ctx.server.acl.default.no_password:
        raise ReplyError(
            "ERR AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?"
        )
    log_in(ctx, args[0] if len(args) == 2 else DEFAULT, args[-1], b"AUTH")
    return "OK"


@COMMANDS.command(
    "PING [message]",
    FAST,
    since="1.0.0",
    complexity="O(1)",
    tips="request_policy:all_shards response_policy:all_succeeded",
)
def ping(ctx: Session, args: Args) -> Reply:
    """Answer PONG, or the message."""
    if len(args) > 1:
        raise errors.wrong_arity(b"ping")
    if ctx.protocol == 2 and (ctx.channels or ctx.patterns or ctx.shard_channels):
        return [b"pong", args[0] if args else b""]
    return args[0] if args else "PONG"


@COMMANDS.command("ECHO message", LOADING | STALE | FAST, since="1.0.0", complexity="O(1)")
def echo(ctx: Session, args: Args) -> Reply:
    """Answer the message."""
    return args[0]


@COMMANDS.command("SELECT index", LOADING | STALE | FAST, since="1.0.0", complexity="O(1)")
def select(ctx: Session, args: Args) -> Reply:
    """Choose the database that the connection's commands see."""
    index = integer_between(args[0], -(1 << 31), (1 << 31) - 1)
    if not 0 <= index < len(ctx.ds.databases):
        raise errors.bad_db_index()
    ctx.select(index)
    return "OK"


@COMMANDS.command("QUIT", ALWAYS, since="1.0.0", complexity="O(1)", arity=-1, deprecated_since="7.2.0",
                  replaced_by="just closing the connection")  # fmt: skip
def quit_(ctx: Session, args: Args) -> Reply:
    """Close the connection."""
    ctx.server.kill(ctx, after_reply=True)
    return "OK"


@COMMANDS.command("RESET", ALWAYS, since="6.2.0", complexity="O(1)")
def reset(ctx: Session, args: Args) -> Reply:
    """Make the connection what it was when it was new."""
    ctx.reset()
    return "RESET"
