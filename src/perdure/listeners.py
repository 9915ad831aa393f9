"""Where clients come in: TCP, TLS and Unix sockets, opened at the start and moved while the server runs.

The listening sockets are opened here, at once, so that CONFIG SET can say whether that worked; the event loop accepts
from a duplicate of each. It can then go on with another duplicate when certificates change, and no client that is
waiting in the kernel's queue is lost.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from perdure import tls
from perdure.directives import ConfigError

if TYPE_CHECKING:
    import ssl

    from perdure.config import Config

log = logging.getLogger("perdure")

CANNOT_LISTEN: Final = "Unable to listen on this port. Check server logs."
CANNOT_BIND: Final = "Failed to bind to specified addresses."
BAD_TLS: Final = "Unable to update TLS configuration. Check server logs."
EVERYWHERE: Final = {"*": "0.0.0.0", "::*": "::"}


class Listener:
    """One listening socket and, once the loop runs, what accepts from it. The loop listens once more, with `backlog`."""

    def __init__(self, raw: socket.socket, make: Callable[[], asyncio.Protocol], backlog: int) -> None:
        self.raw = raw
        self._make = make
        self._backlog = backlog
        self._accepting: asyncio.AbstractServer | None = None

    async def accept(self, context: ssl.SSLContext | None) -> None:
        """Take clients, with TLS when there is a context; again: with the new context."""
        loop = asyncio.get_running_loop()
        before, copy = self._accepting, self.raw.dup()
        if copy.family == socket.AF_UNIX:
            self._accepting = await loop.create_unix_server(self._make, sock=copy, backlog=self._backlog)
        else:
            self._accepting = await loop.create_server(self._make, sock=copy, ssl=context, backlog=self._backlog)
        if before is not None:
            before.close()

    def close(self) -> None:
        """Listen no more; the address is free at once, for all duplicates."""
        if self._accepting is not None:
            self._accepting.close()
        try:
            self.raw.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.raw.close()


class Listeners:
    """All of a server's. `make()` makes the protocol of a new connection; `port` and `tls_port` are those in use."""

    def __init__(self, config: Config, make: Callable[[], asyncio.Protocol]) -> None:
        self._config = config
        self._make = make
        self._plain: list[Listener] = []
        self._tls: list[Listener] = []
        self._unix: list[Listener] = []
        self._context: ssl.SSLContext | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = self.tls_port = 0
        config.on_change("port", self._move_plain)
        config.on_change("tls-port", self._move_tls)
        config.on_change("bind", self._bind)
        for name in tls.DIRECTIVES:
            config.on_change(name, self._renew_tls)

    async def open(self) -> None:
        """Listen where the configuration says. Raises OSError, ConfigError.

        `port 0` takes a free one, unless there is a port for TLS: then only that is listened on.
        """
        config = self._config
        if config.tls_port:
            self._context = tls.context(config)
            self._tls, self.tls_port = self._listen(config.tls_port)
        if config.port or not config.tls_port:
            self._plain, self.port = self._listen(config.port)
        if config.unixsocket:
            raw = unix_socket(config.at(config.unixsocket), config.tcp_backlog)
            self._unix = [Listener(raw, self._make, config.tcp_backlog)]
            if config.unixsocketperm:
                os.chmod(config.at(config.unixsocket), config.unixsocketperm)
        for listener in self._plain + self._unix:
            await listener.accept(None)
        for listener in self._tls:
            await listener.accept(self._context)

    def plain_sockets(self) -> list[socket.socket]:
        """The listening sockets without TLS."""
        return [listener.raw for listener in self._plain + self._unix]

    def described(self) -> Iterator[str]:
        """One line for each kind, as INFO has them."""
        addresses = "".join(f",bind={address}" for address in self._config.bind)
        if self._plain:
            yield f"name=tcp{addresses},port={self.port}"
        if self._unix:
            yield f"name=unix,bind={self._config.at(self._config.unixsocket)}"
        if self._tls:
            yield f"name=tls{addresses},port={self.tls_port}"

    def close(self) -> None:
        """Nobody comes in any more."""
        self._plain, self._tls, self._unix = map(self._closed, (self._plain, self._tls, self._unix))

    def _listen(self, port: int) -> tuple[list[Listener], int]:
        """Listeners for all addresses of `bind`, and the port, chosen by the kernel when it is 0. Raises OSError."""
        found: list[Listener] = []
        backlog = self._config.tcp_backlog
        try:
            for address in self._config.bind:
                try:
                    raw = tcp_socket(address.lstrip("-"), port, backlog)
                except OSError:
                    if address.startswith("-"):
                        continue
                    raise
                port = raw.getsockname()[1]
                found.append(Listener(raw, self._make, backlog))
        except OSError:
            self._closed(found)
            raise
        return found, port

    # -- while the server runs -------------------------------------------------------------------------------------

    def _move_plain(self, port: int) -> None:
        self._plain = self._moved(self._plain, port, None)
        self.port = port

    def _move_tls(self, port: int) -> None:
        if port and self._context is None:
            self._context = self._new_context()
        self._tls = self._moved(self._tls, port, self._context)
        self.tls_port = port

    def _moved(self, old: list[Listener], port: int, context: ssl.SSLContext | None) -> list[Listener]:
        """Listeners on another port (0: none) in the place of the old ones. Raises ConfigError; then these stay."""
        new: list[Listener] = []
        if port:
            try:
                new, _ = self._listen(port)
            except OSError as error:
                log.warning("cannot listen on port %d: %s", port, error.strerror)
                raise ConfigError("", CANNOT_LISTEN) from None
        self._closed(old)
        for listener in new:
            self._begin(listener, context)
        return new

    def _bind(self, addresses: Any) -> None:
        """`bind` was set. What was listened on has to be given up first; it is taken back when the new does not work."""
        before = [[listener.raw.getsockname()[:2] for listener in old] for old in (self._plain, self._tls)]
        self._plain, self._tls = self._closed(self._plain), self._closed(self._tls)
        problem = None
        try:
            self._plain = self._listen(self.port)[0] if self.port else []
            self._tls = self._listen(self.tls_port)[0] if self.tls_port else []
        except OSError as error:
            log.warning("cannot listen on %s: %s", " ".join(addresses), error.strerror)
            problem = ConfigError("", CANNOT_BIND)
            self._closed(self._plain)
            backlog = self._config.tcp_backlog
            self._plain, self._tls = (
                [Listener(tcp_socket(host, port, backlog), self._make, backlog) for host, port in old] for old in before
            )
        for listener in self._plain:
            self._begin(listener, None)
        for listener in self._tls:
            self._begin(listener, self._context)
        if problem is not None:
            raise problem

    @staticmethod
    def _closed(listeners: list[Listener]) -> list[Listener]:
        for listener in listeners:
            listener.close()
        return []

    def _renew_tls(self, value: Any) -> None:
        """Something about certificates or protocols was set: it holds for connections from now on."""
        if self.tls_port:
            self._context = self._new_context()
            for listener in self._tls:
                self._begin(listener, self._context)
        else:
            self._context = None

    def _new_context(self) -> ssl.SSLContext:
        try:
            return tls.context(self._config)
        except ConfigError as error:
            log.warning("TLS is not changed: %s", error)
            raise ConfigError("", BAD_TLS) from None

    def _begin(self, listener: Listener, context: ssl.SSLContext | None) -> None:
        task = asyncio.ensure_future(listener.accept(context))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def tcp_socket(host: str, port: int, backlog: int) -> socket.socket:
    """A socket that listens. Raises OSError."""
    host = EVERYWHERE.get(host, host)
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    raw = socket.socket(family, kind)
    try:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        raw.bind(address)
        raw.listen(backlog)
        raw.setblocking(False)
    except OSError:
        raw.close()
        raise
    return raw


def unix_socket(path: str, backlog: int) -> socket.socket:
    """The same, on a path. Raises OSError, also when something else is there."""
    remove_stale_socket(path)
    raw = socket.socket(socket.AF_UNIX)
    try:
        raw.bind(path)
        raw.listen(backlog)
        raw.setblocking(False)
    except OSError as error:
        raw.close()
        error.filename = path
        raise
    return raw


def remove_stale_socket(path: str) -> None:
    """Make way for a Unix socket where a dead server has left its own. Raises OSError when something else is there."""
    try:
        mode = os.stat(path, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(17, "this file is there and is no socket", path)
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(98, "another server listens on it", path)
