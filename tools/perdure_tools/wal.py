"""List the records of the log: LSN, segment, offset, bytes, and the effects by name.

The log goes back as far as the last checkpoints; what is older is in the tables only. docs/formats/effects.md says what
each effect means. Values are shortened; --json has them whole.
"""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from perdure_storage import effects as fx
from perdure_storage.codec import RECORD_HEADER, unpack
from perdure_storage.errors import Corruption
from perdure_storage.files import OsFiles
from perdure_storage.recovery import Directory
from perdure_storage.wal import LogReader, Record
from perdure_tools.common import Mistake, directory_argument, human_bytes, json_text, key_argument, shown

EXAMPLES: Final = """\
examples:
  perdure wal perdure-data --from 1000 --to 1010
  perdure wal perdure-data --key user:17          every batch that touches the key
  perdure wal perdure-data --stats                how many of which effect, how many bytes
  perdure wal perdure-data --json | jq -c '.effects[] | select(.effect == "delete")'
"""


def arguments(parser: ArgumentParser) -> None:
    directory_argument(parser)
    parser.add_argument("--from", dest="first", type=int, metavar="LSN", help="from this record on")
    parser.add_argument("--to", dest="last", type=int, metavar="LSN", help="up to this record")
    parser.add_argument("--key", type=key_argument, metavar="KEY", help="only what touches the key, in any database")
    parser.add_argument("--json", action="store_true", help="JSON lines, values whole")
    parser.add_argument("--stats", action="store_true", help="sums instead of records")


def run(args: Namespace) -> int:
    files = OsFiles()
    directory = Directory(files, args.directory)
    if directory.is_new():
        raise Mistake(f"{args.directory} is not a data directory: there is no file FORMAT in it")
    directory.identity()
    reader = LogReader(files, directory.log)
    try:
        reader.hold()
        batches = chosen(reader, args)
        if args.stats:
            print(statistics(batches), end="")
        else:
            for record, effects in batches:
                print(json_line(record, effects) if args.json else text_line(record, effects))
    finally:
        reader.close()
    return 0


def chosen(reader: LogReader, args: Namespace) -> Iterator[tuple[Record, list[fx.Effect]]]:
    """The batches that the options ask for."""
    ids: set[int] = set()
    for record in reader.rest(None):
        if args.last is not None and record.lsn > args.last:
            return
        if args.first is not None and record.lsn < args.first:
            continue
        try:
            effects = list(unpack(record.payload))
            for effect in effects:
                fx.describe(effect)
        except (ValueError, TypeError, IndexError) as error:
            raise Corruption(*reader.where(), f"batch {record.lsn} cannot be read: {error}") from error
        if args.key is None or touches(effects, args.key, ids):
            yield record, effects


def touches(effects: list[fx.Effect], key: bytes, ids: set[int]) -> bool:
    """Is the key in these effects? `ids` gathers the ids it is seen to have had: element effects name only those."""
    found = False
    for effect in effects:
        if effect[0] in fx.KEY_LEVEL and effect[2] == key:
            found = True
            ids.update(ident for name, ident in fx.describe(effect)[1] if name == "id" and ident)
    others = (effect for effect in effects if effect[0] not in fx.KEY_LEVEL)
    return found or any(dict(fx.describe(effect)[1]).get("id") in ids for effect in others)


def text_line(record: Record, effects: list[fx.Effect]) -> str:
    """One record for people."""
    size = RECORD_HEADER + len(record.payload)
    words = "; ".join(effect_text(effect) for effect in effects)
    return f"{record.lsn:>8}  {record.segment:016d}.wal @{record.offset:<8}  {size:>6} B  {words}"


def effect_text(effect: fx.Effect) -> str:
    name, items = fx.describe(effect)
    return " ".join([name, *(f"{item}={shown(value)}" for item, value in items)])


def json_line(record: Record, effects: list[fx.Effect]) -> str:
    """One record for programs."""
    line = {
        "lsn": record.lsn,
        "segment": f"{record.segment:016d}.wal",
        "offset": record.offset,
        "bytes": RECORD_HEADER + len(record.payload),
        "effects": [effect_json(effect) for effect in effects],
    }
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"))


def effect_json(effect: fx.Effect) -> dict[str, Any]:
    """Items by name; the repeated ones as lists."""
    name, items = fx.describe(effect)
    _, repeated = fx.shape(effect[0])
    line: dict[str, Any] = {"effect": name, **{item: [] for item in repeated}}
    for item, value in items:
        plain = json_text(bytes(value)) if isinstance(value, (bytes, bytearray)) else value
        if item in repeated:
            line[item].append(plain)
        else:
            line[item] = plain
    return line


def statistics(batches: Iterator[tuple[Record, list[fx.Effect]]]) -> str:
    """How much of what."""
    count = size = first = last = 0
    effects_seen: Counter[str] = Counter()
    segments: Counter[int] = Counter()
    for record, effects in batches:
        first = first or record.lsn
        last = record.lsn
        count += 1
        size += RECORD_HEADER + len(record.payload)
        segments[record.segment] += 1
        effects_seen.update(fx.LAYOUT[effect[0]][0] for effect in effects)
    if not count:
        return "no records\n"
    lines = [
        f"records   {count}, LSN {first} to {last}, in {len(segments)} segments",
        f"bytes     {human_bytes(size)}, {size / count:.0f} a record",
        "effects",
        *(f"  {number:>10}  {name}" for name, number in effects_seen.most_common()),
    ]
    return os.linesep.join(lines) + "\n"
