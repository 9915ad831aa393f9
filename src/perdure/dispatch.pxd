import cython

from perdure.registry cimport Command
from perdure.session cimport Session
from perdure_storage.keyspace cimport Dataset


@cython.locals(command=Command)
cpdef object execute(Session session, list argv)

@cython.locals(ds=Dataset, started="long long", elapsed="long long")
cpdef object run(Session session, Command command, list argv, again=*)

@cython.locals(ds=Dataset, effects=list)
cpdef object finish(server)
