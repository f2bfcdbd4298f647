"""Deadline of work on a connection: a network that swallows everything must not stop a thread.

libpq waits for a response as long as the system sees no error, which can be minutes.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aibridge_addon.store.postgres.connection import PostgresConnection


@contextlib.contextmanager
def deadline(connection: "PostgresConnection", seconds: float) -> Iterator[None]:
    """Cut a connection if the work inside takes too long; the work fails then."""
    with socket.socket(fileno=os.dup(connection.raw.fileno())) as duplicate:
        timer = threading.Timer(seconds, _cut, [duplicate])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _cut(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)
