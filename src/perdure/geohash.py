"""Places on the globe as 52-bit numbers that sort: near places have, most of the time, near numbers.

Both angles are cut into 2**26 steps, and the bits of the two step numbers interleaved, latitude in the even bits. The
first 2n bits of such a number name a cell of 2**-n of either range; all numbers in a cell follow one another. So a
sorted set with such scores finds what is near by nine ranges: the cell around a point and its neighbours.

Answers shall be equal to Redis' to the last digit: every expression on floats here is evaluated in its order. Latitudes
end at +-85.05112878 (EPSG:3857). Distances are those on a sphere, by the haversine formula.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import asin, cos, fabs, isfinite, nan, pi, sin, sqrt
from typing import Final, NamedTuple

LONGITUDE_MAX: Final = 180.0
LATITUDE_MAX: Final = 85.05112878
EARTH_RADIUS_M: Final = 6372797.560856
MERCATOR_MAX_M: Final = 20037726.37
STEPS: Final = 26
"""Bits of each angle."""
BITS: Final = 2 * STEPS
ALPHABET: Final = b"0123456789bcdefghjkmnpqrstuvwxyz"
RADIAN: Final = pi / 180.0

Point = tuple[float, float]
"""(longitude, latitude) in degrees."""


def _spread(value: int) -> int:
    """The bits of a 32-bit number, each followed by a zero: 0b11 -> 0b101."""
    value = (value | value << 16) & 0x0000FFFF0000FFFF
    value = (value | value << 8) & 0x00FF00FF00FF00FF
    value = (value | value << 4) & 0x0F0F0F0F0F0F0F0F
    value = (value | value << 2) & 0x3333333333333333
    return (value | value << 1) & 0x5555555555555555


def _gather(value: int) -> int:
    """The even bits of a 64-bit number: the inverse of `_spread`."""
    value &= 0x5555555555555555
    value = (value | value >> 1) & 0x3333333333333333
    value = (value | value >> 2) & 0x0F0F0F0F0F0F0F0F
    value = (value | value >> 4) & 0x00FF00FF00FF00FF
    value = (value | value >> 8) & 0x0000FFFF0000FFFF
    return (value | value >> 16) & 0x00000000FFFFFFFF


class Cell(NamedTuple):
    """One of 4**steps parts of the globe: the numbers of its column (from the west) and row (from the south)."""

    column: int
    row: int
    steps: int

    def moved(self, east: int, north: int) -> Cell:
        """Its neighbour, around the globe at the edges, the poles among them."""
        last = (1 << self.steps) - 1
        column = self.column + east & last if east else self.column
        row = self.row + north & last if north else self.row
        return Cell(column, row, self.steps)

    @property
    def bits(self) -> int:
        return _spread(self.row) | _spread(self.column) << 1

    def scores(self) -> tuple[int, int]:
        """The numbers in it: from the first up to, but not, the second."""
        bits, shift = self.bits, BITS - 2 * self.steps
        return bits << shift, bits + 1 << shift

    def longitudes(self) -> tuple[float, float]:
        return _sides(self.column, self.steps, -LONGITUDE_MAX, LONGITUDE_MAX)

    def latitudes(self) -> tuple[float, float]:
        return _sides(self.row, self.steps, -LATITUDE_MAX, LATITUDE_MAX)


def _sides(number: int, steps: int, low: float, high: float) -> tuple[float, float]:
    width, parts = high - low, 1 << steps
    return low + (number / parts) * width, low + ((number + 1 & 0xFFFFFFFF) / parts) * width


def cell(point: Point, steps: int = STEPS, latitude_max: float = LATITUDE_MAX) -> Cell:
    """The cell in which a point is."""
    parts = 1 << steps
    column = (point[0] + LONGITUDE_MAX) / (LONGITUDE_MAX + LONGITUDE_MAX) * parts
    row = (point[1] + latitude_max) / (latitude_max + latitude_max) * parts
    return Cell(int(column), int(row), steps)


def is_valid(point: Point) -> bool:
    """Is the point on the map?"""
    return -LONGITUDE_MAX <= point[0] <= LONGITUDE_MAX and -LATITUDE_MAX <= point[1] <= LATITUDE_MAX


def encode(point: Point) -> float:
    """The score of a point."""
    return float(cell(point).bits)


def decode(score: float) -> Point:
    """The middle of the cell that a score names. One that is no place becomes what C's conversion makes of it."""
    bits = _to_unsigned(score)
    west, east = _sides(_gather(bits >> 1), STEPS, -LONGITUDE_MAX, LONGITUDE_MAX)
    south, north = _sides(_gather(bits), STEPS, -LATITUDE_MAX, LATITUDE_MAX)
    return (
        max(-LONGITUDE_MAX, min(LONGITUDE_MAX, (west + east) / 2)),
        max(-LATITUDE_MAX, min(LATITUDE_MAX, (south + north) / 2)),
    )


