"""FUNCTION DUMP payloads: the code of each library behind opcode 245, the version of the format, a check sum.

The name of a library and its functions are not written: they follow from the code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from perdure_storage.rdb.payload import FOOTER, VERSION, VERSION_MAX, BadChecksum, crc64
from perdure_storage.rdb.reading import BadPayload, Reader
from perdure_storage.rdb.writing import write_string

OPCODE: Final = 245


def dump_libraries(codes: Iterable[bytes]) -> bytes:
    """The payload for libraries with these codes."""
    body = b"".join(bytes((OPCODE,)) + write_string(code, raw=True) for code in codes)
    body += VERSION.to_bytes(2, "little")
    return body + crc64(body).to_bytes(8, "little")


def load_libraries(payload: bytes) -> list[bytes]:
    """The codes in a payload. Raises BadChecksum, BadPayload."""
    end = len(payload) - FOOTER.size
    if end < 0:
        raise BadChecksum(f"a payload of {len(payload)} bytes")
    version, crc = FOOTER.unpack_from(payload, end)
    if version > VERSION_MAX or crc != crc64(payload[: end + 2]):
        raise BadChecksum("the version or the check sum is wrong")
    reader = Reader(payload, 0, end)
    codes = []
    while reader.left:
        if reader.byte() != OPCODE:
            raise BadPayload("what is no function library")
        codes.append(reader.string())
    return codes
