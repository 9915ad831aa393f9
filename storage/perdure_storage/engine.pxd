# C fields of the compiled `Engine`; the same names as the attributes that its methods set.

from perdure_storage.keyspace cimport Dataset
from perdure_storage.wal cimport Log


cdef class Engine:
    cdef public object _checkpointer
    cdef public object _lock
    cdef public object _tables
    cdef public object _tables_path
    cdef public object applied_bytes
    cdef public object asked_bytes
    cdef public object asked_lsn
    cdef public object checkpoint_error
    cdef public object checkpoints
    cdef public object compactions
    cdef public object clock
    cdef public object compacting
    cdef public Dataset dataset
    cdef public object directory
    cdef public object files
    cdef public object last_checkpoint_ms
    cdef public Log log
    cdef public object options
    cdef public object path
    cdef public object process
    cdef public object random
    cdef public object reclaimed_rows
    cdef public object recovered
    cdef public object sizes
    cdef public object sweeper
    cdef public object tables_moved

    cpdef long long commit(self) except -1
