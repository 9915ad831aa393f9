"""The engine: a log, tables that it is folded into, and a cache in front. `Engine.open(path)` is the door."""

from perdure_storage import interpreted as interpreted  # first: it decides what an import finds
from perdure_storage.engine import Engine, Options

__all__ = ["Engine", "Options"]
