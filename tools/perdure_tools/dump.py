"""Write all keys as JSON lines: {"db": 0, "key": "k", "type": "string", "value": "v", "expire_ms": ...}.

Text is UTF-8; bytes that are not are {"base64": "..."}. A hash is an object, or a list of [field, value] where a
field is not UTF-8; field_expire_ms has the expiries of fields in the same form. A sorted set is the same with scores
in their order, infinite ones as "inf" and "-inf". expire_ms is unix milliseconds and is there when the key has an
expiry. What has expired but is not yet removed is left out.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from math import isinf
from typing import Any, Final

from perdure_storage.offline import Offline
from perdure_storage.walk import TYPES, Item, walk
from perdure_tools.common import Meter, base64_text, directory_argument, json_text, key_argument, log_notes, opened
from perdure_tools.glob import compile_glob, literal_prefix

EXAMPLES: Final = """\
examples:
  perdure dump perdure-data > backup.jsonl
  perdure dump perdure-data --db 1 --match 'session:*' --keys-only | wc -l
  perdure dump perdure-data --type hash | jq -c '[.key, (.value | length)]'
  perdure dump perdure-data --raw-base64        every key and value as base64, for binary data
"""
BATCH: Final = 256

Convert = Callable[[bytes], Any]
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def arguments(parser: ArgumentParser) -> None:
    directory_argument(parser)
    parser.add_argument("--db", type=int, metavar="N", help="only this database")
    parser.add_argument("--match", type=key_argument, metavar="GLOB", help="only keys that match, as SCAN has it")
    parser.add_argument("--type", choices=sorted({value.type_name for value in TYPES.values()}), help="only this type")
    parser.add_argument("--keys-only", action="store_true", help="leave out the values")
    parser.add_argument("--expired", action="store_true", help="also what has expired and is not yet removed")
    parser.add_argument("--raw-base64", action="store_true", help="all keys and values as plain base64 text")


def run(args: Namespace) -> int:
    convert: Convert = base64_text if args.raw_base64 else json_text
    now = 0 if args.expired else time.time_ns() // 1_000_000
    meter = Meter()
    with opened(args.directory) as view:
        total = sum(db.keys for db in view.databases)
        write = sys.stdout.buffer.write
        lines: list[str] = []
        for done, item in enumerate(chosen(view, args, now), 1):
            lines.append(_encode(rendered(item, convert, now, value=not args.keys_only)))
            if len(lines) == BATCH or item.size > 1 << 16:
                write(("\n".join(lines) + "\n").encode())
                lines.clear()
                meter.tell("keys", done, total)
        if lines:
            write(("\n".join(lines) + "\n").encode())
        sys.stdout.flush()
        meter.clear()
        for note in log_notes(view):
            print(f"perdure dump: {note}", file=sys.stderr)
        return 1 if view.damage is not None else 0


def chosen(view: Offline, args: Namespace, now: int) -> Iterator[Item]:
    """The keys that the options ask for."""
    matches = compile_glob(args.match) if args.match is not None else None
    prefix = literal_prefix(args.match) if args.match is not None else b""
    for db in view.databases:
        if args.db is not None and db.index != args.db:
            continue
        for item in walk(db, prefix):
            if 0 < item.expire <= now or (args.type and item.type_name != args.type):
                continue
            if matches is None or matches(item.key):
                yield item


def rendered(item: Item, convert: Convert, now: int = 0, *, value: bool = True) -> dict[str, Any]:
    """One line's object."""
    line: dict[str, Any] = {"db": item.db.index, "key": convert(item.key), "type": item.type_name}
    if item.expire:
        line["expire_ms"] = item.expire
    if value:
        at = TYPES[item.kind].expire_at
        elements = item.elements()
        if at is not None and now:
            elements = (element for element in elements if not 0 < element[at] <= now)
        for name, content in TYPES[item.kind].plain(elements).items():
            line[name] = plain_json(content, convert)
    return line


def plain_json(value: Any, convert: Convert) -> Any:
    """Python's own types with bytes in them, as JSON has it."""
    if isinstance(value, (bytes, bytearray)):
        return convert(bytes(value))
    if isinstance(value, float) and isinf(value):
        return str(value)  # JSON has no such numbers
    if isinstance(value, dict):
        pairs = [(plain_json(key, convert), plain_json(content, convert)) for key, content in value.items()]
        if all(isinstance(key, str) for key, _ in pairs):
            return dict(pairs)
        return [list(pair) for pair in pairs]
    if isinstance(value, (list, tuple, set)):
        return [plain_json(each, convert) for each in value]
    return value
