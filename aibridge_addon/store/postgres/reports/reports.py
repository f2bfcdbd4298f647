"""`PostgresReports`: the reports on a PostgreSQL database."""

from contextlib import AbstractContextManager

from aibridge_addon.report.processes import ProcessRow
from aibridge_addon.report.queries import RequestQuery, TotalsQuery
from aibridge_addon.report.rows import Page, SearchHit, Totals
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.postgres.pool import Pool
from aibridge_addon.store.postgres.reports import search
from aibridge_addon.store.postgres.server_time import server_time
from aibridge_addon.store.sql.reports import totals
from aibridge_addon.store.sql.reports.processes import read_processes
from aibridge_addon.store.sql.reports.reports import SharedReports

_HASH_GROUPS = "SET LOCAL enable_sort = off"
"""The planner expects a hundred times the groups that come, and would sort all rows for them."""


class PostgresReports(SharedReports):
    """Reads in transactions that are consistent and change nothing."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def _connected(self) -> AbstractContextManager[Connection]:
        return self._pool.reading()

    def totals(self, query: TotalsQuery) -> Totals:
        """Return figures by groups, and overall."""
        with self._reading() as connection:
            if "session" not in query.by:  # a database has too many sessions for a hash
                connection.execute(_HASH_GROUPS)
            return totals.read(connection, query)

    def processes(self) -> list[ProcessRow]:
        """Return the proxy processes that reported last, oldest first."""
        with self._reading() as connection:
            return read_processes(connection, server_time(connection))

    def search(self, text: str, query: RequestQuery) -> Page[SearchHit]:
        """Return recorded texts that contain the words of a text, newest first."""
        with self._reading() as connection:
            return search.read(connection, text, query)
