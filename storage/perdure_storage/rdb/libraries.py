"""FUNCTION DUMP payloads: the code of each library behind opcode 245, the version of the format, a check sum.

The name of a library and its functions are not written: they follow from the code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from perdure_storage.rdb.payload import seal, unseal
from perdure_storage.rdb.reading import BadPayload
from perdure_storage.rdb.writing import write_string

OPCODE: Final = 245


def dump_libraries(codes: Iterable[bytes]) -> bytes:
    """The payload for libraries with these codes."""
    return seal(*(bytes((OPCODE,)) + write_string(code, raw=True) for code in codes))


def load_libraries(payload: bytes) -> list[bytes]:
    """The codes in a payload. Raises BadChecksum, BadPayload."""
    reader, _ = unseal(payload)
    codes = []
    while reader.left:
        if reader.byte() != OPCODE:
            raise BadPayload("what is no function library")
        codes.append(reader.string())
    return codes
