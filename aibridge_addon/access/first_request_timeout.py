"""Closes client connections that make no request in time.

Anybody who can reach the proxy can open connections and send nothing, or a head byte by byte.
mitmproxy's `tcp_timeout` closes only connections on which nothing moves.
"""

import asyncio
from collections.abc import Callable

from mitmproxy.connection import Client

SILENT = "silent_connection"


class FirstRequestTimeout:
    """Times the connections that have made no request yet."""

    seconds: float | None = None
    """None: no limit."""

    def __init__(
        self, *, close: Callable[[Client], None], on_refused: Callable[[str], None]
    ) -> None:
        self._close = close
        self._on_refused = on_refused
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def opened(self, client: Client) -> None:
        """Start the time of a connection."""
        if self.seconds is not None and not client.error:
            loop = asyncio.get_running_loop()
            self._timers[client.id] = loop.call_later(self.seconds, self._expire, client)

    def has_asked(self, client: Client) -> None:
        """Leave a connection alone from now on: it made a request, is a tunnel, or has ended."""
        if timer := self._timers.pop(client.id, None):
            timer.cancel()

    def _expire(self, client: Client) -> None:
        del self._timers[client.id]
        self._on_refused(SILENT)
        self._close(client)
