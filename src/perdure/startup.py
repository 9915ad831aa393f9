"""From the configuration to a server that runs, and to its exit code: what can go wrong on the way, in words."""

from __future__ import annotations

import errno
import logging
import os
import sys
from typing import TYPE_CHECKING

from perdure.directives import ConfigError
from perdure.open_files import OURS, room_for
from perdure.server import Server
from perdure_storage.engine import Engine, Options
from perdure_storage.errors import StorageError

if TYPE_CHECKING:
    from perdure.config import Config

log = logging.getLogger("perdure")


def run(config: Config) -> int:
    """Open the directory and serve until stopped; returns the exit code. Problems are one line on stderr."""
    import uvloop

    sys.setswitchinterval(5e-4)
    room = room_for(config.maxclients)
    if room < 1:
        return complain(f"'ulimit -n' is too low: at least {OURS + 1} files have to be open, and one more for each client")
    if room < config.maxclients:
        log.warning(
            "maxclients is %d, not %d: 'ulimit -n' allows no more open files, of which %d are the server's own",
            room, config.maxclients, OURS,
        )  # fmt: skip
        config.maxclients = room
    options = Options(
        databases=config.databases,
        segment_size=config.wal_segment_size,
        lag_bytes=config.checkpoint_lag,
        separate=True,
    )
    try:
        engine = Engine.open(config.dir, options)
    except StorageError as error:
        return complain(str(error))
    except OSError as error:
        return complain(why_not_opened(config, error))
    log.info("%s: %s", config.dir, engine.recovered)
    try:
        server = Server(config, engine)
    except ConfigError as error:
        engine.close()
        return complain(str(error))
    try:
        code = uvloop.run(server.serve(announce))
    except OSError as error:
        server.engine.close()
        return complain(why_not_listening(config, error))
    except ConfigError as error:
        server.engine.close()
        return complain(str(error))
    try:
        server.engine.close()
    except (StorageError, OSError) as error:
        return complain(f"the shutdown was not clean, but nothing acknowledged is lost: {error}")
    finally:
        if config.pidfile:
            remove_file(config.at(config.pidfile))
    poison = server.engine.log.poison
    log.info("%s, ready to exit, bye bye", "everything is in the tables" if poison is None else poison)
    return code


def complain(problem: str) -> int:
    """Tell whoever started the server, on the terminal and in the log file, why it ends; returns the exit code."""
    print(f"perdure-server: {problem}", file=sys.stderr, flush=True)
    if any(isinstance(handler, logging.FileHandler) for handler in log.handlers):
        log.error("%s", problem)
    return 1


def why_not_opened(config: Config, error: OSError) -> str:
    hints = {
        errno.ENOSPC: "make room on the disk and start again, nothing acknowledged is lost",
        errno.EDQUOT: "raise the quota and start again, nothing acknowledged is lost",
        errno.EMFILE: "raise the limit of open files (ulimit -n)",
        errno.EROFS: "the file system is read-only, or was made so by an error: see dmesg",
        **dict.fromkeys((errno.EACCES, errno.EPERM), "it and all in it must belong to the user that runs the server"),
        **dict.fromkeys((errno.ENOTDIR, errno.EISDIR, errno.EEXIST), "something else is in its place: move that away"),
    }
    hint = hints.get(error.errno or 0, "see `perdure check`, or restore a backup")
    where = f" ({error.filename})" if error.filename else ""
    return f"cannot open data directory {config.dir}: {error.strerror or error}{where}; {hint}"


def why_not_listening(config: Config, error: OSError) -> str:
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.filename:
        return f"cannot listen on Unix socket {error.filename}: {error.strerror or reason}; choose another --unixsocket"
    hint = "; stop what listens there, or choose another --port" if error.errno == 98 else ""
    ports = " and ".join(str(port) for port in (config.port, config.tls_port) if port)
    return f"cannot listen on {' '.join(config.bind)} port {ports}: {reason}{hint}"


def remove_file(path: str) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        log.warning("%s could not be removed: %s", path, error.strerror)


def announce(server: Server) -> None:
    """Say where we listen."""
    config = server.config
    if config.pidfile:
        try:
            with open(config.at(config.pidfile), "w") as file:
                file.write(f"{os.getpid()}\n")
        except OSError as error:
            log.warning("pidfile %s could not be written: %s", config.at(config.pidfile), error.strerror)
    listeners = server.listeners
    if config.port == 0 and server.port:
        print(server.port, flush=True)
    where = [f"port {listeners.port}"] if listeners.port else []
    where += [f"port {listeners.tls_port} for TLS"] if listeners.tls_port else []
    where += [config.at(config.unixsocket)] if config.unixsocket else []
    log.info("ready on %s, appendfsync %s", ", ".join(where), config.appendfsync)
