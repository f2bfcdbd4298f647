"""Keeps this process's share of the limits up to date: reads the live processes from the store."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from aibridge_addon.access.policies.rate_limits import RateLimits
from aibridge_addon.exchange.live_processes import LiveProcesses
from aibridge_addon.facts import this_process_id
from aibridge_addon.report.processes import ProcessRow
from aibridge_addon.report.protocol import UnsupportedReportError

logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 2.0

type ReadProcesses = Callable[[], Sequence[ProcessRow]]
"""Returns the processes that the store knows; called on a thread."""


class LimitShares:
    """Renews the share while there are limits.

    While the store is unavailable, the last share stays; a store without processes means that this
    process is alone.
    """

    def __init__(self, limits: Sequence[RateLimits], read: ReadProcesses) -> None:
        self._limits = limits
        self._read = read
        self._processes = LiveProcesses(this_process_id())
        self._task = asyncio.get_running_loop().create_task(self._renew(), name="aibridge shares")

    def close(self) -> None:
        """Stop."""
        self._task.cancel()

    async def _renew(self) -> None:
        with contextlib.suppress(UnsupportedReportError):
            while True:
                if any(each.limits for each in self._limits):
                    await self._look()
                await asyncio.sleep(_INTERVAL_SECONDS)

    async def _look(self) -> None:
        try:
            rows = await asyncio.to_thread(self._read)
        except UnsupportedReportError:
            raise
        except Exception as error:  # noqa: BLE001 the edge: any store may answer
            logger.debug("aibridge: the live processes cannot be read: %s", error)
        else:
            share = self._processes.see(rows)
            for each in self._limits:
                each.counters.share = share
