"""Client-side caching: CLIENT TRACKING and what belongs to it. See `perdure.tracking`."""

from __future__ import annotations

from perdure import errors
from perdure.args import Words, integer
from perdure.errors import ReplyError
from perdure.registry import LOADING, NOSCRIPT, STALE, Args, Family
from perdure.resp import Map, Reply, Set
from perdure.session import Session
from perdure.tracking import Tracking

COMMANDS = Family("connection", context=True)

ANYTIME = NOSCRIPT | LOADING | STALE


@COMMANDS.command(
    "CLIENT TRACKING <ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] "
    "[NOLOOP]",
    ANYTIME,
    since="6.0.0",
    complexity="O(1)",
    arity=-3,
)
def client_tracking(ctx: Session, args: Args) -> Reply:
    """Be told when keys change that this connection has read, or that start with a prefix."""
    wanted = tracking_options(ctx, args)
    word = args[0].upper()
    if word == b"ON":
        check_options(wanted, ctx.tracking)
        ctx.server.caches.start(ctx, wanted)
    elif word == b"OFF":
        ctx.server.caches.stop(ctx)
    else:
        raise errors.syntax()
    return "OK"


def tracking_options(ctx: Session, args: Args) -> Tracking:
    """What the words behind ON or OFF ask for. Raises ReplyError."""
    wanted = Tracking()
    for word in (words := Words(args, 1)):
        if word == b"REDIRECT":
            if wanted.redirect:
                raise ReplyError("ERR A client can only redirect to a single other client")
            wanted.redirect = integer(words.take())
            if wanted.redirect not in ctx.server.sessions:
                raise ReplyError("ERR The client ID you want redirect to does not exist")
        elif word == b"PREFIX":
            wanted.prefixes.append(words.take())
        elif word in (b"BCAST", b"OPTIN", b"OPTOUT", b"NOLOOP"):
            setattr(wanted, word.decode().lower(), True)
        else:
            raise errors.syntax()
    return wanted


def check_options(wanted: Tracking, present: Tracking | None) -> None:
    """Do the options agree with one another, and with those in force? Raises ReplyError."""
    switched = (
        "ERR You can't switch {} before disabling tracking for this client, and then re-enabling it with a different "
        "mode."
    )
    if wanted.prefixes and not wanted.bcast:
        raise ReplyError("ERR PREFIX option requires BCAST mode to be enabled")
    if present is not None and present.bcast != wanted.bcast:
        raise ReplyError(switched.format("BCAST mode on/off"))
    if wanted.bcast and (wanted.optin or wanted.optout):
        raise ReplyError("ERR OPTIN and OPTOUT are not compatible with BCAST")
    if wanted.optin and wanted.optout:
        raise ReplyError("ERR You can't specify both OPTIN mode and OPTOUT mode")
    if present is not None and ((wanted.optin and present.optout) or (wanted.optout and present.optin)):
        raise ReplyError(switched.format("OPTIN/OPTOUT mode"))
    if wanted.bcast:
        check_prefixes(wanted.prefixes, present.prefixes if present is not None else [])
        wanted.prefixes = wanted.prefixes or [b""]


def check_prefixes(new: list[bytes], present: list[bytes]) -> None:
    """No prefix may start another one, or keys would be told twice. Raises ReplyError."""
    for number, prefix in enumerate(new):
        for others, what in ((present, "an existing"), (new[number + 1 :], "another provided")):
            for other in others:
                if prefix.startswith(other) or other.startswith(prefix):
                    raise ReplyError(
                        f"ERR Prefix '{errors.shown(prefix)}' overlaps with {what} prefix '{errors.shown(other)}'. "
                        "Prefixes for a single client must not overlap."
                    )


@COMMANDS.command("CLIENT CACHING <YES | NO>", ANYTIME, since="6.0.0", complexity="O(1)")
def client_caching(ctx: Session, args: Args) -> Reply:
    """Say whether the next command's keys are remembered."""
    tracking: Tracking | None = ctx.tracking
    if tracking is None:
        raise ReplyError(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode "
            "enabled"
        )
    word = args[0].upper()
    if word not in (b"YES", b"NO"):
        raise errors.syntax()
    mode = "OPTIN" if word == b"YES" else "OPTOUT"
    if not getattr(tracking, mode.lower()):
        raise ReplyError(f"ERR CLIENT CACHING {word.decode()} is only valid when tracking is enabled in {mode} mode.")
    tracking.caching = True
    return "OK"


@COMMANDS.command("CLIENT GETREDIR", ANYTIME, since="6.0.0", complexity="O(1)")
def client_getredir(ctx: Session, args: Args) -> Reply:
    """Return which connection gets this one's invalidation messages: 0 itself, -1 when it does not track."""
    return -1 if ctx.tracking is None else ctx.tracking.redirect


@COMMANDS.command("CLIENT TRACKINGINFO", ANYTIME, since="6.2.0", complexity="O(1)")
def client_trackinginfo(ctx: Session, args: Args) -> Reply:
    """Return how this connection tracks keys."""
    tracking: Tracking | None = ctx.tracking
    if tracking is None:
        return Map([b"flags", Set([b"off"]), b"redirect", -1, b"prefixes", []])
    signs = (
        (True, b"on"),
        (tracking.bcast, b"bcast"),
        (tracking.optin, b"optin"),
        (tracking.optin and tracking.caching, b"caching-yes"),
        (tracking.optout, b"optout"),
        (tracking.optout and tracking.caching, b"caching-no"),
        (tracking.noloop, b"noloop"),
        (tracking.broken, b"broken_redirect"),
    )
    flags = Set([sign for holds, sign in signs if holds])
    return Map([b"flags", flags, b"redirect", tracking.redirect, b"prefixes", sorted(tracking.prefixes)])
