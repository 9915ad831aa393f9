# Where these names are types of C, the annotations of `zsets.py` are: see strings.pxd.

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
    cpdef list members(self, ZSet entry)
    cpdef tuple _ranks(self, ZSet entry)
