"""Effects: the closed list of what a batch in the log can say.

An effect is a tuple whose first item is its number. Effects are absolute and idempotent ("field f is v", "gone"),
never commands: folding a batch twice gives the same rows, and replay asks neither clock nor dice. A batch is one
msgpack array of effects, in the order they happened; RECORDs of collections come last, since they state the size
after all changes.

Names used in the layouts: `space` is the number of a keyspace (a database points at one; FLUSHDB gives it a new one),
`id` the key's u64 that prefixes its element rows and is never used again, times are unix ms with 0 for none, `due` the
time at which the sweep must look at the key, `prev_due` the one whose index row this effect replaces.
`docs/formats/effects.md` is drawn from `LAYOUT`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final

Effect = tuple[Any, ...]

STRING: Final = 1
PATCH: Final = 2
RECORD: Final = 3
EXPIRE: Final = 4
DELETE: Final = 5
FREE: Final = 6
COUNT: Final = 7
SPACES: Final = 8
DROP_SPACE: Final = 9
HASH_PUT: Final = 10
HASH_DEL: Final = 11
LIST_PUT: Final = 20
LIST_CUT: Final = 21
SET_ADD: Final = 30
SET_DEL: Final = 31
ZSET_PUT: Final = 40
ZSET_DEL: Final = 41
STREAM_ADD: Final = 50
STREAM_DEL: Final = 51
STREAM_SET: Final = 52
GROUP_SET: Final = 60
GROUP_DEL: Final = 61
CONSUMER_SET: Final = 62
CONSUMER_DEL: Final = 63
PENDING_PUT: Final = 64
PENDING_DEL: Final = 65
LIBRARY_SET: Final = 70
LIBRARY_DEL: Final = 71

LAYOUT: Final[dict[int, tuple[str, str, str]]] = {
    STRING: ("string", "space key value expire prev_due id", "the key holds this string, if long in chunks under id"),
    PATCH: ("patch", "space key id offset data size", "its string has data at offset and a length of size"),
    RECORD: ("record", "space key type id size expire due prev_due", "the key is a collection: size elements under id"),
    EXPIRE: ("expire", "space key expire prev_due", "the string key expires then"),
    DELETE: ("delete", "space key prev_due id type", "the key is gone; rows under id (unless 0) are garbage"),
    FREE: ("free", "id type", "rows under id are garbage"),
    COUNT: ("count", "space keys expires", "so many keys are in the space, so many of them with an expiry"),
    SPACES: ("spaces", "space...", "database 0, 1, ... is that space"),
    DROP_SPACE: ("drop_space", "space", "all keys of the space are garbage"),
    HASH_PUT: ("hash_put", "id (field value expire)...", "each field has this value and expiry"),
    HASH_DEL: ("hash_del", "id field...", "the fields are gone"),
    LIST_PUT: ("list_put", "id slot value...", "the slot and those that follow it have these values"),
    LIST_CUT: ("list_cut", "id slot stop", "the slots from slot up to, but not, stop are gone: the first or the last ones"),
    SET_ADD: ("set_add", "id member...", "these are members"),
    SET_DEL: ("set_del", "id member...", "these are no members"),
    ZSET_PUT: ("zset_put", "id (member score)...", "each member has this score"),
    ZSET_DEL: ("zset_del", "id member...", "these are no members"),
    STREAM_ADD: (
        "stream_add",
        "id ms seq deleted_ms deleted_seq added (field value)...",
        "the entry ms-seq has these fields; and stream_set with it as the last one",
    ),
    STREAM_DEL: ("stream_del", "id (ms seq)...", "the entries are gone"),
    STREAM_SET: (
        "stream_set",
        "id last_ms last_seq deleted_ms deleted_seq added",
        "the greatest id there ever was, the greatest taken out by name (0 0: none), how many entries were added",
    ),
    GROUP_SET: ("group_set", "id group name last_ms last_seq read", "the group is there, and has read up to that"),
    GROUP_DEL: ("group_del", "id group", "the group is gone; its consumers went before"),
    CONSUMER_SET: ("consumer_set", "id group consumer name seen active", "the consumer is there, and was then"),
    CONSUMER_DEL: ("consumer_del", "id group consumer", "the consumer is gone; what was pending for it went before"),
    PENDING_PUT: (
        "pending_put",
        "id group consumer (ms seq delivered count)...",
        "the entries are pending for the consumer",
    ),
    PENDING_DEL: ("pending_del", "id group (ms seq)...", "the entries are pending in the group no more"),
    LIBRARY_SET: ("library_set", "name code", "the library of functions has this code"),
    LIBRARY_DEL: ("library_del", "name...", "the libraries are gone"),
}

KEY_LEVEL: Final = frozenset((STRING, PATCH, RECORD, EXPIRE, DELETE))
"""Effects whose items 1 and 2 are space and key."""

Handler = Callable[..., None]


def visit_in_python(handlers: dict[int, Handler], effects: Iterable[Effect]) -> None:
    """Call `handlers[number](*rest)` for each effect, in order. Raises ValueError for what is none that is handled."""
    for effect in effects:
        if type(effect) is not tuple or not effect:
            raise ValueError(f"{effect!r} is no effect")
        handler = handlers.get(effect[0])
        if handler is None:
            raise ValueError(f"effect number {effect[0]} is not known to this version")
        handler(*effect[1:])


@cache
def shape(number: int) -> tuple[list[str], list[str]]:
    """(names of the fixed items, names of the repeated ones) of an effect's layout. Raises KeyError."""
    fixed, _, repeated = LAYOUT[number][1].removesuffix("...").partition("(")
    if not LAYOUT[number][1].endswith("..."):
        return fixed.split(), []
    if repeated:
        return fixed.split(), repeated.rstrip(")").split()
    *names, last = fixed.split()
    return names, [last]


def describe(effect: Effect) -> tuple[str, list[tuple[str, Any]]]:
    """(name, [(item, value), ...]) of an effect, as `LAYOUT` names them. Raises ValueError where it does not fit."""
    try:
        fixed, repeated = shape(effect[0])
    except (KeyError, IndexError, TypeError):
        raise ValueError("is not an effect this version knows") from None
    items = effect[1:]
    more = len(items) - len(fixed)
    if more < 0 or (more % len(repeated) if repeated else more):
        raise ValueError(f"{LAYOUT[effect[0]][0]} has {len(items)} items")
    names = fixed + repeated * (more // len(repeated) if repeated else 0)
    return LAYOUT[effect[0]][0], list(zip(names, items, strict=True))


def layout_table() -> str:
    """`LAYOUT` as the Markdown table of `docs/formats/effects.md`; a test tells when that is out of date."""
    rows = [f"| {number} | {name} | `{items}` | {meaning} |" for number, (name, items, meaning) in LAYOUT.items()]
    return "\n".join(["| number | name | items | meaning |", "|---|---|---|---|", *rows, ""])


try:  # the same in C
    from perdure_storage._fast import visit as visit
except ImportError:
    visit = visit_in_python
