"""The offline tool and the crash harness, on `perdure_storage` alone."""
