"""Replies and requests on the wire. Requests come whole and byte by byte, by every path, and to a real redis-server."""

from __future__ import annotations

import socket
import time
import tracemalloc
from collections.abc import Callable, Iterable
from math import inf, nan
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perdure import resp
from perdure.errors import ReplyError, shown
from perdure.resp import (
    NULL_ARRAY,
    BigNumber,
    Map,
    Pairs,
    Push,
    Raw,
    Reply,
    RequestParser,
    Rows,
    Set,
    Verbatim,
    encode2,
    encode3,
    split_words,
)

if TYPE_CHECKING:
    from tests.conftest import RealRedis

# -- replies -------------------------------------------------------------------------------------------------------

REPLIES: list[tuple[Reply, bytes, bytes]] = [
    (b"", b"$0\r\n\r\n", b"$0\r\n\r\n"),
    (b"a\r\nb", b"$4\r\na\r\nb\r\n", b"$4\r\na\r\nb\r\n"),
    (b"x" * 2000, b"$2000\r\n" + b"x" * 2000 + b"\r\n", b"$2000\r\n" + b"x" * 2000 + b"\r\n"),
    (bytearray(b"abc"), b"$3\r\nabc\r\n", b"$3\r\nabc\r\n"),
    ("OK", b"+OK\r\n", b"+OK\r\n"),
    ("two\r\nlines", b"+two  lines\r\n", b"+two  lines\r\n"),
    ("", b"+\r\n", b"+\r\n"),
    (0, b":0\r\n", b":0\r\n"),
    (-1, b":-1\r\n", b":-1\r\n"),
    (1 << 63, b":9223372036854775808\r\n", b":9223372036854775808\r\n"),
    (None, b"$-1\r\n", b"_\r\n"),
    (True, b":1\r\n", b"#t\r\n"),
    (False, b":0\r\n", b"#f\r\n"),
    (0.5, b"$3\r\n0.5\r\n", b",0.5\r\n"),
    (3.0, b"$1\r\n3\r\n", b",3\r\n"),
    (3.3, b"$18\r\n3.2999999999999998\r\n", b",3.2999999999999998\r\n"),
    (1e300, b"$23\r\n1.0000000000000001e+300\r\n", b",1.0000000000000001e+300\r\n"),
    (inf, b"$3\r\ninf\r\n", b",inf\r\n"),
    (-inf, b"$4\r\n-inf\r\n", b",-inf\r\n"),
    (nan, b"$3\r\nnan\r\n", b",nan\r\n"),
    ([], b"*0\r\n", b"*0\r\n"),
    ([b"a", 1, None, "OK"], b"*4\r\n$1\r\na\r\n:1\r\n$-1\r\n+OK\r\n", b"*4\r\n$1\r\na\r\n:1\r\n_\r\n+OK\r\n"),
    ([[True], (2.5,)], b"*2\r\n*1\r\n:1\r\n*1\r\n$3\r\n2.5\r\n", b"*2\r\n*1\r\n#t\r\n*1\r\n,2.5\r\n"),
    ({b"k": 1}, b"*2\r\n$1\r\nk\r\n:1\r\n", b"%1\r\n$1\r\nk\r\n:1\r\n"),
    (Map([b"k", [None]]), b"*2\r\n$1\r\nk\r\n*1\r\n$-1\r\n", b"%1\r\n$1\r\nk\r\n*1\r\n_\r\n"),
    (Set([b"m"]), b"*1\r\n$1\r\nm\r\n", b"~1\r\n$1\r\nm\r\n"),
    (Set(iter([1, 2])), b"*2\r\n:1\r\n:2\r\n", b"~2\r\n:1\r\n:2\r\n"),
    (Push([b"message"]), b"*1\r\n$7\r\nmessage\r\n", b">1\r\n$7\r\nmessage\r\n"),
    (Verbatim(b"hi"), b"$2\r\nhi\r\n", b"=6\r\ntxt:hi\r\n"),
    (BigNumber(1 << 70), b"$22\r\n1180591620717411303424\r\n", b"(1180591620717411303424\r\n"),
    (NULL_ARRAY, b"*-1\r\n", b"_\r\n"),
    (ReplyError("ERR no\r\nway"), b"-ERR no  way\r\n", b"-ERR no  way\r\n"),
    ([ReplyError("ERR x")], b"*1\r\n-ERR x\r\n", b"*1\r\n-ERR x\r\n"),
    (Raw(b"+any\r\n"), b"+any\r\n", b"+any\r\n"),
    ([Raw(b":7\r\n")], b"*1\r\n:7\r\n", b"*1\r\n:7\r\n"),
]


