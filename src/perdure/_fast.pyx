# cython: language_level=3, boundscheck=False, wraparound=False
"""The compiled halves of `resp` and of `args.to_integer`: bytes walked in C.

`take_requests` takes only what is beyond doubt: whole, canonical requests. Everything else (a request cut short, inline
commands, odd headers, anything that may be an error) is left where it starts, for the automaton. Measured on pipelined
SETs: 0.41 us in hiredis with the guards it needs, 0.12 us here.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.mem cimport PyMem_Free
from cpython.ref cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, strlen

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow) except? -1
    char* PyOS_double_to_string(double value, char code, int precision, int flags, int* kind)

cdef enum:
    MAX_DIGITS = 9
    MAX_DEPTH = 8
    DOUBLE_MAX = 24  # -1.2345678901234567e-308
    MAP = 37  # "%"
    PAIRS = 50  # "2"


cdef inline Py_ssize_t number(const char* data, Py_ssize_t* at, Py_ssize_t end) noexcept:
    """A canonical number and its CRLF at `at`, which then is behind them; -1 for anything else."""
    cdef Py_ssize_t position = at[0], value = 0
    cdef Py_ssize_t start = position
    while position < end and c"0" <= data[position] <= c"9":
        value = value * 10 + (data[position] - c"0")
        position += 1
    if position == start or position - start > MAX_DIGITS or position + 1 >= end:
        return -1
    if data[start] == c"0" and position - start > 1:
        return -1
    if data[position] != c"\r" or data[position + 1] != c"\n":
        return -1
    at[0] = position + 2
    return value


def take_requests(bytes chunk, Py_ssize_t max_arguments, Py_ssize_t max_bulk, list found):
    """Append the whole requests that `chunk` starts with to `found`; returns how many bytes they are."""
    cdef const char* data = PyBytes_AS_STRING(chunk)
    cdef Py_ssize_t end = PyBytes_GET_SIZE(chunk)
    cdef Py_ssize_t taken = 0, at, count, size, index
    cdef list argv
    cdef bytes argument
    while taken < end and data[taken] == c"*":
        at = taken + 1
        count = number(data, &at, end)
        # every argument takes at least 6 bytes: nothing is reserved for what cannot have arrived
        if count < 1 or count > max_arguments or count > (end - at) // 6:
            break
        argv = []
        for index in range(count):
            if at >= end or data[at] != c"$":
                break
            at += 1
            size = number(data, &at, end)
            if size < 0 or size > max_bulk or end - at < size + 2:
                break
            if data[at + size] != c"\r" or data[at + size + 1] != c"\n":
                break
            argument = PyBytes_FromStringAndSize(data + at, size)
            argv.append(argument)
            at += size + 2
        else:
            found.append(argv)
            taken = at
            continue
        break
    return taken


cdef inline Py_ssize_t width(unsigned long long value) noexcept:
    """How many digits."""
    cdef Py_ssize_t digits = 1
    while value >= 10:
        value //= 10
        digits += 1
    return digits


cdef inline char* put_digits(char* at, bint negative, unsigned long long value) noexcept:
    """A number; returns where it ends."""
    if negative:
        at[0] = c"-"
        at += 1
    cdef char* end = at + width(value)
    cdef char* digit = end
    while True:
        digit -= 1
        digit[0] = c"0" + <char>(value % 10)
        value //= 10
        if value == 0:
            return end


cdef inline char* put_line(char* at, char kind, bint negative, unsigned long long value) noexcept:
    """`kind`, a number, CRLF; returns where they end."""
    at[0] = kind
    at = put_digits(at + 1, negative, value)
    at[0] = c"\r"
    at[1] = c"\n"
    return at + 2


cdef inline char* put_bulk(char* at, const char* data, Py_ssize_t size) noexcept:
    """A bulk string; returns where it ends."""
    at = put_line(at, c"$", False, size)
    memcpy(at, data, size)
    at[size] = c"\r"
    at[size + 1] = c"\n"
    return at + size + 2


cdef Py_ssize_t put_double(char* at, double value) except -1:
    """Write it as `resp.format_double` does, in up to DOUBLE_MAX bytes; returns how many. Most scores are whole numbers."""
    cdef Py_ssize_t size
    cdef char* text
    cdef long long whole = <long long>value if -1e15 < value < 1e15 else 0
    if <double>whole == value and whole != 0:
        return put_digits(at, whole < 0, -<unsigned long long>whole if whole < 0 else whole) - at
    text = PyOS_double_to_string(value, c"g", 17, 0, NULL)
    if text == NULL:
        raise MemoryError
    size = strlen(text)
    memcpy(at, text, size)
    PyMem_Free(text)
    return size


cdef class Encoder:
    """`resp.encode2` or `encode3`: what is common is written here, the rest is for `otherwise`.

    null: how the protocol says None. simple: what is encoded already, by its text. shapes: see `resp.SHAPES2`. modern: it
    has doubles and maps.
    """

    cdef bytes null
    cdef dict simple
    cdef dict shapes
    cdef object otherwise
    cdef bint modern

    def __init__(self, bytes null, dict simple, dict shapes, bint modern, otherwise):
        self.null, self.simple, self.shapes, self.modern, self.otherwise = null, simple, shapes, modern, otherwise

    def __call__(self, reply):
        cdef Py_ssize_t size, written
        cdef bytes out
        if type(reply) is str:
            out = self.simple.get(reply)
            return self.otherwise(reply) if out is None else out
        size = self.size_of(reply, 0)
        if size < 0:
            return self.otherwise(reply)
        out = PyBytes_FromStringAndSize(NULL, size)
        written = self.put(PyBytes_AS_STRING(out), reply) - PyBytes_AS_STRING(out)
        return out if written == size else out[:written]

    cdef inline Py_ssize_t dict_size(self, dict reply):
        return len(reply) if self.modern else len(reply) * 2

    cdef Py_ssize_t size_of(self, reply, int depth) except -2:
        """Bytes that a reply takes at most, which is exact without doubles; -1 when something in it is not written here."""
        cdef Py_ssize_t size, total, index, count
        cdef long long value
        cdef int overflow = 0
        cdef char shape = c"*"
        cdef bint is_list
        kind = type(reply)
        if kind is bytes:
            size = PyBytes_GET_SIZE(reply)
            return size + width(size) + 5
        if kind is int:
            value = PyLong_AsLongLongAndOverflow(reply, &overflow)
            if overflow:
                return -1
            return 4 + width(-<unsigned long long>value) if value < 0 else 3 + width(value)
        if reply is None:
            return PyBytes_GET_SIZE(self.null)
        if kind is float:
            return DOUBLE_MAX + 7
        if kind is str:
            known = self.simple.get(reply)
            return -1 if known is None else PyBytes_GET_SIZE(known)
        if depth == MAX_DEPTH:
            return -1
        if kind is dict:
            total = 3 + width(self.dict_size(reply))
            for name, item in (<dict>reply).items():
                for part in (name, item):
                    size = self.size_of(part, depth + 1)
                    if size < 0:
                        return -1
                    total += size
            return total
        is_list = kind is list
        if not is_list and kind is not tuple:
            known = self.shapes.get(kind)
            if known is None:
                return -1
            shape = PyBytes_AS_STRING(known)[0]
            reply = reply.items
            is_list = type(reply) is list
            if not is_list and type(reply) is not tuple:
                return -1
        count = PyList_GET_SIZE(reply) if is_list else PyTuple_GET_SIZE(reply)
        total = 3 + width(count // 2 if shape == MAP or shape == PAIRS else count)
        if shape == PAIRS:
            total += (count + 1) // 2 * 4
        for index in range(count):
            size = self.size_of(<object>(PyList_GET_ITEM(reply, index) if is_list else PyTuple_GET_ITEM(reply, index)), depth + 1)
            if size < 0:
                return -1
            total += size
        return total

    cdef char* put(self, char* at, reply) except NULL:
        """Write what `size_of` has measured; returns where it ends."""
        cdef Py_ssize_t size, index
        cdef long long value
        cdef int overflow = 0
        cdef char shape = c"*"
        cdef bint is_list
        cdef char text[DOUBLE_MAX]
        kind = type(reply)
        if kind is bytes:
            return put_bulk(at, PyBytes_AS_STRING(reply), PyBytes_GET_SIZE(reply))
        if kind is int:
            value = PyLong_AsLongLongAndOverflow(reply, &overflow)
            return put_line(at, c":", value < 0, -<unsigned long long>value if value < 0 else value)
        if reply is None or kind is str:
            known = self.null if reply is None else self.simple[reply]
            size = PyBytes_GET_SIZE(known)
            memcpy(at, PyBytes_AS_STRING(known), size)
            return at + size
        if kind is float:
            if not self.modern:
                return put_bulk(at, text, put_double(text, reply))
            at[0] = c","
            at += 1 + put_double(at + 1, reply)
            at[0] = c"\r"
            at[1] = c"\n"
            return at + 2
        if kind is dict:
            at = put_line(at, c"%" if self.modern else c"*", False, self.dict_size(reply))
            for name, item in (<dict>reply).items():
                at = self.put(self.put(at, name), item)
            return at
        if kind is not list and kind is not tuple:
            shape = PyBytes_AS_STRING(self.shapes[kind])[0]
            reply = reply.items
        is_list = type(reply) is list
        size = PyList_GET_SIZE(reply) if is_list else PyTuple_GET_SIZE(reply)
        at = put_line(
            at, c"*" if shape == PAIRS else shape, False, size // 2 if shape == MAP or shape == PAIRS else size
        )
        for index in range(size):
            if shape == PAIRS and index % 2 == 0:
                at = put_line(at, c"*", False, 2)
            at = self.put(at, <object>(PyList_GET_ITEM(reply, index) if is_list else PyTuple_GET_ITEM(reply, index)))
        return at


def to_integer(raw):
    """A signed 64-bit integer in canonical decimal, or None. `raw` is bytes or bytearray."""
    cdef const char* data
    cdef Py_ssize_t size, at = 0
    cdef uint64_t value = 0, digit
    cdef bint negative = False
    if type(raw) is bytes:
        data, size = PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw)
    elif type(raw) is bytearray:
        data, size = PyByteArray_AS_STRING(raw), PyByteArray_GET_SIZE(raw)
    else:
        raise TypeError(type(raw))
    if size == 0 or size > 20:
        return None
    if data[0] == c"-":
        negative = True
        at = 1
        if size == 1 or data[1] == c"0":
            return None
    elif data[0] == c"0":
        return 0 if size == 1 else None
    if size - at > 19:
        return None
    while at < size:
        if not c"0" <= data[at] <= c"9":
            return None
        digit = data[at] - c"0"
        value = value * 10 + digit
        at += 1
    if negative:
        if value > <uint64_t>1 << 63:
            return None
        return -<object>value
    if value >= <uint64_t>1 << 63:
        return None
    return value
