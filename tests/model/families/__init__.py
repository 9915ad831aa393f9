"""What the commands of each family look like: importing this fills `differential.COMMAND_STRATEGIES`."""

from tests.model.families import bitmaps, geo, hashes, hyperloglog, keys, lists, sets, streams, strings, zsets

__all__ = ["bitmaps", "geo", "hashes", "hyperloglog", "keys", "lists", "sets", "streams", "strings", "zsets"]
