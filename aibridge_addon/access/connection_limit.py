"""Limits the number of open client connections: further connections are closed at once.

Without a limit the process would run out of file descriptors, and then nothing could be opened any
more: neither upstream connections nor files.
"""

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable

from mitmproxy import connection

logger = logging.getLogger(__name__)

TOO_MANY = "too_many_connections"
TOO_MANY_OF_ADDRESS = "too_many_connections_of_address"
LOG_INTERVAL_S = 60.0


class ConnectionLimit:
    """Counts open client connections, and refuses those above the limits."""

    most: int | None = None
    """Maximum number of connections; None: no limit."""
    most_per_address: int | None = None
    """Maximum number of connections from one address; None: no limit."""

    def __init__(
        self, *, on_refused: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._on_refused = on_refused
        self._clock = clock
        self._open: dict[str, str] = {}
        """Client addresses by connection id."""
        self._by_address: Counter[str] = Counter()
        self._unlogged = 0
        self._quiet_until = float("-inf")

    def admit(self, client: connection.Client) -> None:
        """Count a new connection, or have mitmproxy close it by setting its error."""
        if client.error:  # refused by another addon
            return
        address = client.peername[0]
        if self.most is not None and len(self._open) >= self.most:
            client.error = "aibridge: there are too many connections (aibridge_max_connections)"
            self._on_refused(TOO_MANY)
            self._log()
        elif self._by_address[address] >= (self.most_per_address or sys.maxsize):
            client.error = (
                "aibridge: there are too many connections from this address"
                " (aibridge_max_connections_per_address)"
            )
            self._on_refused(TOO_MANY_OF_ADDRESS)
        else:
            self._open[client.id] = address
            self._by_address[address] += 1

    def forget(self, client: connection.Client) -> None:
        """Stop counting a connection: it was closed."""
        address = self._open.pop(client.id, None)
        if address is None:
            return
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    def _log(self) -> None:
        self._unlogged += 1
        if (now := self._clock()) < self._quiet_until:
            return
        logger.warning(
            "aibridge: clients have %d open connections, the maximum (aibridge_max_connections);"
            " %d further connections closed since the last such line",
            len(self._open),
            self._unlogged,
        )
        self._unlogged = 0
        self._quiet_until = now + LOG_INTERVAL_S
