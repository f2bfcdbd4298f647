"""How many connections clients have at once. More than are allowed are closed as they come.

Without a limit it would be that of the process's open files, and what fails then is not only the
connection that is one too many: nothing can be opened any more, upstream or on disk.
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
SAID_EVERY_S = 60.0


class ConnectionLimit:
    """Counts those that are open, and admits new ones."""

    most: int | None = None
    """None: no limit."""
    most_per_address: int | None = None
    """None: no limit."""

    def __init__(
        self, *, on_refused: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._on_refused = on_refused
        self._clock = clock
        self._open: dict[str, str] = {}
        """The addresses of clients, by the ids of their connections."""
        self._by_address: Counter[str] = Counter()
        self._unsaid = 0
        self._quiet_until = float("-inf")

    def admit(self, client: connection.Client) -> None:
        """Take a connection in, or have it closed."""
        if client.error:  # another addon will have none of it
            return
        address = client.peername[0]
        if self.most is not None and len(self._open) >= self.most:
            client.error = "aibridge: there are too many connections (aibridge_max_connections)"
            self._on_refused(TOO_MANY)
            self._say()
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
        """A connection is no more."""
        address = self._open.pop(client.id, None)
        if address is None:
            return
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    def _say(self) -> None:
        self._unsaid += 1
        if (now := self._clock()) < self._quiet_until:
            return
        logger.warning(
            "aibridge: clients have %d connections, as many as aibridge_max_connections allows;"
            " %d closed since this was said last",
            len(self._open),
            self._unsaid,
        )
        self._unsaid = 0
        self._quiet_until = now + SAID_EVERY_S
