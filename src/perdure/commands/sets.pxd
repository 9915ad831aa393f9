# Where these names are types of C, the annotations of `sets.py` are: see strings.pxd.

from perdure_storage.keyspace cimport Keyspace
from perdure_storage.types.set cimport Set
