"""Bytes with a check sum: how a log record and a table row are sealed and opened.

Log record (little-endian), `docs/formats/wal.md`::

    crc   u32   CRC32C over (segment salt, everything below)
    size  u32   bytes of payload, at least 1: a record of zeros marks the end of the log
    lsn   u64   position; the next record has lsn + 1
    back  u32   lsn minus the newest LSN known durable when this was written (saturates)
    kind  u8    BATCH
    payload

`back` is what tells a torn tail from damage: a record that is bad although a later one says it was already synced
has been damaged; one that nobody vouches for was still on its way to the disk.

Table row, `docs/formats/tables.md`: value = CRC32C over (table number, row key, content) as u32, then the content.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, Final

import msgpack
from crc32c import crc32c

RECORD: Final = Struct("<IQIB")
RECORD_HEADER: Final = 4 + RECORD.size
MAX_BACK: Final = 0xFFFFFFFF
BATCH: Final = 1
_RETIRE_PACKER: Final = 1 << 20

crc_bytes = Struct("<I").pack
_pack_head = RECORD.pack
_packer = msgpack.Packer(use_bin_type=True)


def pack(value: Any) -> bytes:
    """msgpack with one kept packer; not for threads. A large result retires the packer, which keeps its buffer."""
    global _packer
    data: bytes = _packer.pack(value)
    if len(data) > _RETIRE_PACKER:
        _packer = msgpack.Packer(use_bin_type=True)
    return data


def unpack_in_python(data: bytes) -> Any:
    """The inverse of `pack`, arrays as tuples. Raises ValueError."""
    return msgpack.unpackb(data, use_list=False, strict_map_key=False)


def seal_record(salt: int, lsn: int, durable: int, kind: int, payload: bytes) -> bytes:
    """One log record with a payload of any bytes. `salt` is the segment's, already run through CRC32C."""
    back = lsn - durable
    body = _pack_head(len(payload), lsn, back if back < MAX_BACK else MAX_BACK, kind) + payload
    return crc_bytes(crc32c(body, salt)) + body


def reseal(record: bytes, salt: int) -> bytes:
    """The same log record for a segment with another salt."""
    body = memoryview(record)[4:]
    return b"".join((crc_bytes(crc32c(body, salt)), body))


def open_record_in_python(buffer: bytes, at: int, salt: int) -> tuple[int, int, int, bytes, int] | None:
    """(lsn, vouched, kind, payload, crc) of the valid log record at `at` of `buffer`, or None."""
    if at < 0 or len(buffer) - at < RECORD_HEADER:
        return None
    size, lsn, back, kind = RECORD.unpack_from(buffer, at + 4)
    end = at + RECORD_HEADER + size
    crc = int.from_bytes(buffer[at : at + 4], "little")
    if not size or end > len(buffer) or crc32c(buffer[at + 4 : end], salt) != crc:
        return None
    return lsn, lsn - back, kind, buffer[at + RECORD_HEADER : end], crc


def seal_row_in_python(table: bytes, key: bytes, content: bytes) -> bytes:
    """What is stored for `content` at `key` of the table whose one-byte number is `table`."""
    return crc_bytes(crc32c(content, crc32c(key, crc32c(table)))) + content


def open_row_in_python(table: bytes, key: bytes, stored: bytes) -> bytes | None:
    """The content of a stored row, or None when the check sum is wrong."""
    content = stored[4:]
    if stored[:4] != crc_bytes(crc32c(content, crc32c(key, crc32c(table)))):
        return None
    return content


def seal_batch_in_python(salt: int, lsn: int, durable: int, kind: int, effects: Any) -> bytes:
    """The log record of a batch of effects."""
    return seal_record(salt, lsn, durable, kind, pack(effects))


try:  # the same in C, where a compiler was present at installation
    from perdure_storage._fast import open_record as open_record
    from perdure_storage._fast import open_row as open_row
    from perdure_storage._fast import seal_batch as seal_batch
    from perdure_storage._fast import seal_row as seal_row
    from perdure_storage._fast import unpack as unpack
except ImportError:
    open_record, open_row = open_record_in_python, open_row_in_python
    seal_batch, seal_row = seal_batch_in_python, seal_row_in_python
    unpack = unpack_in_python
