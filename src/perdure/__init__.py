"""The server: Redis' protocol and commands over `perdure_storage`."""
