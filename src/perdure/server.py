"""The server: one directory, its listeners, its clients, and the ticks and timers between them.

Order within a tick: requests run (log appended in memory) → the log is written → replies that are safe enough leave →
a sync is begun for the others. Only one sync is under way at a time; what is committed meanwhile shares the next one.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterable
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NoReturn

from perdure import cron, lfu
from perdure.acl import Acl, admission
from perdure.busy import Meanwhile
from perdure.client_memory import ClientMemory
from perdure.commands import FAMILIES
from perdure.config_file import rewrite
from perdure.directives import ConfigError
from perdure.dispatch import call_inside, exec_queue, execute, find, finish, run_told
from perdure.errors import ReplyError
from perdure.hot import Hot
from perdure.info import Rates, resident_bytes
from perdure.latency import Latency
from perdure.listeners import Listeners
from perdure.migrations import Migrations
from perdure.net import HELD_MAX, STRANGER_OUTPUT_MAX, Connection
from perdure.notifications import Notifications
from perdure.open_files import room_for
from perdure.pauses import Pause
from perdure.pubsub import PubSub
from perdure.redaction import redacted
from perdure.registry import Command, build_table, every_command, with_upper_case
from perdure.resp import Raw
from perdure.scripting.functions import Libraries
from perdure.scripting.running import Stage
from perdure.scripting.scripts import Scripts
from perdure.session import Argv, Level, Park, Session, Watched
from perdure.slowlog import SlowLog, threshold_ns
from perdure.syncing import SyncThread
from perdure.tracking import Caches
from perdure.wakeups import Wakeups
from perdure_storage.engine import Engine
from perdure_storage.errors import CannotGoBack, Corruption, LogPoisoned, StorageError

if TYPE_CHECKING:
    from perdure.config import BufferLimit, Config
    from perdure_storage.files import File
    from perdure_storage.tables import Snapshot
    from perdure_storage.types.entry import Collection

log = logging.getLogger("perdure")

LEVELS: Final = {"no": Level.NO, "everysec": Level.EVERYSEC, "always": Level.ALWAYS}
OVERDUE_MS: Final = 2000
"""At level everysec, replies to writers wait once the oldest write has waited that long for a sync."""
LOAD_STEP_ROWS: Final = 500
KEPT_OVER_RELOAD: Final = (
    "limits", "scans", "hits", "misses", "expired_keys", "expired_fields", "evicted_keys",
    "discarded",
)  # fmt: skip
"""What belongs to the server rather than to the data."""
LEAST_MEMORY: Final = 64 << 10
"""A `maxmemory` below this is no room for a cache: whatever the policy, what needs memory is refused."""
SIZES_MS: Final = 5000
QUICK_SYNC_S: Final = 0.001
"""A disk that syncs faster than this is synced on the loop; a slower one in the thread, while commands go on."""


class Server(Hot):
    """Everything that lives as long as the process. `ctx.server` of the server and connection commands."""

    def __init__(self, config: Config, engine: Engine) -> None:
        self.commands: dict[bytes, Command] = build_table(FAMILIES)
        super().__init__(engine, with_upper_case(self.commands))
        self.config = config
        self.acl = Acl(self.commands, config)
        self.dataset.limits = config
        self.random = Random()
        self.run_id = os.urandom(20).hex()
        self.replication_id = os.urandom(20).hex()
        self.started_ms = engine.clock.now_ms()
        self.startup_memory = resident_bytes()
        self.loop: asyncio.AbstractEventLoop
        self.sync_thread: SyncThread
        self.listeners = Listeners(config, lambda: Connection(self))
        # clients
        self.sessions: dict[int, Session] = {}
        self.next_session = 1
        self.unsafe: dict[Session, None] = {}
        self.strangers: dict[Session, None] = {}
        self.choked: dict[Connection, int] = {}
        self.throttled = False
        self.all_dirty = False
        self._slowed: list[Connection] = []
        self.wakeups = Wakeups(self.rerun, self.reply_to_parked)
        self.waited_for, self.signaled = self.wakeups.by_key, self.wakeups.signaled
        self.pubsub = PubSub(self.push)
        self.notifications = Notifications(self.pubsub)
        self._notify(config.notify_keyspace_events)
        self.client_memory = ClientMemory(config, self.sessions, self.kill)
        self.caches = Caches(self.sessions, self.push, self.soon, lambda table: self.dataset.trash.append(table))
        self.caches.limit(config.tracking_table_max_keys)
        self.trackers = self.caches.trackers
        self.migrations = Migrations(self)
        self.stage = Stage(self, find, call_inside, finish)
        self.scripts = Scripts(self.stage)
        self.libraries = Libraries(self.stage)
        self.meanwhile = Meanwhile(self)
        # state of the tick and of admission
        self._jobs: set[asyncio.Task[None]] = set()
        self.in_tick = False
        self.level = LEVELS[config.appendfsync]
        self.unsynced_since_ms = 0
        self.sync_started_ms = 0
        self._sync_started = 0.0
        self._syncing = engine.log
        self._sizes_asked_ms = 0
        self.quick_disk = True
        self._poison: LogPoisoned | None = None
        self.log_is_full = False
        self.pausing = Pause()
        self.active_expire = True
        self.cron_paused = False
        self.asked_to_stop = False
        self.patient = True
        self.skip_checksums = False
        self.stopping: asyncio.Event
        self.exit_code = 0
        self.loading_steps: dict[Collection, Any] = {}
        self.slowlog = SlowLog(config.slowlog_max_len)
        self.latency = Latency(config.latency_monitor_threshold)
        self._watch_times()
        self.rates = Rates()
        self.reset_stats()
        config.on_change("requirepass", self._require_password)
        config.on_change("appendfsync", lambda value: setattr(self, "level", LEVELS[value]))
        config.on_change("notify-keyspace-events", self._notify)
        config.on_change("tracking-table-max-keys", self.caches.limit)
        config.on_change("client-output-buffer-limit", self._limit_output)
        config.on_change("client-query-buffer-limit", self._limit_input)
        config.on_change("proto-max-bulk-len", self._limit_input)
        config.on_change("wal-segment-size", self._size_log)
        config.on_change("checkpoint-lag", self._size_log)
        self._limit_output(config.client_output_buffer_limit)
        for name in ("maxmemory", "maxmemory-policy", "min-replicas-to-write"):
            config.on_change(name, lambda value: self.update_gate())
        config.on_change("maxclients", can_be_let_in)
        config.on_change("slowlog-max-len", self.slowlog.resize)
        config.on_change("dir", stays)
        for name in ("slowlog-log-slower-than", "latency-monitor-threshold", "latency-tracking"):
            config.on_change(name, lambda value: self._watch_times())

    def rewrite_config(self, *, whole: bool = False) -> None:
        """Write present values into the configuration file, with `whole` those of all parameters. Raises ReplyError."""
        if not self.config.file:
            raise ReplyError("ERR The server is running without a config file")
        self.acl.tell_config()
        try:
            rewrite(self.config, whole=whole)
        except ConfigError as bad:
            raise ReplyError(f"ERR Rewriting config file: {bad}") from None
        except OSError as error:
            raise ReplyError(f"ERR Rewriting config file: {error.strerror}") from None

    def reset_stats(self) -> None:
        """CONFIG RESETSTAT."""
        self.total_connections = self.rejected_connections = 0
        self.total_commands = 0
        self.changes = self.saved_changes = 0
        self.bytes_in = self.bytes_out = 0
        self.protocol_errors = self.output_limit_disconnections = 0
        self.syncs = 0
        self.errors: dict[str, int] = {}
        self.peak_memory = 0
        self.acl.reset_stats()
        for command in every_command(self.commands):
            command.calls = command.failed = command.rejected = command.nanoseconds = 0
            command.histogram = None
        ds = self.dataset
        ds.hits = ds.misses = ds.expired_keys = ds.expired_fields = ds.evicted_keys = ds.discarded = 0

    # -- lifetime ------------------------------------------------------------------------------------------------

    async def serve(self, announce: Callable[[Server], None] | None = None) -> int:
        """Listen until told to stop; returns the exit code. Raises OSError when it cannot listen."""
        self.loop = asyncio.get_running_loop()
        self.stopping = asyncio.Event()
        self.sync_thread = SyncThread(self.loop, self._synced)
        try:
            await self.listeners.open()
            for number in (signal.SIGTERM, signal.SIGINT):
                self.loop.add_signal_handler(number, self.ask_to_stop, signal.Signals(number).name)
            self.watch_checkpointer()
            timers = cron.start(self)
            gc.collect()
            gc.freeze()
            gc.disable()
            notify_systemd(b"READY=1")
            if announce is not None:
                announce(self)
            await self.stopping.wait()
            notify_systemd(b"STOPPING=1")
            for timer in timers:
                timer.cancel()
            await self.drain()
        finally:
            self.listeners.close()
            self.sync_thread.stop()
        return self.exit_code

    @property
    def port(self) -> int:
        """Where clients reach us: the TCP port, or when there is none the one for TLS."""
        return self.listeners.port or self.listeners.tls_port

    def ask_to_stop(self, signal_name: str) -> None:
        """A signal says so. While timers stand still (DEBUG PAUSE-CRON) it waits, and SHUTDOWN ABORT takes it back."""
        log.info("%s: shutting down", signal_name)
        self.asked_to_stop = True
        if not self.cron_paused:
            self.stop()

    def stop(self, exit_code: int = 0) -> None:
        """Begin to shut down: what was acknowledged is safe, what is under way is finished."""
        self.exit_code = exit_code
        self.stopping.set()

    async def drain(self) -> None:
        """Answer what has been read, make it durable, let the replies leave, close the clients."""
        self.listeners.close()
        self.tick()
        while self.sync_thread.busy:
            await asyncio.sleep(0.001)
        if self.engine.log.poison is None:
            try:
                self.engine.sync()
            except LogPoisoned as error:
                self.refuse_writes(error)
        self.release()
        for session in list(self.sessions.values()):
            if session.peer is not None:
                session.peer.close()
        deadline = monotonic() + (self.config.shutdown_timeout if self.patient else 0)
        while self.sessions and monotonic() < deadline:
            await asyncio.sleep(0.002)
        for session in list(self.sessions.values()):
            self.kill(session)
        await asyncio.sleep(0)
        unix = self.config.at(self.config.unixsocket)
        if unix and os.path.exists(unix):
            os.unlink(unix)

    def reload(self) -> None:
        """DEBUG RELOAD: close the directory and open it again, as a restart does, the clients staying connected.

        Blocks. Raises StorageError, OSError when the directory cannot be closed well; then the server is stopping.
        """
        for steps in list(self.loading_steps.values()):
            for _ in steps:
                pass
        self.sync_thread.stop()
        old = self.engine
        if old.process is not None:
            self.loop.remove_reader(old.process.fileno())
        try:
            old.close()
            self.engine = Engine.open(old.path, old.options)
        except (StorageError, OSError):
            self.stop(1)
            raise
        before, self.dataset = self.dataset, self.engine.dataset
        for kept in KEPT_OVER_RELOAD:
            setattr(self.dataset, kept, getattr(before, kept))
        self.dataset.listen(before.wants)
        for session in self.sessions.values():
            session.ds = self.dataset
            session.db = self.dataset.databases[session.db.index]
        for session in list(self.wakeups):
            self.wakeups.follow(session)
        self.sync_thread = SyncThread(self.loop, self._synced)
        self.unsynced_since_ms = 0
        self.watch_checkpointer()
        self.release()

    # -- clients -------------------------------------------------------------------------------------------------

    def connect(self, connection: Connection) -> Session:
        """A client has connected."""
        if not self.in_tick:
            self.engine.update_time()
        session = Session(self, self.next_session)
        self.next_session += 1
        session.peer = connection
        transport = connection.transport
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        session.address = self._shown_address(peer)
        session.local_address = self._shown_address(local)
        raw = transport.get_extra_info("socket")
        if raw is not None and isinstance(peer, tuple):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.config.tcp_keepalive:
                probe_when_silent(raw, self.config.tcp_keepalive)
        refusal = self._why_no_entry(session, peer)
        if refusal:
            self.rejected_connections += 1
            transport.write(b"-%b\r\n" % refusal)
            session.closing = True
            connection.hold(True)
            transport.close()
            return session
        self.total_connections += 1
        self.sessions[session.id] = session
        if not session.authenticated:
            self.strangers[session] = None
        return session

    def _shown_address(self, name: Any) -> str:
        """A socket's name as Redis shows it; all clients of the Unix socket have the same."""
        if not isinstance(name, tuple):
            return f"{self.config.at(self.config.unixsocket)}:0"
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"

    def _why_no_entry(self, session: Session, peer: Any) -> bytes:
        """The error with which a connection is closed at once; empty when it is welcome."""
        config = self.config
        if len(self.sessions) >= config.maxclients:
            return b"ERR max number of clients reached"
        if config.protected_mode and self.acl.default.no_password and isinstance(peer, tuple) and not is_loopback(peer[0]):
            return (
                b"DENIED this server has no password, so it answers only clients on its own machine (protected mode): "
                b"set requirepass, or protected-mode no if everybody who can reach this port may use it"
            )
        return b""

    def disconnect(self, session: Session) -> None:
        """The client's socket is gone."""
        if self.sessions.pop(session.id, None) is None:
            return
        session.closing = True
        self.bytes_in += session.bytes_in
        self.bytes_out += session.bytes_out
        self.total_commands += session.commands
        self.wakeups.remove(session)
        session.discard()
        self.pubsub_drop(session)
        self.caches.stop(session)
        self.client_memory.forget(session)
        self.monitors.discard(session)
        self.unsafe.pop(session, None)
        self.strangers.pop(session, None)
        self.choked.pop(session.peer, None)
        session.backlog.clear()
        session.peer = None

    def _require_password(self, password: str) -> None:
        """`requirepass` was set."""
        self.acl.require_password(password)
        admission.changed(self, self.acl.default)

    def pubsub_drop(self, session: Session) -> None:
        """End all subscriptions of a session."""
        self.pubsub.drop(session)

    def kill(self, session: Session, *, after_reply: bool = False) -> None:
        """Close a client's connection: now, or when it has been answered what it has asked until now."""
        session.closing = True
        if session.peer is None:
            return
        if after_reply:
            session.peer.hold(True)
        else:
            session.peer.abort()
            self.disconnect(session)

    def check_output(self, connection: Connection) -> None:
        """The client does not take its replies fast enough: cut it off when there are more than it may have waiting."""
        session = connection.session
        waiting = connection.waiting_bytes
        limit = self._output_limit(session)
        over = bool(limit.hard and waiting > limit.hard) or (
            not session.authenticated and waiting > STRANGER_OUTPUT_MAX
        )
        if limit.soft and waiting > limit.soft:
            now = self.dataset.now
            since = self.choked.get(connection) or now
            self.choked[connection] = since
            over = over or now - since >= limit.soft_seconds * 1000
        elif connection in self.choked:
            self.choked[connection] = 0
        if over:
            self._cut_off(session, waiting)

    def too_much(self, session: Session, size: int) -> bool:
        """Are these bytes of replies, behind those that wait, more than the client may have? Then it is cut off.

        They are judged before the socket gets them, as Redis does it: a reply that is larger than the hard limit never
        leaves, however fast the client reads.
        """
        waiting = session.peer.waiting_bytes + session.pending_bytes + size
        limit = self._output_limit(session)
        if not limit.hard or waiting <= limit.hard:
            return False
        self._cut_off(session, waiting)
        return True

    def _output_limit(self, session: Session) -> BufferLimit:
        pushed = session.monitoring or session.channels or session.patterns or session.shard_channels
        return self.config.client_output_buffer_limit["pubsub" if pushed else "normal"]

    def _cut_off(self, session: Session, waiting: int) -> None:
        log.warning(
            "client %d (%s) does not read its replies: %d bytes wait, closing", session.id, session.address, waiting
        )
        self.output_limit_disconnections += 1
        self.kill(session)

    def _limit_output(self, limits: dict[str, BufferLimit]) -> None:
        """`client-output-buffer-limit` was set. Up to `harmless` bytes at a time are left to `check_output`."""
        self.harmless = min((limits[name].hard for name in ("normal", "pubsub") if limits[name].hard), default=1 << 62)

    def _size_log(self, value: int) -> None:
        """`wal-segment-size` or `checkpoint-lag` was set."""
        options = self.engine.options
        options.segment_size = self.engine.log.segment_size = self.config.wal_segment_size
        options.lag_bytes = self.config.checkpoint_lag

    def _limit_input(self, value: int) -> None:
        """`client-query-buffer-limit` or `proto-max-bulk-len` was set."""
        for session in self.sessions.values():
            if session.peer is not None:
                session.peer.parser.max_request = self.config.client_query_buffer_limit
                session.peer.parser.max_bulk = self.config.proto_max_bulk_len

    def push(self, session: Session, data: bytes) -> None:
        """Queue a message that is no reply to anything. Those of a transaction wait for its end."""
        if self.held_back is not None:
            self.held_back.append((session, Raw(data)))
        else:
            self.send(session, Raw(data))

    def hold_back(self) -> None:
        """A transaction begins: what it makes to be told is told when it is committed."""
        self.held_back = []

    def let_go(self, committed: bool, caller: Session | None = None) -> bytes:
        """The transaction has ended. Returns what `caller` is told, to go out behind the reply that it is about to get."""
        held_back, self.held_back = self.held_back or [], None
        behind: list[bytes] = []
        for session, data in held_back if committed else ():
            if session is caller and caller.reply_on and not caller.skip_next:
                behind.append(data)
            else:
                self.send(session, data)
        return b"".join(behind)

    def send(self, session: Session, data: bytes) -> None:
        """Queue reply bytes for a session; they leave at the end of the tick."""
        if not session.out:
            self.ready.append(session)
        session.out.append(data)
        if not self.in_tick:
            self.begin_tick()

    # -- the tick ------------------------------------------------------------------------------------------------

    def spawn(self, job: Coroutine[Any, Any, None]) -> None:
        """Let a coroutine run when the loop comes to it."""
        task = self.loop.create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    def begin_tick(self) -> None:
        """First request after a pause: the clock is read once for all that arrive together."""
        self.in_tick = True
        self.engine.update_time()
        self.loop.call_soon(self.tick)

    def soon(self) -> None:
        """There is something for the end of a tick to do."""
        if not self.in_tick:
            self.begin_tick()

    def tick(self) -> None:
        """Write the log, let replies leave."""
        if self.caches.changed_in_tick:
            self.caches.broadcast()
        self.in_tick = False
        self.let_replies_go()
        if self.config.maxmemory:
            cron.limit_memory(self)
        if self.dataset.effects:  # of something that was no command: a key met after its time, or evicted
            finish(self)
        if self.dataset.events:
            self.tell_events()

    def let_replies_go(self) -> None:
        """Write what was committed; what is safe enough leaves, for the rest a sync is begun."""
        records = self.engine.log
        if records.buffered and records.poison is None:
            try:
                records.flush()
            except LogPoisoned as error:
                self.refuse_writes(error)
        if self.level is Level.ALWAYS and self.quick_disk and records.written_lsn > records.durable_lsn:
            self.sync_here()
        lsn, durable = records.next_lsn - 1, records.durable_lsn
        if records.poison is not None:  # the dataset is back at what is durable, so that is what replies depend on
            lsn = durable
        now = self.dataset.now
        if lsn > durable and not self.unsynced_since_ms:
            self.unsynced_since_ms = now
        unsafe = Level.ALWAYS
        if self.unsynced_since_ms and now - self.unsynced_since_ms > OVERDUE_MS:
            unsafe = Level.EVERYSEC
        if lsn <= durable:
            unsafe = Level.ALWAYS + 1  # type: ignore[assignment]
        ready, self.ready = self.ready, []
        for session in ready:
            out = session.out
            if not out or session.peer is None:
                if session.closing and session.peer is not None and not session.pending:
                    session.peer.close()
                continue
            count = len(out)
            data = out[0] if count == 1 else b"".join(out)
            if session.gate or session.monitoring:  # a push is no reply: `refuse_writes` has no answer to it
                count -= [*map(type, out)].count(Raw)
            out.clear()
            if len(data) > self.harmless and self.too_much(session, len(data)):
                continue
            if session.pending or session.durability >= unsafe:
                session.pending.append((lsn, data, count))
                session.pending_bytes += len(data)
                self.unsafe[session] = None
                if session.pending_bytes > HELD_MAX:
                    session.peer.hold(True)
            else:
                session.peer.send(data)
                if session.closing and session.peer is not None:
                    session.peer.close()
            if self.client_memory.watching:
                self.client_memory.measure(session)
        if self.unsafe and not self.sync_thread.busy:
            self.start_sync()

    def sync_here(self) -> None:
        """Sync on the loop: on a quick disk that takes less than handing it to the thread and back."""
        if self.sync_thread.busy or self.engine.log.poison is not None:
            return
        started = monotonic()
        try:
            self.engine.log.sync()
        except LogPoisoned as error:
            self.refuse_writes(error)
        self.syncs += 1
        self.unsynced_since_ms = 0
        self.quick_disk = monotonic() - started < QUICK_SYNC_S

    def hasten_sync(self) -> None:
        """Somebody waits for a sync: here when the disk is quick, else by the thread."""
        if self.quick_disk:
            self.sync_here()
        else:
            self.start_sync()

    def start_sync(self) -> None:
        """Sync what is written, unless a sync is under way (its end begins the next one)."""
        records = self.engine.log
        if self.sync_thread.busy or records.poison is not None:
            return
        try:
            files, lsn = records.begin_sync()
        except LogPoisoned as error:
            self.refuse_writes(error)
            return
        if lsn > records.durable_lsn:
            self.sync_started_ms = self.dataset.now
            self._sync_started = monotonic()
            self._syncing = records
            self.sync_thread.start(files, lsn)

    def _synced(self, files: list[File], lsn: int, failure: OSError | None) -> None:
        """A sync has ended (called on the loop)."""
        records = self.engine.log
        if self._syncing is not records:
            return  # a log that `reload` has closed
        self.sync_thread.busy = False
        self.syncs += 1
        took_s = monotonic() - self._sync_started
        self.quick_disk = took_s < QUICK_SYNC_S
        self.latency.note("log-sync", int(took_s * 1e9), self.dataset.now)
        if failure is not None:
            self.refuse_writes(records.poisoned_by(failure))
            return
        if records.poison is not None:  # a write failed meanwhile: the dataset is where it was durable then
            return
        records.end_sync(files, lsn)
        self.unsynced_since_ms = self.sync_started_ms if records.next_lsn - 1 > lsn else 0
        self.release()
        if self.unsafe:
            self.start_sync()
        if len(self.wakeups):
            self.wakeups.poll(self.dataset.now)

    def release(self) -> None:
        """Let go of replies that have become safe."""
        durable = self.engine.log.durable_lsn
        for session in list(self.unsafe):
            pending = session.pending
            chunks = []
            while pending and pending[0][0] <= durable:
                chunks.append(pending.popleft()[1])
            if not pending:
                self.unsafe.pop(session, None)
            peer = session.peer
            if not chunks or peer is None:
                continue
            data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            session.pending_bytes -= len(data)
            peer.send(data)
            if not pending:
                self._caught_up(session)

    @staticmethod
    def _caught_up(session: Session) -> None:
        """No reply of this client is held back any more: it may go on, or leave."""
        if session.closing:
            session.peer.close()
        elif session.parked is None and session.backlog:
            session.peer.go_on()
        elif session.pending_bytes <= HELD_MAX and not session.backlog:
            session.peer.hold(False)

    # -- refusing and slowing writers ----------------------------------------------------------------------------

    def refuse_writes(self, error: StorageError) -> None:
        """The log took no more: writers that wait get the error, and the dataset goes back to what is safe."""
        self.gate = True
        if isinstance(error, CannotGoBack):
            self.give_up(error)
        if not isinstance(error, LogPoisoned) or error is self._poison:
            return
        self._poison = error
        log.error("the log is poisoned, writes are refused from now on: %s", error)
        durable = self.engine.log.durable_lsn
        if self.dataset.lsn - 1 > durable or self.engine.log.next_lsn - 1 > durable:
            self.go_back(durable)
            self.caches.flushed()
            for session in self.ready:  # what this tick has answered goes back, too
                refusal = session.encode(ReplyError(f"MISCONF {error}"))
                session.out[:] = [reply if type(reply) is Raw else refusal for reply in session.out]
        answer = ReplyError(f"MISCONF {error}")
        unsafe, self.unsafe = self.unsafe, {}
        for session in unsafe:
            count = 0
            chunks = []
            for lsn, data, replies in session.pending:
                if lsn <= durable:
                    chunks.append(data)
                else:
                    count += replies
            session.pending.clear()
            session.pending_bytes = 0
            if session.peer is not None:
                session.peer.send(b"".join(chunks) + session.encode(answer) * count)
                self._caught_up(session)
        self.unsynced_since_ms = 0
        if self.config.on_log_failure == "exit":
            self.stop(1)

    def go_back(self, lsn: int) -> None:
        """What came behind `lsn` has never been."""
        try:
            self.engine.restore(lsn)
        except CannotGoBack as error:
            self.give_up(error)

    def give_up(self, error: CannotGoBack) -> NoReturn:
        """Nobody may see or be told what memory holds: end as by kill -9, from which a restart recovers."""
        log.critical("%s; ending at once, what is durable is there after a restart", error)
        logging.shutdown()
        os._exit(1)

    @property
    def refuses_writes(self) -> bool:
        """Does the log take nothing at present, or hardly anything more? Then nothing expires either, nor is evicted."""
        records = self.engine.log
        full = records.prepare_error is not None and records.room < records.segment_size // 4
        return full or records.poison is not None

    def why_no_writes(self, command: Command, session: Session) -> ReplyError | None:
        """The reason why a write is refused at present."""
        records = self.engine.log
        if records.poison is not None:
            return ReplyError(f"MISCONF {records.poison}")
        if self.refuses_writes:
            assert records.prepare_error is not None
            return ReplyError(
                f"MISCONF The log cannot grow ({records.prepare_error.strerror}): writes are refused until there is "
                "space again, reads go on"
            )
        if self.config.min_replicas_to_write:  # there are none
            return ReplyError("NOREPLICAS Not enough good replicas to write.")
        too_much = command.denyoom and self.over_memory()
        if self.dataset.effects and not session.in_exec:  # keys that were evicted: no change of the command's own
            finish(self)
        if too_much:
            return ReplyError("OOM command not allowed when used memory > 'maxmemory'.")
        return None

    def _watch_times(self) -> None:
        """Which commands are slow, and whether all are counted."""
        config = self.config
        self.latency.threshold_ms = config.latency_monitor_threshold
        self.slowlog.threshold_ns = threshold_ns(config.slowlog_log_slower_than)
        self.slow_ns = min(self.slowlog.threshold_ns, self.latency.threshold_ns)
        self.histograms = config.latency_tracking

    def was_slow(self, session: Session, command: Command, argv: Argv, nanoseconds: int) -> None:
        """A command took longer than `slow_ns`."""
        if nanoseconds >= self.slowlog.threshold_ns:
            self.slowlog.add(session, command, argv, nanoseconds)
        self.latency.note("fast-command" if command.fast else "command", nanoseconds, session.ds.now)

    def over_memory(self) -> bool:
        """Is `maxmemory` too little to work in, or could the eviction policy that is asked for not make room?"""
        limit = self.config.maxmemory
        if not limit:
            return False
        if self.config.maxmemory_policy == "noeviction":
            return limit < LEAST_MEMORY
        made_room = self.dataset.used <= cron.room_for_data(self) or cron.evict_keys(self)
        return limit < LEAST_MEMORY or not made_room

    def update_gate(self) -> None:
        """Recompute `gate` after anything it depends on was changed."""
        records = self.engine.log
        limit, policy = self.config.maxmemory, self.config.maxmemory_policy
        self.gate = bool(
            records.poison is not None
            or records.prepare_error is not None
            or self.monitors
            or self.pausing.until_ms
            or self.migrations
            or (limit and (limit < LEAST_MEMORY or policy != "noeviction"))
            or lfu.is_lfu(policy)  # counts uses, without a limit as well
            or self.meanwhile.run is not None
            or self.config.min_replicas_to_write
        )

    def throttle(self, connection: Connection) -> None:
        """The tables are too far behind: this writer is not read from until they have caught up."""
        connection.slow(True)
        self._slowed.append(connection)

    def unthrottle(self) -> None:
        slowed, self._slowed = self._slowed, []
        for connection in slowed:
            connection.slow(False)

    def paused(self, command: Command, session: Session, argv: Argv) -> bool:
        """Does CLIENT PAUSE hold this command back, or that a key of it is being migrated?"""
        if self.migrations and self.migrations.holds(command, session, argv):
            return True
        if not self.pausing.until_ms:
            return False
        if self.dataset.now >= self.pausing.until_ms:
            self.pausing.end()
            self.update_gate()
            return False
        return self.pausing.holds(session, command, argv)

    def pause(self, until_ms: int, everything: bool) -> None:
        """CLIENT PAUSE: hold back writers, or everybody."""
        self.pausing.begin(until_ms, everything)
        self.update_gate()
        self.loop.call_later((self.pausing.until_ms - self.dataset.now + 1) / 1000, self.poll)

    def unpause(self) -> None:
        self.pausing.end()
        self.update_gate()
        self.loop.call_soon(self.poll)

    def poll(self) -> None:
        """Look after those who wait: something they wait for may have come."""
        if not self.in_tick:
            self.engine.update_time()
        self.wakeups.poll(self.dataset.now)

    # -- waiting clients -----------------------------------------------------------------------------------------

    def park(self, session: Session, park: Park) -> None:
        """`session` waits; what it sends meanwhile goes to its backlog."""
        self.wakeups.add(session, park)

    def hear_others(self) -> None:
        """Let those who wait look again when all has been read and run that had arrived by now."""
        self.loop.call_soon(lambda: self.wakeups.poll(self.dataset.now))

    def finish(self) -> ReplyError | None:
        """Commit what has changed so far, apart from what the running command still has to do; the error if there is
        one."""
        return finish(self)

    def exec_queue(self, session: Session) -> bytes:
        """EXEC: the encoded replies of what MULTI has queued."""
        return exec_queue(session)

    def rerun(self, session: Session) -> bool:
        """Run a parked session's command again; False when it has to go on waiting."""
        park = self.wakeups.remove(session)
        assert park is not None
        told = b""
        if park.reason in ("loading", "pause"):
            reply = execute(session, park.argv)
            if session.parked is not None:
                return False
        else:
            command = find(self, park.argv)
            assert not isinstance(command, ReplyError)
            outcome = admission.refusal(session, command, park.argv)
            if outcome is None:
                outcome, told = run_told(session, command, park.argv, park.again)
            if type(outcome) is Park:
                command.calls -= 1
                outcome.argv, outcome.db, outcome.since_ms = park.argv, session.db, park.since_ms
                outcome.deadline_ms = park.deadline_ms
                self.wakeups.add(session, outcome)
                return False
            reply = session.encode(outcome)
        self._answer(session, reply)
        if told:
            self.push(session, told)
        return True

    def unpark(self, session: Session, reply: Any) -> None:
        """End a session's wait with this reply."""
        self.wakeups.remove(session)
        self.reply_to_parked(session, reply)

    def reply_to_parked(self, session: Session, reply: Any) -> None:
        """The wait has ended with this reply, which the command's handler has no part in."""
        command = session.last_command
        if command is not None:
            command.calls += 1
            if isinstance(reply, ReplyError):
                command.failed += 1
                self.count_error(reply)
        self._answer(session, session.encode(reply))

    def _answer(self, session: Session, reply: bytes) -> None:
        session.active_ms = self.dataset.now  # it was not idle, but waited
        if session.gate and (session.skip_next or not session.reply_on):
            session.skip_next = max(0, session.skip_next - 1)
            session.update_gate()
        elif reply:
            self.send(session, reply)
        if session.backlog:
            self.loop.call_soon(self._resume, session)

    def _resume(self, session: Session) -> None:
        if session.peer is not None:
            if not self.in_tick:
                self.begin_tick()
            session.peer.run_backlog()

    def load_in_steps(self, entry: Collection) -> None:
        """Bring a large collection into memory a step at a time; clients that want it are parked meanwhile."""
        if entry in self.loading_steps:
            return
        snapshot = self.engine.snapshot()
        self.loading_steps[entry] = entry.load_steps(snapshot, LOAD_STEP_ROWS)
        self.dataset.loading.add(entry)
        self.loop.call_soon(self._load_step, entry, snapshot)

    def _load_step(self, entry: Collection, snapshot: Snapshot) -> None:
        # not a function inside of `load_in_steps`: one that names itself is a cycle, which would keep the whole collection
        # for ever, for nobody collects cycles here
        refusal = None
        try:
            if entry.is_there and next(self.loading_steps[entry], self) is not self:
                self.loop.call_soon(self._load_step, entry, snapshot)
                return
        except Corruption as error:
            log.error("corruption met on the way into memory: %s", error)
            refusal = ReplyError(f"ERR corruption: {error}")
        del self.loading_steps[entry]
        self.dataset.loading.discard(entry)
        snapshot.close()
        if refusal is not None:
            for session in list(self.wakeups):
                if session.parked is not None and getattr(session.parked.ready, "entry", None) is entry:
                    self.unpark(session, refusal)
        self.poll()

    # -- consequences of changes ---------------------------------------------------------------------------------

    def _notify(self, letters: str) -> None:
        """`notify-keyspace-events` was set."""
        self.notifications.configure(letters)
        self.dataset.listen(self.notifications.kinds)

    def tell_events(self) -> None:
        """Publish what has happened to keys. REQUIRES: it is in the log, or will be at the end of the transaction."""
        happened, self.dataset.events = self.dataset.events, []
        self.notifications.publish(happened)

    def keys_changed(self, marks: Iterable[Watched]) -> None:
        """Tell everybody who asked: transactions that watch, clients that wait."""
        watchers, wakeups = self.watchers, self.wakeups
        marks = list(marks)
        for mark in marks:
            for session in watchers.get(mark, ()):
                session.watch_broken = True
            if wakeups:
                wakeups.signal(mark)

    def databases_moved(self) -> None:
        """Databases are other spaces than before (FLUSHDB, FLUSHALL, SWAPDB): who watches or waits for keys follows, and
        who tracks them is told.

        A watched key has changed if it was there before or is there now.
        """
        self.caches.flushed()
        databases = self.dataset.databases
        moved = []
        for mark, sessions in self.watchers.items():
            for session in sessions:
                index, existed = session.watched[mark]
                db = databases[index]
                if db.space != mark[0]:
                    moved.append((session, mark, db, existed, db.find(mark[1]) is not None))
        if self.dataset.effects:  # what was due there is deleted before anybody watches it
            finish(self)
        for session, mark, db, existed, exists in moved:
            if mark in session.watched:
                if existed or exists:
                    session.watch_broken = True
                session.watch_follows(mark, db)
        for session in list(self.wakeups):
            park = session.parked
            if park is not None and park.marks and park.marks[0][0] != session.db.space:
                self.wakeups.follow(session)

    def swap_databases(self, first: int, second: int) -> None:
        """SWAPDB: every session that had one selected now sees the other. `databases_moved` does the rest."""
        self.dataset.swap(first, second)
        places = {id(db): db for db in (self.dataset.databases[first], self.dataset.databases[second])}
        other = {id(self.dataset.databases[first]): second, id(self.dataset.databases[second]): first}
        for session in (*self.sessions.values(), self.stage.actor):  # a script may be what swaps
            if session is not None and id(session.db) in places:
                session.db = self.dataset.databases[other[id(session.db)]]

    def count_error(self, error: ReplyError) -> None:
        prefix = error.text.partition(" ")[0]
        self.errors[prefix] = self.errors.get(prefix, 0) + 1

    def feed_monitors(self, session: Session, argv: Argv) -> None:
        """MONITOR: one line for each command that runs."""
        now = self.engine.clock.now_us()
        command = find(self, argv)
        words = " ".join(quoted(arg) for arg in (argv if isinstance(command, ReplyError) else redacted(command, argv)))
        line = f"{now // 1_000_000}.{now % 1_000_000:06d} [{session.db.index} {session.address}] {words}"
        for monitor in self.monitors:
            self.send(monitor, Raw(monitor.encode(line)))

    def ask_sizes(self) -> None:
        """Have the checkpointer report how large the tables are, not more often than it is worth."""
        if self.dataset.now - self._sizes_asked_ms > SIZES_MS:
            self._sizes_asked_ms = self.dataset.now
            self.engine.ask_sizes()

    def checkpoint(self) -> None:
        """Have the tables catch up with the log, in the background."""
        cron.checkpoint(self)

    # -- the checkpointer ----------------------------------------------------------------------------------------

    def watch_checkpointer(self) -> None:
        """Hear the checkpointer's messages as they come."""
        process = self.engine.process
        if process is not None:
            self.loop.add_reader(process.fileno(), self._checkpointer_spoke, process)

    def revive_checkpointer(self) -> None:
        """Try again to start one where none could be started."""
        process = self.engine.process
        if process is not None and process.ended:
            self._checkpointer_spoke(process)

    def _checkpointer_spoke(self, process: Any) -> None:
        engine = self.engine
        descriptor = process.fileno()
        engine.update_time()
        before = engine.checkpoint_error
        engine.poll()
        replaced = engine.process is not process
        if replaced or process.ended:
            if descriptor >= 0:
                self.loop.remove_reader(descriptor)
            if replaced:
                self.watch_checkpointer()
                log.error("%s; another one was started", engine.checkpoint_error or before)
            elif engine.checkpoint_error != before:
                log.error("%s; it is tried again", engine.checkpoint_error)
        elif engine.checkpoint_error != before:
            if engine.checkpoint_error:
                log.error("a checkpoint failed and will be tried again, the log is kept: %s", engine.checkpoint_error)
            else:
                log.info("checkpoints work again")
        cron.check_lag(self)
        if len(self.wakeups):
            self.wakeups.poll(self.dataset.now)


