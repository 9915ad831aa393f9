"""Looking into a server: SLOWLOG, MEMORY, DEBUG; and what clients ask of modules and cluster."""

from __future__ import annotations

import logging
import time
from binascii import crc_hqx
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from perdure import errors
from perdure.args import Words, integer, number
from perdure.clients import memory_of
from perdure.errors import ReplyError
from perdure.globs import compile_glob
from perdure.info import resident_bytes
from perdure.registry import ADMIN, FAST, LOADING, NO_ASYNC_LOADING, NOSCRIPT, READ, STALE, Args, Family
from perdure.resp import BigNumber, Map, Push, Raw, Reply, Set, Verbatim, encode3
from perdure.session import Session
from perdure_storage.digest import dataset_digest, key_digest
from perdure_storage.errors import StorageError

if TYPE_CHECKING:
    from perdure_storage.keyspace import Keyspace

log = logging.getLogger("perdure")

COMMANDS = Family("server", context=True)
CLUSTER = Family("cluster", context=True)

SLOTS: Final = 16384
POPULATED_AT_ONCE: Final = 1000
"""Keys of DEBUG POPULATE that are one batch of the log."""
ADMIN_ANYTIME: Final = ADMIN | LOADING | STALE
OF_ALL_SHARDS: Final = "nondeterministic_output request_policy:all_shards response_policy:special"
"""Tips for clients of a cluster, where each server has to be asked."""

# -- SLOWLOG -------------------------------------------------------------------------------------------------------

SLOWLOG_HELP: Final = (
    "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET [<count>]",
    "    The latest slow commands, 10 unless told otherwise, -1 for all, each with",
    "    id, unix time, microseconds, arguments, the client's address and its name.",
    "LEN",
    "    How many there are.",
    "RESET",
    "    Forget them.",
    "HELP",
    "    Print this help.",
)


@COMMANDS.command(
    "SLOWLOG GET [count]",
    ADMIN_ANYTIME,
    since="2.2.12",
    complexity="O(N) where N is the number of entries returned",
    tips="request_policy:all_nodes nondeterministic_output",
)
def slowlog_get(ctx: Session, args: Args) -> Reply:
    """Return the latest slow commands."""
    bad = "ERR count should be greater than or equal to -1"
    count = integer(args[0], lambda: ReplyError(bad)) if args else 10
    if count < -1:
        raise ReplyError(bad)
    entries = list(ctx.server.slowlog.entries)
    return [list(entry) for entry in (entries if count == -1 else entries[:count])]


@COMMANDS.command("SLOWLOG LEN", ADMIN_ANYTIME, since="2.2.12", complexity="O(1)",
                  tips="request_policy:all_nodes response_policy:agg_sum nondeterministic_output")  # fmt: skip
def slowlog_len(ctx: Session, args: Args) -> Reply:
    """Return how many slow commands are remembered."""
    return len(ctx.server.slowlog.entries)


@COMMANDS.command("SLOWLOG RESET", ADMIN_ANYTIME, since="2.2.12", complexity="O(N) where N is the number of entries",
                  tips="request_policy:all_nodes response_policy:all_succeeded")  # fmt: skip
def slowlog_reset(ctx: Session, args: Args) -> Reply:
    """Forget the slow commands."""
    ctx.server.slowlog.entries.clear()
    return "OK"


@COMMANDS.command("SLOWLOG HELP", LOADING | STALE, since="6.2.0", complexity="O(1)")
def slowlog_help(ctx: Session, args: Args) -> Reply:
    """Return what the subcommands of SLOWLOG do."""
    return list(SLOWLOG_HELP)


# -- MEMORY --------------------------------------------------------------------------------------------------------


def memory_usage(db: Keyspace, args: Args) -> Reply:
    """Estimate the bytes of memory that a key takes while it is in memory."""
    for word in (words := Words(args, 1)):
        if word != b"SAMPLES" or integer(words.take()) < 0:
            raise errors.syntax()
    entry = db.find(args[0])
    return None if entry is None else entry.cost()


