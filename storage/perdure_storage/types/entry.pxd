# C fields of the compiled `Entry` and `Collection`; the same names as their __slots__.

cdef class Entry:
    cdef public object db
    cdef public bytes key
    cdef public long long lsn
    cdef public long long tick
    cdef public long long expire
    cdef public unsigned long long id
    cdef public long long ring_at


cdef class Collection(Entry):
    cdef public long long size
    cdef public long long logged_due
    cdef public long long weight

    cpdef long long next_due(self) except -1