def quoted(raw: bytes) -> str:
    """Bytes as MONITOR and SLOWLOG show them."""
    simple = {34: '\\"', 92: "\\\\", 10: "\\n", 13: "\\r", 9: "\\t", 7: "\\a", 8: "\\b"}
    return '"' + "".join(simple.get(b) or (chr(b) if 32 <= b < 127 else f"\\x{b:02x}") for b in raw) + '"'


def stays(path: str) -> None:
    """`dir` was set. Raises ConfigError."""
    raise ConfigError("", "the data directory cannot change while the server runs: stop it, move the directory, start it")


def probe_when_silent(raw: socket.socket, seconds: int) -> None:
    """Let TCP ask after so many seconds of silence whether the peer is still there: one that is not is gone after twice
    the time, as in Redis. With the kernel's own numbers it would stay eleven minutes more."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, seconds // 3))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def is_loopback(address: str) -> bool:
    return address.startswith(("127.", "::ffff:127.")) or address == "::1"


def notify_systemd(message: bytes) -> None:
    """Tell systemd, when it asked to be told (Type=notify)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.connect("\0" + address[1:] if address.startswith("@") else address)
            line.sendall(message)


def can_be_let_in(clients: int) -> None:
    """`maxclients` was set. Raises ConfigError when the process may not open so many files."""
    room = room_for(clients)
    if room < clients:
        unable = "The operating system is not able to handle the specified number of clients"
        raise ConfigError("", f"{unable}, try with {room}")
