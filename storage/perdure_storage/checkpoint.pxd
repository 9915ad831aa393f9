# C fields of the compiled `Folder`; the same names as the attributes that its methods set.

import cython

from perdure_storage.wal cimport LogReader, Record


cdef class Folder:
    cdef public object tables
    cdef public list rows
    cdef public object snapshot
    cdef public unsigned long long applied_lsn
    cdef public object next_id
    cdef public long long folded_bytes
    cdef public long long folded_batches
    cdef public dict _handlers

    cpdef object fold(self, bytes payload)
    cpdef bint full(self) except -1
    @cython.locals(record=Record, lsn="unsigned long long")
    cpdef unsigned long long fold_some(self, LogReader reader, unsigned long long upto) except? 0
