"""Compiled Lua 5.1, improved in two places before it runs.

* `return redis.call(...)` is a tail call, after which nobody can tell which line of the script an error came from.
  Tail calls of globals, of fields and of what calls return become calls; those of local functions stay, since somebody
  may loop by them.
* A function with many parameters before its `...` is entered without making sure of room on the stack for their second
  copy (CVE-2014-5461, open in Lua 5.1.5). Such functions ask for that room themselves.

Only what string.dump of the same interpreter has made comes here; scripts cannot load bytecode.

    chunk     12 bytes, function
    function  string source, int line, int last line, u8 upvalues, u8 parameters, u8 vararg, u8 stack,
              vector of u32 code, vector of constants, vector of functions,
              vector of int lines, vector of (string, int, int) locals, vector of string names of upvalues
    vector    int count, items                       string    u64 size, bytes
    constant  u8 type: 0 nil, 1 boolean (u8), 3 number (8 bytes), 4 string
"""

from __future__ import annotations

from struct import Struct
from typing import Final

HEADER: Final = b"\x1bLua\x51\x00\x01\x04\x08\x04\x08\x00"
INT: Final = Struct("<i")
SIZE: Final = Struct("<Q")
OP_GETGLOBAL, OP_GETTABLE, OP_SELF, OP_CALL, OP_TAILCALL = 5, 6, 11, 28, 29
CONSTANT: Final = 256
"""From here on an operand names a constant."""
SAFE_PARAMETERS: Final = 3
"""So many fit into the spare slots that every stack has."""
STACK_MAX: Final = 250


class Unsafe(ValueError):
    """A function that cannot be made safe."""


def improve(chunk: bytes) -> bytes | None:
    """A better version of a dumped function; None when it is good as it is. Raises Unsafe, ValueError."""
    if not chunk.startswith(HEADER):
        raise ValueError("this is not Lua 5.1 as it is known here")
    walk = _Walk(chunk)
    walk.function()
    return bytes(walk.data) if walk.changed else None


class _Walk:
    def __init__(self, chunk: bytes) -> None:
        self.data = bytearray(chunk)
        self.at = len(HEADER)
        self.changed = False

    def function(self) -> None:
        self._string()
        self.at += 8
        _, parameters, vararg, stack = self.data[self.at : self.at + 4]
        if vararg and parameters > SAFE_PARAMETERS:
            if stack + 2 * parameters > STACK_MAX:
                raise Unsafe("function with too many parameters before '...'")
            self.data[self.at + 3] = stack + 2 * parameters
            self.changed = True
        self.at += 4
        self._code(self._count())
        for _ in range(self._count()):
            self._constant()
        for _ in range(self._count()):
            self.function()
        lines = self._count()
        self.at += 4 * lines
        for _ in range(self._count()):
            self._string()
            self.at += 8
        for _ in range(self._count()):
            self._string()

    def _count(self) -> int:
        (count,) = INT.unpack_from(self.data, self.at)
        self.at += 4
        return int(count)

    def _string(self) -> None:
        self.at += 8 + SIZE.unpack_from(self.data, self.at)[0]

    def _constant(self) -> None:
        kind = self.data[self.at]
        self.at += 1
        if kind == 4:
            self._string()
        else:
            self.at += {0: 0, 1: 1, 3: 8}[kind]

    def _code(self, count: int) -> None:
        """Instructions: opcode 6 bits, A 8 bits, C 9 bits, B 9 bits."""
        data, start = self.data, self.at
        callee: dict[int, bool] = {}
        for at in range(start, start + 4 * count, 4):
            word = int.from_bytes(data[at : at + 4], "little")
            code, a, c = word & 63, word >> 6 & 255, word >> 14 & 511
            if code == OP_TAILCALL and callee.get(a):
                data[at] = data[at] & ~63 | OP_CALL
                self.changed = True
            callee[a] = code in (OP_GETGLOBAL, OP_CALL) or (code in (OP_GETTABLE, OP_SELF) and c >= CONSTANT)
        self.at = start + 4 * count
