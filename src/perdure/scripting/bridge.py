"""From Python into scripts, and from redis.call back.

Here by lupa's general way; `_bridge.pyx` does the same by Lua's own C interface. `connect` takes what there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ctypes import CDLL, RTLD_GLOBAL
from typing import Any, Protocol

import lupa.lua51

Serve = Callable[[list[Any]], Any]
"""Gets the arguments of a redis.call: bytes, int, float, None for what is neither string nor number. What it returns, see
`convert`. Raises nothing."""
Body = Callable[[int, list[bytes]], Any]
"""A script: called with how many of the list are keys. Several values come in a tuple. Raises LuaError, LuaMemoryError."""


class Bridge(Protocol):
    host: Mapping[bytes, Any]
    """What sandbox.lua makes redis.call and redis.pcall of."""

    def used(self) -> int:
        """Bytes that the interpreter has allocated since it was made."""

    def body(self, function: Any) -> Body:
        """`function`, one of Lua that takes the tables KEYS and ARGV, to be called from Python."""


class PlainBridge:
    """The one that is always there."""

    def __init__(self, runtime: Any, serve: Serve) -> None:
        self.host: Mapping[bytes, Any] = {
            b"call": lambda *args: serve(list(args)),
            b"call_many": lambda table, count: serve([table[at] for at in range(1, count + 1)]),
        }
        self._runtime = runtime

    def used(self) -> int:
        used: int = self._runtime.get_memory_used()
        return used

    def body(self, function: Any) -> Body:
        table = self._runtime.table_from

        def run(count: int, args: list[bytes]) -> Any:
            return function(table(args[:count]), table(args[count:]))

        return run


def connect(runtime: Any, serve: Serve) -> Bridge:
    """A bridge between a LuaRuntime and `serve`."""
    try:
        CDLL(lupa.lua51.__file__, mode=RTLD_GLOBAL)  # Lua's functions are in this module; now others see them there
        from perdure.scripting._bridge import Bridge as CompiledBridge

        return CompiledBridge(runtime, serve)
    except (ImportError, OSError, lupa.lua51.LuaError):  # not compiled; not exported; no `package.loadlib`
        return PlainBridge(runtime, serve)