KEYS = Family("server")
KEYS.command("MEMORY USAGE key [SAMPLES count]", READ, since="4.0.0", complexity="O(1)", key_flags=("RO",))(memory_usage)


@COMMANDS.command("MEMORY DOCTOR", since="4.0.0", complexity="O(1)", tips=OF_ALL_SHARDS)
def memory_doctor(ctx: Session, args: Args) -> Reply:
    """Say what is remarkable about memory."""
    config, used = ctx.server.config, ctx.ds.used
    if config.maxmemory and used > config.maxmemory:
        told = (
            "More memory is used than maxmemory allows: writes come in faster than the tables take them over. "
            "It comes down by itself; if it does not, the disk is too slow or maxmemory too small."
        )
    else:
        told = "Nothing remarkable: memory is a cache here, and what leaves it is still in the tables."
    return Verbatim(told.encode())


@COMMANDS.command("MEMORY STATS", since="4.0.0", complexity="O(N) where N is the number of clients",
                  tips=OF_ALL_SHARDS)  # fmt: skip
def memory_stats(ctx: Session, args: Args) -> Reply:
    """Return where memory goes."""
    server, data = ctx.server, ctx.ds.used
    keys = sum(db.keys for db in ctx.ds.databases)
    in_memory = sum(len(db.hot) for db in ctx.ds.databases)
    clients = sum(map(memory_of, server.sessions.values()))
    used = data + server.client_memory.take_stock()
    server.peak_memory = peak = max(server.peak_memory, used)
    resident, explained = resident_bytes(), server.startup_memory + used
    return {
        b"peak.allocated": peak,
        b"total.allocated": used,
        b"startup.allocated": server.startup_memory,
        b"replication.backlog": 0,
        b"clients.slaves": 0,
        b"clients.normal": clients,
        b"cluster.links": 0,
        b"aof.buffer": 0,
        b"lua.caches": server.scripts.kept_bytes,
        b"functions.caches": server.libraries.kept_bytes,
        b"overhead.total": clients,
        b"keys.count": keys,
        b"keys.in-memory": in_memory,
        b"keys.bytes-per-key": data // in_memory if in_memory else 0,
        b"dataset.bytes": data,
        b"dataset.percentage": 100 * data / used if used else 100.0,
        b"peak.percentage": 100 * used / peak if peak else 100.0,
        b"allocator.resident": resident,
        b"fragmentation": resident / explained,
        b"fragmentation.bytes": max(0, resident - explained),
    }


@COMMANDS.command(
    "MEMORY PURGE", since="4.0.0", complexity="O(1)", tips="request_policy:all_shards response_policy:all_succeeded"
)
def memory_purge(ctx: Session, args: Args) -> Reply:
    """Nothing to do: Python's allocator gives memory back by itself."""
    return "OK"


@COMMANDS.command("MEMORY MALLOC-STATS", since="4.0.0", complexity="O(1)", tips=OF_ALL_SHARDS)
def memory_malloc_stats(ctx: Session, args: Args) -> Reply:
    """Say that Python's allocator keeps no statistics."""
    return b"Stats not supported for the current allocator"


MEMORY_HELP: Final = (
    "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    What is remarkable about memory.",
    "MALLOC-STATS",
    "    Nothing: Python's allocator keeps no statistics.",
    "PURGE",
    "    Nothing to do: memory is given back by itself.",
    "STATS",
    "    Where memory goes.",
    "USAGE <key> [SAMPLES <count>]",
    "    Bytes of memory that a key takes while it is in memory.",
    "HELP",
    "    Print this help.",
)


@COMMANDS.command("MEMORY HELP", LOADING | STALE, since="4.0.0", complexity="O(1)")
def memory_help(ctx: Session, args: Args) -> Reply:
    """Return what the subcommands of MEMORY do."""
    return list(MEMORY_HELP)


# -- modules, cluster: what clients ask on connect ------------------------------------------------------------


@COMMANDS.command(
    "MODULE LIST", ADMIN | NOSCRIPT, since="4.0.0", complexity="O(1)", tips="nondeterministic_output_order"
)
def module_list(ctx: Session, args: Args) -> Reply:
    """Return the loaded modules: there are none."""
    return []


