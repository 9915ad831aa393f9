"""What happens by the clock: sweeps, checkpoints, syncs, memory, timeouts. Each job is bounded and short."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

from perdure import lfu
from perdure.dispatch import finish
from perdure.session import Level
from perdure_storage.events import EVICTED

if TYPE_CHECKING:
    from perdure.server import Server

log = logging.getLogger("perdure")

TICK_S: Final = 0.1
SWEEP_LIMIT: Final = 10
"""Due keys in one slice: what a request may have to wait for. While more are due, slices follow one another."""
EVICT_LIMIT: Final = 2000
DIRTY_SHARE: Final = 8
"""Writers are slowed when dirty entries take more than `maxmemory` and this fraction of it."""
CACHE_SHARE: Final = 4
"""However much clients take, data that is also on disk may have this fraction of `maxmemory`."""
MUCH: Final = 1 << 20
"""Memory of clients that is worth a second look before data makes room for it."""
CHECKPOINT_SHARE: Final = 8
"""A checkpoint is asked for when the log is ahead by this fraction of the lag that is allowed."""
HANDSHAKE_MS: Final = 30_000
"""How long a client may take to authenticate."""


class Timer:
    """Calls `job(server)` again after the number of seconds it returns; after 0, once the loop has looked at its sockets."""

    def __init__(self, server: Server, job: Any) -> None:
        self._server = server
        self._job = job
        self._handle: asyncio.Handle = server.loop.call_later(TICK_S, self._run)

    def _run(self) -> None:
        delay = TICK_S if self._server.cron_paused else self._job(self._server)
        loop = self._server.loop
        self._handle = loop.call_later(delay, self._run) if delay else loop.call_soon(self._run)

    def cancel(self) -> None:
        self._handle.cancel()


def start(server: Server) -> list[Timer]:
    """Begin all timers."""
    server.update_gate()  # of what the configuration says from the start
    return [Timer(server, job) for job in (sweep, upkeep, every_second)]


def sweep(server: Server) -> float:
    """Expire what is due, free what was thrown away: a slice at a time, soon again while there is more."""
    engine = server.engine
    if not server.in_tick:
        engine.update_time()
    more = False
    if server.active_expire and not server.refuses_writes and not server.pausing.until_ms:
        began = perf_counter_ns()
        if engine.sweeper.run(SWEEP_LIMIT):
            finish(server)
            server.latency.note("expire-cycle", perf_counter_ns() - began, engine.dataset.now)
            if server.wakeups.signaled:
                server.wakeups.serve()
            if not server.in_tick:
                server.begin_tick()
        more = engine.sweeper.behind
    more = engine.dataset.free_some() or more
    return 0.0 if more else TICK_S


def upkeep(server: Server) -> float:
    """Ten times a second: memory, the checkpointer's pace, clients whose time is up."""
    engine = server.engine
    records = engine.log
    if not server.in_tick:
        engine.update_time()
    if server.asked_to_stop:
        server.stop()
        return TICK_S
    if server.config.maxmemory:
        server.client_memory.look_around(server.dataset.now)
    limit_memory(server)
    server.revive_checkpointer()
    check_lag(server)
    if records.prepare_error is not None or server.gate:
        tell_of_room(server)
        records.retry_prepare()
        server.update_gate()
    if len(server.wakeups):
        server.wakeups.poll(server.dataset.now)
    return TICK_S


def tell_of_room(server: Server) -> None:
    """Write into the server's log that the log of the data cannot grow, or can again."""
    problem = server.engine.log.prepare_error
    if server.log_is_full != (problem is not None):
        server.log_is_full = problem is not None
        if problem is not None:
            log.error("the log cannot grow, writes are refused when it is used up: %s", problem)
        else:
            log.info("the log can grow again, writes are accepted")


def every_second(server: Server) -> float:
    """Once a second: the sync of level everysec, checkpoints of a quiet server, idle clients."""
    engine = server.engine
    if server.level >= Level.EVERYSEC and engine.log.written_lsn > engine.log.durable_lsn:
        server.start_sync()
    if engine.lag_bytes and server.dataset.now - engine.last_checkpoint_ms >= server.config.checkpoint_interval_ms:
        checkpoint(server)
    close_idle(server)
    server.migrations.close_idle()
    for connection in list(server.choked):
        server.check_output(connection)
    server.rates.sample(server)
    server.peak_memory = max(server.peak_memory, server.dataset.used)
    return 1.0


