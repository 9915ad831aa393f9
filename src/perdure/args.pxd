# C fields of the compiled classes; the same names as their __slots__.

cdef class Words:
    cdef public list _args
    cdef public Py_ssize_t at


cdef class ScanOptions:
    cdef public object count
    cdef public object cursor
    cdef public object match
    cdef public bint novalues
    cdef public object type
