"""The checkpointer as a process of its own, and the engine's end of the line to it.

LMDB's binding gives the interpreter lock back on every put: beside a busy loop a thread would take seconds for what
takes a process a fraction, and a fault inside LMDB would take the server down with it.

The line is a socket pair; each message is one JSON object on a line. To the process::

    {"fold": lsn}     fold up to this durable LSN          {"compact": name}  copy the tables to this directory
    {"drop": name}    remove that table directory          {"info": true}     report sizes

From it::

    {"ready": true}       it has begun
    {"applied": lsn, "folded_bytes": n}   after each commit     {"reclaimed": rows}
    {"compacted": name}   the tables are now there              {"sizes": {...}}
    {"error": text, "kind": class}        could not do the last thing; it will be tried again when asked again

End of file on the line ends the process.
"""

from __future__ import annotations

import gc
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import lmdb

from perdure_storage.checkpoint import Checkpointer
from perdure_storage.errors import StorageError
from perdure_storage.files import OsFiles
from perdure_storage.recovery import Directory, in_words
from perdure_storage.tables import LmdbTables

NICENESS: Final = 5
PAUSE_S: Final = 1.0
"""From the start of one process to the next when it does not get ready: nor will the next one, and a start takes a lot."""
Message = dict[str, Any]


class CheckpointerProcess:
    """Starts and talks to the process. Non-blocking but for `wait`.

    The process inherits the directory's lock: when the server is killed, nobody else can open the directory before
    the checkpointer has ended its last transaction too.
    """

    def __init__(self, path: str, lock_fd: int) -> None:
        self.path = path
        ours, theirs = socket.socketpair()  # closed by themselves when what follows fails
        source = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}
        program = "from perdure_storage.checkpointer import main; main()"  # -m would warn of a second import
        command = [sys.executable, "-c", program, path, str(theirs.fileno())]
        self.process = subprocess.Popen(
            command, pass_fds=[theirs.fileno(), lock_fd], stdin=subprocess.DEVNULL, env=environment, start_new_session=True
        )
        theirs.close()
        self.socket = ours
        self._partial = b""
        self._started = time.monotonic()
        self._heard = False

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def ended(self) -> bool:
        """Was it found to have ended, and hung up on?"""
        return self.socket.fileno() < 0

    @property
    def failed_at_once(self) -> bool:
        """It has ended without getting ready: is it too early for the next one?"""
        return not self._heard and time.monotonic() < self._started + PAUSE_S

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, **message: object) -> None:
        """Raises OSError when the process is gone."""
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[Message]:
        """What has arrived. Raises EOFError when the process has ended."""
        try:
            data = self.socket.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        *lines, self._partial = (self._partial + data).split(b"\n")
        self._heard = True
        return [json.loads(line) for line in lines]

    def wait(self, timeout_s: float) -> bool:
        """Has something arrived within that time? One that has ended has its end to tell."""
        return self.ended or bool(select.select([self.socket], [], [], timeout_s)[0])

    def stop(self) -> None:
        """Hang up and wait for the process to end its last transaction."""
        self.socket.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class _Service:
    """The process' main loop."""

    def __init__(self, path: str, line: socket.socket) -> None:
        self.line = line
        self.files = OsFiles()
        self.directory = Directory(self.files, path)
        self.tables = LmdbTables(self.directory.tables, writable=True)
        self.checkpointer = Checkpointer(self.files, self.directory.log, self.tables)
        self.upto = 0

    def run(self) -> None:
        """Serve until the line is closed; reclaim garbage whenever there is nothing else to do."""
        rest = b""
        garbage = True
        self.tell(ready=True)
        while True:
            if garbage and not select.select([self.line], [], [], 0)[0]:
                garbage = self.attempt(self.reclaim)  # after a failure: when there is something else to do again
                continue
            data = self.line.recv(1 << 16)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self.attempt(partial(self.handle, json.loads(line)))
            garbage = True
        self.checkpointer.close()
        self.tables.close()

    def tell(self, **message: object) -> None:
        self.line.sendall(json.dumps(message).encode() + b"\n")

    def attempt(self, job: Callable[[], bool]) -> bool:
        """What `job` returns; False when the disk, or what is on it, did not allow it, which is reported."""
        try:
            return job()
        except (StorageError, OSError, lmdb.Error) as error:
            if isinstance(error, (BrokenPipeError, ConnectionResetError)):
                raise  # the line, not the disk
            self.fail(error)
            return False

    def reclaim(self) -> bool:
        """One step; False when nothing is left."""
        removed = self.checkpointer.reclaim()
        if removed:
            self.tell(reclaimed=removed)
        return removed > 0

    def handle(self, message: Message) -> bool:
        if "fold" in message:
            if message["fold"] <= self.checkpointer.applied_lsn:  # it failed when all was done, and is asked again
                self.tell(applied=self.checkpointer.applied_lsn)
            for lsn in self.checkpointer.run(message["fold"]):
                self.tell(applied=lsn)
        elif "compact" in message:
            self.compact(message["compact"])
        elif "drop" in message:
            shutil.rmtree(os.path.join(self.directory.path, message["drop"]), ignore_errors=True)
        elif "info" in message:
            self.tell(sizes=self.tables.info())
        return True

    def fail(self, error: Exception) -> None:
        """Report, and begin again from what is on disk: a half-done fold is forgotten."""
        self.tell(error=in_words(self.directory.path, error), kind=type(error).__name__)
        self.checkpointer.close()
        self.tables.close()
        self.tables = LmdbTables(self.directory.tables, writable=True)
        self.checkpointer = Checkpointer(self.files, self.directory.log, self.tables)

    def compact(self, name: str) -> None:
        """Copy the tables without their free pages and make the copy the one in use."""
        target = os.path.join(self.directory.path, name)
        shutil.rmtree(target, ignore_errors=True)
        os.mkdir(target, 0o700)
        try:
            self.tables.copy_compact(target)
            handle = self.files.open(os.path.join(target, "data.mdb"), writable=True)
            handle.sync()
            handle.close()
            self.files.sync_dir(target)
            self.directory.point_to(name)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        self.checkpointer.close()
        self.tables.close()
        self.tables = LmdbTables(target, writable=True)
        self.checkpointer = Checkpointer(self.files, self.directory.log, self.tables)
        self.tell(compacted=name)


def main() -> None:
    """Arguments: DIRECTORY FD. Started by the engine, not by people."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    path, descriptor = sys.argv[1], int(sys.argv[2])
    os.nice(NICENESS)
    gc.disable()  # nothing here is cyclic, and a collection would walk all pending rows
    with socket.socket(fileno=descriptor) as line:
        try:
            _Service(path, line).run()
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server is gone; what was committed is committed


if __name__ == "__main__":
    main()