def close_idle(server: Server) -> None:
    """Close clients that have been silent for `timeout`, and those that do not authenticate."""
    now, timeout_ms = server.dataset.now, server.config.timeout * 1000
    for session in list(server.strangers):
        if session.authenticated:
            del server.strangers[session]
        elif now - session.created_ms > HANDSHAKE_MS:
            server.kill(session)
    if not timeout_ms:
        return
    for session in list(server.sessions.values()):
        listening = session.monitoring or session.channels or session.patterns or session.shard_channels
        if now - session.active_ms > timeout_ms and session.parked is None and not listening:
            server.kill(session)


def check_lag(server: Server) -> None:
    """Ask for a checkpoint when the log is far enough ahead; slow writers when it, or dirty memory, is too far."""
    engine = server.engine
    limit = engine.options.lag_bytes
    lag = engine.lag_bytes
    if lag > limit // CHECKPOINT_SHARE or server.all_dirty:
        checkpoint(server)
    server.throttled = (lag > limit or server.all_dirty) and not engine.checkpoint_error
    if not server.throttled:
        server.unthrottle()


def checkpoint(server: Server) -> None:
    """Have the tables catch up; what is not durable yet is synced first, and comes with the next one."""
    engine = server.engine
    if engine.log.written_lsn > engine.log.durable_lsn and engine.asked_lsn >= engine.log.durable_lsn:
        server.start_sync()
    engine.request_checkpoint()


def limit_memory(server: Server) -> None:
    """Keep to `maxmemory`: drop clean entries, or delete keys when Redis' own policies are asked for.

    Runs at the end of every tick, a bounded number of entries at a time. When what is left is dirty, the tables have to
    catch up first, and writers are slowed until then.
    """
    config, dataset = server.config, server.dataset
    server.all_dirty = False
    if not config.maxmemory:
        return
    room = room_for_data(server)
    if dataset.used <= room:
        return
    if config.maxmemory_policy != "noeviction" and not server.refuses_writes:
        began = perf_counter_ns()
        evict_keys(server)
        server.latency.note("eviction-cycle", perf_counter_ns() - began, dataset.now)
    elif not dataset.evict(room, EVICT_LIMIT):
        server.all_dirty = dataset.used > room + config.maxmemory // DIRTY_SHARE
        check_lag(server)


def room_for_data(server: Server) -> int:
    """What `maxmemory` leaves for data beside what clients take. A cache keeps some of it in any case."""
    config = server.config
    least = config.maxmemory // CACHE_SHARE if config.maxmemory_policy == "noeviction" else 0
    clients = server.client_memory
    if clients.taken > MUCH and server.dataset.used > config.maxmemory - clients.taken:
        clients.take_stock()  # they may have gone since
    return max(least, config.maxmemory - clients.taken)


def evict_keys(server: Server) -> bool:
    """Delete keys by the policy until memory fits; False when nothing more may be deleted."""
    config, dataset = server.config, server.dataset
    policy, volatile = config.maxmemory_policy, config.maxmemory_policy.startswith("volatile")
    misses, room = 0, room_for_data(server)
    while dataset.used > room:
        rings = [db for db in dataset.databases if db.ring]
        sample = []
        for _ in range(config.maxmemory_samples if rings else 0):
            db = server.random.choice(rings)
            entry = server.random.choice(db.ring)
            if entry.expire or not volatile:
                sample.append((db, entry))
        if not sample:
            misses += 1
            if misses > 100:
                return False
            continue
        if policy.endswith("ttl"):
            db, entry = min(sample, key=lambda item: item[1].expire)
        elif policy.endswith("random"):
            db, entry = sample[0]
        elif lfu.is_lfu(policy):
            now_s, decay = dataset.tick, config.lfu_decay_time
            db, entry = min(sample, key=lambda item: lfu.counter(item[1].tick, now_s, decay))
        else:
            db, entry = min(sample, key=lambda item: lfu.seconds(item[1].tick))
        db.remove(entry)
        db.notify(EVICTED, b"evicted", entry.key)
        dataset.evicted_keys += 1
    return True
