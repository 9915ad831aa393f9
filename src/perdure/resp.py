r"""RESP2 and RESP3: bytes ↔ requests and replies. Knows no command.

Replies. Handlers return plain Python values, and the exact type says what goes on the wire:

    bytes, bytearray   bulk string             $3\r\nfoo\r\n
    str                simple string           +OK\r\n
    int                integer                 :7\r\n
    None               null                    $-1\r\n        RESP3: _\r\n
    bool               integer                 :1\r\n         RESP3: #t\r\n
    float, Decimal     bulk string             $3\r\n0.5\r\n  RESP3: ,0.5\r\n
    list, tuple        array                   *2\r\n...
    dict, Map          flat array              *4\r\n...      RESP3: %2\r\n...
    Pairs              flat array              *4\r\n...      RESP3: *2\r\n*2\r\n...
    Rows               array of pairs          *2\r\n*2\r\n... RESP3: %2\r\n...
    Set                array                   *2\r\n...      RESP3: ~2\r\n...
    Push               array                   *3\r\n...      RESP3: >3\r\n...
    Verbatim           bulk string             $2\r\nhi\r\n   RESP3: =6\r\ntxt:hi\r\n
    BigNumber          bulk string             $1\r\n7\r\n    RESP3: (7\r\n
    NULL_ARRAY         null array              *-1\r\n        RESP3: _\r\n
    ReplyError         error                   -ERR text\r\n
    Raw                as it is

Requests. `RequestParser` turns what arrives into argument lists: arrays of bulk strings (`*1\r\n$4\r\nPING\r\n`) or
inline commands (`PING\r\n`). The automaton in Python decides what a request is, byte for byte as Redis does. Before it
comes a fast path: our own in C (`_fast.pyx`) where that was compiled, else hiredis, which is some fifteen times as
fast as the automaton but made for replies: it gets what looks well formed, and is believed only when nothing but the
headers of requests is missing from its answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final, TypeAlias

import hiredis

from perdure.errors import ReplyError

try:
    from perdure._fast import take_requests
except ImportError:
    take_requests = None  # type: ignore[assignment]

# -- values of replies ---------------------------------------------------------------------------------------------


class Map:
    """A map from a flat list: key, value, key, value, ..."""

    __slots__ = ("items",)

    def __init__(self, items: Sequence[Reply]) -> None:
        self.items = items


class Pairs:
    """Pairs from a flat list, in an order or with repetitions, so that they make no map (HRANDFIELD WITHVALUES)."""

    __slots__ = ("items",)

    def __init__(self, items: Sequence[Reply]) -> None:
        self.items = items


class Rows:
    """A map from a flat list that RESP2 shows as pairs, not flat: what XREAD returns."""

    __slots__ = ("items",)

    def __init__(self, items: Sequence[Reply]) -> None:
        self.items = items


class Set:
    """A RESP3 set."""

    __slots__ = ("items",)

    def __init__(self, items: Iterable[Reply]) -> None:
        self.items = items if isinstance(items, (list, tuple)) else list(items)


class Push:
    """Out-of-band data: pub/sub messages, invalidations."""

    __slots__ = ("items",)

    def __init__(self, items: Sequence[Reply]) -> None:
        self.items = items


class Verbatim:
    """Text for people. `fmt` is three letters: txt or mkd."""

    __slots__ = ("fmt", "text")

    def __init__(self, text: bytes, fmt: str = "txt") -> None:
        self.text = text
        self.fmt = fmt


class Decimal:
    """A double in a form of its own: without an exponent, say."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = text


class BigNumber:
    """An integer that need not fit 64 bits."""

    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value


class NullArray:
    """The type of NULL_ARRAY."""

    __slots__ = ()


class Raw(bytes):
    """A reply, or several, already encoded."""

    __slots__ = ()


NULL_ARRAY: Final = NullArray()

Reply: TypeAlias = (
    "bytes | bytearray | str | int | float | Sequence[Reply] | Mapping[Any, Reply]"
    " | Map | Pairs | Rows | Set | Push | Verbatim | Decimal | BigNumber | NullArray | ReplyError | None"
)

# -- encoding ------------------------------------------------------------------------------------------------------

