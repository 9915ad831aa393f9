# C fields of the compiled `Script` and `Scripts`; the same names as the attributes that they set.

from perdure.scripting.running cimport Rules, Stage
from perdure.scripting.sandbox cimport Sandbox


cdef class Script:
    cdef public object body
    cdef public object name
    cdef public Rules rules
    cdef public Sandbox sandbox
    cdef public object size


cdef class Scripts:
    cdef public dict by_digest
    cdef public Stage stage
    cdef public dict _by_text
    cdef public Sandbox _sandbox

    cpdef Script find(self, digest)

    cpdef run(self, caller, Script script, long long count, list args, bint read_only)
