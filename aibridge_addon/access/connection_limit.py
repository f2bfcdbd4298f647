"""How many connections clients have at once. More than are allowed are closed as they come.

Without a limit it would be that of the process's open files, and what fails then is not only the
connection that is one too many: nothing can be opened any more, upstream or on disk.
"""

import logging
import time
from collections.abc import Callable

from mitmproxy import connection

logger = logging.getLogger(__name__)

TOO_MANY = "too_many_connections"
SAID_EVERY_S = 60.0


class Connections:
    """Counts those that are open, and admits new ones."""

    most: int | None = None
    """None: no limit."""

    def __init__(
        self, *, on_refused: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._on_refused = on_refused
        self._clock = clock
        self._open: set[str] = set()
        self._unsaid = 0
        self._quiet_until = float("-inf")

    def admit(self, client: connection.Client) -> None:
        """Take a connection in, or have it closed."""
        if client.error:  # another addon will have none of it
            return
        if self.most is None or len(self._open) < self.most:
            self._open.add(client.id)
            return
        client.error = "aibridge: there are too many connections (aibridge_max_connections)"
        self._on_refused(TOO_MANY)
        self._say()

    def forget(self, client: connection.Client) -> None:
        """A connection is no more."""
        self._open.discard(client.id)

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
