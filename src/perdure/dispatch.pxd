import cython

from perdure cimport clock, latency
from perdure.hot cimport Hot
from perdure.registry cimport Command
from perdure.scripting.running cimport Run
from perdure.session cimport Session
from perdure_storage.keyspace cimport Dataset


@cython.locals(server=Hot, done="long long")
cpdef object execute_all(Session session, list commands)

@cython.locals(server=Hot, command=Command)
cpdef object execute(Session session, list argv)

@cython.locals(server=Hot, ds=Dataset, started="long long", elapsed="long long", counts=list)
cpdef object run(Session session, Command command, list argv, again=*)

@cython.locals(server=Hot)
cpdef object run_inside(Session session, Command command, list argv)

@cython.locals(server=Hot, command=Command)
cpdef object call_inside(Session session, Run script, list argv)

@cython.locals(server=Hot)
cdef object _why_not_inside(Session session, Run script, Command command, list argv)

@cython.locals(ds=Dataset, effects=list)
cpdef object finish(Hot server)
