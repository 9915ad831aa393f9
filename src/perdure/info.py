"""INFO: what clients, exporters and people ask of a running server, by section.

A section is a function from the server to its lines; `SECTIONS` is all of them, in the order in which they are shown.
Names and units are those of Redis 7.2. What does not exist here (forks, replicas, an allocator of our own) is told
as the zero that a healthy Redis would tell, where somebody reads it; the rest is left out.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from perdure.clients import class_of, memory_of, waiting_input, waiting_output
from perdure.latency import percentile
from perdure.registry import REDIS_VERSION, every_command

if TYPE_CHECKING:
    from perdure.server import Server

Lines = Iterable[tuple[str, Any]]
SAMPLED_KEYS: Final = 20


def own_version() -> str:
    try:
        return version("perdure")
    except PackageNotFoundError:
        return "0.0.0"


class Rates:
    """What happened in the second before the last one began, for `instantaneous_*`."""

    def __init__(self) -> None:
        self.commands = self.input = self.output = 0.0
        self._last = (0, 0, 0)
        self._since = monotonic()

    def sample(self, server: Server) -> None:
        """Call about once a second."""
        now, totals = monotonic(), traffic(server)
        seconds = max(0.001, now - self._since)
        self.commands, self.input, self.output = (
            max(0, new - old) / seconds for new, old in zip(totals, self._last, strict=True)
        )
        self._since, self._last = now, totals


def traffic(server: Server) -> tuple[int, int, int]:
    """(commands, bytes in, bytes out) since the start or CONFIG RESETSTAT."""
    commands, received, sent = server.total_commands, server.bytes_in, server.bytes_out
    for session in server.sessions.values():
        commands += session.commands
        received += session.bytes_in
        sent += session.bytes_out
    return commands, received, sent


# -- sections ------------------------------------------------------------------------------------------------------


def about_server(server: Server) -> Lines:
    config, engine = server.config, server.engine
    uptime = (server.dataset.now - server.started_ms) // 1000
    yield "redis_version", REDIS_VERSION
    yield "redis_git_sha1", "00000000"
    yield "redis_git_dirty", 0
    yield "redis_build_id", own_version()
    yield "redis_mode", "standalone"
    yield "os", f"{platform.system()} {platform.release()} {platform.machine()}"
    yield "arch_bits", 64 if sys.maxsize > 1 << 32 else 32
    yield "monotonic_clock", "POSIX clock_gettime"
    yield "multiplexing_api", "libuv"
    yield "process_id", os.getpid()
    yield "process_supervised", "systemd" if os.environ.get("NOTIFY_SOCKET") else "no"
    yield "run_id", server.run_id
    yield "tcp_port", server.port
    yield "server_time_usec", engine.clock.now_us()
    yield "uptime_in_seconds", uptime
    yield "uptime_in_days", uptime // 86400
    yield "hz", config.hz
    yield "configured_hz", config.hz
    yield "lru_clock", server.dataset.tick & 0xFFFFFF
    yield "executable", sys.executable
    yield "config_file", config.file
    yield "io_threads_active", 0
    for number, line in enumerate(server.listeners.described()):
        yield f"listener{number}", line


def clients(server: Server) -> Lines:
    sessions = server.sessions.values()
    yield "connected_clients", len(sessions)
    yield "cluster_connections", 0
    yield "maxclients", server.config.maxclients
    yield "client_recent_max_input_buffer", max((waiting_input(session)[0] for session in sessions), default=0)
    yield "client_recent_max_output_buffer", max((waiting_output(session)[1] for session in sessions), default=0)
    yield "blocked_clients", len(server.wakeups)
    yield "tracking_clients", len(server.trackers)
    yield "pubsub_clients", sum(class_of(session) == "pubsub" for session in sessions)
    yield "watching_clients", sum(bool(session.watched) for session in sessions)
    yield "clients_in_timeout_table", sum(bool(s.parked and s.parked.deadline_ms) for s in sessions)
    yield "total_watched_keys", len(server.watchers)
    yield "total_blocking_keys", len(server.wakeups.keys())
    yield "total_blocking_keys_on_nokey", server.wakeups.keys_that_may_go


def memory(server: Server) -> Lines:
    data, config = server.dataset.used, server.config
    clients_bytes = sum(map(memory_of, server.sessions.values()))
    used = data + server.client_memory.take_stock()
    server.peak_memory = peak = max(server.peak_memory, used)
    rss = resident_bytes()
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield "used_memory", used
    yield "used_memory_human", human(used)
    yield "used_memory_rss", rss
    yield "used_memory_rss_human", human(rss)
    yield "used_memory_peak", peak
    yield "used_memory_peak_human", human(peak)
    yield "used_memory_peak_perc", f"{100 * used / peak if peak else 100:.2f}%"
    yield "used_memory_overhead", clients_bytes
    yield "used_memory_startup", server.startup_memory
    yield "used_memory_dataset", data
    yield "used_memory_dataset_perc", f"{100 * data / used if used else 100:.2f}%"
    yield "total_system_memory", total
    yield "total_system_memory_human", human(total)
    yield from scripts(server)
    yield "maxmemory", config.maxmemory
    yield "maxmemory_human", human(config.maxmemory)
    yield "maxmemory_policy", config.maxmemory_policy
    yield "mem_fragmentation_ratio", f"{rss / (server.startup_memory + used):.2f}"
    yield "mem_fragmentation_bytes", max(0, rss - server.startup_memory - used)
    yield "mem_not_counted_for_evict", 0
    yield "mem_replication_backlog", 0
    yield "mem_clients_slaves", 0
    yield "mem_clients_normal", clients_bytes
    yield "mem_aof_buffer", 0
    yield "mem_allocator", "python"
    yield "active_defrag_running", 0
    waiting = len(server.dataset.trash)
    yield "lazyfree_pending_objects", waiting
    yield "lazyfreed_objects", max(0, server.dataset.discarded - waiting)


def scripts(server: Server) -> Lines:
    """What of `memory` is Lua's. The interpreters' memory is not part of used_memory."""
    scripts, libraries = server.scripts, server.libraries
    vm_bytes = scripts.vm_bytes + libraries.vm_bytes
    kept_bytes = scripts.kept_bytes + libraries.kept_bytes
    yield "used_memory_lua", scripts.vm_bytes
    yield "used_memory_vm_eval", scripts.vm_bytes
    yield "used_memory_lua_human", human(scripts.vm_bytes)
    yield "used_memory_scripts_eval", scripts.kept_bytes
    yield "number_of_cached_scripts", len(scripts.by_digest)
    yield "number_of_functions", len(libraries.functions())
    yield "number_of_libraries", len(libraries.all())
    yield "used_memory_vm_functions", libraries.vm_bytes
    yield "used_memory_vm_total", vm_bytes
    yield "used_memory_vm_total_human", human(vm_bytes)
    yield "used_memory_functions", libraries.kept_bytes
    yield "used_memory_scripts", kept_bytes
    yield "used_memory_scripts_human", human(kept_bytes)


def persistence(server: Server) -> Lines:
    engine = server.engine
    records = engine.log
    saving = engine.asked_lsn > engine.applied_lsn
    broken = records.poison is not None or records.prepare_error is not None
    yield "loading", 0
    yield "async_loading", 0
    yield "current_cow_peak", 0
    yield "current_cow_size", 0
    yield "current_cow_size_age", 0
    yield "current_fork_perc", "0.00"
    # where `save` has rules, Redis saves with FLUSHALL; here what was changed before it is gone, and need not be saved
    emptied_lsn = server.dataset.emptied_lsn if server.config.save else 0
    yield "rdb_changes_since_last_save", records.next_lsn - 1 - max(engine.applied_lsn, emptied_lsn)
    yield "rdb_bgsave_in_progress", int(saving)
    yield "rdb_last_save_time", engine.last_checkpoint_ms // 1000
    yield "rdb_last_bgsave_status", "err" if engine.checkpoint_error else "ok"
    yield "rdb_last_bgsave_time_sec", 0
    yield "rdb_current_bgsave_time_sec", 0 if saving else -1
    yield "rdb_saves", engine.checkpoints
    yield "rdb_last_cow_size", 0
    yield "aof_enabled", 1
    yield "aof_rewrite_in_progress", int(bool(engine.compacting))
    yield "aof_rewrite_scheduled", 0
    yield "aof_last_rewrite_time_sec", -1
    yield "aof_current_rewrite_time_sec", -1
    yield "aof_last_bgrewrite_status", "ok"
    yield "aof_last_write_status", "err" if broken else "ok"
    yield "aof_last_cow_size", 0
    yield "aof_current_size", engine.lag_bytes
    yield "aof_base_size", 0
    yield "aof_pending_rewrite", 0
    yield "aof_buffer_length", 0
    yield "aof_pending_bio_fsync", int(server.sync_thread.busy)
    yield "aof_delayed_fsync", 0


def stats(server: Server) -> Lines:
    dataset, rates = server.dataset, server.rates
    commands, received, sent = traffic(server)
    yield "total_connections_received", server.total_connections
    yield "total_commands_processed", commands
    yield "instantaneous_ops_per_sec", round(rates.commands)
    yield "total_net_input_bytes", received
    yield "total_net_output_bytes", sent
    yield "total_net_repl_input_bytes", 0
    yield "total_net_repl_output_bytes", 0
    yield "instantaneous_input_kbps", f"{rates.input / 1024:.2f}"
    yield "instantaneous_output_kbps", f"{rates.output / 1024:.2f}"
    yield "instantaneous_input_repl_kbps", "0.00"
    yield "instantaneous_output_repl_kbps", "0.00"
    yield "rejected_connections", server.rejected_connections
    yield "sync_full", 0
    yield "sync_partial_ok", 0
    yield "sync_partial_err", 0
    yield "expired_keys", dataset.expired_keys
    yield "expired_subkeys", dataset.expired_fields
    yield "expired_stale_perc", "0.00"
    yield "expired_time_cap_reached_count", 0
    yield "expire_cycle_cpu_milliseconds", 0
    yield "evicted_keys", dataset.evicted_keys
    yield "evicted_clients", server.client_memory.evicted
    yield "keyspace_hits", dataset.hits
    yield "keyspace_misses", dataset.misses
    yield from (
        (f"acl_access_denied_{name}", server.acl.denied[reason])
        for name, reason in (("auth", "auth"), ("cmd", "command"), ("key", "key"), ("channel", "channel"))
    )
    yield "pubsub_channels", len(server.pubsub.channels.listeners)
    yield "pubsub_patterns", len(server.pubsub.patterns.listeners)
    yield "pubsubshard_channels", len(server.pubsub.shard_channels.listeners)
    yield "latest_fork_usec", 0
    yield "total_forks", server.engine.checkpoints + server.engine.compactions  # for which Redis would fork
    yield "tracking_total_keys", len(server.caches.readers)
    yield "tracking_total_items", server.caches.items
    yield "tracking_total_prefixes", len(server.caches.prefixes)
    yield "migrate_cached_sockets", server.migrations.kept
    yield "unexpected_error_replies", 0
    yield "total_error_replies", sum(server.errors.values())
    yield "client_output_buffer_limit_disconnections", server.output_limit_disconnections
    yield "reply_buffer_shrinks", 0
    yield "reply_buffer_expands", 0


def replication(server: Server) -> Lines:
    offset = server.engine.log.next_lsn - 1
    yield "role", "master"
    yield "connected_slaves", 0
    yield "master_failover_state", "no-failover"
    yield "master_replid", server.replication_id
    yield "master_replid2", "0" * 40
    yield "master_repl_offset", offset
    yield "second_repl_offset", -1
    yield "repl_backlog_active", 0
    yield "repl_backlog_size", 1 << 20
    yield "repl_backlog_first_byte_offset", 0
    yield "repl_backlog_histlen", 0


def cpu(server: Server) -> Lines:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    yield "used_cpu_sys", f"{own.ru_stime:.6f}"
    yield "used_cpu_user", f"{own.ru_utime:.6f}"
    yield "used_cpu_sys_children", f"{children.ru_stime:.6f}"
    yield "used_cpu_user_children", f"{children.ru_utime:.6f}"


def commandstats(server: Server) -> Lines:
    for each in every_command(server.commands):
        if each.calls or each.rejected:
            micros = each.nanoseconds // 1000
            yield (
                f"cmdstat_{each.name.decode()}",
                f"calls={each.calls},usec={micros},usec_per_call={each.nanoseconds / 1000 / (each.calls or 1):.2f},"
                f"rejected_calls={each.rejected},failed_calls={each.failed}",
            )


def latencystats(server: Server) -> Lines:
    for each in every_command(server.commands):
        if each.histogram is not None:
            shown = (
                f"p{percent:g}={percentile(each.histogram, percent) / 1000:.3f}"
                for percent in server.config.latency_tracking_info_percentiles
            )
            yield f"latency_percentiles_usec_{each.name.decode()}", ",".join(shown)


def errorstats(server: Server) -> Lines:
    for prefix, count in sorted(server.errors.items()):
        yield f"errorstat_{prefix}", f"count={count}"


def nothing(server: Server) -> Lines:
    return ()


def cluster(server: Server) -> Lines:
    yield "cluster_enabled", 0


def keyspace(server: Server) -> Lines:
    for db in server.dataset.databases:
        if db.keys:
            yield f"db{db.index}", f"keys={db.keys},expires={db.expires},avg_ttl={average_ttl(db)}"


def perdure(server: Server) -> Lines:
    engine, dataset = server.engine, server.dataset
    records = engine.log
    segments = records.segments()
    yield "perdure_version", own_version()
    yield "compiled", "yes" if compiled() else "no"
    yield "appendfsync", server.config.appendfsync
    yield "last_lsn", records.next_lsn - 1
    yield "written_lsn", records.written_lsn
    yield "durable_lsn", records.durable_lsn
    yield "applied_lsn", engine.applied_lsn
    yield "lag_bytes", engine.lag_bytes
    yield "lag_limit_bytes", engine.options.lag_bytes
    yield "log_segments", len(segments)
    yield "log_segment_size", records.segment_size
    yield "log_appended_bytes", records.appended_bytes
    yield "log_syncs", server.syncs
    yield "log_state", "poisoned" if records.poison else "full" if records.prepare_error else "ok"
    yield "writers_slowed", int(server.throttled)
    yield "replies_held", len(server.unsafe)
    yield "checkpoints", engine.checkpoints
    yield "checkpointer_pid", engine.process.pid if engine.process is not None else 0
    yield "checkpoint_error", engine.checkpoint_error.replace("\r", " ").replace("\n", " ")
    yield "compacting", int(bool(engine.compacting))
    yield "reclaimed_rows", engine.reclaimed_rows
    yield "recovered", engine.recovered
    yield "cache_entries", sum(len(db.hot) for db in dataset.databases)
    yield "cache_bytes", dataset.used
    yield "cache_loads", dataset.loads
    yield "cache_drops", dataset.dropped
    yield "databases_complete_in_memory", sum(db.complete for db in dataset.databases)
    for name, size in engine.sizes.items():
        yield f"tables_{name}", size
    server.ask_sizes()


Section = Callable[["Server"], Lines]
SECTIONS: Final[dict[str, tuple[str, Section]]] = {
    "server": ("Server", about_server),
    "clients": ("Clients", clients),
    "memory": ("Memory", memory),
    "persistence": ("Persistence", persistence),
    "stats": ("Stats", stats),
    "replication": ("Replication", replication),
    "cpu": ("CPU", cpu),
    "modules": ("Modules", nothing),
    "commandstats": ("Commandstats", commandstats),
    "errorstats": ("Errorstats", errorstats),
    "latencystats": ("Latencystats", latencystats),
    "cluster": ("Cluster", cluster),
    "keyspace": ("Keyspace", keyspace),
    "perdure": ("Perdure", perdure),
}
ONLY_IF_ASKED: Final = frozenset(("commandstats", "latencystats"))
DEFAULT: Final = tuple(name for name in SECTIONS if name not in ONLY_IF_ASKED)
GROUPS: Final = {"default": DEFAULT, "all": tuple(SECTIONS), "everything": tuple(SECTIONS)}


def info_text(server: Server, names: Iterable[str]) -> str:
    """The sections that `names` ask for, each once and in the order of the table; all of the default ones without any.
    Unknown names are nothing."""
    wanted = {section for name in names for section in GROUPS.get(name, (name,))} or set(DEFAULT)
    return "\r\n".join(section_text(server, *SECTIONS[name]) for name in SECTIONS if name in wanted)


def section_text(server: Server, title: str, section: Section) -> str:
    return "".join([f"# {title}\r\n", *(f"{name}:{value}\r\n" for name, value in section(server))])


# -- measures ------------------------------------------------------------------------------------------------------


def average_ttl(db: Any) -> int:
    """Milliseconds that keys with an expiry still have, judged by some of those in memory."""
    now = db.ds.now
    left = []
    for entry in db.ring[-50 * SAMPLED_KEYS :]:
        if entry.expire > now:
            left.append(entry.expire - now)
            if len(left) == SAMPLED_KEYS:
                break
    return sum(left) // len(left) if left else 0


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def compiled() -> bool:
    """Do compiled modules serve?"""
    return any(
        name.startswith(("perdure.", "perdure_storage.")) and str(getattr(module, "__file__", "")).endswith(".so")
        for name, module in list(sys.modules.items())
    )


def human(size: int) -> str:
    """Bytes as Redis shows them to people: 1.50K, 12.00M."""
    amount, unit = float(size), "B"
    for larger in "KMGT":
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{size}B" if unit == "B" else f"{amount:.2f}{unit}"
