"""ACL LOG: who was refused what lately. The same refusal again within a minute counts up an entry."""

from __future__ import annotations

from typing import Final

GROUPED_MS: Final = 60_000
LOOKED_AT: Final = 10
"""How many of the newest entries are compared with a new one."""


class Entry:
    """A refusal, `count` times. `reason`: auth, command, key or channel; `context`: toplevel, multi or lua."""

    __slots__ = ("client", "context", "count", "created_ms", "id", "object", "reason", "updated_ms", "username")

    def __init__(self, ident: int, reason: str, context: str, object_: bytes, username: bytes, now_ms: int) -> None:
        self.id = ident
        self.reason, self.context, self.object, self.username = reason, context, object_, username
        self.count = 0
        self.client = b""
        self.created_ms = self.updated_ms = now_ms

    @property
    def kind(self) -> tuple[str, str, bytes, bytes]:
        """What entries that count as one have in common."""
        return self.reason, self.context, self.object, self.username


class AclLog:
    """The last `capacity` entries, the newest first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.entries: list[Entry] = []
        self._next_id = 0

    def add(self, reason: str, context: str, object_: bytes, username: bytes, client: bytes, now_ms: int) -> None:
        """Somebody was refused something. `client`: its line in CLIENT LIST."""
        new = Entry(self._next_id, reason, context, object_, username, now_ms)
        for entry in self.entries[:LOOKED_AT]:
            if entry.kind == new.kind and now_ms - entry.updated_ms <= GROUPED_MS:
                self.entries.remove(entry)
                new = entry
                break
        else:
            self._next_id += 1
        new.count += 1
        new.client = client
        new.updated_ms = now_ms
        self.entries.insert(0, new)
        del self.entries[self.capacity :]

    def resize(self, capacity: int) -> None:
        self.capacity = capacity
        del self.entries[capacity:]

    def clear(self) -> None:
        self.entries.clear()