def _to_unsigned(score: float) -> int:
    """A double as an unsigned 64-bit integer, as x86-64 converts it also where the result is out of range."""
    if -(2.0**63) <= score < 2.0**64:
        return int(score) & 0xFFFFFFFFFFFFFFFF
    return 0 if score > 0 else 1 << 63


def text(point: Point) -> bytes:
    """The usual geohash of a point, 11 characters, the last one always 0: 52 bits make only ten."""
    bits = cell(point, latitude_max=90.0).bits
    return bytes(ALPHABET[bits >> BITS - 5 * place & 31] for place in range(1, 11)) + b"0"


# -- distances -----------------------------------------------------------------------------------------------------


def distance(one: Point, other: Point) -> float:
    """Metres between two points."""
    longitude, other_longitude = one[0] * RADIAN, other[0] * RADIAN
    v = sin((other_longitude - longitude) / 2)
    if v == 0.0:
        return latitude_distance(one, other)
    latitude, other_latitude = one[1] * RADIAN, other[1] * RADIAN
    u = sin((other_latitude - latitude) / 2)
    a = sqrt(u * u + cos(latitude) * cos(other_latitude) * v * v)
    return 2.0 * EARTH_RADIUS_M * asin(a) if a <= 1 else nan  # rounding, on opposite sides of the globe


def latitude_distance(one: Point, other: Point) -> float:
    """Metres between the parallels of two points."""
    return EARTH_RADIUS_M * fabs(other[1] * RADIAN - one[1] * RADIAN)


class Circle:
    """What is within `radius` metres of a point."""

    def __init__(self, centre: Point, radius: float) -> None:
        self.centre = centre
        self.width = self.height = self.reach = radius

    def distance(self, point: Point) -> float | None:
        """Metres from the centre; None for what is outside."""
        found = distance(self.centre, point)
        return None if found > self.reach else found


class Box:
    """What is within `width` metres from west to east and `height` from south to north, a point in the middle."""

    def __init__(self, centre: Point, width: float, height: float) -> None:
        self.centre = centre
        self.width, self.height = width / 2, height / 2
        self.reach = sqrt(self.width * self.width + self.height * self.height)

    def distance(self, point: Point) -> float | None:
        """Metres from the centre; None for what is outside."""
        if latitude_distance(self.centre, point) > self.height:
            return None
        if distance(point, (self.centre[0], point[1])) > self.width:
            return None
        return distance(self.centre, point)


Shape = Circle | Box


def _bounds(shape: Shape) -> tuple[float, float, float, float]:
    """(west, south, east, north) of a box around the shape, in degrees."""
    longitude, latitude = shape.centre
    up = shape.height / EARTH_RADIUS_M / RADIAN
    widest = latitude - up if latitude < 0 else latitude + up  # a degree is shortest where it is nearest to a pole
    shortest = cos(widest * RADIAN) if isfinite(widest) else nan
    across = shape.width / EARTH_RADIUS_M / shortest / RADIAN
    return longitude - across, latitude - up, longitude + across, latitude + up


def _steps_for(metres: float, latitude: float) -> int:
    """How fine the cells may be so that one and its neighbours hold what is within `metres`."""
    if metres == 0:
        return STEPS
    steps = 1
    while metres < MERCATOR_MAX_M:
        metres *= 2
        steps += 1
    steps -= 2
    if abs(latitude) > 66:  # towards the poles cells become narrow
        steps -= 2 if abs(latitude) > 80 else 1
    return max(1, min(STEPS, steps))


AROUND: Final = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))
"""(east, north) of the cells to look into, in order."""


def cells(shape: Shape) -> Iterator[Cell]:
    """The cells that may hold points of the shape, in the order in which Redis looks into them."""
    west, south, east, north = _bounds(shape)
    steps = _steps_for(shape.reach, shape.centre[1])
    middle = cell(shape.centre, steps)
    if steps > 1 and (
        middle.moved(0, 1).latitudes()[1] < north
        or middle.moved(0, -1).latitudes()[0] > south
        or middle.moved(1, 0).longitudes()[1] < east
        or middle.moved(-1, 0).longitudes()[0] > west
    ):
        steps -= 1
        middle = cell(shape.centre, steps)
    skipped: set[tuple[int, int]] = set()
    if steps >= 2:  # leave out neighbours that the shape does not reach
        (left, right), (bottom, top) = middle.longitudes(), middle.latitudes()
        for axis, side, enough in (
            (1, -1, bottom < south),
            (1, 1, top > north),
            (0, -1, left < west),
            (0, 1, right > east),
        ):
            if enough:
                skipped |= {place for place in AROUND if place[axis] == side}
    last: Cell | None = None
    for at, place in enumerate(AROUND):
        if place in skipped:
            continue
        found = middle.moved(*place)
        if found == last:
            continue  # of so few cells, some are neighbours on both sides
        yield found
        if at:
            last = found
