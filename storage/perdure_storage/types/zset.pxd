# C fields of the compiled `ZSet`; the same names as its __slots__.

import cython

from perdure_storage.keyspace cimport Keyspace
from perdure_storage.types.entry cimport Collection
from perdure_storage.types.ranking cimport Ranking


cdef class ZSet(Collection):
    cdef public dict scores
    cdef public Ranking ranking
    cdef public object order
    cdef public bint wide

    @cython.locals(db=Keyspace, weight="long long", scores=dict)
    cpdef object set(self, bytes member, score)

    cpdef tuple between(self, low, high)

    cpdef Py_ssize_t _rank_of(self, position) except -1
