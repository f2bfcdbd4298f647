"""Limits the log and the retries while the process is out of file descriptors.

After a failed accept, asyncio accepts up to a hundred times more and schedules a retry for each,
and every retry does the same: without a limit, log and CPU would fill in seconds.
"""

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

LOG_EVERY_S = 60.0
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE})
_LOGGERS = ("mitmproxy.master", "mitmproxy.addonmanager", "mitmproxy.proxy.server")
"""Loggers to which mitmproxy writes unhandled errors, each with a traceback."""


class ShortageLog(logging.Filter):
    """Replaces repeated errors about the shortage by a line per `LOG_EVERY_S`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._count = 0
        self._silent_until = clock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True if a record is logged unchanged."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, OSError) or error.errno not in _SHORTAGES:
            return True
        self._count += 1
        if self._clock() >= self._silent_until:
            logger.warning(  # at an error while it starts, mitmproxy exits
                "aibridge: out of file descriptors (%s; %d times since the last such line). "
                "New connections wait until some are free. Raise the limit (`ulimit -n`).",
                error.strerror,
                self._count,
            )
            self._count = 0
            self._silent_until = self._clock() + LOG_EVERY_S
        return False

    def install(self) -> None:
        """Add this filter to mitmproxy's loggers."""
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)

    def remove(self) -> None:
        """Undo `install`."""
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)


class _FailsOnce:
    """A listening socket that raises `BlockingIOError` after its first failed accept."""

    def __init__(self, listening: socket.socket) -> None:
        self.listening = listening
        self._has_failed = False

    def accept(self) -> tuple[socket.socket, Any]:
        if self._has_failed:
            raise BlockingIOError
        try:
            return self.listening.accept()
        except OSError:
            self._has_failed = True
            raise

    def fileno(self) -> int:
        return self.listening.fileno()


def limit_accept_retries(loop: asyncio.AbstractEventLoop) -> None:
    """Let an event loop schedule a single retry after a failed accept, not a hundred.

    Changes only asyncio's selector event loop.
    """
    original = getattr(loop, "_accept_connection", None)
    if original is None or getattr(original, "limits_retries", False):
        return

    def accept(protocol_factory: object, sock: Any, *rest: object) -> None:
        listening = sock.listening if isinstance(sock, _FailsOnce) else sock
        original(protocol_factory, _FailsOnce(listening), *rest)

    accept.limits_retries = True  # type: ignore[attr-defined]
    loop._accept_connection = accept  # type: ignore[attr-defined]
