"""Running out of file descriptors: keeps the log short, and the retries few, until some are free.

asyncio goes on accepting up to a hundred times when an accept fails, and schedules a retry for each
of them, each of which does the same: the log and the CPU would fill in seconds.
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
"""Where mitmproxy reports errors that nobody handled, each with a traceback."""


class ShortageLog(logging.Filter):
    """Replaces reports of the same shortage by one line from time to time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._count = 0
        self._silent_until = clock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is logged as it is."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, OSError) or error.errno not in _SHORTAGES:
            return True
        self._count += 1
        if self._clock() >= self._silent_until:
            logger.error(
                "aibridge: out of file descriptors (%s; %d times since the last such line). "
                "New connections wait until some are free. Raise the limit (`ulimit -n`).",
                error.strerror,
                self._count,
            )
            self._count = 0
            self._silent_until = self._clock() + LOG_EVERY_S
        return False

    def install(self) -> None:
        """Filter what mitmproxy logs."""
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)

    def remove(self) -> None:
        """Undo `install`."""
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)


class _FailsOnce:
    """A listening socket that, once an accept has failed, has nothing more to accept."""

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


def calm_accepting(loop: asyncio.AbstractEventLoop) -> None:
    """Have an event loop schedule one retry where an accept fails, not a hundred.

    Other event loops than asyncio's selector loop stay as they are.
    """
    original = getattr(loop, "_accept_connection", None)
    if original is None or getattr(original, "is_calm", False):
        return

    def accept(protocol_factory: object, sock: Any, *rest: object) -> None:
        listening = sock.listening if isinstance(sock, _FailsOnce) else sock
        original(protocol_factory, _FailsOnce(listening), *rest)

    accept.is_calm = True  # type: ignore[attr-defined]
    loop._accept_connection = accept  # type: ignore[attr-defined]
