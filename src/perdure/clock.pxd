# What `from perdure import clock` means in compiled modules: 10 ns for a reading, 45 through Python.

cdef extern from *:
    """
    #include <time.h>
    static inline long long perdure_nanoseconds(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (long long)now.tv_sec * 1000000000 + now.tv_nsec;
    }
    """
    long long perdure_nanoseconds() noexcept nogil


cdef inline long long nanoseconds() noexcept nogil:
    return perdure_nanoseconds()
