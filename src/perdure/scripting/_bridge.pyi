from collections.abc import Mapping
from typing import Any

from perdure.scripting.bridge import Body, Serve

class Bridge:
    host: Mapping[bytes, Any]

    def __init__(self, runtime: Any, serve: Serve) -> None: ...
    def used(self) -> int: ...
    def body(self, function: Any) -> Body: ...
