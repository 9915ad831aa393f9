# C fields of the compiled `Folder`; the same names as the attributes that its methods set.

import cython


cdef class Folder:
    cdef public object tables
    cdef public list rows
    cdef public object snapshot
    cdef public object applied_lsn
    cdef public object next_id
    cdef public long long folded_bytes
    cdef public long long folded_batches
    cdef public dict _handlers

    cpdef object fold(self, bytes payload)
