# C fields of the compiled `Hash`; the same names as its __slots__.

import cython

from perdure_storage.keyspace cimport Keyspace
from perdure_storage.types.entry cimport Collection


cdef class Hash(Collection):
    cdef public dict fields
    cdef public dict ttl
    cdef public object order
    cdef public bint wide
    cdef public list _expiries

    @cython.locals(due="long long")
    cpdef long long next_due(self) except -1
    @cython.locals(db=Keyspace, fields=dict, weight="long long")
    cpdef object set(self, bytes field, bytes value, expire=*)