@COMMANDS.command("MODULE HELP", LOADING | STALE, since="5.0.0", complexity="O(1)")
def module_help(ctx: Session, args: Args) -> Reply:
    """Return what the subcommands of MODULE do."""
    return [
        "MODULE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "LIST",
        "    The loaded modules: there are none.",
        "HELP",
        "    Print this help.",
    ]


@CLUSTER.command("READONLY", LOADING | STALE | FAST, since="3.0.0", complexity="O(1)", acl="connection")
@CLUSTER.command("READWRITE", LOADING | STALE | FAST, since="3.0.0", complexity="O(1)", acl="connection")
@CLUSTER.command("ASKING", FAST, since="3.0.0", complexity="O(1)", acl="connection")
@CLUSTER.command("CLUSTER RESET [HARD | SOFT]", ADMIN | NOSCRIPT | STALE, since="3.0.0", complexity="O(1)")
@CLUSTER.command(
    "CLUSTER SLOTS",
    STALE,
    since="3.0.0",
    complexity="O(1)",
    tips="nondeterministic_output",
    deprecated_since="7.0.0",
    replaced_by="`CLUSTER SHARDS`",
)
@CLUSTER.command(
    "CLUSTER SLAVES node-id",
    ADMIN | STALE,
    since="3.0.0",
    complexity="O(1)",
    tips="nondeterministic_output",
    deprecated_since="5.0.0",
    replaced_by="`CLUSTER REPLICAS`",
)
def no_cluster(ctx: Session, args: Args) -> Reply:
    """Say that this is no cluster."""
    raise ReplyError("ERR This instance has cluster support disabled")


CHANGES_CLUSTER: Final = ADMIN | NO_ASYNC_LOADING | STALE
for usage, flags, since, tips in (
    ("COUNT-FAILURE-REPORTS node-id", ADMIN | STALE, "3.0.0", "nondeterministic_output"),
    ("COUNTKEYSINSLOT slot", STALE, "3.0.0", ""),
    ("GETKEYSINSLOT slot count", STALE, "3.0.0", "nondeterministic_output"),
    ("INFO", STALE, "3.0.0", "nondeterministic_output"),
    ("LINKS", STALE, "7.0.0", "nondeterministic_output"),
    ("MYID", STALE, "3.0.0", ""),
    ("MYSHARDID", STALE, "7.2.0", "nondeterministic_output"),
    ("NODES", STALE, "3.0.0", "nondeterministic_output"),
    ("REPLICAS node-id", ADMIN | STALE, "5.0.0", "nondeterministic_output"),
    ("SHARDS", STALE, "7.0.0", "nondeterministic_output"),
    ("ADDSLOTS slot [slot ...]", CHANGES_CLUSTER, "3.0.0", ""),
    ("ADDSLOTSRANGE start-slot end-slot [start-slot end-slot ...]", CHANGES_CLUSTER, "7.0.0", ""),
    ("BUMPEPOCH", CHANGES_CLUSTER, "3.0.0", "nondeterministic_output"),
    ("DELSLOTS slot [slot ...]", CHANGES_CLUSTER, "3.0.0", ""),
    ("DELSLOTSRANGE start-slot end-slot [start-slot end-slot ...]", CHANGES_CLUSTER, "7.0.0", ""),
    ("FAILOVER [FORCE | TAKEOVER]", CHANGES_CLUSTER, "3.0.0", ""),
    ("FLUSHSLOTS", CHANGES_CLUSTER, "3.0.0", ""),
    ("FORGET node-id", CHANGES_CLUSTER, "3.0.0", ""),
    ("MEET ip port [cluster-bus-port]", CHANGES_CLUSTER, "3.0.0", ""),
    ("REPLICATE node-id", CHANGES_CLUSTER, "3.0.0", ""),
    ("SAVECONFIG", CHANGES_CLUSTER, "3.0.0", ""),
    ("SET-CONFIG-EPOCH config-epoch", CHANGES_CLUSTER, "3.0.0", ""),
    ("SETSLOT slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>", CHANGES_CLUSTER, "3.0.0", ""),
):
    CLUSTER.command(f"CLUSTER {usage}", flags, since=since, complexity="O(1)", tips=tips)(no_cluster)


