# Numbers of C for what is done with each place.

import cython


cdef double LONGITUDE_MAX
cdef double LATITUDE_MAX
cdef double EARTH_RADIUS_M
cdef double RADIAN

cdef unsigned long long _spread(unsigned long long value)

cdef unsigned long long _gather(unsigned long long value)

@cython.locals(width=double, parts=double)
cdef (double, double) _sides(unsigned long long number, int steps, double low, double high)

@cython.locals(bits="unsigned long long", west=double, east=double, south=double, north=double)
cpdef tuple decode(double score)

cdef unsigned long long _to_unsigned(double score)

@cython.locals(
    longitude=double, other_longitude=double, latitude=double, other_latitude=double, u=double, v=double, a=double,
)
cpdef double distance(tuple one, tuple other)

cpdef double latitude_distance(tuple one, tuple other)
