"""Sockets: bytes in, replies out, back-pressure.

Replies are collected while the loop handles what has arrived, and leave together at the end of the tick, after the log
was written: one write(2) of the log for all clients, one send for each. A reply whose LSN is not safe enough for its
connection's level waits in `session.pending`, in order.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from perdure.dispatch import execute
from perdure.resp import ProtocolError, RequestParser
from perdure.session import Session

if TYPE_CHECKING:
    from perdure.server import Server

HELD_MAX: Final = 1 << 20
"""Bytes of replies held back for durability before the client is no longer read from."""


class Connection(asyncio.Protocol):
    """One client's socket."""

    __slots__ = ("server", "session", "parser", "transport", "_stopped", "_full", "_held")

    def __init__(self, server: Server) -> None:
        self.server = server
        self.session: Session
        self.parser = RequestParser()
        self.transport: asyncio.Transport
        self._stopped = self._full = self._held = False

    # -- asyncio's side ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]
        self.session = self.server.connect(self)
        self.parser.authenticated = self.session.authenticated

    def connection_lost(self, error: Exception | None) -> None:
        self.server.disconnect(self.session)

    def data_received(self, data: bytes) -> None:
        server, session = self.server, self.session
        if not server.in_tick:
            server.begin_tick()
        session.bytes_in += len(data)
        commands = self.parser.feed(data)
        if session.parked is not None or session.backlog:
            session.backlog.extend(commands)
            if len(session.backlog) > 1024:
                self.hold(True)
        else:
            self.run(commands)
        if self.parser.error is not None:
            self._protocol_error(self.parser.error)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._full = True
        self._update_reading()

    def resume_writing(self) -> None:
        self._full = False
        self._update_reading()

    # -- running commands ----------------------------------------------------------------------------------------

    def run(self, commands: list[list[bytes]]) -> None:
        """Execute requests in order; what comes after one that has to wait goes to the backlog."""
        session, server = self.session, self.server
        out = session.out
        if not out:
            server.ready.append(session)
        lsn = session.ds.lsn
        for number, argv in enumerate(commands, 1):
            reply = execute(session, argv)
            if reply:
                out.append(reply)
            if server.wakeups.signaled:
                server.wakeups.serve()
            if session.parked is not None or session.closing:
                if session.parked is not None:
                    session.backlog.extend(commands[number:])
                break
        session.commands += len(commands)
        session.active_ms = session.ds.now
        if server.throttled and session.ds.lsn != lsn:
            server.throttle(self)

    def run_backlog(self) -> None:
        """The client waits no more: go on with what it has sent meanwhile."""
        session = self.session
        while session.backlog and session.parked is None and not session.closing:
            commands = list(session.backlog)
            session.backlog.clear()
            self.run(commands)
        if not session.backlog:
            self.hold(False)

    def _protocol_error(self, error: ProtocolError) -> None:
        session = self.session
        session.out.append(session.encode(error.reply))
        self.server.ready.append(session)
        self.server.protocol_errors += 1
        session.closing = True

    # -- sending -------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """To the socket, now."""
        self.session.bytes_out += len(data)
        self.transport.write(data)

    def close(self) -> None:
        """Close after what was sent has left."""
        self.transport.close()

    def abort(self) -> None:
        """Close now."""
        self.transport.abort()

    def hold(self, held: bool) -> None:
        """Stop or go on reading from this client, for a reason of the server's."""
        if held != self._held:
            self._held = held
            self._update_reading()

    def _update_reading(self) -> None:
        stop = self._held or self._full
        if stop != self._stopped and not self.transport.is_closing():
            self._stopped = stop
            if stop:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()
