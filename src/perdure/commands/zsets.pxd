# Where these names are types of C, the annotations of `zsets.py` are: see strings.pxd.

from perdure_storage.keyspace cimport Keyspace
from perdure_storage.types.zset cimport ZSet
