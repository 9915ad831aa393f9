# C fields of the compiled `Ranking`; the same names as its __slots__.

import cython


cdef class Ranking:
    cdef public list _last_names
    cdef public object _lasts
    cdef public list _names
    cdef public list _scores
    cdef public list _starts
    cdef public Py_ssize_t size

    @cython.locals(at=Py_ssize_t, place=Py_ssize_t, names=list)
    cpdef object add(self, double score, bytes name)

    @cython.locals(at=Py_ssize_t, place=Py_ssize_t, names=list)
    cpdef object remove(self, double score, bytes name)

    @cython.locals(at=Py_ssize_t)
    cpdef Py_ssize_t _chunk_of(self, double score, bytes name) except -1

    @cython.locals(place=Py_ssize_t)
    cpdef Py_ssize_t _place_in(self, Py_ssize_t at, double score, bytes name) except -1

    @cython.locals(at=Py_ssize_t, first=Py_ssize_t, last=Py_ssize_t, found=list, names=list)
    cpdef list members(self, Py_ssize_t start, Py_ssize_t stop)

    @cython.locals(at=Py_ssize_t, first=Py_ssize_t, last=Py_ssize_t, found=list)
    cpdef list scores(self, Py_ssize_t start, Py_ssize_t stop)

    cpdef list slice(self, Py_ssize_t start, Py_ssize_t stop)

    @cython.locals(at=Py_ssize_t, starts=list, pieces=list)
    cpdef list _pieces(self, Py_ssize_t start, Py_ssize_t stop)

    @cython.locals(at=Py_ssize_t)
    cpdef Py_ssize_t rank(self, double score, bytes name=*) except -1

    @cython.locals(starts=list, names=list, total=Py_ssize_t)
    cpdef list _counted(self)
