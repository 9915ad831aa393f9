# C fields of the compiled `Keyspace` and `Dataset`; the same names as the attributes that they set.

import cython

from perdure_storage.types.entry cimport Collection, Entry
from perdure_storage.types.hash cimport Hash
from perdure_storage.types.string cimport String
from perdure_storage.wal cimport Log


cdef class Keyspace:
    cdef public Dataset ds
    cdef public dict hot
    cdef public list ring
    cdef public bint complete
    cdef public long long index
    cdef public long long space
    cdef public long long hand
    cdef public long long keys
    cdef public long long expires
    cdef public long long used
    cdef public long long wants

    @cython.locals(ds=Dataset)
    cpdef object notify(self, long long kind, bytes event, bytes key)
    @cython.locals(ds=Dataset, string=String)
    cpdef object string(self, bytes key)
    @cython.locals(ds=Dataset, live=Entry)
    cpdef object find(self, bytes key)
    @cython.locals(ds=Dataset, due="long long", string=String)
    cpdef object set_string(self, bytes key, value, expire=*)
    @cython.locals(ds=Dataset, expire="long long")
    cpdef object replace_string(self, String entry, value)
    @cython.locals(live=Collection)
    cpdef object find_collection(self, bytes key, kind)
    @cython.locals(ds=Dataset)
    cpdef list change(self, Collection entry, long long weight)
    cpdef object edit(self, bytes key, kind)
    cpdef object _enter(self, Entry entry)
    @cython.locals(last=Entry)
    cpdef object _leave(self, Entry entry)
    @cython.locals(found=Hash)
    cpdef Hash edit_hash(self, bytes key)


cdef class Dataset:
    cdef public object snapshot
    cdef public object young
    cdef public object random
    cdef public object limits
    cdef public object scans
    cdef public list effects
    cdef public list events
    cdef public list touched
    cdef public list databases
    cdef public list aging
    cdef public list trash
    cdef public list tombs
    cdef public set counted
    cdef public set loading
    cdef public dict spaces
    cdef public dict libraries
    cdef public bint keep_expired
    cdef public bint hold_expired
    cdef public long long now
    cdef public long long tick
    cdef public long long lsn
    cdef public long long hits
    cdef public long long misses
    cdef public long long loads
    cdef public long long expired_keys
    cdef public long long expired_fields
    cdef public long long evicted_keys
    cdef public long long dropped
    cdef public long long emptied_lsn
    cdef public long long discarded
    cdef public unsigned long long next_id
    cdef public long long next_space
    cdef public long long wants

    cpdef long long commit(self, Log log) except -1
    @cython.locals(entry=Collection, db=Keyspace, old="long long", due="long long")
    cpdef list seal(self)