@CLUSTER.command("CLUSTER KEYSLOT key", STALE, since="3.0.0", complexity="O(N) with N bytes", key_specs=())
def cluster_keyslot(ctx: Session, args: Args) -> Reply:
    """Return the slot that a key has in a cluster: the same here, so that keys can be laid out for one.

    CRC16 (XMODEM) of the key, or of what stands in its first `{...}` if that is not empty, modulo 16384.
    """
    opened, rest = args[0].partition(b"{")[1:]
    tag, closed, _ = rest.partition(b"}")
    return crc_hqx(tag if opened and closed and tag else args[0], 0) % SLOTS


CLUSTER_HELP: Final = (
    "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "KEYSLOT <key>",
    "    The slot that the key has in a cluster.",
    "HELP",
    "    Print this help. This server is no cluster: the other subcommands say so.",
)


@CLUSTER.command("CLUSTER HELP", LOADING | STALE, since="5.0.0", complexity="O(1)")
def cluster_help(ctx: Session, args: Args) -> Reply:
    """Return what the subcommands of CLUSTER do."""
    return list(CLUSTER_HELP)


# -- DEBUG ---------------------------------------------------------------------------------------------------------

DEBUG_HELP: Final = (
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANGE-REPL-ID",
    "    Give the server another replication id.",
    "CONFIG-REWRITE-FORCE-ALL",
    "    As CONFIG REWRITE, with all parameters, those that have their default, too.",
    "DIGEST",
    "    Forty hex digits that are equal for equal data, wherever it is kept.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    The same for single keys.",
    "ERROR <text>",
    "    Reply with this error.",
    "INTERNALS",
    "    Numbers from inside: caches, log, tables, tasks.",
    "LOG <message>",
    "    Write a message to the server's log.",
    "OBJECT <key>",
    "    What is known about a key's value.",
    "PAUSE-CRON <0|1>",
    "    Whether the timers stand still: nothing expires, no checkpoint begins, a signal does not stop the server.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Make so many strings `prefix:number`, `key:number` without one, each of `size` bytes if that is given.",
    "PROTOCOL <type>",
    "    A reply of that type: string, integer, double, null, array, set, map, push, verbatim, true, false, bignum.",
    "RELOAD",
    "    Close the data directory and open it again, as a restart does. LOADAOF is the same.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Whether keys that are due are deleted before somebody asks for them.",
    "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
    "    Whether RESTORE takes payloads whose check sum is wrong; everything else in them is checked all the same.",
    "SLEEP <seconds>",
    "    Do nothing at all for a while.",
    "STRINGMATCH-LEN <length> <pattern>",
    "    Match a string of so many `a` against a glob pattern.",
    "HELP",
    "    Print this help.",
)

NOT_ALLOWED: Final = (
    'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a local '
    "connection, otherwise you need to set this option in the configuration file, and then restart the server."
)


@COMMANDS.command("DEBUG subcommand [arg ...]", ADMIN | NOSCRIPT | LOADING | STALE, since="1.0.0",
                  complexity="Depends on subcommand.", arity=-2)  # fmt: skip
def debug(ctx: Session, args: Args) -> Reply:
    """Look and reach inside, for tests."""
    if not ctx.may(ctx.server.config.enable_debug_command):
        raise ReplyError(NOT_ALLOWED)
    word = args[0].upper().decode("latin-1")
    found = DEBUG.get(word)
    if found is None or len(args) - 1 not in found[0]:
        raise errors.misused("DEBUG", errors.shown(args[0]))
    return found[1](ctx, args[1:])


def debug_sleep(ctx: Session, args: Args) -> Reply:
    time.sleep(max(0.0, number(args[0])))
    return "OK"


def debug_reload(ctx: Session, args: Args) -> Reply:
    if ctx.ds.effects or ctx.ds.touched:  # what a transaction has changed so far: it is not in the log yet
        failure = ctx.server.finish()
        if failure is not None:
            raise failure
    try:
        ctx.server.reload()
    except (StorageError, OSError) as error:
        log.error("DEBUG RELOAD failed, stopping: %s", error)
        raise ReplyError(f"ERR the directory could not be opened again, the server stops: {error}") from None
    return "OK"


