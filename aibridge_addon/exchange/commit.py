"""Commit wait: holds the end of a response until all published facts are stored."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from aibridge_addon.observe.metric_table import ADDED_LATENCY, COMMIT_TIMEOUTS
from aibridge_addon.observe.metrics import Metrics

type Commit = Callable[[], Awaitable[None]]
"""Waits until all published facts are stored."""


class CommitWait:
    """Waits for the store, for a bounded time; a timeout is counted and not an error.

    Args:
        stored: waits until all recorded facts are stored; False if some are not.
        metrics: counts timeouts and the latency of the wait.
    """

    seconds: float

    def __init__(self, stored: Callable[[], Awaitable[bool]], metrics: Metrics) -> None:
        self._stored = stored
        self._metrics = metrics
        self._is_closed = False

    async def wait(self) -> None:
        """Wait until all published facts are stored, unless the store is closed."""
        if self._is_closed:
            return
        start = time.perf_counter()
        try:
            is_stored = await asyncio.wait_for(self._stored(), self.seconds)
        except TimeoutError:
            is_stored = False
        if not is_stored:
            self._metrics.count(COMMIT_TIMEOUTS)
        self._metrics.time(ADDED_LATENCY, "commit", seconds=time.perf_counter() - start)

    def close(self) -> None:
        """Wait no longer, because the store is about to be closed."""
        self._is_closed = True