INTS: Final = [b":%d\r\n" % n for n in range(1024)]
BULKS: Final = [b"$%d\r\n" % n for n in range(1024)]
ARRAYS: Final = [b"*%d\r\n" % n for n in range(1024)]
SIMPLE: Final = {text: b"+%b\r\n" % text.encode() for text in ("OK", "PONG", "QUEUED")}
NULL2: Final = b"$-1\r\n"
NULL3: Final = b"_\r\n"
CRLF: Final = b"\r\n"


PAIRS: Final = b"2"
"""An array of arrays of two."""
SHAPES2: Final[dict[type, bytes]] = {Map: b"*", Pairs: b"*", Rows: PAIRS, Set: b"*", Push: b"*"}
"""How the items of these are shown: PAIRS, or what the header of all begins with."""
SHAPES3: Final[dict[type, bytes]] = {Map: b"%", Pairs: PAIRS, Rows: b"%", Set: b"~", Push: b">"}

Writer: TypeAlias = Callable[[list[bytes], Any], None]


def format_double(value: float) -> bytes:
    """A double as Redis prints a score: 17 significant digits, which is enough to read the same double back."""
    return b"%.17g" % value


def _header(kind: bytes, count: int) -> bytes:
    return ARRAYS[count] if kind == b"*" and count < 1024 else b"%b%d\r\n" % (kind, count)


def _line(text: str) -> bytes:
    """The text of a simple string or an error: whatever an argument smuggled into it, one line."""
    return text.replace("\r", " ").replace("\n", " ").encode("latin-1", "replace")


def _simple(text: str) -> bytes:
    return b"+%b\r\n" % _line(text)


def _bulk(data: bytes | bytearray) -> bytes:
    return b"".join((b"$%d\r\n" % len(data), data, CRLF))


COMMON_WRITERS: Final[dict[type, Writer]] = {
    bytes: lambda out, reply: out.append(_bulk(reply)),
    bytearray: lambda out, reply: out.append(_bulk(reply)),
    Raw: lambda out, reply: out.append(reply),
    str: lambda out, reply: out.append(SIMPLE.get(reply) or _simple(reply)),
    int: lambda out, reply: out.append(b":%d\r\n" % reply),
    ReplyError: lambda out, reply: out.append(b"-%b\r\n" % _line(reply.text)),
}
"""What is the same in both protocols. Looked up by exact type; a subclass finds its base class's."""

WRITERS2: Final[dict[type, Writer]] = {
    type(None): lambda out, reply: out.append(NULL2),
    bool: lambda out, reply: out.append(INTS[reply]),
    float: lambda out, reply: out.append(_bulk(format_double(reply))),
    Decimal: lambda out, reply: out.append(_bulk(reply.text)),
    Verbatim: lambda out, reply: out.append(_bulk(reply.text)),
    BigNumber: lambda out, reply: out.append(_bulk(b"%d" % reply.value)),
    NullArray: lambda out, reply: out.append(b"*-1\r\n"),
}

WRITERS3: Final[dict[type, Writer]] = {
    type(None): lambda out, reply: out.append(NULL3),
    bool: lambda out, reply: out.append(b"#t\r\n" if reply else b"#f\r\n"),
    float: lambda out, reply: out.append(b",%b\r\n" % format_double(reply)),
    Decimal: lambda out, reply: out.append(b",%b\r\n" % reply.text),
    Verbatim: lambda out, reply: out.append(
        b"=%d\r\n%b:%b\r\n" % (len(reply.text) + 4, reply.fmt.encode(), reply.text)
    ),
    BigNumber: lambda out, reply: out.append(b"(%d\r\n" % reply.value),
    NullArray: lambda out, reply: out.append(NULL3),
}


