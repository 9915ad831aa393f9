# Where these names are types of C, the annotations `db: Keyspace` and `entry: String` are: GET's `db.string()` is a call
# in C (GET 0.77 -> 0.68 us, SET 1.30 -> 1.13).

from perdure_storage.keyspace cimport Keyspace
from perdure_storage.types.string cimport String
