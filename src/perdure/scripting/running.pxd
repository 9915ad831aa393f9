# C fields of the compiled `Run` and `Stage`; the same names as the attributes that they set.

import cython

from perdure cimport clock
from perdure.hot cimport Hot
from perdure.scripting.sandbox cimport Sandbox
from perdure.session cimport Session


cdef class Rules:
    cdef public bint allow_oom
    cdef public bint declared
    cdef public bint no_writes


cdef class Run:
    cdef public bint abandoned
    cdef public Session caller
    cdef public list command
    cdef public object doomed
    cdef public bint function
    cdef public object name
    cdef public long long protocol
    cdef public bint read_only
    cdef public Rules rules
    cdef public Sandbox sandbox
    cdef public bint served
    cdef public long long since
    cdef public bint wrote


cdef class Stage:
    cdef public Session actor
    cdef public Run run
    cdef public Hot server
    cdef public object _call
    cdef public object _find
    cdef public object _finish
    cdef public long long _load_until

    @cython.locals(server=Hot, caller=Session, actor=Session, alone=bint, size="long long")
    cpdef object perform(self, Run run, Sandbox sandbox, body, long long count, list args)
