# C fields of the compiled `Hot`; the same names as its __slots__.

from perdure_storage.engine cimport Engine
from perdure_storage.keyspace cimport Dataset


cdef class Hot:
    cdef public long long changes
    cdef public Dataset dataset
    cdef public Engine engine
    cdef public bint gate
    cdef public list held_back
    cdef public bint histograms
    cdef public dict lookup
    cdef public object monitors
    cdef public list ready
    cdef public object signaled
    cdef public long long slow_ns
    cdef public dict trackers
    cdef public dict waited_for
    cdef public dict watchers
