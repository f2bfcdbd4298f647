"""Rolls up stale hours, one at a time."""

import sqlite3

from aibridge_addon.facts import now
from aibridge_addon.store.sqlite.database_file import transaction
from aibridge_addon.store.sqlite.rollup import HOUR_LENGTH, REFRESH

_STALE = "SELECT hour FROM aibridge_stale_hours WHERE hour < :current ORDER BY hour DESC LIMIT 2"


def refresh_one(connection: sqlite3.Connection) -> bool:
    """Roll up the newest complete stale hour; return True if there are more."""
    current = now()[:HOUR_LENGTH]
    hours = [hour for (hour,) in connection.execute(_STALE, {"current": current})]
    if hours:
        # `;` is the character after `:`, so that this is greater than any time of the hour.
        values = {"hour": hours[0], "next": f"{hours[0]};"}
        with transaction(connection):
            for statement in REFRESH:
                connection.execute(statement, values)
    return len(hours) > 1
