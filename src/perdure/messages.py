"""The server's own messages: lines as redis-server writes them, so that what reads its log reads ours.

    1234:M 05 Jan 2026 12:00:00.123 * ready on port 6379

The sign is the level: `.` debug, `-` verbose, `*` notice, `#` warning. What a client has sent never gets into a
message: of an exception that nobody expected, the place and the type are written, not its text.
"""

from __future__ import annotations

import logging
import os
import time
import traceback
from types import TracebackType
from typing import Final

VERBOSE: Final = 15
LEVELS: Final = {"debug": logging.DEBUG, "verbose": VERBOSE, "notice": logging.INFO, "warning": logging.WARNING}
"""What `loglevel` lets through."""
SIGNS: Final = ((logging.DEBUG, "."), (VERBOSE, "-"), (logging.INFO, "*"))

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class RedisFormatter(logging.Formatter):
    """One line per message; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        sign = next((sign for level, sign in SIGNS if record.levelno <= level), "#")
        when = time.strftime("%d %b %Y %H:%M:%S", time.localtime(record.created))
        message = record.getMessage().replace("\r", " ").replace("\n", " ")
        line = f"{os.getpid()}:M {when}.{int(record.msecs):03d} {sign} {message}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line

    def formatException(self, ei: ExcInfo) -> str:
        kind, _, trace = ei
        frames = "".join(traceback.format_tb(trace)) if trace is not None else ""
        return f"{frames}{kind.__name__ if kind else ''}"
