"""The other clients while a script does not end: they get BUSY, and SCRIPT KILL gets through.

A script runs inside of one callback of the event loop, which cannot run anything else meanwhile. But every now and
then the script's interpreter asks us (`Stage.tick`), and when that has gone on for `busy-reply-threshold` we do the
loop's work by hand, a round at a time: take what has arrived at the sockets, run it, send the replies. Only commands
that may run in that state do (`allow_busy`), none of them changes data, and nothing is committed: the open transaction
is the script's. Time stands still.

New clients are accepted, and handed to the loop at the end. Clients with TLS wait: only the loop can read from them. So
do those that the loop has accepted just before the script began and not told us of.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from typing import TYPE_CHECKING, Any, Final

from perdure.net import Connection

if TYPE_CHECKING:
    from perdure.scripting.running import Run
    from perdure.server import Server

READ_MAX: Final = 1 << 16
ROUND_MAX: Final = 256
"""Sockets that are looked after between two looks at the script."""


class Meanwhile:
    """See the module. `run` is the script that keeps everybody waiting, None most of the time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.run: Run | None = None
        self._poll: select.epoll
        self._connections: dict[int, Connection] = {}
        self._doors: dict[int, socket.socket] = {}
        self._guests: list[tuple[Connection, socket.socket]] = []

    def serve(self, run: Run) -> None:
        """One round."""
        if self.run is None:
            self._begin(run)
        server = self._server
        server.sync_thread.tell()
        for number, _ in self._poll.poll(0, ROUND_MAX):
            if number in self._doors:
                self._let_in(self._doors[number])
            else:
                self._read(number, self._connections[number])
        server.let_replies_go()
        server.ready.append(run.caller)  # its reply is still to come

    def end(self) -> None:
        """The script has ended: the loop takes over again."""
        self.run = None
        self._poll.close()
        for connection in self._connections.values():
            connection.usual_limits()
        self._connections.clear()
        self._doors.clear()
        guests, self._guests = self._guests, []
        for connection, raw in guests:
            self._server.spawn(self._hand_over(connection, raw))
        self._server.dataset.keep_expired = False
        self._server.update_gate()

    def _begin(self, run: Run) -> None:
        server = self._server
        self.run = run
        server.gate = True
        server.dataset.keep_expired = True
        if not server.in_tick:
            server.in_tick = True
            server.loop.call_soon(server.tick)
        self._poll = select.epoll()
        for door in server.listeners.plain_sockets():
            self._doors[door.fileno()] = door
            self._poll.register(door.fileno(), select.EPOLLIN)
        for session in server.sessions.values():
            connection = session.peer
            if connection is not None and session is not run.caller and not session.closing:
                self._attend(connection)

    def _attend(self, connection: Connection) -> None:
        number = connection.fileno()
        if number >= 0 and connection.transport.get_extra_info("sslcontext") is None:
            self._connections[number] = connection
            self._poll.register(number, select.EPOLLIN)

    def _read(self, number: int, connection: Connection) -> None:
        session = connection.session
        try:
            data = os.read(number, READ_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or session.closing:  # the loop will see the same, and knows what to do
            self._poll.unregister(number)
            return
        inside, session.in_exec = session.in_exec, True
        connection.transport.set_write_buffer_limits(high=0)  # what is written leaves at once
        try:
            connection.data_received(data)
        finally:
            session.in_exec = inside

    def _let_in(self, door: socket.socket) -> None:
        door.setblocking(False)
        try:
            raw, _ = door.accept()
        except OSError:
            return
        raw.setblocking(False)
        connection = Connection(self._server)
        connection.connection_made(Early(raw))
        if not connection.session.closing:
            self._guests.append((connection, raw))
            self._attend(connection)

    async def _hand_over(self, connection: Connection, raw: socket.socket) -> None:
        early: Any = connection.transport
        if early.is_closing():
            self._server.disconnect(connection.session)
            raw.close()
            return
        await self._server.loop.connect_accepted_socket(lambda: connection, raw)


class Early(asyncio.Transport):
    """The transport of a connection that the loop does not know yet."""

    def __init__(self, raw: socket.socket) -> None:
        super().__init__()
        self._raw = raw
        self._closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket":
            return self._raw
        try:
            if name == "peername":
                return self._raw.getpeername()
            if name == "sockname":
                return self._raw.getsockname()
        except OSError:
            pass
        return default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        try:
            if self._raw.send(data) != len(data):
                self.abort()
        except OSError:
            self.abort()

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        self._closing = True
        try:
            self._raw.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass
