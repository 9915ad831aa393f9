cpdef object visit(dict handlers, effects)
