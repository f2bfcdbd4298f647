"""`PostgresLimitBook`: counts shared limits on a thread, and notices that the database is away."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from aibridge_addon.access.limits.book import Lack, LimitBook, LimitChange
from aibridge_addon.budgets.book import BookUnavailableError
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.postgres.limit_counts import LEASE_SECONDS, LimitCounts

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 1.0
"""Longest time that a request waits for its decision."""
_RENEWAL_SECONDS = LEASE_SECONDS / 4
_PROBE_SECONDS = 2.0
"""Interval of attempts while the database is away."""


class PostgresLimitBook(LimitBook):
    """Limit book of one process; must be made on its event loop."""

    def __init__(self, counts: LimitCounts) -> None:
        self._counts = counts
        self._thread = ThreadPoolExecutor(1, "aibridge limits")
        self._loop = asyncio.get_running_loop()
        self._is_available = True
        self._renewal = self._loop.create_task(self._renew(), name="aibridge limits")

    @property
    def is_available(self) -> bool:
        """False while the database does not respond."""
        return self._is_available

    async def take(self, request_id: str, changes: Sequence[LimitChange]) -> Lack | None:
        """Debit all changes, or none if one lacks room.

        Raises:
            BookUnavailableError: the database does not respond.
        """
        if not self._is_available:
            raise BookUnavailableError
        pending = self._run(partial(self._counts.take, request_id, changes))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await asyncio.shield(pending)
        except asyncio.CancelledError:
            self._undo_later(pending, request_id, changes)
            raise
        except TimeoutError as error:
            self._undo_later(pending, request_id, changes)
            self._note_away(error)
        except StoreError as error:
            self._note_away(error)
        raise BookUnavailableError

    def change(self, request_id: str, changes: Sequence[LimitChange]) -> None:
        """Debit changes without a check, by and by."""
        with contextlib.suppress(RuntimeError):  # it is closed
            self._run(partial(self._counts.change, request_id, changes)).add_done_callback(_ignore)

    def close(self) -> None:
        """Stop, after what was begun."""
        self._renewal.cancel()
        self._thread.submit(self._counts.close)
        self._thread.shutdown(wait=False)

    def _run[Result](self, work: Callable[[], Result]) -> asyncio.Future[Result]:
        return self._loop.run_in_executor(self._thread, work)

    def _undo_later(
        self,
        pending: asyncio.Future[Lack | None],
        request_id: str,
        changes: Sequence[LimitChange],
    ) -> None:
        """Give back what a decision takes that nobody waits for any more."""

        def undo(done: asyncio.Future[Lack | None]) -> None:
            if not done.cancelled() and not done.exception() and done.result() is None:
                self.change(request_id, [replace(c, amount=-c.amount) for c in changes])

        pending.add_done_callback(undo)

    def _note_away(self, error: Exception) -> None:
        if self._is_available:
            self._is_available = False
            logger.warning(
                "aibridge: the database does not count shared limits now, so each process enforces"
                " its part of them: %s",
                error or "no response",
            )

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEWAL_SECONDS if self._is_available else _PROBE_SECONDS)
            try:
                await self._run(self._counts.renew)
            except StoreError as error:
                self._note_away(error)
            else:
                self._is_available = True


def _ignore(done: asyncio.Future[None]) -> None:
    if not done.cancelled():
        done.exception()
