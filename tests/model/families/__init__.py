"""What the commands of each family look like: importing this fills `differential.COMMAND_STRATEGIES`."""

from tests.model.families import (
    bitmaps,
    dumps,
    geo,
    hashes,
    hyperloglog,
    keys,
    lists,
    sets,
    sorting,
    streams,
    strings,
    transactions,
    zsets,
)

__all__ = [
    "bitmaps",
    "dumps",
    "geo",
    "hashes",
    "hyperloglog",
    "keys",
    "lists",
    "sets",
    "sorting",
    "streams",
    "strings",
    "transactions",
    "zsets",
]
