# C fields of the compiled `Command`; the same names as its __slots__.


cdef class Command:
    cdef public object acl_categories
    cdef public bint admin
    cdef public bint allow_busy
    cdef public object arguments
    cdef public object arity
    cdef public bint asking
    cdef public bint blocking
    cdef public long long calls
    cdef public object complexity
    cdef public bint context
    cdef public bint denyoom
    cdef public object deprecated_since
    cdef public long long failed
    cdef public object family
    cdef public bint fast
    cdef public object first_key
    cdef public object flags
    cdef public object handler
    cdef public list histogram
    cdef public object history
    cdef public object key_specs
    cdef public object keys
    cdef public object last_key
    cdef public bint loading
    cdef public long long max_argc
    cdef public long long min_argc
    cdef public bint movablekeys
    cdef public object name
    cdef public long long nanoseconds
    cdef public bint no_async_loading
    cdef public bint no_auth
    cdef public bint no_mandatory_keys
    cdef public bint no_multi
    cdef public bint noscript
    cdef public bint pubsub
    cdef public bint readonly
    cdef public bint record_only
    cdef public long long rejected
    cdef public object replaced_by
    cdef public object since
    cdef public bint skip_monitor
    cdef public bint skip_slowlog
    cdef public bint stale
    cdef public object step
    cdef public object subcommands
    cdef public object summary
    cdef public object tips
    cdef public object usage
    cdef public long long words
    cdef public bint write