class PlainEncoder:
    """Any reply as bytes. Raises TypeError for what no handler may return."""

    def __init__(self, null: bytes, shapes: dict[type, bytes], writers: dict[type, Writer]) -> None:
        self._null = null
        self._writers = COMMON_WRITERS | writers
        self._writers[dict] = lambda out, reply: self._write(out, Map([*chain.from_iterable(reply.items())]))
        self._writers |= {kind: partial(self._write_shaped, shape) for kind, shape in shapes.items()}

    def __call__(self, reply: Reply) -> bytes:
        if type(reply) is bytes:
            size = len(reply)
            return b"".join((BULKS[size], reply, CRLF)) if size < 1024 else b"$%d\r\n%b\r\n" % (size, reply)
        if type(reply) is int:
            return INTS[reply] if 0 <= reply < 1024 else b":%d\r\n" % reply
        if reply is None:
            return self._null
        if type(reply) is str:
            return SIMPLE.get(reply) or _simple(reply)
        if type(reply) is Raw:
            return reply
        out: list[bytes] = []
        self._write(out, reply)
        return b"".join(out)

    def _write(self, out: list[bytes], reply: Reply) -> None:
        """Append its chunks."""
        if type(reply) is list or type(reply) is tuple:
            out.append(_header(b"*", len(reply)))
            self._write_items(out, reply)
        else:
            self._writer(reply)(out, reply)

    def _write_items(self, out: list[bytes], items: Sequence[Reply]) -> None:
        for item in items:
            if type(item) is bytes:
                size = len(item)
                out += (BULKS[size] if size < 1024 else b"$%d\r\n" % size, item, CRLF)
            elif type(item) is int:
                out.append(INTS[item] if 0 <= item < 1024 else b":%d\r\n" % item)
            elif item is None:
                out.append(self._null)
            else:
                self._write(out, item)

    def _write_shaped(self, shape: bytes, out: list[bytes], reply: Map | Pairs | Rows | Set | Push) -> None:
        items = reply.items
        if shape == PAIRS:
            out.append(_header(b"*", len(items) // 2))
            for at in range(0, len(items), 2):
                out.append(ARRAYS[2])
                self._write_items(out, items[at : at + 2])
        else:
            out.append(_header(shape, len(items) // 2 if shape == b"%" else len(items)))
            self._write_items(out, items)

    def _writer(self, reply: Reply) -> Writer:
        for kind in type(reply).__mro__:
            if kind in self._writers:
                return self._writers[kind]
        raise TypeError(f"a handler returned {type(reply).__name__}, which is not a reply")


plain2: Final = PlainEncoder(NULL2, SHAPES2, WRITERS2)
plain3: Final = PlainEncoder(NULL3, SHAPES3, WRITERS3)
encode2: Callable[[Reply], bytes] = plain2
"""A reply as a RESP2 client reads it. Raises TypeError for what no handler may return."""
encode3: Callable[[Reply], bytes] = plain3
"""The same for RESP3."""

try:  # what is common in C, where a compiler was present at installation
    from perdure._fast import Encoder
except ImportError:
    pass
else:
    encode2 = Encoder(NULL2, SIMPLE, SHAPES2, False, plain2)
    encode3 = Encoder(NULL3, SIMPLE, SHAPES3, True, plain3)


# -- requests ------------------------------------------------------------------------------------------------------

LINE_MAX: Final = 64 * 1024
"""Bytes a header or an inline command may have."""

COUNT_MAX: Final = (1 << 31) - 1
BEFORE_AUTH_COUNT: Final = 10
BEFORE_AUTH_BULK: Final = 16384


class ProtocolError(Exception):
    """The client does not speak RESP, or too much of it: answer `reply` and close the connection."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.reply = ReplyError(f"ERR Protocol error: {text}")


class RequestParser:
    """The requests of one connection, from chunks cut anywhere: the same bytes give the same requests however cut.

    Memory follows what has arrived, never what a header announces. Before `authenticated` is set, requests have to be
    small; one that is not waits while requests before it, which may authenticate, have not been run: `waiting` is then
    true, and `feed(b"")` goes on.

    `argument_bytes` are in arguments of the request that is not whole yet, of which there may be `max_request`.
    """

    __slots__ = (
        "_argv", "_at", "_buffer", "_bulk", "_missing", "_need", "_reader",
        "argument_bytes", "authenticated", "error", "max_bulk", "max_request", "waiting",
    )  # fmt: skip

    def __init__(
        self, *, authenticated: bool = True, max_bulk: int = 512 << 20, max_request: int = 1 << 62
    ) -> None:
        self.authenticated = authenticated
        self.max_bulk = max_bulk
        self.max_request = max_request
        self.argument_bytes = 0
        self.error: ProtocolError | None = None
        self.waiting = False
        self._reader: hiredis.Reader | None = None
        self._buffer = bytearray()
        self._at = 0
        self._need = 0
        self._argv: list[bytes] = []
        self._missing = 0
        self._bulk = -1

    def feed(self, data: bytes) -> list[list[bytes]]:
        """The requests that `data` completes, in order; none has zero arguments.

        When the stream turns out not to be RESP, `error` is set; what came before the offence is still returned.
        """
        commands: list[list[bytes]] = []
        if self.error is not None:
            return commands
        pending = bool(self._buffer or self._missing)
        if not pending:
            data = self._parse_fast(data, commands)
            if not data:
                return commands
        self._buffer += data
        if len(self._buffer) >= self._need:
            try:
                self._parse(commands, try_fast=pending)
            except ProtocolError as error:
                self.error = error
                self._buffer.clear()
        if self.waiting_bytes + self.argument_bytes > self.max_request:
            self.error = ProtocolError("too big request (client-query-buffer-limit)")
            self._buffer.clear()
        return commands

    @property
    def waiting_bytes(self) -> int:
        """Bytes that could not be parsed yet."""
        return len(self._buffer)

    @property
    def wanted_bytes(self) -> int:
        """Bytes that the argument at hand still lacks, as far as it is known how long it is."""
        return max(0, self._need - len(self._buffer))

    # -- the fast path -------------------------------------------------------------------------------------------

    def _parse_fast(self, data: bytes, commands: list[list[bytes]]) -> bytes:
        """Let compiled code parse the requests that `data` starts with; returns what it was not trusted with.

        REQUIRES: `data` starts where a request does.
        """
        if not data.startswith(b"*") or not self.authenticated:
            return data
        if take_requests is not None:
            return data[take_requests(data, COUNT_MAX, self.max_bulk, commands) :]
        if len(data) > self.max_bulk:
            return data
        head = data
        if not data.endswith(CRLF):
            head = data[: data.rfind(b"\r\n*") + 2]
            if len(head) < 2:
                return data
        if _SUSPICIOUS(head) is not None:
            return data
        found = self._ask_hiredis(head)
        if found is None:
            return data
        commands += found
        return data[len(head) :]

    def _ask_hiredis(self, head: bytes) -> list[list[bytes]] | None:
        """The requests in `head`, or None unless it is nothing but whole requests, each an array of bulk strings.

        Two things tell. A probe behind `head` comes back as a value of its own only when hiredis expected no more of
        the last request. And headers are made of STRUCTURE: without the bytes of that set, input and arguments are
        equally long. Had hiredis taken anything else for an argument or a request (`+text`, a set, a map, ...), the
        mark of its type would be left over.
        """
        reader = self._reader
        if reader is None:
            reader = self._reader = hiredis.Reader()
        reader.feed(head)
        reader.feed(b"+probe\r\n")
        found: list[list[bytes]] = []
        try:
            argv = reader.gets()
            while type(argv) is list:
                found.append(argv)
                argv = reader.gets()
            if argv == b"probe" and all(found):
                arguments = b"".join(chain.from_iterable(found))
                if len(head.translate(None, STRUCTURE)) == len(arguments.translate(None, STRUCTURE)):
                    return found
        except (hiredis.ProtocolError, TypeError):
            pass
        self._reader = None
        return None

    # -- the automaton -------------------------------------------------------------------------------------------

    def _parse(self, commands: list[list[bytes]], *, try_fast: bool) -> None:
        """Take whole requests from the buffer, and the whole arguments of the last one.

        `try_fast`: hiredis may have what follows the request that was pending.
        """
        buffer = self._buffer
        self._need = 0
        self.waiting = False
        while self._at < len(buffer):
            if self._missing:
                if not self._take_argument(commands):
                    break
            elif try_fast:
                try_fast = False
                data = self._parse_fast(bytes(buffer[self._at :]), commands)
                self._at = len(buffer) - len(data)
            elif buffer[self._at] == _STAR:
                if not self._take_count(commands):
                    break
            elif not self._take_inline(commands):
                break
        del buffer[: self._at]
        self._need -= self._at
        self._at = 0

    def _take_line(self, end: bytes, what: str) -> int:
        """Where the line at hand ends; -1 when it is not complete."""
        buffer, at = self._buffer, self._at
        stop = buffer.find(end, at, at + LINE_MAX + 1)
        if stop < 0 and len(buffer) - at > LINE_MAX:
            raise ProtocolError(f"too big {what}")
        return stop

    def _take_count(self, commands: list[list[bytes]]) -> bool:
        """`*3`: a request begins. False: wait for more."""
        stop = self._take_line(b"\r", "mbulk count string")
        if stop < 0 or stop + 2 > len(self._buffer):
            return False
        count = _canonical_int(self._buffer[self._at + 1 : stop])
        if count is None or count > COUNT_MAX:
            raise ProtocolError("invalid multibulk length")
        if count > BEFORE_AUTH_COUNT and not self.authenticated:
            if self._may_authenticate_first(commands):
                return False
            raise ProtocolError("unauthenticated multibulk length")
        self._at = stop + 2
        self._missing = max(count, 0)
        return True

    def _take_argument(self, commands: list[list[bytes]]) -> bool:
        """`$3`, `foo`: one more argument of the request. False: wait for more."""
        if self._bulk < 0 and not self._take_size(commands):
            return False
        buffer, start = self._buffer, self._at
        end = start + self._bulk
        if end + 2 > len(buffer):
            self._need = end + 2
            return False
        with memoryview(buffer) as view:
            self._argv.append(bytes(view[start:end]))
        self.argument_bytes += end - start
        self._at = end + 2
        self._bulk = -1
        self._missing -= 1
        if not self._missing:
            commands.append(self._argv)
            self._argv = []
            self.argument_bytes = 0
        return True

    def _take_size(self, commands: list[list[bytes]]) -> bool:
        """`$3`: an argument begins. False: wait for more."""
        buffer, at = self._buffer, self._at
        stop = self._take_line(b"\r", "bulk count string")
        if stop < 0 or stop + 2 > len(buffer):
            return False
        if buffer[at] != _DOLLAR:
            raise ProtocolError(f"expected '$', got '{chr(buffer[at])}'")
        size = _canonical_int(buffer[at + 1 : stop])
        if size is None or not 0 <= size <= self.max_bulk:
            raise ProtocolError("invalid bulk length")
        if size > BEFORE_AUTH_BULK and not self.authenticated:
            if self._may_authenticate_first(commands):
                return False
            raise ProtocolError("unauthenticated bulk length")
        self._at = stop + 2
        self._bulk = size
        return True

    def _take_inline(self, commands: list[list[bytes]]) -> bool:
        """`SET key "a value"`: a request on one line. False: wait for more."""
        stop = self._take_line(b"\n", "inline request")
        if stop < 0:
            return False
        line = bytes(self._buffer[self._at : stop])
        argv = split_words(line[:-1] if line.endswith(b"\r") else line)
        if argv is None:
            raise ProtocolError("unbalanced quotes in request")
        self._at = stop + 1
        if argv:
            commands.append(argv)
        return True

    def _may_authenticate_first(self, commands: list[list[bytes]]) -> bool:
        """Requests ahead of this one have not been run, and one of them may be AUTH."""
        self.waiting = bool(commands)
        return self.waiting


STRUCTURE: Final = b"*$\r\n0123456789"
_SUSPICIOUS: Final = re.compile(rb"[*~%>|][0-9]{5}").search
"""hiredis makes room for as many elements as the header of an array, set, map, push or attribute announces."""

_STAR: Final = ord("*")
_DOLLAR: Final = ord("$")
_CANONICAL: Final = re.compile(rb"0|-?[1-9][0-9]{0,18}").fullmatch


def _canonical_int(digits: bytearray) -> int | None:
    """A decimal number as a program writes it: no plus, no leading zeros."""
    return int(digits) if _CANONICAL(digits) else None


_WORD: Final = re.compile(
    rb"""[ \t\n\v\f\r\0]*                                       # what separates words
         (?P<bare> [^ \t\n\r\0"']*+ )
         (?: " (?P<double> (?: [^"\\] | \\. )*+ ) " (?= [ \t\n\v\f\r\0] | \Z )
           | ' (?P<single> (?: [^'\\] | \\'? )*+ ) ' (?= [ \t\n\v\f\r\0] | \Z ) )?+""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPED: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def split_words(line: bytes) -> list[bytes] | None:
    r"""Words as in a shell: "double quotes" know \n \r \t \b \a \xff, 'single quotes' only \'. None: unbalanced quotes.

    A closing quote ends the word, and nothing but a blank may follow it.
    """
    words: list[bytes] = []
    at = 0
    while at < len(line):
        match = _WORD.match(line, at)
        assert match is not None
        at = match.end()
        bare, double, single = match.group("bare", "double", "single")
        if double is not None:
            words.append(bare + _ESCAPE.sub(_unescape, double))
        elif single is not None:
            words.append(bare + single.replace(b"\\'", b"'"))
        elif line[at : at + 1] in (b'"', b"'"):
            return None
        elif bare:
            words.append(bare)
    return words


def _unescape(match: re.Match[bytes]) -> bytes:
    code: bytes = match[1]
    return bytes([int(code[1:], 16)]) if len(code) == 3 else _ESCAPED.get(code, code)
