"""The budget book of the PostgreSQL store: a lock on each counter precedes its use."""

import json
from collections.abc import Iterable

from aibridge_addon.store.connection import Connection, Cursor
from aibridge_addon.store.sql.budget_book import SQLBudgetBook, Work, counters_of
from aibridge_addon.store.statements import Statement

_LOCK = (
    "SELECT pg_advisory_xact_lock(hashtextextended(value, 7)) FROM"
    ' (SELECT value FROM json_each(?) ORDER BY value COLLATE "C") ordered'
)
_COUNTERS = """
SELECT DISTINCT budget || '/' || scope FROM (
    SELECT budget, scope FROM aibridge_budget_holds
    WHERE interception_id IN (SELECT value FROM json_each(:ids))
    UNION SELECT budget, scope FROM aibridge_budget_entries
    WHERE how = 'estimated' AND interception_id IN (SELECT value FROM json_each(:ids))
) counters
"""
_SLICES = "SELECT DISTINCT budget || '/' || scope FROM aibridge_budget_slices"


class PostgresBudgetBook(SQLBudgetBook):
    """Budget book of one process."""

    def before(self, connection: Connection, works: Iterable[Work]) -> None:
        """Lock the counters of all works at once, so that no two processes wait for each other."""
        _lock(connection, counters_of(works))

    def settle(self, connection: Connection, statements: Iterable[Statement]) -> None:
        """Lock the counters of ended interceptions, and settle them."""
        ended = self.ended(statements)
        _lock(connection, _counters(connection, ended))
        super().settle(connection, statements)

    def sweep(self, connection: Connection) -> None:
        """Lock the counters of dead processes and all slices, renew the lease, and settle."""
        names = _counters(connection, self.orphans(connection))
        _lock(connection, names + [name for (name,) in connection.execute(_SLICES)])
        super().sweep(connection)

    def find(self, connection: Connection, statements: Iterable[Statement]) -> Cursor | None:
        """Look for a counter that some statements settle; None: none of them ends anything."""
        ended = self.ended(statements)
        if not ended:
            return None
        return connection.execute(f"{_COUNTERS} LIMIT 1", {"ids": json.dumps(ended)})


def _counters(connection: Connection, ended: list[str]) -> list[str]:
    return [name for (name,) in connection.execute(_COUNTERS, {"ids": json.dumps(ended)})]


def _lock(connection: Connection, counters: Iterable[str]) -> None:
    """Lock counters until the end of the transaction, in the same order as all other processes."""
    if names := sorted(set(counters)):
        connection.execute(_LOCK, [json.dumps(names)])
