# C fields of the compiled `Set`; the same names as its __slots__.

import cython

from perdure_storage.keyspace cimport Keyspace
from perdure_storage.types.entry cimport Collection


cdef class Set(Collection):
    cdef public dict names
    cdef public object order
    cdef public bint wide

    @cython.locals(db=Keyspace, weight="long long")
    cpdef object add(self, members)
    @cython.locals(db=Keyspace, weight="long long")
    cpdef object remove(self, members)
