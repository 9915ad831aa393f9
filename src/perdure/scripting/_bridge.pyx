# cython: language_level=3, boundscheck=False, wraparound=False
"""The compiled half of `sandbox`: scripts and redis.call by Lua's own C interface, whose functions lupa's module has.

lupa converts whatever comes, for any function. What nearly all calls are made of takes a fraction of that here (a script
of a SET and a GET: 5.5 us by lupa, 4.0 us so); what is left of answers goes by lupa.

An error in Lua is a long jump to the innermost lua_pcall, so what may raise one is not called where a Python object
would lose its count by that. Allocations are the exception: who calls has seen to it that there is room (`Sandbox`).
"""

import lupa.lua51
from cython import no_gc_clear

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM

cdef extern from *:
    """
    typedef struct lua_State lua_State;
    typedef int (*lua_CFunction)(lua_State *);
    extern int lua_gettop(lua_State *);
    extern void lua_settop(lua_State *, int);
    extern void lua_pushvalue(lua_State *, int);
    extern void lua_insert(lua_State *, int);
    extern int lua_type(lua_State *, int);
    extern double lua_tonumber(lua_State *, int);
    extern int lua_toboolean(lua_State *, int);
    extern const char *lua_tolstring(lua_State *, int, size_t *);
    extern size_t lua_objlen(lua_State *, int);
    extern void *lua_touserdata(lua_State *, int);
    extern void lua_pushnil(lua_State *);
    extern void lua_pushnumber(lua_State *, double);
    extern void lua_pushinteger(lua_State *, ptrdiff_t);
    extern void lua_pushboolean(lua_State *, int);
    extern void lua_pushlstring(lua_State *, const char *, size_t);
    extern void lua_pushlightuserdata(lua_State *, void *);
    extern void lua_pushcclosure(lua_State *, lua_CFunction, int);
    extern void lua_createtable(lua_State *, int, int);
    extern void lua_rawgeti(lua_State *, int, int);
    extern void lua_rawseti(lua_State *, int, int);
    extern void lua_setfield(lua_State *, int, const char *);
    extern void lua_call(lua_State *, int, int);
    extern int lua_pcall(lua_State *, int, int, int);
    extern int lua_gc(lua_State *, int, int);
    extern int luaL_ref(lua_State *, int);
    extern void luaL_unref(lua_State *, int, int);
    """
    ctypedef struct lua_State:
        pass
    ctypedef int (*lua_CFunction)(lua_State*) noexcept nogil
    int lua_gettop(lua_State*) noexcept nogil
    void lua_settop(lua_State*, int) noexcept nogil
    void lua_pushvalue(lua_State*, int) noexcept nogil
    void lua_insert(lua_State*, int) noexcept nogil
    int lua_type(lua_State*, int) noexcept nogil
    double lua_tonumber(lua_State*, int) noexcept nogil
    int lua_toboolean(lua_State*, int) noexcept nogil
    const char* lua_tolstring(lua_State*, int, size_t*) noexcept nogil
    size_t lua_objlen(lua_State*, int) noexcept nogil
    void* lua_touserdata(lua_State*, int) noexcept nogil
    void lua_pushnil(lua_State*) noexcept nogil
    void lua_pushnumber(lua_State*, double) noexcept nogil
    void lua_pushinteger(lua_State*, Py_ssize_t) noexcept nogil
    void lua_pushboolean(lua_State*, int) noexcept nogil
    void lua_pushlstring(lua_State*, const char*, size_t) noexcept nogil
    void lua_pushlightuserdata(lua_State*, void*) noexcept nogil
    void lua_pushcclosure(lua_State*, lua_CFunction, int) noexcept nogil
    void lua_createtable(lua_State*, int, int) noexcept nogil
    void lua_rawgeti(lua_State*, int, int) noexcept nogil
    void lua_rawseti(lua_State*, int, int) noexcept nogil
    void lua_setfield(lua_State*, int, const char*) noexcept nogil
    void lua_call(lua_State*, int, int) noexcept nogil
    int lua_pcall(lua_State*, int, int, int) noexcept nogil
    int lua_gc(lua_State*, int, int) noexcept nogil
    int luaL_ref(lua_State*, int) noexcept nogil
    void luaL_unref(lua_State*, int, int) noexcept nogil

cdef enum:
    REGISTRY = -10000
    UPVALUE = -10002
    ALL_RESULTS = -1
    BOOLEAN = 1
    NUMBER = 3
    STRING = 4
    NO_MEMORY = 4
    COUNT_KILOBYTES = 3
    COUNT_REST = 4
    FEW = 8  # as SOME in sandbox.lua


cdef object taken(lua_State* L, int index):
    """The string, number or boolean there; None for anything else."""
    cdef size_t size
    cdef const char* text
    cdef double number
    cdef int kind = lua_type(L, index)
    if kind == STRING:
        text = lua_tolstring(L, index, &size)
        return PyBytes_FromStringAndSize(text, size)
    if kind == NUMBER:
        number = lua_tonumber(L, index)
        if -9.2e18 < number < 9.2e18 and number == <double><long long>number:
            return <long long>number
        return number
    if kind == BOOLEAN:
        return lua_toboolean(L, index) != 0
    return None


