# The walk over the runs of a sparse value in C: with Python's numbers it takes half a millisecond for each element.

import cython


cdef unsigned long long _M
cdef unsigned long long _64

@cython.locals(size="Py_ssize_t", whole="Py_ssize_t", at="Py_ssize_t", hashed="unsigned long long", word="unsigned long long")
cpdef unsigned long long murmur(bytes data, unsigned long long seed=*)

@cython.locals(byte=cython.int, more=cython.int)
cdef (int, Py_ssize_t, int) _run(bytearray value, Py_ssize_t at)

@cython.locals(
    before="Py_ssize_t", at="Py_ssize_t", first="Py_ssize_t", size="Py_ssize_t", length="Py_ssize_t", grown="Py_ssize_t",
    old=cython.int, width=cython.int, split=bytes,
)
cpdef sparse_put(bytearray value, Py_ssize_t index, int count, Py_ssize_t max_bytes)

@cython.locals(following="Py_ssize_t", one=cython.int, other=cython.int, count=cython.int)
cdef _join(bytearray value, Py_ssize_t at)

@cython.locals(
    runs=bytearray, registers=bytearray, at="Py_ssize_t", first="Py_ssize_t", size="Py_ssize_t", length="Py_ssize_t",
    index="Py_ssize_t", count=cython.int, width=cython.int,
)
cpdef registers_of(value)

# Cython takes nothing but a bytearray for every third byte of one.

@cython.locals(registers=object)
cpdef _unpack(value)

@cython.locals(packed=object)
cpdef pack(header, registers)
