from perdure_storage.types.entry cimport Entry


cdef class String(Entry):
    cdef public object value