def debug_digest(ctx: Session, args: Args) -> Reply:
    return dataset_digest(ctx.ds)


def debug_digest_value(ctx: Session, args: Args) -> Reply:
    return [key_digest(ctx.db, key) for key in args]


def debug_object(ctx: Session, args: Args) -> Reply:
    before = ctx.db.hot.get(args[0])
    tick = getattr(before, "tick", ctx.ds.tick)
    entry = ctx.db.find(args[0])
    if entry is None:
        raise errors.no_such_key()
    entry.tick = tick
    idle = max(0, ctx.ds.tick - tick)
    return (
        f"Value at:0x{id(entry):x} refcount:1 encoding:{entry.encoding()} serializedlength:{entry.cost()} "
        f"lru:{entry.tick & 0xFFFFFF} lru_seconds_idle:{idle} lsn:{entry.lsn} id:{entry.id} "
        f"dirty:{int(entry.lsn > ctx.server.engine.applied_lsn)}"
    )


def debug_set_active_expire(ctx: Session, args: Args) -> Reply:
    ctx.server.active_expire = args[0] != b"0"
    return "OK"


def debug_pause_cron(ctx: Session, args: Args) -> Reply:
    ctx.server.cron_paused = args[0] != b"0"
    return "OK"


def debug_populate(ctx: Session, args: Args) -> Reply:
    count, size = (integer(each, errors.must_be_positive) for each in (args[0], args[2] if len(args) > 2 else b"0"))
    prefix = args[1] if len(args) > 1 else b"key"
    if count < 0 or size < 0:
        raise errors.must_be_positive()
    if size > ctx.server.config.proto_max_bulk_len:
        raise errors.out_of_range()
    db = ctx.db
    for at in range(count):
        key, value = b"%b:%d" % (prefix, at), b"value:%d" % at
        if db.find(key) is None:
            db.set_string(key, value.ljust(size, b"\0")[:size] if size else value)
        if at % POPULATED_AT_ONCE == 0 and not ctx.in_exec:
            failure = ctx.server.finish()
            if failure is not None:
                raise failure
    return "OK"


def debug_skip_checksums(ctx: Session, args: Args) -> Reply:
    ctx.server.skip_checksums = args[0] != b"0"
    return "OK"


def debug_stringmatch_len(ctx: Session, args: Args) -> Reply:
    length = integer(args[0])
    if not 0 <= length <= 1 << 24:
        raise errors.out_of_range()
    return 1 if compile_glob(args[1])(b"a" * length) else 0


def debug_error(ctx: Session, args: Args) -> Reply:
    raise ReplyError(args[0].decode("latin-1"))


def debug_log(ctx: Session, args: Args) -> Reply:
    log.warning("DEBUG LOG: %s", args[0].decode("latin-1"))
    return "OK"


def debug_change_repl_id(ctx: Session, args: Args) -> Reply:
    ctx.server.replication_id = f"{ctx.server.random.getrandbits(160):040x}"
    return "OK"


def debug_internals(ctx: Session, args: Args) -> Reply:
    """A map of numbers that only developers want."""
    server, dataset = ctx.server, ctx.ds
    records = server.engine.log
    generations = [*dataset.aging, dataset.young]
    return {
        b"databases": [
            Map([b"index", db.index, b"space", db.space, b"keys", db.keys, b"expires", db.expires, b"hot", len(db.hot),
                 b"ring", len(db.ring), b"used", db.used, b"complete", int(db.complete)])
            for db in dataset.databases
            if db.keys or db.hot
        ],
        b"lsn": dataset.lsn,
        b"written": records.written_lsn,
        b"durable": records.durable_lsn,
        b"asked": server.engine.asked_lsn,
        b"applied": server.engine.applied_lsn,
        b"segments": [segment.id for segment in records.segments()],
        b"segment-room": records.room,
        b"generations": len(generations),
        b"young-spaces": len(dataset.young.born),
        b"gone": sum(len(each.gone) for each in generations),
        b"due": sum(len(each.due) for each in generations),
        b"trash": len(dataset.trash),
        b"loading": len(server.loading_steps),
        b"watched-keys": len(server.watchers),
        b"waited-keys": len(server.wakeups.keys()),
        b"parked": len(server.wakeups),
        b"unsafe": len(server.unsafe),
        b"choked": len(server.choked),
        b"strangers": len(server.strangers),
        b"quick-disk": int(server.quick_disk),
        b"gate": int(server.gate),
        b"throttled": int(server.throttled),
    }  # fmt: skip


