"""Sockets: bytes in, replies out, back-pressure.

Replies are collected while the loop handles what has arrived, and leave together at the end of the tick, after the log
was written: one write(2) of the log for all clients, one send for each. A reply whose LSN is not safe enough for its
connection's level waits in `session.pending`, in order.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Final

from perdure.dispatch import execute_all
from perdure.resp import ProtocolError, RequestParser
from perdure.session import Session

if TYPE_CHECKING:
    from perdure.server import Server

HELD_MAX: Final = 1 << 20
"""Bytes of replies held back for durability before the client is no longer read from."""
SLICE: Final = 64
"""Commands of one pipeline that run before the size of their replies is looked at."""
LONG: Final = 1024
"""Commands of one pipeline after which the other clients get their turn: libuv hands over up to 32 buffers of 256 KB from
one socket before it looks at the next one, which are seconds."""
REPLIES_MAX: Final = 1 << 20
"""Bytes of replies that one client may pile up in a tick; the rest of its pipeline waits until they have left."""
UNREAD_MAX: Final = 256 << 20
"""Bytes of replies that a client may leave unread before it is no longer read from. They are many, because a client may
well send all of a long pipeline before it reads the first reply: not read from either, both would wait for ever."""
LARGE: Final = 32 << 10
"""An argument that is longer is read on in one go."""
READ_ON_MAX: Final = 4 << 20
"""Bytes that one client may be read on: the others wait meanwhile."""
STRANGER_OUTPUT_MAX: Final = 1024
"""Bytes of replies that may wait for a client that has not authenticated."""


class Connection(asyncio.Protocol):
    """One client's socket."""

    __slots__ = ("_full", "_held", "_slowed", "_stopped", "parser", "server", "session", "transport")

    def __init__(self, server: Server) -> None:
        self.server = server
        self.session: Session
        config = server.config
        self.parser = RequestParser(
            max_bulk=config.proto_max_bulk_len, max_request=config.client_query_buffer_limit
        )
        self.transport: asyncio.Transport
        self._stopped = self._full = self._held = self._slowed = False

    # -- asyncio's side ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]
        if hasattr(self, "session"):
            return  # the loop takes it over: see `busy`
        self.session = self.server.connect(self)
        self.trust(self.session.authenticated)

    def trust(self, authenticated: bool) -> None:
        """Who has not authenticated may send small requests only, and must read the replies."""
        was, self.parser.authenticated = self.parser.authenticated, authenticated
        if was != authenticated:
            self.usual_limits()

    def usual_limits(self) -> None:
        """How much may wait to be sent before the client is no longer read from."""
        self.transport.set_write_buffer_limits(None if self.parser.authenticated else STRANGER_OUTPUT_MAX)

    def connection_lost(self, error: Exception | None) -> None:
        self.server.disconnect(self.session)

    def data_received(self, data: bytes) -> None:
        server, session = self.server, self.session
        if not server.in_tick:
            server.begin_tick()
        session.bytes_in += len(data)
        parser = self.parser
        commands = parser.feed(data)
        wanted = parser.wanted_bytes
        if wanted and wanted + parser.waiting_bytes > LARGE:
            commands += self._read_on()
        if server.client_memory.watching and not server.client_memory.measure(session, commands):
            return
        if session.parked is not None or session.backlog:
            session.backlog.extend(commands)
            if len(session.backlog) > 1024:
                self.hold(True)
        else:
            self.run(commands)
        if parser.error is not None:
            self._protocol_error(parser.error)
        while parser.waiting:
            session.backlog.extend(parser.feed(b""))
            self.go_on()
            if parser.error is not None:
                self._protocol_error(parser.error)

    def _read_on(self) -> list[list[bytes]]:
        """A large argument is under way: take what the kernel has of it in one go, not a piece in each round of the loop.

        Returns the requests that are whole now. It reads the socket behind the loop's back, which holds nothing of it. A
        client that sends in small pieces waits with the last one until we acknowledge the others (Nagle): do it now.
        """
        found: list[list[bytes]] = []
        room = READ_ON_MAX
        raw = self.transport.get_extra_info("socket")
        if raw is None or self.transport.get_extra_info("sslcontext") is not None:
            return found
        acknowledged = raw.family == socket.AF_UNIX
        while room > 0 and self.parser.wanted_bytes and self.parser.error is None:
            try:
                data = os.read(raw.fileno(), min(room, self.parser.wanted_bytes))
            except BlockingIOError:
                if acknowledged:
                    break
                acknowledged = True
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                continue
            except OSError:
                break  # which the loop is going to meet
            if not data:
                break
            room -= len(data)
            self.session.bytes_in += len(data)
            found += self.parser.feed(data)
        return found

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._full = True
        self._update_reading()
        self.server.choked[self] = 0
        self.server.check_output(self)

    def resume_writing(self) -> None:
        self._full = False
        self._update_reading()
        self.server.choked.pop(self, None)
        self.go_on()

    # -- running commands ----------------------------------------------------------------------------------------

    def run(self, commands: list[list[bytes]]) -> None:
        """Execute requests in order; what comes after one that has to wait goes to the backlog."""
        session, server = self.session, self.server
        if len(commands) > SLICE:
            self._run_in_slices(commands)
            return
        if not session.out:
            server.ready.append(session)
        lsn = session.ds.lsn
        done = execute_all(session, commands)
        if done < len(commands) and not session.closing:
            session.backlog.extend(commands[done:])
            if session.parked is None:
                self._rest()
        session.commands += len(commands)
        session.active_ms = session.ds.now
        if server.throttled and session.ds.lsn != lsn:
            server.throttle(self)

    def _run_in_slices(self, commands: list[list[bytes]]) -> None:
        """A long pipeline: what its replies take in memory is bounded, the requests that are left wait their turn."""
        session = self.session
        room, seen = REPLIES_MAX, len(session.out)
        for start in range(0, len(commands), SLICE):
            self.run(commands[start : start + SLICE])
            room -= sum(map(len, session.out[seen:]))
            seen = len(session.out)
            if session.closing:
                return
            if session.parked is not None or session.backlog or room < 0:
                session.backlog.extend(commands[start + SLICE :])
                if session.parked is None and session.backlog:
                    self._rest()
                return
        if len(commands) > LONG:
            self._rest()

    def _rest(self) -> None:
        """Let replies leave and others have their turn before more of this client is read or run."""
        self.hold(True)
        self.server.loop.call_soon(self.go_on)

    def go_on(self) -> None:
        """There may be room for the replies to what is left of a pipeline."""
        session = self.session
        if self._stuffed or session.pending_bytes > HELD_MAX or session.peer is None:
            return
        if session.backlog:
            if not self.server.in_tick:
                self.server.begin_tick()
            self.run_backlog()
        elif session.parked is None and not session.closing:
            self.hold(False)

    def run_backlog(self) -> None:
        """The client waits no more: go on with what it has sent meanwhile."""
        session = self.session
        if session.parked is None and not session.closing:
            commands = list(session.backlog)
            session.backlog.clear()
            self.run(commands)
            if not session.backlog and not session.closing and session.pending_bytes <= HELD_MAX:
                self.hold(False)

    def _protocol_error(self, error: ProtocolError) -> None:
        session = self.session
        session.out.append(session.encode(error.reply))
        self.server.ready.append(session)
        self.server.protocol_errors += 1
        session.closing = True
        self.hold(True)

    # -- sending -------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """To the socket, now."""
        self.session.bytes_out += len(data)
        self.transport.write(data)
        if self._full:
            self.server.check_output(self)
            self._update_reading()

    def close(self) -> None:
        """Close after what was sent has left."""
        self.transport.close()

    def fileno(self) -> int:
        """The socket's number, -1 when it has none any more."""
        raw = self.transport.get_extra_info("socket")
        return raw.fileno() if raw is not None else -1

    @property
    def waiting_bytes(self) -> int:
        """Bytes of replies that the client has not taken yet."""
        return self.transport.get_write_buffer_size()

    def abort(self) -> None:
        """Close now."""
        self.transport.abort()

    def hold(self, held: bool) -> None:
        """Stop or go on reading from this client, for a reason of the server's."""
        if held != self._held:
            self._held = held
            self._update_reading()

    def slow(self, slowed: bool) -> None:
        """Stop or go on reading from this client, for the sake of the tables."""
        self._slowed = slowed
        self._update_reading()

    @property
    def _stuffed(self) -> bool:
        return self._full and self.waiting_bytes > UNREAD_MAX

    def _update_reading(self) -> None:
        stop = self._held or self._slowed or self._stuffed
        if stop != self._stopped and not self.transport.is_closing():
            self._stopped = stop
            if stop:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()
