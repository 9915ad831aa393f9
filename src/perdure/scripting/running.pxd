# C fields of the compiled `Run` and `Stage`; the same names as the attributes that they set.

from perdure.session cimport Session


cdef class Run:
    cdef public bint abandoned
    cdef public bint allow_oom
    cdef public Session caller
    cdef public list command
    cdef public bint declared
    cdef public object doomed
    cdef public bint function
    cdef public object name
    cdef public long long protocol
    cdef public bint read_only
    cdef public object sandbox
    cdef public long long since
    cdef public bint wrote


cdef class Stage:
    cdef public Session actor
    cdef public Run run
    cdef public object server
    cdef public object _call
    cdef public object _find
    cdef public dict _protocols
    cdef public long long _load_until

    cpdef object perform(self, Run run, sandbox, body, long long count, list args)
