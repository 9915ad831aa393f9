from collections.abc import Callable

from perdure.resp import Reply

class Encoder:
    def __init__(
        self,
        null: bytes,
        simple: dict[str, bytes],
        shapes: dict[type, bytes],
        modern: bool,
        otherwise: Callable[[Reply], bytes],
    ) -> None: ...
    def __call__(self, reply: Reply) -> bytes: ...

def take_requests(chunk: bytes, max_arguments: int, max_bulk: int, found: list[list[bytes]]) -> int: ...
def to_integer(raw: bytes | bytearray) -> int | None: ...
