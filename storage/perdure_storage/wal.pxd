# C fields of the compiled `Log`; the same names as the attributes that its __init__ sets.

cdef class Log:
    cdef public object files
    cdef public object directory
    cdef public object manifest
    cdef public object poison
    cdef public object prepare_error
    cdef public object _seed
    cdef public object _current
    cdef public object _file
    cdef public object _prepared
    cdef public object _preparing
    cdef public object _chores
    cdef public object _worker
    cdef public bytes _last_crc
    cdef public list _buffer
    cdef public list _unsynced
    cdef public long long segment_size
    cdef public long long next_lsn
    cdef public long long written_lsn
    cdef public long long durable_lsn
    cdef public long long appended_bytes
    cdef public long long room
    cdef public long long _offset
    cdef public long long _syncing
    cdef public long long _anchor

    cpdef long long append(self, effects) except -1
