"""The commands, one module for each Redis group (or a large part of one). A new module joins by being named here."""

from __future__ import annotations

from typing import Final

from perdure.commands import (
    acl,
    administration,
    bitmaps,
    clients,
    configuration,
    connection,
    diagnostics,
    dumps,
    geo,
    hashes,
    hyperloglog,
    introspection,
    keys,
    lists,
    migrate,
    pubsub,
    sets,
    sorting,
    streams,
    strings,
    tracking,
    transactions,
    zsets,
)
from perdure.registry import Family

FAMILIES: Final[tuple[Family, ...]] = (
    acl.COMMANDS,
    connection.COMMANDS,
    clients.COMMANDS,
    tracking.COMMANDS,
    transactions.COMMANDS,
    administration.COMMANDS,
    administration.WAITING,
    diagnostics.COMMANDS,
    diagnostics.KEYS,
    diagnostics.CLUSTER,
    configuration.COMMANDS,
    introspection.COMMANDS,
    streams.COMMANDS,
    strings.COMMANDS,
    bitmaps.COMMANDS,
    hashes.COMMANDS,
    lists.COMMANDS,
    sets.COMMANDS,
    zsets.COMMANDS,
    geo.COMMANDS,
    keys.COMMANDS,
    keys.DATABASES,
    keys.SWAPPING,
    dumps.COMMANDS,
    migrate.COMMANDS,
    sorting.COMMANDS,
    pubsub.COMMANDS,
    hyperloglog.COMMANDS,
)
