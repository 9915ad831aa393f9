"""Geo: see `commands/geo.py`. Neighbourhoods of all sizes, around the poles, the date line and the middle."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.model.differential import (
    COMMAND_STRATEGIES,
    FLOAT,
    KEYS,
    NUMBER,
    OTHER_TYPES,
    PRELUDE,
    PROBES,
    SAME,
    Reply,
    command,
    group,
    mainly,
    many,
    mostly,
    optional,
    rarely,
    shuffled,
    wild,
    word,
)

OWN = mostly(b"geo", b"geo", b"geo 2")
MEMBER = st.sampled_from([b"%d" % number for number in range(12)] + [b"", b"long member " * 100])
LONGITUDE = st.sampled_from((b"0", b"180", b"-180", b"179.9999999", b"13.361389", b"15.087269", b"1e-7")) | st.floats(
    -180, 180
).map(lambda x: b"%r" % x)
LATITUDE = st.sampled_from(
    (b"0", b"85.05112878", b"-85.05112878", b"85.05", b"-85", b"67", b"38.115556", b"37.502669", b"-1e-7")
) | st.floats(-85.05112878, 85.05112878).map(lambda x: b"%r" % x)
NEAR = st.floats(-2, 2).map(lambda x: b"%r" % x)
BAD_PLACE = group(LONGITUDE, st.sampled_from((b"86", b"x", b"nan", b"inf"))) | group(
    st.sampled_from((b"180.1", b"-181", b"")), LATITUDE
)
PLACE = group(LONGITUDE, LATITUDE) | group(NEAR, NEAR) | group(NEAR, NEAR)
ANY_PLACE = mainly(PLACE, BAD_PLACE)
UNIT = mainly(word("m km km km ft mi KM"), word("yd"), 20)
SIZE = st.sampled_from(
    (b"0", b"1", b"50", b"100", b"200", b"500", b"1000", b"3000", b"7000", b"15000", b"20038", b"1e5", b"inf", b"1e300")
) | st.floats(0, 500).map(lambda x: b"%r" % x)
ANY_SIZE = mainly(SIZE, FLOAT)
RADIUS = group(ANY_SIZE, UNIT)
COUNT = mainly(st.sampled_from((b"1", b"2", b"3", b"5", b"100")), NUMBER)
WITH = shuffled(optional("WITHDIST"), optional("WITHHASH"), optional("WITHCOORD"))
ORDER = shuffled(optional(word("ASC DESC")), optional("COUNT", COUNT, optional("ANY")))
KEPT_ORDER = shuffled(optional(word("ASC DESC")), optional("COUNT", COUNT, "ANY"))
"""For what is stored: which of several members at the same distance COUNT leaves out is seen in all that follows."""
FROM = group("FROMMEMBER", MEMBER) | group("FROMLONLAT", ANY_PLACE) | group("FROMLONLAT", PLACE)
BY = group("BYRADIUS", RADIUS) | group("BYBOX", ANY_SIZE, ANY_SIZE, UNIT)


def _same(expected: Reply, found: Reply) -> bool:
    """Errors name the command as the client spelled it, and ours as it is called."""
    if expected[0] == "-":
        return expected[0] == found[0] and bool(expected[1].lower() == found[1].lower())
    return expected == found


SAME["geosearch"] = SAME["geosearchstore"] = _same

COMMAND_STRATEGIES["geo"] = st.one_of(
    command("GEOADD", OWN, many(PLACE, MEMBER, least=3, most=8)),
    command("GEOADD", OWN, many(PLACE, MEMBER, least=3, most=8)),
    command("GEOADD", OWN, shuffled(optional(word("NX XX")), optional("CH")), many(ANY_PLACE, MEMBER)),
    command("GEOADD", OWN, word("NX XX CH GT"), word("NX XX CH"), optional(many(PLACE, MEMBER))),
    command(
        "ZADD", OWN, st.sampled_from((b"-1", b"1.5", b"inf", b"-inf", b"1e19", b"4503599627370496", b"1e300")), MEMBER
    ),
    command("GEOPOS GEOHASH", OWN, st.lists(MEMBER, max_size=3)),
    command("GEODIST", OWN, MEMBER, MEMBER, optional(UNIT), optional(word("m"))),
    command("GEOSEARCH", OWN, shuffled(FROM, BY, ORDER, WITH)),
    command("GEOSEARCH", OWN, shuffled(FROM, BY, ORDER, WITH)),
    command("GEOSEARCH", OWN, shuffled(optional(FROM), optional(BY), optional(FROM), optional(BY), ORDER)),
    command("GEOSEARCHSTORE", OWN, OWN, shuffled(FROM, BY, optional(word("ASC DESC")), optional("STOREDIST"))),
    command("GEOSEARCHSTORE", OWN, OWN, shuffled(FROM, BY, KEPT_ORDER, optional("STOREDIST"), rarely(WITH))),
    command("GEORADIUS GEORADIUS_RO", OWN, ANY_PLACE, RADIUS, shuffled(ORDER, WITH)),
    command("GEORADIUSBYMEMBER GEORADIUSBYMEMBER_RO", OWN, MEMBER, RADIUS, shuffled(ORDER, WITH)),
    command("GEORADIUS GEORADIUS_RO", OWN, PLACE, RADIUS, shuffled(group(word("STORE STOREDIST"), OWN), KEPT_ORDER)),
    command("GEORADIUSBYMEMBER", OWN, MEMBER, RADIUS, word("STORE STOREDIST"), OWN, optional("WITHDIST")),
    command("ZREM", OWN, MEMBER),
    command("DEL", OWN),
    wild(
        "GEOADD GEODIST GEOPOS GEOHASH GEOSEARCH GEOSEARCHSTORE GEORADIUS GEORADIUSBYMEMBER",
        OWN
        | MEMBER.filter(lambda member: len(member) < 9)
        | word("FROMMEMBER FROMLONLAT BYRADIUS BYBOX km COUNT ANY ASC WITHDIST STORE STOREDIST"),
        most=9,
    ),
)
PRELUDE.append(tuple(b"GEOADD geo 13.361389 38.115556 1 15.087269 37.502669 2 -1 1 3 179.9 -80 4 0.5 -0.5 5".split()))
ALL = (*KEYS, *OTHER_TYPES, b"geo", b"geo 2")
PROBES["geo"] = [("ZRANGE 0 -1 WITHSCORES", ALL)]
