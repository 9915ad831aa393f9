# C fields of the compiled `Sandbox`; the same names as the attributes that it sets.

import cython


cdef class Sandbox:
    cdef object __weakref__
    cdef public object set_script_protocol
    cdef public long long protocol
    cdef public object _base
    cdef public object bridge
    cdef public object _compile
    cdef public long long _limit
    cdef public object _load_library
    cdef public object _lua
    cdef public object _rearm
    cdef public long long _room
    cdef public object _set_limit
    cdef public object _set_protocol
    cdef public object _used
    cdef public long long _used_after
    cdef public long long _used_before

    @cython.locals(free="long long")
    cpdef enter(self, long long given)

    cpdef lift(self)

    @cython.locals(used="long long")
    cpdef leave(self)

    @cython.locals(used="long long", margin="long long")
    cpdef bint has_room(self, long long size) except -1
