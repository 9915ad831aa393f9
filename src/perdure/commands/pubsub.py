"""Pub/sub: messages to whoever listens now. See `perdure.pubsub`."""

from __future__ import annotations

from collections.abc import Callable

from perdure import errors
from perdure.errors import ReplyError
from perdure.globs import compile_glob
from perdure.pubsub import Kind, PubSub
from perdure.registry import FAST, LOADING, NOSCRIPT, STALE, Args, Family, Flag
from perdure.resp import Reply
from perdure.session import Session
from perdure.usage import KeySpec

COMMANDS = Family("pubsub", context=True)

SUBSCRIBING = Flag.PUBSUB | NOSCRIPT | LOADING | STALE
PUBLISHING = Flag.PUBSUB | LOADING | STALE | FAST
ASKING = Flag.PUBSUB | LOADING | STALE

SHARDS = (KeySpec(1, last=-1, flags=("not_key",)),)
SHARD = (KeySpec(1, flags=("not_key",)),)


def _subscribe(kind_of: Callable[[PubSub], Kind]) -> Callable[[Session, Args], Reply]:
    def handler(ctx: Session, args: Args) -> Reply:
        """Listen to channels, or to all that match patterns."""
        hub = ctx.server.pubsub
        kind = kind_of(hub)
        if ctx.in_exec and kind is hub.shard_channels:  # the older ones may be in transactions
            raise ReplyError("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client")
        return hub.subscribe(ctx, kind, args)

    return handler


def _unsubscribe(kind_of: Callable[[PubSub], Kind]) -> Callable[[Session, Args], Reply]:
    def handler(ctx: Session, args: Args) -> Reply:
        """Listen no more to these, or without arguments to any."""
        hub = ctx.server.pubsub
        return hub.unsubscribe(ctx, kind_of(hub), args)

    return handler


for _prefix, _noun, _kind_of, _since, _specs, _what in (
    ("", "channel", lambda hub: hub.channels, "2.0.0", (), "channels"),
    ("P", "pattern", lambda hub: hub.patterns, "2.0.0", (), "all channels that match patterns"),
    ("S", "shardchannel", lambda hub: hub.shard_channels, "7.0.0", SHARDS, "shard channels"),
):
    COMMANDS.command(
        f"{_prefix}SUBSCRIBE {_noun} [{_noun} ...]",
        SUBSCRIBING,
        since=_since,
        complexity="O(N), N being the names given",
        summary=f"Listen to {_what}",
        key_specs=_specs,
    )(_subscribe(_kind_of))
    COMMANDS.command(
        f"{_prefix}UNSUBSCRIBE [{_noun} [{_noun} ...]]",
        SUBSCRIBING,
        since=_since,
        complexity="O(N), N being the names given, or those subscribed to",
        summary=f"Listen no more to {_what}: to those named, or to any",
        key_specs=_specs,
    )(_unsubscribe(_kind_of))


@COMMANDS.command(
    "PUBLISH channel message",
    PUBLISHING,
    since="2.0.0",
    complexity="O(N+M), N being those who listen to the channel and M all patterns",
)
def publish(ctx: Session, args: Args) -> Reply:
    """Send a message to those who listen to a channel; returns how many got it."""
    return ctx.server.pubsub.publish(args[0], args[1])


@COMMANDS.command(
    "SPUBLISH shardchannel message",
    PUBLISHING,
    since="7.0.0",
    complexity="O(N), N being those who listen to the channel",
    key_specs=SHARD,
)
def spublish(ctx: Session, args: Args) -> Reply:
    """Send a message to those who listen to a shard channel; returns how many got it."""
    return ctx.server.pubsub.publish_in_shard(args[0], args[1])


# -- who listens ---------------------------------------------------------------------------------------------------


def _channels(kind: Kind, args: Args, subcommand: str) -> Reply:
    if not args:
        return list(kind.listeners)
    if len(args) > 1:
        raise errors.misused("PUBSUB", subcommand)
    return [*filter(compile_glob(args[0]), kind.listeners)]


def _numsub(kind: Kind, args: Args) -> Reply:
    counts: list[Reply] = []
    for name in args:
        counts += (name, len(kind.listeners.get(name, ())))
    return counts


@COMMANDS.command("PUBSUB CHANNELS [pattern]", ASKING, since="2.8.0", complexity="O(N), N being all channels")
def pubsub_channels(ctx: Session, args: Args) -> Reply:
    """Return the channels that somebody listens to."""
    return _channels(ctx.server.pubsub.channels, args, "CHANNELS")


@COMMANDS.command("PUBSUB NUMSUB [channel [channel ...]]", ASKING, since="2.8.0", complexity="O(N)")
def pubsub_numsub(ctx: Session, args: Args) -> Reply:
    """Return for each channel how many listen to it, those with patterns not counted."""
    return _numsub(ctx.server.pubsub.channels, args)


@COMMANDS.command("PUBSUB NUMPAT", ASKING, since="2.8.0", complexity="O(1)")
def pubsub_numpat(ctx: Session, args: Args) -> Reply:
    """Return how many different patterns are subscribed to."""
    return len(ctx.server.pubsub.patterns.listeners)


@COMMANDS.command("PUBSUB SHARDCHANNELS [pattern]", ASKING, since="7.0.0", complexity="O(N), N being all channels")
def pubsub_shardchannels(ctx: Session, args: Args) -> Reply:
    """Return the shard channels that somebody listens to."""
    return _channels(ctx.server.pubsub.shard_channels, args, "SHARDCHANNELS")


@COMMANDS.command("PUBSUB SHARDNUMSUB [shardchannel [shardchannel ...]]", ASKING, since="7.0.0", complexity="O(N)",
                  key_specs=())  # fmt: skip
def pubsub_shardnumsub(ctx: Session, args: Args) -> Reply:
    """Return for each shard channel how many listen to it."""
    return _numsub(ctx.server.pubsub.shard_channels, args)


@COMMANDS.command("PUBSUB HELP", LOADING | STALE, since="6.2.0", complexity="O(1)")
def pubsub_help(ctx: Session, args: Args) -> Reply:
    """Return what PUBSUB can do."""
    return [
        "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CHANNELS [<pattern>]",
        "    Return the channels that somebody listens to, all or those that match.",
        "NUMPAT",
        "    Return how many different patterns are subscribed to.",
        "NUMSUB [<channel> ...]",
        "    Return for each channel how many listen to it, patterns not counted.",
        "SHARDCHANNELS [<pattern>]",
        "    Return the shard channels that somebody listens to, all or those that match.",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Return for each shard channel how many listen to it.",
        "HELP",
        "    Return this text.",
    ]
