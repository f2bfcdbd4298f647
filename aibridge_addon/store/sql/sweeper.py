"""Housekeeping in small steps: rolls up figures, deletes rows after their retention, frees space.

A step takes milliseconds. The recorder executes a step after a commit, when nobody waits for it.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from aibridge_addon.facts import now
from aibridge_addon.store.connection import Connection, transaction
from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.sql import processes
from aibridge_addon.store.sql.content_retention import delete_content
from aibridge_addon.store.sql.housekeeping import (
    CLOSE_NEVER_POLLED,
    DELETE_ENDINGS,
    DELETE_HIDDEN_TURNS,
    DELETE_INTERCEPTIONS,
    DELETE_RATE_LIMITS,
    DELETE_TUNNELS,
    FIND_NEVER_POLLED,
)
from aibridge_addon.store.sql.refresh import refresh_one

ROUND_SECONDS = 60.0
"""Seconds between rounds that delete everything after its retention."""
STEP_SECONDS = 0.25
"""Seconds between two steps of a round."""
POLLED_DAYS = 30
"""Days in which a poll may end a background response; providers store it no longer."""
RATE_LIMIT_DAYS = 30
"""Days after which a rate limit says nothing; provider's windows are shorter."""
STEP_ROWS = 500
"""Interceptions deleted in one step."""


class Sweeper[C: Connection]:
    """Executes the steps, at most one per `STEP_SECONDS`.

    `on_deleted` receives the number of deleted interceptions; `free_some` frees some space, and
    returns True if there is more.
    """

    def __init__(
        self,
        retention: Retention,
        on_deleted: Callable[[int], None],
        free_some: Callable[[C], bool],
    ) -> None:
        self._retention = retention
        self._on_deleted = on_deleted
        self._free_some = free_some
        self._next_at = 0.0

    @property
    def is_due(self) -> bool:
        """True if the next step should be executed now."""
        return time.monotonic() >= self._next_at

    def step(self, connection: C) -> None:
        """Roll up an hour and delete some rows; after the last, free some of their space."""
        processes.tidy(connection, self.time(connection))
        self._close_never_polled(connection)
        connection.execute(DELETE_RATE_LIMITS, {"before": _days_ago(RATE_LIMIT_DAYS)})
        more = refresh_one(connection)
        more = self.delete(connection) or more or self._free_some(connection)
        self._next_at = time.monotonic() + (STEP_SECONDS if more else ROUND_SECONDS)

    def time(self, connection: C) -> datetime:
        """Return the time by the clock that dates signs of life: the one of this machine."""
        return datetime.now(UTC)

    def pause(self) -> None:
        """Leave out the steps of a round."""
        self._next_at = time.monotonic() + ROUND_SECONDS

    def _close_never_polled(self, connection: C) -> None:
        values = {"before": _days_ago(POLLED_DAYS), "now": now()}
        if connection.execute(FIND_NEVER_POLLED, values).fetchone() is None:
            return
        with transaction(connection):
            for statement in CLOSE_NEVER_POLLED:
                connection.execute(statement, values)

    def delete(self, connection: C) -> bool:
        """Delete some rows; return True if there may be more."""
        if self._retention == Retention():
            return False
        deleted, more = 0, False
        with transaction(connection):
            if (days := self._retention.hidden_turns) is not None:
                connection.execute(DELETE_HIDDEN_TURNS, {"before": _days_ago(days)})
            if (days := self._retention.interceptions) is not None:
                values = {"before": _days_ago(days), "limit": STEP_ROWS}
                connection.execute(DELETE_TUNNELS, values)
                for statement in DELETE_INTERCEPTIONS:
                    deleted = connection.execute(statement, values).rowcount
                connection.execute(DELETE_ENDINGS, {"limit": STEP_ROWS})
            if (days := self._retention.content_days) is not None:
                more = delete_content(connection, days=days)
        if deleted:
            self._on_deleted(deleted)
        return more or deleted == STEP_ROWS


def _days_ago(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="microseconds")
