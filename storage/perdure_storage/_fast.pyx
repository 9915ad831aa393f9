# cython: language_level=3, boundscheck=False, wraparound=False
"""The compiled halves of `codec`, `effects`, `tables` and `records`: batches, log records and table rows in C.

Same bytes as `codec.pack` for what effects are made of: ints, floats, bytes, None, tuples and lists of those. Anything
else raises TypeError.
"""

from hashlib import blake2b

from cpython cimport array
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.mem cimport PyMem_Realloc
from cpython.ref cimport Py_INCREF, PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM
from libc.string cimport memcpy
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "Python.h":
    ctypedef struct PyTupleObject:
        PyObject** ob_item
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow) except? -1
    object PyObject_Vectorcall(object function, PyObject** arguments, size_t count, PyObject* names)

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    #include <string.h>

    static uint32_t crc_table[256];

    static void crc_prepare(void) {
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t crc = byte;
            for (int bit = 0; bit < 8; bit++)
                crc = crc & 1 ? (crc >> 1) ^ 0x82F63B78u : crc >> 1;
            crc_table[byte] = crc;
        }
    }

    static uint32_t crc_by_table(uint32_t crc, const unsigned char *data, size_t size) {
        while (size--)
            crc = crc_table[(crc ^ *data++) & 0xFF] ^ (crc >> 8);
        return crc;
    }

    #if defined(__x86_64__) && defined(__GNUC__)
    __attribute__((target("sse4.2")))
    static uint32_t crc_by_instruction(uint32_t crc, const unsigned char *data, size_t size) {
        uint64_t wide = crc, word;
        for (; size >= 8; size -= 8, data += 8) {
            memcpy(&word, data, 8);
            wide = __builtin_ia32_crc32di(wide, word);
        }
        crc = (uint32_t)wide;
        while (size--)
            crc = __builtin_ia32_crc32qi(crc, *data++);
        return crc;
    }
    static int crc_has_instruction(void) { return __builtin_cpu_supports("sse4.2"); }
    #else
    #define crc_by_instruction crc_by_table
    static int crc_has_instruction(void) { return 0; }
    #endif
    """
    void crc_prepare() nogil
    uint32_t crc_by_table(uint32_t crc, const unsigned char* data, size_t size) nogil
    uint32_t crc_by_instruction(uint32_t crc, const unsigned char* data, size_t size) nogil
    int crc_has_instruction() nogil

crc_prepare()
cdef bint instruction = crc_has_instruction()


cdef inline uint32_t crc32c(uint32_t seed, const char* data, size_t size) noexcept:
    """CRC-32C (Castagnoli), continued from `seed`, as the `crc32c` package computes it."""
    cdef const unsigned char* start = <const unsigned char*>data
    if instruction:
        return ~crc_by_instruction(~seed, start, size)
    return ~crc_by_table(~seed, start, size)


cdef char* scratch = NULL
cdef Py_ssize_t capacity = 0
cdef Py_ssize_t used = 0
cdef enum:
    KEEP = 1 << 20  # a larger scratch buffer is given back after use
    MAX_DEPTH = 8  # effects nest two deep


cdef int reserve(Py_ssize_t more) except -1:
    global scratch, capacity
    cdef Py_ssize_t wanted
    cdef char* grown
    if used + more > capacity:
        wanted = max(2 * capacity, used + more + 4096)
        grown = <char*>PyMem_Realloc(scratch, wanted)
        if grown == NULL:
            raise MemoryError
        scratch = grown
        capacity = wanted
    return 0


cdef inline void put_big_endian(int marker, uint64_t value, int width) noexcept:
    """A marker byte, then `value` in `width` bytes. REQUIRES: reserved."""
    global used
    cdef int shift = 8 * (width - 1)
    scratch[used] = <char>marker
    used += 1
    while shift >= 0:
        scratch[used] = <char>((value >> shift) & 0xFF)
        used += 1
        shift -= 8


cdef int put_int(object item) except -1:
    cdef int overflow = 0
    cdef int64_t value = PyLong_AsLongLongAndOverflow(item, &overflow)
    reserve(9)
    if overflow:
        if overflow < 0:
            raise OverflowError
        put_big_endian(0xCF, <uint64_t>item, 8)
    elif 0 <= value <= 0x7F:
        put_big_endian(<int>value, 0, 0)
    elif -0x20 <= value < 0:
        put_big_endian(<int>(value & 0xFF), 0, 0)
    elif value >= 0:
        if value <= 0xFF:
            put_big_endian(0xCC, value, 1)
        elif value <= 0xFFFF:
            put_big_endian(0xCD, value, 2)
        elif value <= 0xFFFFFFFF:
            put_big_endian(0xCE, value, 4)
        else:
            put_big_endian(0xCF, value, 8)
    elif value >= -0x80:
        put_big_endian(0xD0, <uint64_t>value & 0xFF, 1)
    elif value >= -0x8000:
        put_big_endian(0xD1, <uint64_t>value & 0xFFFF, 2)
    elif value >= -0x80000000:
        put_big_endian(0xD2, <uint64_t>value & 0xFFFFFFFF, 4)
    else:
        put_big_endian(0xD3, <uint64_t>value, 8)
    return 0


cdef inline void put_float(double value) noexcept:
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    put_big_endian(0xCB, bits, 8)


cdef int put_raw(const char* data, Py_ssize_t size) except -1:
    global used
    reserve(size + 5)
    if size <= 0xFF:
        put_big_endian(0xC4, size, 1)
    elif size <= 0xFFFF:
        put_big_endian(0xC5, size, 2)
    else:
        put_big_endian(0xC6, size, 4)
    memcpy(scratch + used, data, size)
    used += size
    return 0


cdef int put_array_head(Py_ssize_t size) except -1:
    reserve(5)
    if size <= 15:
        put_big_endian(0x90 | <int>size, 0, 0)
    elif size <= 0xFFFF:
        put_big_endian(0xDC, size, 2)
    else:
        put_big_endian(0xDD, size, 4)
    return 0


cdef int put(object item) except -1:
    cdef Py_ssize_t index, size
    kind = type(item)
    if kind is bytes:
        put_raw(PyBytes_AS_STRING(item), PyBytes_GET_SIZE(item))
    elif kind is int:
        put_int(item)
    elif kind is tuple:
        size = PyTuple_GET_SIZE(item)
        put_array_head(size)
        for index in range(size):
            put(<object>PyTuple_GET_ITEM(item, index))
    elif kind is list:
        size = PyList_GET_SIZE(item)
        put_array_head(size)
        for index in range(size):
            put(<object>PyList_GET_ITEM(item, index))
    elif kind is bytearray:
        put_raw(PyByteArray_AS_STRING(item), PyByteArray_GET_SIZE(item))
    elif kind is float:
        reserve(9)
        put_float(item)
    elif item is None:
        reserve(1)
        put_big_endian(0xC0, 0, 0)
    else:
        raise TypeError(kind)
    return 0


cdef void put_little_endian(uint64_t value, int width) noexcept:
    global used
    store_little_endian(scratch + used, value, width)
    used += width


def seal_batch(uint32_t salt, uint64_t lsn, uint64_t durable, int kind, effects):
    """The whole log record of a batch: crc u32, size u32, lsn u64, back u32, kind u8, packed effects."""
    global used, scratch, capacity
    cdef uint64_t back = lsn - durable
    cdef Py_ssize_t total
    used = 21
    reserve(0)
    put(effects)
    total = used
    if total - 21 > 0xFFFFFFFF:
        raise OverflowError
    used = 4
    put_little_endian(total - 21, 4)
    put_little_endian(lsn, 8)
    put_little_endian(min(back, <uint64_t>0xFFFFFFFF), 4)
    put_little_endian(kind, 1)
    used = 0
    put_little_endian(crc32c(salt, scratch + 4, total - 4), 4)
    record = PyBytes_FromStringAndSize(scratch, total)
    if capacity > KEEP:
        scratch = <char*>PyMem_Realloc(scratch, KEEP)
        capacity = KEEP
    return record


cdef inline uint64_t get_little_endian(const unsigned char* data, int width) noexcept:
    cdef uint64_t value = 0
    cdef int index
    for index in range(width):
        value |= <uint64_t>data[index] << (8 * index)
    return value


def open_record(bytes buffer, Py_ssize_t at, uint32_t salt):
    """(lsn, vouched, kind, payload, crc) of the valid log record at `at`, or None."""
    cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(buffer) + at
    cdef Py_ssize_t room = PyBytes_GET_SIZE(buffer) - at
    cdef Py_ssize_t size
    cdef uint32_t crc
    if at < 0 or room < 21:
        return None
    crc = get_little_endian(data, 4)
    size = get_little_endian(data + 4, 4)
    if size == 0 or size > room - 21 or crc32c(salt, <const char*>data + 4, 17 + size) != crc:
        return None
    lsn = get_little_endian(data + 8, 8)
    payload = PyBytes_FromStringAndSize(<const char*>data + 21, size)
    return lsn, lsn - get_little_endian(data + 16, 4), data[20], payload, crc


cdef struct Cursor:
    const unsigned char* at
    const unsigned char* end


cdef uint64_t take_big_endian(Cursor* cursor, int width) except? 0xDEAD:
    cdef uint64_t value = 0
    if cursor.end - cursor.at < width:
        raise ValueError("the value is cut short")
    for _ in range(width):
        value = value << 8 | cursor.at[0]
        cursor.at += 1
    return value


cdef bytes take_raw(Cursor* cursor, Py_ssize_t size):
    cdef const char* start = <const char*>cursor.at
    if cursor.end - cursor.at < size:
        raise ValueError("the value is cut short")
    cursor.at += size
    return PyBytes_FromStringAndSize(start, size)


cdef tuple take_array(Cursor* cursor, Py_ssize_t size, int depth):
    cdef Py_ssize_t index
    if depth > MAX_DEPTH or cursor.end - cursor.at < size:  # an item takes a byte at least: nothing is reserved in vain
        raise ValueError("the value is cut short, or nested too deeply")
    cdef tuple items = PyTuple_New(size)
    for index in range(size):
        item = take(cursor, depth + 1)
        Py_INCREF(item)
        PyTuple_SET_ITEM(items, index, item)
    return items


cdef object take(Cursor* cursor, int depth):
    """The value at `cursor`, which then is behind it. Raises ValueError for what `put` does not write."""
    cdef int head = <int>take_big_endian(cursor, 1)
    cdef uint64_t bits
    cdef double number
    if head <= 0x7F:
        return head
    if head >= 0xE0:
        return head - 0x100
    if head == 0xC4:
        return take_raw(cursor, take_big_endian(cursor, 1))
    if head <= 0x9F and head >= 0x90:
        return take_array(cursor, head & 0x0F, depth)
    if head == 0xCC:
        return take_big_endian(cursor, 1)
    if head == 0xCD:
        return take_big_endian(cursor, 2)
    if head == 0xCE:
        return take_big_endian(cursor, 4)
    if head == 0xCF:
        return take_big_endian(cursor, 8)
    if head == 0xCB:
        bits = take_big_endian(cursor, 8)
        memcpy(&number, &bits, 8)
        return number
    if head == 0xC0:
        return None
    if head == 0xC5:
        return take_raw(cursor, take_big_endian(cursor, 2))
    if head == 0xC6:
        return take_raw(cursor, take_big_endian(cursor, 4))
    if head == 0xDC:
        return take_array(cursor, take_big_endian(cursor, 2), depth)
    if head == 0xDD:
        return take_array(cursor, take_big_endian(cursor, 4), depth)
    if head == 0xD0:
        return <int8_t>take_big_endian(cursor, 1)
    if head == 0xD1:
        return <int16_t>take_big_endian(cursor, 2)
    if head == 0xD2:
        return <int32_t>take_big_endian(cursor, 4)
    if head == 0xD3:
        return <int64_t>take_big_endian(cursor, 8)
    raise ValueError(f"byte {head:#04x} begins nothing that effects are made of")


def unpack(bytes data):
    """The inverse of `codec.pack`, arrays as tuples. Raises ValueError for anything else."""
    cdef Cursor cursor
    cursor.at = <const unsigned char*>PyBytes_AS_STRING(data)
    cursor.end = cursor.at + PyBytes_GET_SIZE(data)
    value = take(&cursor, 0)
    if cursor.at != cursor.end:
        raise ValueError("something follows the value")
    return value


def seal_row(bytes table, bytes key, bytes content):
    """The content with the row's check sum in front."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(content)
    cdef uint32_t crc = crc32c(0, PyBytes_AS_STRING(table), PyBytes_GET_SIZE(table))
    crc = crc32c(crc, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    crc = crc32c(crc, PyBytes_AS_STRING(content), size)
    cdef bytes row = PyBytes_FromStringAndSize(NULL, size + 4)
    store_little_endian(PyBytes_AS_STRING(row), crc, 4)
    memcpy(PyBytes_AS_STRING(row) + 4, PyBytes_AS_STRING(content), size)
    return row


def open_row(bytes table, bytes key, bytes stored):
    """The content of a stored row, or None when the check sum is wrong."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(stored) - 4
    cdef uint32_t crc
    if size < 0:
        return None
    crc = crc32c(0, PyBytes_AS_STRING(table), PyBytes_GET_SIZE(table))
    crc = crc32c(crc, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    crc = crc32c(crc, PyBytes_AS_STRING(stored) + 4, size)
    if crc != get_little_endian(<const unsigned char*>PyBytes_AS_STRING(stored), 4):
        return None
    return PyBytes_FromStringAndSize(PyBytes_AS_STRING(stored) + 4, size)


# -- effects and the rows that they become --------------------------------------------------------------------------

cdef enum:
    MAX_RAW = 480  # as in `tables`
    STRING = 1  # Kind.STRING


def visit(dict handlers, effects):
    """See `effects.visit_in_python`."""
    cdef Py_ssize_t size
    for effect in effects:
        size = PyTuple_GET_SIZE(effect) if type(effect) is tuple else 0
        if size == 0:
            raise ValueError(f"{effect!r} is no effect")
        handler = handlers.get(<object>PyTuple_GET_ITEM(effect, 0))
        if handler is None:
            raise ValueError(f"effect number {effect[0]} is not known to this version")
        PyObject_Vectorcall(handler, (<PyTupleObject*>effect).ob_item + 1, size - 1, NULL)


cdef inline void store_big_endian(char* out, uint64_t value, int width) noexcept:
    cdef int index
    for index in range(width):
        out[index] = <char>((value >> (8 * (width - 1 - index))) & 0xFF)


cdef inline void store_little_endian(char* out, uint64_t value, int width) noexcept:
    cdef int index
    for index in range(width):
        out[index] = <char>((value >> (8 * index)) & 0xFF)


cdef bytes under(uint64_t prefix, int width, bytes key):
    """`tables.bounded` with a number in front."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(key)
    cdef bytes row
    if size > MAX_RAW:
        return under(prefix, width, key[:MAX_RAW]) + blake2b(key, digest_size=16).digest()
    row = PyBytes_FromStringAndSize(NULL, width + size)
    store_big_endian(PyBytes_AS_STRING(row), prefix, width)
    memcpy(PyBytes_AS_STRING(row) + width, PyBytes_AS_STRING(key), size)
    return row


def record_key(uint32_t space, bytes key not None):
    """See `records`."""
    return under(space, 4, key)


def element_key(uint64_t ident, bytes name not None):
    """See `tables`."""
    return under(ident, 8, name)


cdef bytes content_for(bytes key, Py_ssize_t size, char** rest):
    """`tables.with_key` around content of `size` bytes, which are still to be written at `rest`."""
    cdef Py_ssize_t before = PyBytes_GET_SIZE(key)
    cdef bytes content
    if before <= MAX_RAW:
        content = PyBytes_FromStringAndSize(NULL, size)
        rest[0] = PyBytes_AS_STRING(content)
        return content
    content = PyBytes_FromStringAndSize(NULL, 4 + before + size)
    store_little_endian(PyBytes_AS_STRING(content), before, 4)
    memcpy(PyBytes_AS_STRING(content) + 4, PyBytes_AS_STRING(key), before)
    rest[0] = PyBytes_AS_STRING(content) + 4 + before
    return content


def string_record(bytes key not None, uint64_t expire, bytes value not None):
    """See `records`."""
    cdef char* rest
    content = content_for(key, 9 + PyBytes_GET_SIZE(value), &rest)
    rest[0] = STRING
    store_little_endian(rest + 1, expire, 8)
    memcpy(rest + 9, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    return content


def body_record(bytes key not None, uint8_t kind, uint64_t expire, uint64_t ident, uint64_t size, uint64_t due):
    """See `records`."""
    cdef char* rest
    content = content_for(key, 33, &rest)
    rest[0] = <char>kind
    store_little_endian(rest + 1, expire, 8)
    store_little_endian(rest + 9, ident, 8)
    store_little_endian(rest + 17, size, 8)
    store_little_endian(rest + 25, due, 8)
    return content


def field_content(bytes field not None, uint64_t expire, bytes value not None):
    """See `types.hash`."""
    cdef char* rest
    content = content_for(field, 8 + PyBytes_GET_SIZE(value), &rest)
    store_little_endian(rest, expire, 8)
    memcpy(rest + 8, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    return content


def slot_key(uint64_t ident, uint64_t at):
    """See `types.list`."""
    cdef bytes row = PyBytes_FromStringAndSize(NULL, 16)
    store_big_endian(PyBytes_AS_STRING(row), ident, 8)
    store_big_endian(PyBytes_AS_STRING(row) + 8, at, 8)
    return row


def bisect_left(array.array scores, double score):
    """`bisect.bisect_left` of doubles: found without making an object of each that is looked at."""
    cdef const double* numbers = scores.data.as_doubles
    cdef Py_ssize_t low = 0, high = len(scores), middle
    while low < high:
        middle = (low + high) // 2
        if numbers[middle] < score:
            low = middle + 1
        else:
            high = middle
    return low


def bisect_right(array.array scores, double score, Py_ssize_t low):
    """The same behind those that are equal, from `low` on."""
    cdef const double* numbers = scores.data.as_doubles
    cdef Py_ssize_t high = len(scores), middle
    while low < high:
        middle = (low + high) // 2
        if score < numbers[middle]:
            high = middle
        else:
            low = middle + 1
    return low


def decompress(bytes packed, Py_ssize_t size):
    """LZF (see `rdb.lzf`): the `size` bytes that `packed` stands for, or None when it does not."""
    cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(packed)
    cdef Py_ssize_t end = PyBytes_GET_SIZE(packed)
    cdef Py_ssize_t at = 0, done = 0, count, start, index
    cdef bytes result
    cdef char* out
    if size < 0 or size // 88 > end:
        return None
    result = PyBytes_FromStringAndSize(NULL, size)
    out = PyBytes_AS_STRING(result)
    while at < end:
        count = data[at]
        at += 1
        if count < 32:
            count += 1
            if count > end - at or count > size - done:
                return None
            memcpy(out + done, data + at, count)
            at += count
            done += count
            continue
        start = done - ((count & 31) << 8) - 1
        count >>= 5
        if count == 7:
            if at >= end:
                return None
            count += data[at]
            at += 1
        if at >= end:
            return None
        start -= data[at]
        at += 1
        count += 2
        if start < 0 or count > size - done:
            return None
        for index in range(count):  # it may repeat what it is itself only adding
            out[done + index] = out[start + index]
        done += count
    return result if done == size else None
