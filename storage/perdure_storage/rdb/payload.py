"""DUMP payloads: a value, the version of the format, a check sum."""

from __future__ import annotations

from struct import Struct
from typing import Final

from anycrc import Model

from perdure_storage.rdb.loading import is_known, read_value
from perdure_storage.rdb.reading import BadPayload, Reader
from perdure_storage.rdb.saving import write_value
from perdure_storage.rdb.values import HashValue, Value

VERSION: Final = 10
"""What Redis 7.0 writes."""
VERSION_WITH_FIELD_EXPIRY: Final = 12
"""What Redis 7.4 writes: older ones do not know such hashes."""
FOOTER: Final = Struct("<HQ")

_crc = Model("CRC64-REDIS")


class BadChecksum(BadPayload):
    """The check sum is another one, or the version is one that we do not know."""


def crc64(data: bytes | memoryview, before: int = 0) -> int:
    """CRC-64 with Jones' polynomial 0xad93d23594c935a9, reflected, beginning with 0, as Redis has it; `before`: of what
    comes before these bytes."""
    found: int = _crc.calc(data, before)
    return found


def seal(*parts: bytes, version: int = VERSION) -> bytes:
    """A payload of these bytes: with version and check sum."""
    whole = [*parts, version.to_bytes(2, "little")]
    crc = 0
    for part in whole:
        crc = crc64(part, crc)
    return b"".join([*whole, crc.to_bytes(8, "little")])


def unseal(payload: bytes, *, check: bool = True) -> tuple[Reader, int]:
    """What `seal` was given: the bytes, and the version. Raises BadChecksum. `check`: has the sum to match?"""
    end = len(payload) - FOOTER.size
    if end < 0:
        raise BadChecksum(f"a payload of {len(payload)} bytes")
    version, crc = FOOTER.unpack_from(payload, end)
    if not is_known(version):
        raise BadChecksum(f"the unknown RDB version {version}")
    if check and crc != crc64(memoryview(payload)[: end + 2]):
        raise BadChecksum("the check sum does not match")
    return Reader(payload, 0, end), version


def dump(value: Value, *, packed: bool = True) -> bytes:
    """The payload of a value. `packed`: write a collection in the form that Redis has for small ones."""
    kind, body = write_value(value, packed=packed)
    expiring = isinstance(value, HashValue) and value.expiries
    return seal(bytes((kind,)), body, version=VERSION_WITH_FIELD_EXPIRY if expiring else VERSION)


def load(payload: bytes, *, check: bool = True) -> Value:
    """The value of a payload. Raises BadChecksum, BadPayload. `check`: has the check sum to match?"""
    reader, version = unseal(payload, check=check)
    value = read_value(reader.byte(), reader, version)
    if reader.left:
        raise BadPayload(f"{reader.left} bytes behind the value")
    return value
