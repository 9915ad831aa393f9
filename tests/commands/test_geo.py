"""Geo commands beside a real redis-server: many places, searches of every size, and what is known of the world.

Options and errors are compared by `tests/model/families/geo.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import hypot
from random import Random
from typing import Any

import pytest
from tests.conftest import RealRedis
from tests.model.differential import LocalServer, Remote, Reply

from perdure import geohash
from perdure.geohash import Box, Cell, Circle, Point

SICILY = "GEOADD Sicily 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"
METRES = {"m": 1.0, "km": 1000.0, "ft": 0.3048, "mi": 1609.34}


@pytest.fixture
def server() -> Iterator[LocalServer]:
    server = LocalServer()
    yield server
    server.close()


def ask(server: LocalServer, line: str) -> Reply:
    return server.ask(*line.encode().split())


def plain(reply: Reply) -> Any:
    """The reply without its types."""
    content = reply[1]
    return [plain(each) for each in content] if isinstance(content, list) else content


# -- the example of every manual -----------------------------------------------------------------------------------


def test_sicily(server: LocalServer) -> None:
    assert ask(server, SICILY) == (":", 2)
    assert ask(server, "GEODIST Sicily Palermo Catania") == ("$", b"166274.1516")
    assert ask(server, "GEODIST Sicily Palermo Catania mi") == ("$", b"103.3182")
    assert plain(ask(server, "GEOHASH Sicily Palermo Catania nosuch")) == [b"sqc8b49rny0", b"sqdtr74hyu0", None]
    assert plain(ask(server, "GEOPOS Sicily Palermo nosuch")) == [
        [b"13.36138933897018433", b"38.11555639549629859"],
        None,
    ]
    assert plain(ask(server, "GEORADIUS Sicily 15 37 200 km WITHDIST ASC")) == [
        [b"Catania", b"56.4413"],
        [b"Palermo", b"190.4424"],
    ]
    assert plain(ask(server, "GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX 400 400 km DESC WITHHASH")) == [
        [b"Palermo", 3479099956230698],
        [b"Catania", 3479447370796909],
    ]


@pytest.mark.parametrize("how", ["kill", "forget"])
def test_places_are_still_there_after_a_restart(server: LocalServer, how: str) -> None:
    ask(server, SICILY)
    ask(server, "GEOSEARCHSTORE near Sicily FROMMEMBER Catania BYRADIUS 10 km STOREDIST")
    before = [ask(server, "GEOPOS Sicily Palermo Catania"), ask(server, "ZRANGE near 0 -1 WITHSCORES")]
    server.restart(how)
    assert [ask(server, "GEOPOS Sicily Palermo Catania"), ask(server, "ZRANGE near 0 -1 WITHSCORES")] == before


def test_coordinates_are_doubles_without_an_exponent_in_resp3(server: LocalServer) -> None:
    ask(server, "GEOADD k 0.000001 0 m")
    server.speak(3)
    (point,) = ask(server, "GEOPOS k m")[1]
    assert [kind for kind, _ in point[1]] == [",", ","]
    assert all(b"e" not in text for _, text in point[1])
    assert ask(server, "GEODIST k m m") == ("$", b"0.0000")


# -- beside redis-server -------------------------------------------------------------------------------------------


def _world(random: Random) -> Point:
    return random.uniform(-180, 180), random.uniform(-85.05, 85.05)


def _arctic_date_line(random: Random) -> Point:
    return random.gauss(179.5, 1.5), random.gauss(84, 2)


def _origin(random: Random) -> Point:
    return random.gauss(0, 0.01), random.gauss(0, 0.01)


def _edges(random: Random) -> Point:
    return (
        random.choice((-180, 180, 0, 90, -90)) + random.uniform(-1e-3, 1e-3),
        random.choice((-85.05, 85.05, 0)) + random.uniform(-1e-3, 1e-3),
    )


@pytest.mark.parametrize("place", [_world, _arctic_date_line, _origin, _edges])
def test_searches_find_what_redis_finds_in_the_same_order(
    server: LocalServer, real_redis: RealRedis, place: Callable[[Random], Point]
) -> None:
    random, redis = Random(place.__name__), Remote(real_redis.port)

    def both(*words: object) -> None:
        argv = tuple(str(word).encode() for word in words)
        assert server.ask(*argv) == redis.ask(*argv), argv

    count = 600
    for number in range(count):
        point = place(random)
        while not geohash.is_valid(point):
            point = place(random)
        both("GEOADD", "k", *point, f"m{number}")
    for _ in range(400):
        unit = random.choice(list(METRES))
        size = 10 ** random.uniform(0, 7.4) / METRES[unit]
        if random.random() < 0.5:
            by: list[object] = ["BYRADIUS", size, unit]
        else:
            by = ["BYBOX", size, size * random.uniform(0.1, 3), unit]
        centre: list[object] = ["FROMMEMBER", f"m{random.randrange(count)}"]
        if random.random() < 0.5:
            centre = ["FROMLONLAT", *_world(random)]
        options = random.choice(([], ["ASC"], ["DESC"], ["COUNT", 7, "ANY"], ["COUNT", 7, "ANY", "DESC"]))
        shown = random.choice(([], ["WITHDIST", "WITHCOORD", "WITHHASH"]))
        both("GEOSEARCH", "k", *centre, *by, *options, *shown)
        both("GEODIST", "k", f"m{random.randrange(count)}", f"m{random.randrange(count)}", unit)
        both("GEOHASH", "k", f"m{random.randrange(count)}")
        both("GEOPOS", "k", f"m{random.randrange(count)}")
        if random.random() < 0.1:
            both("GEOSEARCHSTORE", "d", "k", *centre, *by, "STOREDIST")
            both("ZRANGE", "d", 0, -1, "WITHSCORES")
    redis.close()


# -- cells ---------------------------------------------------------------------------------------------------------


def test_a_point_is_in_its_cell_and_the_middle_of_it_near() -> None:
    random = Random(1)
    for _ in range(2000):
        point = _world(random)
        for steps in (1, 5, 26):
            cell = geohash.cell(point, steps)
            (west, east), (south, north) = cell.longitudes(), cell.latitudes()
            assert west <= point[0] <= east
            assert south <= point[1] <= north
            first, beyond = cell.scores()
            assert first <= geohash.encode(point) < beyond
        middle = geohash.decode(geohash.encode(point))
        assert hypot(middle[0] - point[0], middle[1] - point[1]) < 1e-5
        assert geohash.encode(middle) == geohash.encode(point)


def test_the_cells_of_a_shape_hold_every_point_of_it_and_no_point_twice() -> None:
    random = Random(2)
    points = [_world(random) for _ in range(500)]
    for _ in range(300):
        size = 10 ** random.uniform(2, 6.8)
        centre = random.uniform(-120, 120), random.uniform(-60, 60)
        for shape in (Circle(centre, size), Box(centre, size, size * random.uniform(0.2, 2))):
            ranges = [cell.scores() for cell in geohash.cells(shape)]
            for point in points:
                held = sum(low <= geohash.encode(point) < high for low, high in ranges)
                assert held <= 1
                crosses_the_date_line = abs(point[0] - centre[0]) > 150
                if shape.distance(point) is not None and not crosses_the_date_line:
                    assert held == 1, (shape.centre, size, point)


def test_neighbours_go_around_the_globe() -> None:
    west = Cell(0, 3, 4)
    assert west.moved(-1, 0) == Cell(15, 3, 4)
    assert Cell(15, 15, 4).moved(1, 1) == Cell(0, 0, 4)


def test_what_is_infinitely_large_holds_everything(server: LocalServer) -> None:
    ask(server, SICILY)
    assert len(ask(server, "GEOSEARCH Sicily FROMLONLAT 0 0 BYRADIUS inf km")[1]) == 2
    assert len(ask(server, "GEOSEARCH Sicily FROMLONLAT 0 0 BYBOX inf inf km")[1]) == 2
