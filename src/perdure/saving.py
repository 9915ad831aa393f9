"""Waiting until the tables have everything: SAVE, and FLUSHALL where Redis saves with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.errors import ReplyError
from perdure.session import Park

if TYPE_CHECKING:
    from perdure.server import Server


class Saving:
    """A checkpoint of everything up to now. `ready` pushes it on and says whether it is over, one way or the other."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.target = server.engine.log.next_lsn - 1
        server.engine.checkpoint_error = ""

    def ready(self) -> bool:
        engine = self.server.engine
        if engine.applied_lsn < self.target and engine.log.durable_lsn < self.target:
            self.server.hasten_sync()
        if engine.applied_lsn >= self.target or engine.checkpoint_error or engine.log.poison is not None:
            return True
        self.server.checkpoint()
        return engine.applied_lsn >= self.target

    def answer(self) -> Any:
        """The reply to a command that is nothing but the wish to save."""
        engine = self.server.engine
        if engine.applied_lsn >= self.target:
            return "OK"
        return ReplyError(f"ERR the checkpoint failed: {engine.log.poison or engine.checkpoint_error}")

    def answer_to_change(self) -> Any:
        """The reply to a command that has changed something: done is done once the log has it for good."""
        records = self.server.engine.log
        if records.poison is None or records.durable_lsn >= self.target:
            return "OK"
        return ReplyError(f"MISCONF {records.poison}")


def wait_for_tables(server: Server, *, changed: bool) -> Any:
    """The reply when the tables have everything, or a Park until they do. `changed`: by the command that waits."""
    saving = Saving(server)
    answer = saving.answer_to_change if changed else saving.answer
    return answer() if saving.ready() else Park("save", ready=saving.ready, answer=answer)
