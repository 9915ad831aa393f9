import cython

from perdure.scripting.scripts cimport Scripts
from perdure.session cimport Session


cpdef object key_count(list args)

@cython.locals(scripts=Scripts)
cpdef object run_kept(Session ctx, list args, bint read_only)
