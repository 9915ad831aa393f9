"""Geo: places in a sorted set, found by where they are. What a score means is in `geohash`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from perdure import errors, geohash
from perdure.args import Words, integer, number
from perdure.errors import ReplyError
from perdure.geohash import Box, Circle, Point, Shape
from perdure.registry import DENYOOM, READ, WRITE, Args, Family
from perdure.resp import NULL_ARRAY, Decimal, Reply
from perdure_storage.events import GENERIC, ZSET
from perdure_storage.keyspace import Keyspace
from perdure_storage.types.zset import ZSet, before

COMMANDS = Family("geo")

METRES: Final = {b"M": 1.0, b"KM": 1000.0, b"FT": 0.3048, b"MI": 1609.34}

bad_unit = partial(ReplyError, "ERR unsupported unit provided. please use M, KM, FT, MI")
unknown_member = partial(ReplyError, "ERR could not decode requested zset member")


def _unit(raw: bytes) -> float:
    """Metres in a unit."""
    metres = METRES.get(raw.upper())
    if metres is None:
        raise bad_unit()
    return metres


def _length(raw: bytes, name: str) -> float:
    return number(raw, partial(ReplyError, f"ERR need numeric {name}"))


def _point(longitude: bytes, latitude: bytes) -> Point:
    east, north = point = number(longitude), number(latitude)
    if not geohash.is_valid(point):
        raise ReplyError(f"ERR invalid longitude,latitude pair {east:f},{north:f}")
    return point


def _decimal(value: float) -> Decimal:
    """A coordinate: up to 17 decimals, and no exponent."""
    text = (b"%.17f" % value).rstrip(b"0").rstrip(b".")
    return Decimal(b"0" if text == b"-0" else text)


# -- places --------------------------------------------------------------------------------------------------------


@COMMANDS.command(
    "GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]",
    WRITE | DENYOOM,
    since="3.2.0",
    complexity="O(log(N)) for each member",
    key_flags=("RW update",),
    history=(("6.2.0", "Added the `CH`, `NX` and `XX` options."),),
)
def geoadd(db: Keyspace, args: Args) -> Reply:
    """Give members places; returns how many members are new."""
    at = 1
    while at < len(args) and args[at].upper() in (b"NX", b"XX", b"CH"):
        at += 1
    words, triples = {word.upper() for word in args[1:at]}, args[at:]
    if not triples or len(triples) % 3 or {b"NX", b"XX"} <= words:
        raise errors.syntax()
    points = [_point(*triples[start : start + 2]) for start in range(0, len(triples), 3)]
    entry = db.find_collection(args[0], ZSet)
    added = updated = 0
    for member, point in zip(triples[2::3], points, strict=True):
        old = None if entry is None else entry.values.get(member)
        if (b"XX" if old is None else b"NX") in words:
            continue
        if entry is None:
            entry = db.create(ZSet, args[0])
        score = geohash.encode(point)
        added += entry.set(member, score)
        updated += old is not None and old != score
    if added or updated:
        db.notify(ZSET, b"zadd", args[0])
    return added + updated if b"CH" in words else added


def _points(db: Keyspace, key: bytes, members: Args) -> list[Point | None]:
    entry = db.collection(key, ZSet)
    scores = [None] * len(members) if entry is None else [*map(entry.values.get, members)]
    return [None if score is None else geohash.decode(score) for score in scores]


@COMMANDS.command("GEOPOS key [member [member ...]]", READ, since="3.2.0", complexity="O(1) for each member")
def geopos(db: Keyspace, args: Args) -> Reply:
    """Return the longitude and latitude of members."""
    return [NULL_ARRAY if point is None else [*map(_decimal, point)] for point in _points(db, args[0], args[1:])]


@COMMANDS.command("GEOHASH key [member [member ...]]", READ, since="3.2.0", complexity="O(1) for each member")
def geohash_(db: Keyspace, args: Args) -> Reply:
    """Return the places of members as geohash text."""
    return [None if point is None else geohash.text(point) for point in _points(db, args[0], args[1:])]


@COMMANDS.command("GEODIST key member1 member2 [M | KM | FT | MI]", READ, since="3.2.0", complexity="O(1)")
def geodist(db: Keyspace, args: Args) -> Reply:
    """Return the distance between two members, null if one of them is not there."""
    if len(args) > 4:
        raise errors.syntax()
    unit = _unit(args[3]) if len(args) == 4 else 1.0
    one, other = _points(db, args[0], args[1:3])
    return None if one is None or other is None else b"%.4f" % (geohash.distance(one, other) / unit)


# -- what is near --------------------------------------------------------------------------------------------------


class _Found(NamedTuple):
    """A member within the shape, and its distance from the centre in metres."""

    member: bytes
    score: float
    point: Point
    metres: float


class _Search:
    """What a search is asked for, and its results. `name`: of the command, for errors.

    Methods take the arguments of an option word, see `_Words`. Raises ReplyError.
    """

    def __init__(self, entry: ZSet | None, name: str) -> None:
        self.entry = entry
        self.name = name
        self.centre: Point | None = None
        self.centred_by = b""
        self.radius: float | None = None
        self.box: tuple[float, float] | None = None
        self.unit = 1.0
        self.wants: set[bytes] = set()
        self.order = b""
        self.count = 0
        self.any = False
        self.target: bytes | None = None
        self.by_distance = False

    def from_member(self, member: bytes) -> None:
        """Where a member is. Without a set the other options are read all the same."""
        self._centred_by(b"FROMMEMBER")
        if self.entry is not None:
            score = self.entry.values.get(member)
            if score is None:
                raise unknown_member()
            self.centre = geohash.decode(score)

    def from_point(self, longitude: bytes, latitude: bytes) -> None:
        self._centred_by(b"FROMLONLAT")
        self.centre = _point(longitude, latitude)

    def _centred_by(self, word: bytes) -> None:
        if self.centred_by not in (b"", word):
            raise errors.syntax()
        self.centred_by = word

    def by_radius(self, radius: bytes, unit: bytes) -> None:
        if self.box is not None:
            raise errors.syntax()
        metres = _length(radius, "radius")
        if metres < 0:
            raise ReplyError("ERR radius cannot be negative")
        self.radius, self.unit = metres, _unit(unit)

    def by_box(self, width: bytes, height: bytes, unit: bytes) -> None:
        if self.radius is not None:
            raise errors.syntax()
        box = _length(width, "width"), _length(height, "height")
        if min(box) < 0:
            raise ReplyError("ERR height or width cannot be negative")
        self.box, self.unit = box, _unit(unit)

    def set_count(self, raw: bytes) -> None:
        self.count = integer(raw)
        if self.count <= 0:
            raise ReplyError("ERR COUNT must be > 0")

    def set_any(self) -> None:
        self.any = True

    def set_order(self, word: bytes) -> None:
        self.order = word

    def store(self, target: bytes) -> None:
        self.target, self.by_distance = target, False

    def store_distances(self, target: bytes) -> None:
        self.target, self.by_distance = target, True

    def keep_distances(self) -> None:
        self.by_distance = True

    def read(self, args: Args, allowed: _Words) -> None:
        """Read option words, and check that they go together."""
        for word in (words := Words(args)):
            size, take = allowed.get(word, (0, None))
            if take is None or len(args) - words.at < size:
                raise errors.syntax()
            take(self, *words.take_many(size))
        if self.target is not None and self.wants:
            what = self.name if self.name == "GEOSEARCHSTORE" else "STORE option in GEORADIUS"
            raise ReplyError(f"ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options")
        if not self.centred_by:
            raise ReplyError(f"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {self.name}")
        if self.radius is None and self.box is None:
            raise ReplyError(f"ERR exactly one of BYRADIUS and BYBOX can be specified for {self.name}")
        if self.any and not self.count:
            raise ReplyError("ERR the ANY argument requires COUNT argument")

    def answer(self, db: Keyspace) -> Reply:
        """What was found; with a target, it is kept there and the reply is how much."""
        found = self._found()
        if self.target is None:
            return [self._line(each) for each in found]
        existed = db.delete(self.target)
        if found:
            event = b"geosearchstore" if self.name == "GEOSEARCHSTORE" else b"georadiusstore"
            scores = [each.metres / self.unit if self.by_distance else each.score for each in found]
            target = db.create(ZSet, self.target, replacing=existed)
            target.fill(zip((each.member for each in found), scores, strict=True))
            db.notify(ZSET, event, self.target)
        elif existed:
            db.notify(GENERIC, b"del", self.target)
        return len(found)

    def _found(self) -> list[_Found]:
        if self.entry is None or self.centre is None:
            return []
        if self.box is not None:
            shape: Shape = Box(self.centre, self.box[0] * self.unit, self.box[1] * self.unit)
        else:
            shape = Circle(self.centre, (self.radius or 0.0) * self.unit)
        found = _within(self.entry, shape, self.count if self.any else 0)
        if self.order or (self.count and not self.any):
            found.sort(key=_metres, reverse=self.order == b"DESC")
        return found[: self.count] if self.count else found

    def _line(self, each: _Found) -> Reply:
        if not self.wants:
            return each.member
        line: list[Reply] = [each.member]
        if b"WITHDIST" in self.wants:
            line.append(b"%.4f" % (each.metres / self.unit))
        if b"WITHHASH" in self.wants:
            line.append(int(each.score))
        if b"WITHCOORD" in self.wants:
            line.append([*map(_decimal, each.point)])
        return line


def _metres(found: _Found) -> float:
    return found.metres


def _within(entry: ZSet, shape: Shape, limit: int) -> list[_Found]:
    """The members in a shape, cell by cell; no more than `limit` (0: all)."""
    found: list[_Found] = []
    for cell in geohash.cells(shape):
        first, beyond = cell.scores()
        start, stop = entry.between(before(float(first)), before(float(beyond)))
        for score, member in entry.ranking.between(start, stop):
            point = geohash.decode(score)
            metres = shape.distance(point)
            if metres is not None:
                found.append(_Found(member, score, point, metres))
                if len(found) == limit:
                    return found
    return found


_Words: TypeAlias = dict[bytes, tuple[int, Callable[..., None]]]
"""Option words: how many arguments follow, and what takes them."""


def _want(word: bytes) -> Callable[[_Search], None]:
    return lambda search: search.wants.add(word)


ORDER_WORDS: Final[_Words] = {
    b"WITHDIST": (0, _want(b"WITHDIST")),
    b"WITHHASH": (0, _want(b"WITHHASH")),
    b"WITHCOORD": (0, _want(b"WITHCOORD")),
    b"ASC": (0, partial(_Search.set_order, word=b"ASC")),
    b"DESC": (0, partial(_Search.set_order, word=b"DESC")),
    b"ANY": (0, _Search.set_any),
    b"COUNT": (1, _Search.set_count),
}
SHAPE_WORDS: Final[_Words] = ORDER_WORDS | {
    b"FROMMEMBER": (1, _Search.from_member),
    b"FROMLONLAT": (2, _Search.from_point),
    b"BYRADIUS": (2, _Search.by_radius),
    b"BYBOX": (3, _Search.by_box),
}
KEEP_WORDS: Final[_Words] = SHAPE_WORDS | {b"STOREDIST": (0, _Search.keep_distances)}
STORE_WORDS: Final[_Words] = ORDER_WORDS | {
    b"STORE": (1, _Search.store),
    b"STOREDIST": (1, _Search.store_distances),
}

_SEARCH: Final = (
    "<FROMMEMBER member | FROMLONLAT longitude latitude> "
    "<BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]]"
)
_COMPLEXITY: Final = "O(N+log(M)), N being the members in the cells around the shape, M all of them"


@COMMANDS.command(
    f"GEOSEARCH key {_SEARCH} [WITHCOORD] [WITHDIST] [WITHHASH]", READ, since="6.2.0", complexity=_COMPLEXITY
)
def geosearch(db: Keyspace, args: Args) -> Reply:
    """Return the members in a circle or box."""
    search = _Search(db.collection(args[0], ZSet), "GEOSEARCH")
    search.read(args[1:], SHAPE_WORDS)
    return search.answer(db)


@COMMANDS.command(
    f"GEOSEARCHSTORE destination source {_SEARCH} [STOREDIST]",
    WRITE | DENYOOM,
    since="6.2.0",
    complexity=_COMPLEXITY,
)
def geosearchstore(db: Keyspace, args: Args) -> Reply:
    """Keep the members in a circle or box, in place of what the destination held; returns how many."""
    search = _Search(db.collection(args[1], ZSet), "GEOSEARCHSTORE")
    search.target = args[0]
    search.read(args[2:], KEEP_WORDS)
    return search.answer(db)


def _radius(words: _Words) -> Callable[[Keyspace, Args], Reply]:
    def handler(db: Keyspace, args: Args) -> Reply:
        """Return the members in a circle around a point."""
        search = _Search(db.collection(args[0], ZSet), "GEORADIUS")
        search.from_point(*args[1:3])
        search.by_radius(*args[3:5])
        search.read(args[5:], words)
        return search.answer(db)

    return handler


def _radius_by_member(words: _Words) -> Callable[[Keyspace, Args], Reply]:
    def handler(db: Keyspace, args: Args) -> Reply:
        """Return the members in a circle around one of them."""
        search = _Search(db.collection(args[0], ZSet), "GEORADIUSBYMEMBER")
        search.from_member(args[1])
        if search.entry is None:  # there is nothing to find, and nobody looks at the radius
            search.radius = 0.0
        else:
            search.by_radius(*args[2:4])
        search.read(args[4:], words)
        return search.answer(db)

    return handler


_OPTIONS: Final = (
    "radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] "
    "[STORE key] [STOREDIST key]"
)
for _name, _start, _make, _what, _instead in (
    ("GEORADIUS", "longitude latitude", _radius, "a point", "the `BYRADIUS` argument"),
    ("GEORADIUSBYMEMBER", "member", _radius_by_member, "one of them", "the `BYRADIUS` and `FROMMEMBER` arguments"),
):
    COMMANDS.command(
        f"{_name} key {_start} {_OPTIONS}",
        WRITE | DENYOOM,
        since="3.2.0",
        complexity=_COMPLEXITY,
        summary=f"Return or keep the members in a circle around {_what}",
        key_flags=("RO access", "OW update", "OW update"),
        deprecated_since="6.2.0",
        replaced_by=f"`GEOSEARCH` and `GEOSEARCHSTORE` with {_instead}",
    )(_make(STORE_WORDS))
    COMMANDS.command(
        f"{_name}_RO key {_start} {_OPTIONS.partition(' [STORE')[0]}",
        READ,
        since="3.2.10",
        complexity=_COMPLEXITY,
        summary=f"Return the members in a circle around {_what}",
        deprecated_since="6.2.0",
        replaced_by=f"`GEOSEARCH` with {_instead}",
    )(_make(ORDER_WORDS))
