# C fields of the compiled `List`; the same names as its __slots__.

import cython

from perdure_storage.keyspace cimport Keyspace
from perdure_storage.types.entry cimport Collection


cdef class List(Collection):
    cdef public list slots
    cdef public long long room
    cdef public long long first

    cpdef push_right(self, values)
    @cython.locals(count="long long", room="long long", more="long long")
    cpdef push_left(self, values)
    @cython.locals(db=Keyspace, count="long long", room="long long", gone="long long")
    cpdef bytes pop(self, bint left)
    cpdef list between(self, long long start, long long stop)
    @cython.locals(db=Keyspace, weight="long long")
    cpdef object _added(self, values, tuple effect)
