"""Values as Redis serializes them: DUMP payloads, and what stands behind each key of an RDB file.

    payload = value type u8, body, version u16, CRC64 u64         (little-endian; the sum is over all before it)

Pure functions over bytes and plain Python values: nothing here knows a server, a keyspace or a file. Everything that
Redis 2.6 to 8.2 writes can be read (RDB 6 to 12), and Valkey 8 (RDB 11) and 9 (RDB 80); what is written is what
redis-server 7.0 reads (RDB 10), but for hashes whose fields expire: those need 7.4 (RDB 12). Bytes from outside are
believed in nothing: whatever is unknown, cut off, too long, out of order or not consistent raises `BadPayload`, and
memory is asked for only in proportion to what is there.

Source of the formats: `rdb.c`, `listpack.c`, `ziplist.c`, `zipmap.c`, `intset.c` and `t_stream.c` of Redis describe
theirs in comments; https://github.com/antirez/listpack/blob/master/listpack.md specifies listpacks. docs/formats/rdb.md
has it all on one page.
"""

from perdure_storage.rdb.loading import is_known, read_value
from perdure_storage.rdb.payload import BadChecksum, crc64, dump, load, seal, unseal
from perdure_storage.rdb.reading import BadPayload, EmptyValue, Reader
from perdure_storage.rdb.values import (
    ConsumerValue,
    GroupValue,
    HashValue,
    ListValue,
    SetValue,
    StreamValue,
    StringValue,
    Value,
    ZSetValue,
)
from perdure_storage.rdb.writing import write_length, write_string

__all__ = [
    "BadChecksum",
    "BadPayload",
    "ConsumerValue",
    "EmptyValue",
    "GroupValue",
    "HashValue",
    "ListValue",
    "Reader",
    "SetValue",
    "StreamValue",
    "StringValue",
    "Value",
    "ZSetValue",
    "crc64",
    "dump",
    "is_known",
    "load",
    "read_value",
    "seal",
    "unseal",
    "write_length",
    "write_string",
]
