"""What goes wrong on the client's side, in Redis' own words: clients branch on the first word, people search the rest.

An error is made anew each time it is raised (`raise errors.syntax()`): an exception object raised again and again
collects a traceback entry each time, and keeps what the frames it passed through held alive.
"""

from __future__ import annotations

from functools import partial
from typing import Final

MAX_SHOWN: Final = 128
"""Bytes of an argument that an error message repeats."""


class ReplyError(Exception):
    """An error reply. `text` is all of it, prefix included (`ERR syntax error`).

    Each character is one byte on the wire (latin-1), so that an argument can be repeated as it was: see `shown`.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class CountedError(ReplyError):
    """One that the statistics know already: a script passes on what a command of its has said."""


class TooLong(ReplyError):
    """The reply would be too long to be made at all: `least` bytes or more."""

    def __init__(self, least: int) -> None:
        super().__init__("ERR value is out of range")
        self.least = least


def shown(raw: bytes) -> str:
    """An argument as an error message repeats it: the start of it, byte for byte."""
    return raw[:MAX_SHOWN].decode("latin-1")


def whole(raw: bytes) -> str:
    """All of an argument, for the errors that repeat all; a C string, so up to its first zero byte."""
    return raw.partition(b"\0")[0].decode("latin-1")


# -- arguments -----------------------------------------------------------------------------------------------------

syntax = partial(ReplyError, "ERR syntax error")
not_an_integer = partial(ReplyError, "ERR value is not an integer or out of range")
not_a_float = partial(ReplyError, "ERR value is not a valid float")
out_of_range = partial(ReplyError, "ERR value is out of range")
must_be_positive = partial(ReplyError, "ERR value is out of range, must be positive")
invalid_cursor = partial(ReplyError, "ERR invalid cursor")
bad_numkeys = partial(ReplyError, "ERR numkeys should be greater than 0")
too_many_keys = partial(ReplyError, "ERR Number of keys can't be greater than number of args")
negative_keys = partial(ReplyError, "ERR Number of keys can't be negative")
bad_timeout = partial(ReplyError, "ERR timeout is not a float or out of range")
negative_timeout = partial(ReplyError, "ERR timeout is negative")
bad_bit = partial(ReplyError, "ERR bit is not an integer or out of range")
bad_bit_offset = partial(ReplyError, "ERR bit offset is not an integer or out of range")
bad_bitfield_type = partial(
    ReplyError, "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."
)
bad_offset = partial(ReplyError, "ERR offset is out of range")
bad_index = partial(ReplyError, "ERR index out of range")
bad_score_range = partial(ReplyError, "ERR min or max is not a float")
bad_lex_range = partial(ReplyError, "ERR min or max not valid string range item")
bad_stream_id = partial(ReplyError, "ERR Invalid stream ID specified as stream command argument")
bad_db_index = partial(ReplyError, "ERR DB index is out of range")

# -- values --------------------------------------------------------------------------------------------------------

wrong_type = partial(ReplyError, "WRONGTYPE Operation against a key holding the wrong kind of value")
no_such_key = partial(ReplyError, "ERR no such key")
busy_key = partial(ReplyError, "BUSYKEY Target key name already exists.")
busy_group = partial(ReplyError, "BUSYGROUP Consumer Group name already exists")
too_large = partial(ReplyError, "ERR string exceeds maximum allowed size (proto-max-bulk-len)")
overflow = partial(ReplyError, "ERR increment or decrement would overflow")
would_be_nan = partial(ReplyError, "ERR increment would produce NaN or Infinity")
score_would_be_nan = partial(ReplyError, "ERR resulting score is not a number (NaN)")
hash_not_an_integer = partial(ReplyError, "ERR hash value is not an integer")
hash_not_a_float = partial(ReplyError, "ERR hash value is not a float")

# -- admission and state -------------------------------------------------------------------------------------------

no_auth = partial(ReplyError, "NOAUTH Authentication required.")
wrong_pass = partial(ReplyError, "WRONGPASS invalid username-password pair or user is disabled.")
no_proto = partial(ReplyError, "NOPROTO unsupported protocol version")
no_script = partial(ReplyError, "NOSCRIPT No matching script. Please use EVAL.")
exec_abort = partial(ReplyError, "EXECABORT Transaction discarded because of previous errors.")
exec_without_multi = partial(ReplyError, "ERR EXEC without MULTI")
discard_without_multi = partial(ReplyError, "ERR DISCARD without MULTI")
nested_multi = partial(ReplyError, "ERR MULTI calls can not be nested")
watch_inside_multi = partial(ReplyError, "ERR WATCH inside MULTI is not allowed")
not_in_transaction = partial(ReplyError, "ERR Command not allowed inside a transaction")


def unknown_command(argv: list[bytes]) -> ReplyError:
    """Nobody answers to `argv[0]`; repeats the start of what was sent."""
    told, room = "", MAX_SHOWN
    for arg in argv[1:]:
        if room <= 0:
            break
        told += f"'{arg[:room].decode('latin-1')}' "
        room = MAX_SHOWN - len(told)
    return ReplyError(f"ERR unknown command '{shown(argv[0])}', with args beginning with: {told}")


def unknown_subcommand(argv: list[bytes]) -> ReplyError:
    """`argv[0]` is a container without a subcommand `argv[1]`."""
    return ReplyError(f"ERR unknown subcommand '{shown(argv[1])}'. Try {shown(argv[0]).upper()} HELP.")


def wrong_arity(name: bytes) -> ReplyError:
    """Too few or too many arguments for the command `name` ("get", "config|get")."""
    return ReplyError(f"ERR wrong number of arguments for '{shown(name).lower()}' command")


def invalid_expire(name: str) -> ReplyError:
    """A time to live that is not positive or leaves 64 bits, given to the command `name` ("set")."""
    return ReplyError(f"ERR invalid expire time in '{name}' command")


def no_group(group: bytes, key: bytes) -> ReplyError:
    """The stream `key`, or its consumer group, does not exist."""
    return ReplyError(f"NOGROUP No such consumer group '{whole(group)}' for key name '{whole(key)}'")


def misused(container: str, word: str) -> ReplyError:
    return ReplyError(f"ERR unknown subcommand or wrong number of arguments for '{word}'. Try {container} HELP.")
