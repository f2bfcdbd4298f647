"""`PostgresReports`: the reports on a PostgreSQL database."""

from contextlib import AbstractContextManager

from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import Page, SearchHit
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.postgres.pool import Pool
from aibridge_addon.store.postgres.reports import search
from aibridge_addon.store.sql.reports.reports import SharedReports


class PostgresReports(SharedReports):
    """Reads in transactions that are consistent and change nothing."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def _connected(self) -> AbstractContextManager[Connection]:
        return self._pool.reading()

    def search(self, text: str, query: RequestQuery) -> Page[SearchHit]:
        """Return recorded texts that contain the words of a text, newest first."""
        with self._reading() as connection:
            return search.read(connection, text, query)
