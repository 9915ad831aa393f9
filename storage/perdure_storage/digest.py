"""One number for what a dataset says, however it is stored: equal for the same keys, values and expiry times.

The digest of a key is BLAKE2b over (database, key, type, expire, sum of the digests of its elements); that of a dataset
is the sum of its keys'. Sums modulo 2^160, so the order does not matter, a thing that is there twice does not cancel
out, and memory stays small. What has expired by the dataset's clock counts as gone, swept or not. An empty dataset has
forty zeros.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from perdure_storage.codec import pack
from perdure_storage.keyspace import Dataset, Keyspace
from perdure_storage.types.entry import Element, Kind
from perdure_storage.walk import TYPES, Item, find, walk

SIZE: Final = 20
MODULUS: Final = 1 << 8 * SIZE
NOTHING: Final = 0


def dataset_digest(dataset: Dataset, *, ignore_expiry: bool = False) -> str:
    """Forty hex digits for all databases. `ignore_expiry` leaves out when things expire, not what has expired.

    REQUIRES: nothing changes meanwhile. Raises Corruption.
    """
    total = sum(_item_digest(item, ignore_expiry) for db in dataset.databases for item in walk(db))
    return _hex(total % MODULUS)


def key_digest(db: Keyspace, key: bytes, *, ignore_expiry: bool = False) -> str:
    """The same for one key; zeros when it is not there."""
    item = find(db, key)
    return _hex(_item_digest(item, ignore_expiry) if item is not None else NOTHING)


def _item_digest(item: Item, ignore_expiry: bool) -> int:
    now = item.db.ds.now
    if item.expire and item.expire <= now:
        return NOTHING
    if item.kind in (Kind.STRING, Kind.CHUNKED):
        ((content,),) = item.elements()
    else:
        elements = item.elements()
        at = TYPES[item.kind].expire_at
        if at is not None:
            elements = _living(elements, at, now, ignore_expiry)
        total = sum(map(_element_digest, elements))
        if not total:
            return NOTHING
        content = (total % MODULUS).to_bytes(SIZE, "big")
    expire = 0 if ignore_expiry else item.expire
    head = pack((item.db.index, item.key, item.type_name, expire))
    return int.from_bytes(blake2b(head + content, digest_size=SIZE).digest(), "big")


def _living(elements: Iterator[Element], at: int, now: int, ignore_expiry: bool) -> Iterator[Element]:
    """Without what has expired; the rest without its expiry where that is not asked for."""
    for element in elements:
        if not 0 < element[at] <= now:
            yield (*element[:at], 0, *element[at + 1 :]) if ignore_expiry else element


def _element_digest(element: Element) -> int:
    return int.from_bytes(blake2b(pack(element), digest_size=SIZE).digest(), "big")


def _hex(number: int) -> str:
    return number.to_bytes(SIZE, "big").hex()
