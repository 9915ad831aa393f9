"""The log's syncs, where a disk is too slow for the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure_storage.files import File


class SyncThread:
    """fdatasync off the loop: blocking calls that give the interpreter lock away. One at a time."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, done: Callable[[list[File], int, OSError | None], None]
    ) -> None:
        self._loop = loop
        self._done = done
        self._ended: SimpleQueue[tuple[list[File], int, OSError | None]] = SimpleQueue()
        self._jobs: SimpleQueue[tuple[list[File], int] | None] = SimpleQueue()
        self.busy = False
        self._thread = threading.Thread(target=self._work, name="log-sync", daemon=True)
        self._thread.start()

    def start(self, files: list[File], lsn: int) -> None:
        self.busy = True
        self._jobs.put((files, lsn))

    def stop(self) -> None:
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            files, lsn = job
            failure: OSError | None = None
            try:
                for handle in files:
                    handle.sync()
            except OSError as error:
                failure = error
            self._ended.put((files, lsn, failure))
            try:
                self._loop.call_soon_threadsafe(self.tell)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

    def tell(self) -> None:
        """Say which syncs have ended. The loop calls this; so does who keeps the loop from it."""
        while not self._ended.empty():
            self._done(*self._ended.get())