@pytest.mark.parametrize(("reply", "two", "three"), REPLIES)
def test_a_reply_on_the_wire(reply: Reply, two: bytes, three: bytes) -> None:
    assert encode2(reply) == two
    assert encode3(reply) == three


def test_an_error_repeats_the_bytes_of_an_argument() -> None:
    raw = bytes(range(128, 256))
    assert encode2(ReplyError(f"ERR bad '{shown(raw)}'")) == b"-ERR bad '" + raw + b"'\r\n"


def test_what_is_no_reply_is_refused() -> None:
    with pytest.raises(TypeError):
        encode2([object()])  # type: ignore[list-item]


LEAVES = (
    st.none() | st.booleans() | st.integers(-(1 << 64), 1 << 64) | st.binary(max_size=5) | st.just("OK") | st.floats()
)


NESTED = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner), max_leaves=20)


@given(st.lists(NESTED, max_size=5))
@example([[[[[[[[[[[[[b"deep", 1 << 70], None]]]]]]]]]]]])
@example([b"x" * size for size in (9, 10, 99, 100, 1023, 1024)])
def test_an_array_is_its_header_and_its_elements(items: list[Reply]) -> None:
    for encode in (encode2, encode3):
        assert encode(items) == b"*%d\r\n" % len(items) + b"".join(map(encode, items))


@st.composite
def shaped(draw: st.DrawFn, inner: st.SearchStrategy[Reply]) -> Reply:
    """Something with items, of which there are two for each key."""
    pairs = draw(st.lists(st.tuples(inner, inner), max_size=3))
    kind: type[Map] | None = draw(st.sampled_from((Map, Pairs, Rows, Set, Push, None)))
    if kind is None:
        return {b"%d" % number: item for number, (item, _) in enumerate(pairs)}
    return kind([item for pair in pairs for item in pair])


DOUBLES = st.floats() | st.integers(-(10**17), 10**17).map(float) | st.sampled_from((0.0, -0.0, 1e15, -1e15, 1e16, 1e17))


@given(st.recursive(LEAVES | DOUBLES, lambda inner: st.lists(inner, max_size=4) | shaped(inner), max_leaves=20))
def test_replies_are_the_same_with_and_without_a_compiler(reply: Reply) -> None:
    assert encode2(reply) == resp.plain2(reply)
    assert encode3(reply) == resp.plain3(reply)


@given(st.integers() | st.sampled_from([sign * (1 << 63) + step for sign in (-1, 1) for step in (-1, 0, 1)]))
def test_an_integer_is_written_in_decimal(number: int) -> None:
    assert encode2(number) == encode3(number) == b":%d\r\n" % number


@given(st.binary())
def test_a_string_follows_its_length(text: bytes) -> None:
    assert encode2(text) == encode3(text) == b"$%d\r\n%b\r\n" % (len(text), text)


# -- requests ------------------------------------------------------------------------------------------------------

PING = b"*1\r\n$4\r\nPING\r\n"

