"""Show what is in a data directory: format, log, tables, keys, the biggest of them, and what expires when."""

from __future__ import annotations

import json
import os
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from heapq import heappush, heapreplace
from typing import Any, Final

from perdure_storage.errors import Corruption
from perdure_storage.keyspace import Keyspace
from perdure_storage.offline import Offline
from perdure_storage.tables import Table
from perdure_storage.wal import Manifest, SegmentReader
from perdure_storage.walk import Item, find, walk
from perdure_tools.common import (
    Meter,
    directory_argument,
    human_bytes,
    json_text,
    key_argument,
    log_notes,
    opened,
    shown,
)
from perdure_tools.dump import rendered

EXAMPLES: Final = """\
examples:
  perdure inspect perdure-data
  perdure inspect perdure-data --top 50
  perdure inspect perdure-data --key user:17     one key, its value as JSON
  perdure inspect perdure-data --key base64:/wA=
"""
BAR: Final = 40
SPANS: Final = [
    ("overdue", 0),
    ("1 minute", 60),
    ("1 hour", 3600),
    ("1 day", 86_400),
    ("1 week", 7 * 86_400),
    ("30 days", 30 * 86_400),
    ("1 year", 365 * 86_400),
]
LATER: Final = "later"


def arguments(parser: ArgumentParser) -> None:
    directory_argument(parser)
    parser.add_argument("--top", type=int, default=10, metavar="N", help="how many of the biggest keys (10)")
    parser.add_argument("--key", type=key_argument, metavar="KEY", help="show this key, in every database that has it")


def run(args: Namespace) -> int:
    with opened(args.directory) as view:
        if args.key is not None:
            return show_key(view, args.key)
        census = Census(args.top)
        census.take(view)
        for line in (*about(view), *log_lines(view), *table_lines(view), *census.lines()):
            print(line)
        notes = log_notes(view)
        for note in notes:
            print(f"\nnote: {note}")
        return 1 if view.damage is not None else 0


def show_key(view: Offline, key: bytes) -> int:
    """One key, from each database that has it."""
    found = [item for db in view.databases if (item := find(db, key)) is not None]
    for item in found:
        line = rendered(item, json_text)
        line["id"], line["size"] = item.id, item.size
        print(json.dumps(line, ensure_ascii=False, indent=2))
    if not found:
        print(f"no database has the key {shown(key)}")
    return 0 if found else 1


# -- the directory -----------------------------------------------------------------------------------------------------


def about(view: Offline) -> Iterator[str]:
    identity: dict[str, Any] = view.identity
    made = datetime.fromtimestamp(identity["created_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    version = ".".join(map(str, identity["lmdb"]))
    yield f"{view.path}: format {identity['format']}, LMDB {version}, made {made}, id {identity['id']}"
    clean = os.path.exists(os.path.join(view.path, "CLEAN"))
    state = "a server is running" if view.live else "stopped cleanly" if clean else "stopped, not cleanly"
    yield f"state     {state}"


def log_lines(view: Offline) -> Iterator[str]:
    behind = view.last_lsn - view.applied_lsn
    yield f"log       to LSN {view.last_lsn}; tables at LSN {view.applied_lsn}, {behind} batches behind"
    manifest = Manifest.load(view.files, view.directory.log)
    for segment in manifest.segments:
        try:
            reader = SegmentReader(view.files, segment)
        except (OSError, Corruption) as problem:
            yield f"  {os.path.basename(segment.path)}  {problem}"
            continue
        start = reader.next()
        size = human_bytes(reader.handle.size())
        reader.close()
        what = f"from LSN {start.lsn + 1}" if start is not None else "prepared, empty"
        yield f"  {os.path.basename(segment.path)}  {size:>10}  {what}"


def table_lines(view: Offline) -> Iterator[str]:
    path = view.directory.tables
    data = os.path.join(path, "data.mdb")
    size = human_bytes(os.stat(data).st_size) if os.path.exists(data) else "not made yet"
    yield f"tables    {os.path.basename(path)}, {size}"
    for table in Table:
        rows, used = view.snapshot.sizes(table)
        if rows:
            yield f"  {table.name.lower():<10} {rows:>12} rows  {human_bytes(used):>10}"


# -- the keys ----------------------------------------------------------------------------------------------------------


class Biggest:
    """The `limit` greatest of many, kept in a heap."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[int, int, bytes, str]] = []

    def add(self, item: Item) -> None:
        if len(self._heap) < self._limit:
            heappush(self._heap, (item.size, item.db.index, item.key, item.type_name))
        elif self._limit and item.size > self._heap[0][0]:
            heapreplace(self._heap, (item.size, item.db.index, item.key, item.type_name))

    def sorted(self) -> list[tuple[int, int, bytes, str]]:
        return sorted(self._heap, reverse=True)


class Census:
    """Counts all keys in one walk."""

    def __init__(self, top: int) -> None:
        self.types: dict[int, Counter[str]] = {}
        self.strings, self.collections = Biggest(top), Biggest(top)
        self.expiries: Counter[str] = Counter()
        self.now = time.time_ns() // 1_000_000

    def take(self, view: Offline) -> None:
        meter = Meter()
        total = sum(db.keys for db in view.databases)
        done = 0
        for db in view.databases:
            for item in walk(db):
                self._add(db, item)
                done += 1
                if not done % 4096:
                    meter.tell("keys", done, total)
        meter.clear()

    def _add(self, db: Keyspace, item: Item) -> None:
        name = item.type_name
        self.types.setdefault(db.index, Counter())[name] += 1
        (self.strings if name == "string" else self.collections).add(item)
        if item.expire:
            left_s = (item.expire - self.now) / 1000
            self.expiries[next((name for name, span in SPANS if left_s <= span), LATER)] += 1

    def lines(self) -> Iterator[str]:
        yield f"keys      {sum(counts.total() for counts in self.types.values())}"
        for index, counts in sorted(self.types.items()):
            parts = ", ".join(f"{number} {name}" for name, number in counts.most_common())
            yield f"  db{index:<8} {counts.total():>12}  {parts}"
        for title, biggest, measure in (
            ("longest strings", self.strings, human_bytes),
            ("largest collections", self.collections, lambda size: f"{size} elements"),
        ):
            if rows := biggest.sorted():
                yield title
                for size, index, key, name in rows:
                    yield f"  {measure(size):>16}  db{index} {name} {shown(key)}"
        if self.expiries:
            yield f"expiries  {self.expiries.total()} keys expire, within"
            most = max(self.expiries.values())
            for name in (*(name for name, _ in SPANS), LATER):
                if number := self.expiries[name]:
                    yield f"  {name:<9} {number:>12}  {'#' * max(1, number * BAR // most)}"
