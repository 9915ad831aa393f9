# C fields of the compiled `Session`; the same names as its __slots__.

from perdure_storage.keyspace cimport Dataset, Keyspace


cdef class Session:
    cdef public long long active_ms
    cdef public object address
    cdef public object authenticated
    cdef public object backlog
    cdef public long long bytes_in
    cdef public long long bytes_out
    cdef public object channels
    cdef public bint closing
    cdef public long long commands
    cdef public object created_ms
    cdef public Keyspace db
    cdef public Dataset ds
    cdef public object encode
    cdef public bint gate
    cdef public object id
    cdef public bint in_exec
    cdef public object last_command
    cdef public object level
    cdef public object lib_name
    cdef public object lib_ver
    cdef public object local_address
    cdef public object monitoring
    cdef public object multi
    cdef public object multi_broken
    cdef public long long multi_bytes
    cdef public object name
    cdef public object no_evict
    cdef public object no_touch
    cdef public list out
    cdef public object parked
    cdef public object patterns
    cdef public object peer
    cdef public object pending
    cdef public long long pending_bytes
    cdef public object protocol
    cdef public object reply_on
    cdef public object server
    cdef public object shard_channels
    cdef public object skip_next
    cdef public object tracking
    cdef public object user
    cdef public object watch_broken
    cdef public object watched