REQUESTS: list[tuple[bytes, list[list[bytes]], str]] = [
    (b"", [], ""),
    (PING, [[b"PING"]], ""),
    (PING * 3, [[b"PING"]] * 3, ""),
    (b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", [[b"GET", b""]], ""),
    (b"*2\r\n$4\r\nECHO\r\n$6\r\na\r\n*1\r\r\n", [[b"ECHO", b"a\r\n*1\r"]], ""),
    (b"*2\r\n$4\r\nECHO\r\n$8\r\n+probe\r\n\r\n" + PING, [[b"ECHO", b"+probe\r\n"], [b"PING"]], ""),
    (b"*2\r\n$4\r\nECHO\r\n$7\r\n>123456\r\n", [[b"ECHO", b">123456"]], ""),
    (b"*2\r\n$4\r\nECHO\r\n$3\r\nabc", [], ""),
    (PING + b"*2\r\n", [[b"PING"]], ""),
    (PING + b"*2\r\n$4\r\nECHO\r\n", [[b"PING"]], ""),
    (b"*1\r\n$4\r\nPINGxx" + PING, [[b"PING"], [b"PING"]], ""),  # Redis does not look at these two bytes either
    (b"*0\r\n*-1\r\n*-7\r\n" + PING, [[b"PING"]], ""),
    (b"PING\r\n", [[b"PING"]], ""),
    (b"\r\n\n  \r\nping\n" + PING, [[b"ping"], [b"PING"]], ""),
    (b"SET a \"b\\x41\\n\" 'c d'\r\n", [[b"SET", b"a", b"bA\n", b"c d"]], ""),
    (PING + b"PING\r\n" + PING, [[b"PING"]] * 3, ""),
    (b"*1\r\n*1\r\n", [], "expected '$', got '*'"),
    (PING + b"*1\r\n+PING\r\n", [[b"PING"]], "expected '$', got '+'"),
    (b"*2\r\n$4\r\nECHO\r\n:5\r\n", [], "expected '$', got ':'"),
    (b"*2\r\n$4\r\nECHO\r\n=5\r\ntxt:a\r\n", [], "expected '$', got '='"),
    (b"*1\r\n\r\n", [], "expected '$', got '\r'"),
    (b"*1\r\n$-1\r\n", [], "invalid bulk length"),
    (b"*1\r\n$+4\r\nPING\r\n", [], "invalid bulk length"),
    (b"*1\r\n$04\r\nPING\r\n", [], "invalid bulk length"),
    (b"*1\r\n$ 4\r\nPING\r\n", [], "invalid bulk length"),
    (b"*1\r\n$\r\n", [], "invalid bulk length"),
    (b"*1\r\n$536870913\r\n", [], "invalid bulk length"),
    (b"*1\r\n$99999999999999999999\r\n", [], "invalid bulk length"),
    (PING + b"*abc\r\n", [[b"PING"]], "invalid multibulk length"),
    (b"*+1\r\n" + PING, [], "invalid multibulk length"),
    (b"*01\r\n$4\r\nPING\r\n", [], "invalid multibulk length"),
    (b"*\r\n", [], "invalid multibulk length"),
    (b"*2147483648\r\n", [], "invalid multibulk length"),
    (b"PING \"a\r\n", [], "unbalanced quotes in request"),
    (b"PING 'a'b\r\n", [], "unbalanced quotes in request"),
    (b"x" * 65537, [], "too big inline request"),
    (b"*" + b"1" * 65537, [], "too big mbulk count string"),
    (b"*1\r\n$" + b"1" * 65537, [], "too big bulk count string"),
]  # fmt: skip

IDS = [repr(data[:40]) for data, _, _ in REQUESTS]
Result = tuple[list[list[bytes]], str]


@pytest.fixture(params=["compiled", "hiredis", "automaton"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which fast path a parser has."""
    name: str = request.param
    if name == "compiled" and resp.take_requests is None:
        pytest.skip("the compiled fast path was not built")
    take(name, monkeypatch.setattr)
    return name


def take(name: str, setattr: Callable[[object, str, object], None]) -> None:
    if name != "compiled":
        setattr(resp, "take_requests", None)
    if name == "automaton":
        setattr(RequestParser, "_parse_fast", lambda self, data, commands: data)


def parse(chunks: Iterable[bytes], *, authenticated: bool = True) -> Result:
    parser = RequestParser(authenticated=authenticated)
    found: list[list[bytes]] = []
    for chunk in chunks:
        found += parser.feed(chunk)
        while parser.waiting:
            found += parser.feed(b"")
    return found, str(parser.error or "")


def single(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize(("data", "commands", "error"), REQUESTS, ids=IDS)
def test_fast_whole_and_byte_by_byte(path: str, data: bytes, commands: list[list[bytes]], error: str) -> None:
    assert parse([data]) == (commands, error)
    if len(data) < 1000:
        assert parse(single(data)) == (commands, error)


@pytest.mark.parametrize("data", [data for data, _, error in REQUESTS if error], ids=repr)
def test_redis_words_the_error_alike(real_redis_port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", real_redis_port)) as redis:
        redis.sendall(data)
        told = redis.makefile("rb").read()
    parser = RequestParser()
    parser.feed(data)
    assert parser.error is not None
    assert told.endswith(encode2(parser.error.reply))


FRAGMENTS = [
    b"*", b"$", b"\r\n", b"\r", b"\n", b"1", b"2", b"3", b"0", b"-1", b"+", b"~1", b"*1\r\n", b"*2\r\n", b"$1\r\na\r\n",
    b"$3\r\nGET\r\n", b"$0\r\n\r\n", b"PING\r\n", b"'", b'"', b"\\", b" ", b"x41", PING, b"$5\r\n*1\r\n$\r\n", b"\0",
    b"*2\r\n$4\r\nECHO\r\n$5\r\nab\r\nc\r\n", b"*0\r\n", b"*-1\r\n", b"+foo\r\n", b":5\r\n", b"%1\r\n", b">1\r\n",
    b"*1\r\n$2\r\n$$XX", b"probe", b"+probe\r\n", b"*12345\r\n", b"$99999\r\n", b"|1\r\n", b"=5\r\n", b"*11\r\n",
    b"_\r\n",
]  # fmt: skip


@given(st.data(), st.lists(st.sampled_from(FRAGMENTS), max_size=10).map(b"".join), st.booleans())
def test_every_path_and_every_cut_gives_the_same_fast(data: st.DataObject, stream: bytes, trusted: bool) -> None:
    stream = data.draw(st.sampled_from([b"", PING])) + stream + data.draw(st.sampled_from([b"", PING]))
    cut = data.draw(st.integers(0, len(stream)))
    results = []
    for name in ("compiled", "hiredis", "automaton"):
        with pytest.MonkeyPatch.context() as patch:
            take(name, patch.setattr)
            for chunks in ([stream], [stream[:cut], stream[cut:]], single(stream)):
                results.append(parse(chunks, authenticated=trusted))
    assert all(result == results[0] for result in results)


def test_a_header_reserves_nothing(path: str) -> None:
    parser = RequestParser()
    tracemalloc.start()
    for header in (b"*2147483647\r\n", b"$536870912\r\n", b"abc"):
        assert parser.feed(header) == []
    assert parse([PING + b"*1\r\n%500000000\r\n"])[1] == "expected '$', got '%'"
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_large_argument_in_small_pieces_takes_linear_time(path: str) -> None:
    size = 32 << 20
    stream = PING + b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % size + b"x" * size + b"\r\n" + PING
    started = time.perf_counter()
    commands, error = parse(stream[at : at + 16384] for at in range(0, len(stream), 16384))
    assert [len(command) for command in commands] == [1, 2, 1]
    assert len(commands[1][1]) == size and not error
    assert time.perf_counter() - started < 2


def test_a_configured_limit_holds_for_arguments(path: str) -> None:
    parser = RequestParser(max_bulk=10)
    assert parser.feed(b"*1\r\n$10\r\n0123456789\r\n*1\r\n$11\r\n01234567890\r\n") == [[b"0123456789"]]
    assert str(parser.error) == "invalid bulk length"


def test_nothing_follows_an_error(path: str) -> None:
    parser = RequestParser()
    assert parser.feed(PING + b"*x\r\n") == [[b"PING"]]
    assert parser.feed(PING) == []


# -- before authentication -----------------------------------------------------------------------------------------

MANY = b"*11\r\n" + b"$1\r\na\r\n" * 11
LONG = b"*2\r\n$4\r\nECHO\r\n$16385\r\n" + b"x" * 16385 + b"\r\n"


@pytest.mark.parametrize(
    ("data", "error"), [(MANY, "unauthenticated multibulk length"), (LONG, "unauthenticated bulk length")]
)
def test_strangers_may_not_send_much(data: bytes, error: str) -> None:
    assert parse([data], authenticated=False) == ([], error)
    assert parse([PING + data], authenticated=False) == ([[b"PING"]], error)
    assert parse([data])[1] == ""


@pytest.mark.parametrize("data", [MANY, LONG])
def test_auth_ahead_in_the_same_packet_counts(data: bytes) -> None:
    parser = RequestParser(authenticated=False)
    assert parser.feed(b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n" + data + PING) == [[b"AUTH", b"x"]]
    assert parser.waiting and parser.error is None
    parser.authenticated = True
    assert parser.feed(b"")[-1] == [b"PING"]
    assert not parser.waiting


# -- words ---------------------------------------------------------------------------------------------------------

WORDS: list[tuple[bytes, list[bytes] | None]] = [
    (b"", []),
    (b"  \t ", []),
    (b"a b", [b"a", b"b"]),
    (b" a\tb ", [b"a", b"b"]),
    (b'""', [b""]),
    (b'"a b" c', [b"a b", b"c"]),
    (rb'"\x41\x4\n\r\t\b\a\q\""', [b'Ax4\n\r\t\b\aq"']),
    (rb"'\n\' \ '", [rb"\n' \ "]),
    (b"a\"b c\" 'd'", [b"ab c", b"d"]),
    (b'"a', None),
    (b'a"', None),
    (b'"a"b', None),
    (b"'a''b'", None),
    (b'"a\\', None),
    (b"'a\\'", None),
]


@pytest.mark.parametrize(("line", "words"), WORDS)
def test_words_of_an_inline_request(line: bytes, words: list[bytes] | None) -> None:
    assert split_words(line) == words


@given(st.lists(st.sampled_from([b"a", b" ", b'"', b"'", b"\\", b"\\x41", b"n", b"\t"]), max_size=12).map(b"".join))
def test_quotes_never_take_long(line: bytes) -> None:
    split_words(line * 50)


def test_redis_splits_words_alike(real_redis: RealRedis) -> None:
    for line, words in WORDS:
        if words:
            real_redis.socket.sendall(b"RPUSH words " + line + b"\r\n")
            assert real_redis.read() == len(words)
            assert real_redis.ask("LRANGE", "words", 0, -1) == words
            real_redis.ask("DEL", "words")
