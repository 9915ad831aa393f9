"""The server: Redis' protocol and commands over `perdure_storage`."""

import os

if os.environ.get("PERDURE_PURE") == "1":
    import perdure_storage as perdure_storage  # its `interpreted` passes compiled modules by, here as well
