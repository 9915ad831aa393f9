# C fields of the compiled classes; the same names as the attributes that their methods set.

import cython


cdef class Record:
    cdef public unsigned long long crc
    cdef public long long kind
    cdef public unsigned long long lsn
    cdef public long long offset
    cdef public bytes payload
    cdef public object segment
    cdef public unsigned long long vouched


cdef class SegmentReader:
    cdef public object segment
    cdef public object _seed
    cdef public long long offset
    cdef public object handle
    cdef public bytes buffer
    cdef public long long buffer_at

    cpdef Record record_at(self, long long offset)
    @cython.locals(record=Record)
    cpdef Record next(self)


cdef class LogReader:
    cdef public object files
    cdef public object directory
    cdef public object manifest
    cdef public list _ahead
    cdef public dict _held
    cdef public SegmentReader _reader
    cdef public unsigned long long last_lsn
    cdef public unsigned long long last_crc
    cdef public object segment
    cdef public object first_lsn

    @cython.locals(record=Record)
    cpdef Record _next(self)
    @cython.locals(record=Record)
    cpdef Record after(self, unsigned long long lsn)
    @cython.locals(record=Record)
    cpdef Record must_follow(self, unsigned long long lsn)


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
    cdef public bytes _last
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

    @cython.locals(lsn="long long", size="long long", record=bytes)
    cpdef long long append(self, effects) except -1
