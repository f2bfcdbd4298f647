"""Deletes what is older than it may be kept, a little at a time, and frees its space.

A step takes milliseconds, and the recorder takes one after a commit, when nobody waits for it.
"""

import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from aibridge_addon.facts import now
from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.sqlite import vacuum
from aibridge_addon.store.sqlite.database_file import transaction
from aibridge_addon.store.sqlite.housekeeping import (
    CLOSE_NEVER_POLLED,
    FIND_NEVER_POLLED,
    FORGET_HIDDEN_TURNS,
    FORGET_INTERCEPTIONS,
)

ROUND_SECONDS = 3600.0
"""Between times that everything too old is deleted."""
STEP_SECONDS = 0.25
"""Between two steps of a round."""
POLLED_DAYS = 30
"""For so long, a poll may bring the end of a background response; providers keep it no longer."""
AT_ONCE = 500
"""Interceptions deleted in one step."""


class Sweeper:
    """Takes the steps, at most one in `STEP_SECONDS`.

    `on_forgotten` is told the number of deleted interceptions.
    """

    def __init__(self, retention: Retention, on_forgotten: Callable[[int], None]) -> None:
        self._retention = retention
        self._on_forgotten = on_forgotten
        self._next_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the time for the next step has come."""
        return time.monotonic() >= self._next_at

    def step(self, connection: sqlite3.Connection) -> None:
        """Delete some rows; once all are deleted, free some of their space."""
        self._close_never_polled(connection)
        more = self._delete(connection) or vacuum.free_some(connection)
        self._next_at = time.monotonic() + (STEP_SECONDS if more else ROUND_SECONDS)

    def _close_never_polled(self, connection: sqlite3.Connection) -> None:
        values = {"before": _days_ago(POLLED_DAYS), "now": now()}
        if connection.execute(FIND_NEVER_POLLED, values).fetchone() is None:
            return
        with transaction(connection):
            for statement in CLOSE_NEVER_POLLED:
                connection.execute(statement, values)

    def _delete(self, connection: sqlite3.Connection) -> bool:
        """Return whether there may be more to delete."""
        if self._retention == Retention():
            return False
        deleted = 0
        with transaction(connection):
            if (days := self._retention.hidden_turns) is not None:
                connection.execute(FORGET_HIDDEN_TURNS, {"before": _days_ago(days)})
            if (days := self._retention.interceptions) is not None:
                values = {"before": _days_ago(days), "limit": AT_ONCE}
                for statement in FORGET_INTERCEPTIONS:
                    deleted = connection.execute(statement, values).rowcount
        if deleted:
            self._on_forgotten(deleted)
        return deleted == AT_ONCE


def _days_ago(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="microseconds")
