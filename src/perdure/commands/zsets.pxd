# Where these names are types of C, the annotations of `zsets.py` are: see strings.pxd.

import cython

from perdure_storage.keyspace cimport Keyspace
from perdure_storage.types.zset cimport ZSet


cdef class _Range:
    cdef public bint reverse
    cdef public bint with_scores
    cdef public bytes by
    cdef public object ends
    cdef public object limit
    cdef public object offset

    cpdef list select(self, ZSet entry)
    @cython.locals(start=Py_ssize_t, stop=Py_ssize_t, members=list, scores=list, flat=list)
    cpdef object reply(self, ZSet entry)
    cpdef tuple _ranks(self, ZSet entry)
