"""Closes client connections that send no request in time.

Anybody who can connect can send nothing, or a head byte by byte. mitmproxy's `tcp_timeout` closes
only connections without any traffic.
"""

import asyncio
from collections.abc import Callable

from mitmproxy.connection import Client

SILENT = "silent_connection"


class FirstRequestTimeout:
    """Runs a timer for each connection without a request."""

    seconds: float | None = None
    """None: no limit."""

    def __init__(
        self, *, close: Callable[[Client], None], on_refused: Callable[[str], None]
    ) -> None:
        self._close = close
        self._on_refused = on_refused
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def start(self, client: Client) -> None:
        """Start the timer of a new connection."""
        if self.seconds is not None and not client.error:
            loop = asyncio.get_running_loop()
            self._timers[client.id] = loop.call_later(self.seconds, self._expire, client)

    def stop(self, client: Client) -> None:
        """Stop the timer: the connection has a request, is a tunnel, or was closed."""
        if timer := self._timers.pop(client.id, None):
            timer.cancel()

    def _expire(self, client: Client) -> None:
        del self._timers[client.id]
        self._on_refused(SILENT)
        self._close(client)