SAMPLES: Final[dict[bytes, Any]] = {
    b"STRING": b"Hello World",
    b"INTEGER": 12345,
    b"DOUBLE": 3.141,
    b"NULL": None,
    b"ARRAY": [0, 1, 2],
    b"SET": Set([0, 1, 2]),
    b"MAP": Map([0, False, 1, True, 2, False]),
    b"PUSH": Push([b"server-cpu-usage", 42]),
    b"VERBATIM": Verbatim(b"This is a verbatim\nstring"),
    b"TRUE": True,
    b"FALSE": False,
    b"BIGNUM": BigNumber(1234567999999999999999999999999999999),
}


def debug_protocol(ctx: Session, args: Args) -> Reply:
    if args[0].upper() == b"ATTRIB":
        attribute = b"|1\r\n" + encode3(b"key-popularity") + encode3([b"key:123", 90]) if ctx.protocol == 3 else b""
        return Raw(attribute + encode3(b"Some real reply following the attribute"))
    if args[0].upper() not in SAMPLES:
        raise ReplyError(
            "ERR Wrong protocol type name. Please use one of the following: "
            "string|integer|double|null|array|set|map|attrib|push|verbatim|true|false|bignum"
        )
    reply: Reply = SAMPLES[args[0].upper()]
    return reply


def debug_ok(ctx: Session, args: Args) -> Reply:
    """A knob of machinery that is not here: test suites turn it on their way."""
    return "OK"


def debug_rewrite_config(ctx: Session, args: Args) -> Reply:
    ctx.server.rewrite_config(whole=True)
    return "OK"


def debug_help(ctx: Session, args: Args) -> Reply:
    return list(DEBUG_HELP)


DEBUG: Final[dict[str, tuple[range, Callable[[Session, Args], Reply]]]] = {
    "CHANGE-REPL-ID": (range(1), debug_change_repl_id),
    "CONFIG-REWRITE-FORCE-ALL": (range(1), debug_rewrite_config),
    "DICT-RESIZING": (range(1, 2), debug_ok),
    "DIGEST": (range(1), debug_digest),
    "DIGEST-VALUE": (range(1 << 30), debug_digest_value),
    "ERROR": (range(1, 2), debug_error),
    "HELP": (range(1), debug_help),
    "INTERNALS": (range(1), debug_internals),
    "JMAP": (range(1), debug_internals),
    "LOADAOF": (range(1), debug_reload),
    "LOG": (range(1, 2), debug_log),
    "OBJECT": (range(1, 3), debug_object),
    "PAUSE-CRON": (range(1, 2), debug_pause_cron),
    "POPULATE": (range(1, 4), debug_populate),
    "PROTOCOL": (range(1, 2), debug_protocol),
    "QUICKLIST-PACKED-THRESHOLD": (range(1, 2), debug_ok),
    "RELOAD": (range(4), debug_reload),
    "REPLYBUFFER": (range(2, 3), debug_ok),
    "SET-ACTIVE-EXPIRE": (range(1, 2), debug_set_active_expire),
    "SET-DISABLE-DENY-SCRIPTS": (range(1, 2), debug_ok),
    "SET-SKIP-CHECKSUM-VALIDATION": (range(1, 2), debug_skip_checksums),
    "SLEEP": (range(1, 2), debug_sleep),
    "STRINGMATCH-LEN": (range(2, 3), debug_stringmatch_len),
}
"""Subcommand → how many arguments it takes, and what it does."""
