"""What of a request may be shown to others: MONITOR, SLOWLOG and the server's log never see a password."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from perdure.registry import Command
    from perdure.session import Argv

HIDDEN: Final = b"(redacted)"
SECRET_DIRECTIVES: Final = frozenset((b"requirepass", b"masterauth", b"masteruser", b"tls-key-file-pass"))


def redacted(command: Command, argv: Argv) -> Argv:
    """`argv`, or a copy of it without the secrets in it."""
    name = command.name
    if name == b"auth":
        return [argv[0], *[HIDDEN] * (len(argv) - 1)]
    if name == b"hello":
        return _hide_after(argv, 1, frozenset((b"auth",)), 2)
    if name == b"config|set":
        return _hide_after(argv, 2, SECRET_DIRECTIVES, 1)
    if name == b"acl|setuser":
        return [*argv[:2], *[HIDDEN] * (len(argv) - 2)]
    if name == b"migrate":
        return _hide_after(_hide_after(argv, 6, frozenset((b"auth",)), 1), 6, frozenset((b"auth2",)), 2)
    return argv


def _hide_after(argv: Argv, start: int, words: frozenset[bytes], count: int) -> Argv:
    """Hide the `count` arguments behind each of `words`."""
    shown = list(argv)
    for at in range(start, len(argv)):
        if argv[at].lower() in words:
            shown[at + 1 : at + 1 + count] = [HIDDEN] * len(argv[at + 1 : at + 1 + count])
    return shown
