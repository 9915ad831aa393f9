"""Replies → values for Lua, by Redis' rules, in the protocol that the script has chosen with redis.setresp.

A handler of the host returns a plain value (bytes, int, float, False, None, a table), or a pair of a value and its kind:
STATUS and FAILED become tables with `ok` and `err` on the other side. A pair of False and a text is a complaint: an error
that is the script's own, and has not been counted yet. False is what RESP2 has for null, and True is the
status OK, since nothing is said as often and a pair takes longer; a true boolean comes as a pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import hiredis

from perdure.errors import ReplyError
from perdure.resp import (
    BigNumber,
    Decimal,
    Map,
    NullArray,
    Pairs,
    Push,
    Raw,
    Rows,
    Set,
    Verbatim,
    format_double,
)

STATUS: Final = 1
FAILED: Final = 2
ENCODED: Final = 3
BOOLEAN: Final = 4
OK: Final = True

PLAIN: Final = frozenset((bytes, int))
NewTable = Callable[..., Any]


def to_lua(reply: Any, new_table: NewTable, protocol: int) -> Any:
    """`reply` as `redis.call` returns it: a value, or a pair of value and kind."""
    kind = type(reply)
    if kind is bytes or kind is int:
        return reply
    if reply is None:
        return None if protocol == 3 else False
    if kind is str:
        return one_line(reply), STATUS
    if kind is ReplyError:
        return one_line(reply.text), FAILED
    if kind is list and PLAIN.issuperset(map(type, reply)):
        return new_table(reply)
    value = nested(reply, protocol)
    if value is True:
        return True, BOOLEAN
    return new_table(value, recursive=True) if isinstance(value, (dict, list)) else value


def nested(reply: Any, protocol: int) -> Any:
    """`reply` in dicts and lists that become tables, what is in them included."""
    kind = type(reply)
    if kind in PLAIN:
        return reply
    for each in kind.__mro__:
        if each in MAKERS:
            return MAKERS[each](reply, protocol)
    raise TypeError(f"a handler returned {kind.__name__}, which scripts cannot be given")


def one_line(text: str) -> bytes:
    return text.replace("\r", " ").replace("\n", " ").encode("latin-1", "replace")


def _items(items: Sequence[Any], protocol: int) -> list[Any]:
    return [nested(item, protocol) for item in items]


def _map(items: Sequence[Any], protocol: int) -> Any:
    if protocol == 2:
        return _items(items, protocol)
    values = _items(items, protocol)
    return {b"map": {key: value for key, value in zip(values[::2], values[1::2], strict=True) if value is not None}}


def _set(items: Sequence[Any], protocol: int) -> Any:
    members = _items(items, protocol)
    if protocol == 2 or any(isinstance(member, (dict, list)) for member in members):  # no keys of a dict: COMMAND INFO
        return members
    return {b"set": dict.fromkeys(members, True)}


def _pairs(items: Sequence[Any], protocol: int) -> Any:
    if protocol == 2:
        return _items(items, protocol)
    return _items([*zip(items[::2], items[1::2], strict=True)], protocol)


def _double(text: bytes, protocol: int) -> Any:
    return text if protocol == 2 else {b"double": float(text)}


def _verbatim(reply: Verbatim, protocol: int) -> Any:
    if protocol == 2:
        return reply.text
    return {b"verbatim_string": {b"format": reply.fmt.encode(), b"string": reply.text}}


def _mapping(reply: Mapping[Any, Any], protocol: int) -> Any:
    return _map([*chain.from_iterable(reply.items())], protocol)


def _raw(reply: Raw, protocol: int) -> Any:
    reader = hiredis.Reader()
    reader.feed(reply)
    return nested(reader.gets(), protocol)


MAKERS: Final[dict[type, Callable[[Any, int], Any]]] = {
    type(None): lambda reply, protocol: None if protocol == 3 else False,
    NullArray: lambda reply, protocol: None if protocol == 3 else False,
    bool: lambda reply, protocol: reply if protocol == 3 else int(reply),
    int: lambda reply, protocol: int(reply),
    bytearray: lambda reply, protocol: bytes(reply),
    str: lambda reply, protocol: {b"ok": one_line(reply)},
    ReplyError: lambda reply, protocol: {b"err": one_line(reply.text)},
    float: lambda reply, protocol: _double(format_double(reply), protocol),
    Decimal: lambda reply, protocol: _double(reply.text, protocol),
    list: _items,
    tuple: _items,
    dict: _mapping,
    Map: lambda reply, protocol: _map(reply.items, protocol),
    Pairs: lambda reply, protocol: _pairs(reply.items, protocol),
    Rows: lambda reply, protocol: (
        _map(reply.items, 3) if protocol == 3 else _items([*zip(reply.items[::2], reply.items[1::2], strict=True)], 2)
    ),
    Set: lambda reply, protocol: _set(reply.items, protocol),
    Push: lambda reply, protocol: _items(reply.items, protocol),
    Verbatim: _verbatim,
    BigNumber: lambda reply, protocol: (
        b"%d" % reply.value if protocol == 2 else {b"big_number": b"%d" % reply.value}
    ),
    Raw: _raw,
}
