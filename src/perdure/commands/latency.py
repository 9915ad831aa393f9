"""LATENCY: the events that took too long, and how long commands take."""

from __future__ import annotations

from typing import Final

from perdure.errors import ReplyError
from perdure.latency import Latency, Sample, cumulative
from perdure.registry import ADMIN, LOADING, NOSCRIPT, STALE, Args, Family, every_command
from perdure.resp import Reply, Verbatim
from perdure.session import Session

COMMANDS = Family("server", context=True)
FLAGS: Final = ADMIN | NOSCRIPT | LOADING | STALE
OF_ALL_NODES: Final = "nondeterministic_output request_policy:all_nodes response_policy:special"
"""Tips for clients of a cluster, where each server has to be asked."""
BAR: Final = 40
"""Columns of the longest bar of LATENCY GRAPH."""
HELP: Final = (
    "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    What took too long, and what can be done about it.",
    "GRAPH <event>",
    "    A bar for each sample of the event.",
    "HISTOGRAM [COMMAND ...]",
    "    How many calls took how many microseconds at most, for each command.",
    "HISTORY <event>",
    "    The samples of the event: unix time and milliseconds.",
    "LATEST",
    "    Of each event the latest sample, and the longest time.",
    "RESET [<event> ...]",
    "    Forget these events, or all.",
    "HELP",
    "    Print this help.",
)
ADVICE: Final = {
    "command": "SLOWLOG GET shows the slowest ones; those that go through whole collections cost by their size",
    "fast-command": "these do little work each, so the machine or its disk was busy with something else",
    "expire-cycle": "many keys were due at once; spread their times to live",
    "eviction-cycle": "memory is short; give `maxmemory` more, or keep less",
    "log-sync": "the disk is slow to sync; `appendfsync everysec` lets replies leave before it has",
}


@COMMANDS.command("LATENCY LATEST", FLAGS, since="2.8.13", complexity="O(1)", tips=OF_ALL_NODES)
def latest(ctx: Session, args: Args) -> Reply:
    """Return the latest sample of each event, and the longest time."""
    kept = ctx.server.latency
    return [
        [event.encode(), samples[-1].unix_s, samples[-1].milliseconds, kept.longest_ms[event]]
        for event, samples in kept.events.items()
    ]


@COMMANDS.command("LATENCY HISTORY event", FLAGS, since="2.8.13", complexity="O(1)", tips=OF_ALL_NODES)
def history(ctx: Session, args: Args) -> Reply:
    """Return the samples of an event: unix time and milliseconds."""
    return [list(sample) for sample in samples_of(ctx.server.latency, args[0])]


@COMMANDS.command(
    "LATENCY RESET [event [event ...]]",
    FLAGS,
    since="2.8.13",
    complexity="O(1)",
    tips="request_policy:all_nodes response_policy:all_succeeded",
)
def reset(ctx: Session, args: Args) -> Reply:
    """Forget events, all of them without any name; returns how many there were."""
    kept = ctx.server.latency
    names = [arg.decode("latin-1") for arg in args] or list(kept.events)
    return sum(kept.forget(name) for name in names)


@COMMANDS.command("LATENCY GRAPH event", FLAGS, since="2.8.13", complexity="O(1)", tips=OF_ALL_NODES)
def graph(ctx: Session, args: Args) -> Reply:
    """Draw the samples of an event, a bar for each."""
    samples = samples_of(ctx.server.latency, args[0])
    if not samples:
        raise ReplyError(f"ERR No samples available for event '{args[0].decode('latin-1')}'")
    longest = max(sample.milliseconds for sample in samples) or 1
    now_s = ctx.ds.now // 1000
    lines = [f"{args[0].decode('latin-1')}: {len(samples)} samples, the longest {longest} ms"]
    for sample in samples:
        bar = "#" * max(1, sample.milliseconds * BAR // longest)
        lines.append(f"{now_s - sample.unix_s:>8} s ago  {bar:<{BAR}} {sample.milliseconds} ms")
    return Verbatim("\n".join(lines).encode() + b"\n")


@COMMANDS.command("LATENCY DOCTOR", FLAGS, since="2.8.13", complexity="O(1)", tips=OF_ALL_NODES)
def doctor(ctx: Session, args: Args) -> Reply:
    """Say what took too long, and what can be done about it."""
    kept = ctx.server.latency
    if not kept.threshold_ms:
        told = "Nothing is watched: CONFIG SET latency-monitor-threshold <milliseconds> begins to."
    elif not kept.events:
        told = f"Nothing has taken {kept.threshold_ms} ms or longer."
    else:
        told = "\n".join(
            f"{event}: {len(samples)} times, {kept.longest_ms[event]} ms at most."
            + (f" Look here: {ADVICE[event]}." if event in ADVICE else "")
            for event, samples in kept.events.items()
        )
    return Verbatim(told.encode() + b"\n")


@COMMANDS.command(
    "LATENCY HISTOGRAM [command [command ...]]", FLAGS, since="7.0.0", complexity="O(N) with N commands",
    tips=OF_ALL_NODES,
)  # fmt: skip
def histogram(ctx: Session, args: Args) -> Reply:
    """Return how many calls took how many microseconds at most, for each command."""
    wanted = {arg.lower() for arg in args}
    return {
        command.name: {b"calls": sum(counts), b"histogram_usec": dict(cumulative(counts))}
        for command in every_command(ctx.server.commands)
        if (counts := command.histogram) is not None
        and (not wanted or command.name in wanted or command.name.partition(b"|")[0] in wanted)
    }


@COMMANDS.command("LATENCY HELP", LOADING | STALE, since="2.8.13", complexity="O(1)")
def help_(ctx: Session, args: Args) -> Reply:
    """Return what the subcommands of LATENCY do."""
    return list(HELP)


def samples_of(kept: Latency, name: bytes) -> list[Sample]:
    return list(kept.events.get(name.decode("latin-1"), ()))
