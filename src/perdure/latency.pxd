# What `from perdure import latency` means in compiled modules: the same bucket, 4 ns instead of 60.

cdef extern from *:
    """
    static inline Py_ssize_t perdure_bucket_of(long long nanoseconds) {
        int bits;
        if (nanoseconds < 8) nanoseconds = 8;
        for (bits = 4; nanoseconds >> bits; bits++) {}
        return (Py_ssize_t)bits << 2 | (nanoseconds >> (bits - 3) & 3);
    }
    """
    Py_ssize_t perdure_bucket_of(long long nanoseconds) noexcept nogil


cdef inline Py_ssize_t bucket_of(long long nanoseconds) noexcept nogil:
    return perdure_bucket_of(nanoseconds)