cdef void push_table(lua_State* L, list values, Py_ssize_t first, Py_ssize_t end) noexcept:
    """A table of the byte strings from `first` to before `end`."""
    cdef Py_ssize_t index
    lua_createtable(L, <int>(end - first), 0)
    for index in range(first, end):
        value = <bytes>PyList_GET_ITEM(values, index)
        lua_pushlstring(L, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
        lua_rawseti(L, -2, <int>(index - first + 1))


# Neither of these two lets go of what it holds before it is gone itself: a Body ends with a call of the interpreter.

@no_gc_clear
cdef class Bridge:
    """See `bridge.Bridge`."""

    cdef lua_State* state
    cdef object runtime
    cdef object serve
    cdef list left
    cdef object keep
    cdef readonly dict host
    cdef long long base

    def __init__(self, runtime, serve):
        global opened
        self.runtime = runtime
        self.serve = serve
        load = runtime.compile(b"return assert(package.loadlib(...))")
        opened = self
        self.keep, quick = load(__file__.encode(), b"perdure_open_bridge")()
        opened = None
        self.left = []
        self.host = {b"quick": quick, b"rest": self.left.pop}  # not a method of ours: the interpreter must not hold us
        self.base = self.used() - runtime.get_memory_used()

    cpdef long long used(self):
        """See `bridge.Bridge`."""
        return (<long long>lua_gc(self.state, COUNT_KILOBYTES, 0) << 10) + lua_gc(self.state, COUNT_REST, 0) - self.base

    def body(self, function):
        """See `bridge.Bridge`."""
        return Body(self, self.keep(function))


@no_gc_clear
cdef class Body:
    """See `bridge.Body`."""

    cdef Bridge bridge
    cdef int reference

    def __cinit__(self, Bridge bridge not None, int reference):
        self.bridge = bridge
        self.reference = reference

    def __dealloc__(self):
        luaL_unref(self.bridge.state, REGISTRY, self.reference)

    def __call__(self, Py_ssize_t count, list args not None):
        cdef lua_State* L = self.bridge.state
        cdef int bottom = lua_gettop(L)
        cdef int failed, top, index
        lua_rawgeti(L, REGISTRY, self.reference)
        push_table(L, args, 0, count)
        push_table(L, args, count, len(args))
        failed = lua_pcall(L, 2, ALL_RESULTS, 0)
        top = lua_gettop(L)
        try:
            if failed == NO_MEMORY:
                raise lupa.lua51.LuaMemoryError("not enough memory")
            if failed:
                problem = taken(L, top)
                raise lupa.lua51.LuaError(problem.decode("latin-1") if type(problem) is bytes else "error without a text")
            if top == bottom + 1:
                return taken(L, top)
            return tuple([taken(L, index) for index in range(bottom + 1, top + 1)])
        finally:
            lua_settop(L, bottom)


# -- what Lua calls -------------------------------------------------------------------------------------------------

cdef Bridge opened = None


cdef int answer(lua_State* L, int count) noexcept with gil:
    """Push what the server says to a call with the `count` arguments on the stack; 0 when it is left for `rest`."""
    cdef Bridge bridge = <Bridge>lua_touserdata(L, UPVALUE - 1)
    cdef int index
    reply = bridge.serve([taken(L, index) for index in range(1, count + 1)])
    if type(reply) is bytes:
        lua_pushlstring(L, PyBytes_AS_STRING(reply), PyBytes_GET_SIZE(reply))
    elif type(reply) is int:
        lua_pushnumber(L, <double>reply)
    elif reply is True:
        lua_createtable(L, 0, 1)
        lua_pushlstring(L, "OK", 2)
        lua_setfield(L, -2, "ok")
    elif reply is False:
        lua_pushboolean(L, 0)
    else:
        bridge.left.append(reply)
        return 0
    return 1


cdef int call(lua_State* L) noexcept nogil:
    """redis.call or redis.pcall. Upvalues: the Bridge, a function that is told the bytes of many arguments, and one that
    makes a value or an error of what is left."""
    cdef int index, count = lua_gettop(L)
    cdef double size = 0
    if count >= FEW:
        for index in range(1, count + 1):
            if lua_type(L, index) == STRING:
                size += lua_objlen(L, index)
        lua_pushvalue(L, UPVALUE - 2)
        lua_pushnumber(L, size)
        lua_call(L, 1, 0)
    if not answer(L, count):
        lua_pushvalue(L, UPVALUE - 3)
        lua_call(L, 0, 1)
    return 1


cdef int make_quick(lua_State* L) noexcept nogil:
    """quick(weigh, rest): see `call`."""
    lua_settop(L, 2)
    lua_pushvalue(L, UPVALUE - 1)
    lua_insert(L, 1)
    lua_pushcclosure(L, call, 3)
    return 1


cdef int keep(lua_State* L) noexcept nogil:
    """keep(function): its reference."""
    lua_settop(L, 1)
    lua_pushinteger(L, luaL_ref(L, REGISTRY))
    return 1


cdef void push_opened(lua_State* L) noexcept with gil:
    opened.state = L
    lua_pushlightuserdata(L, <void*>opened)


cdef public int perdure_open_bridge(lua_State* L) noexcept nogil:
    """keep and make_quick, for the Bridge that has just been opened. The one function that Lua finds by its name."""
    lua_pushcclosure(L, keep, 0)
    push_opened(L)
    lua_pushcclosure(L, make_quick, 1)
    return 2
