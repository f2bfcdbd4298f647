"""`SQLiteReports`: the reports on a SQLite file."""

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

from aibridge_addon.report.processes import ProcessRow
from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import Page, RateLimitRow, SearchHit
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql.reports.processes import read_processes
from aibridge_addon.store.sql.reports.rate_limits import read_rate_limits
from aibridge_addon.store.sql.reports.reports import SharedReports
from aibridge_addon.store.sqlite.reports import search
from aibridge_addon.store.sqlite.reports.reader import connected, has_table, reading


class SQLiteReports(SharedReports):
    """Reads a file, which a proxy may write meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _connected(self) -> AbstractContextManager[Connection]:
        return connected(self._path)

    def search(self, text: str, query: RequestQuery) -> Page[SearchHit]:
        """Return recorded texts that contain the words of a text, newest first."""
        with reading(self._path) as connection:
            return search.read(connection, text, query)

    def rate_limits(self) -> list[RateLimitRow]:
        """Return the rate limits; none from a database that no proxy has migrated yet."""
        with reading(self._path) as connection:
            is_known = has_table(connection, "aibridge_rate_limits")
            return read_rate_limits(connection) if is_known else []

    def processes(self) -> list[ProcessRow]:
        """Return the proxy processes; none from a database that no proxy has migrated yet."""
        with reading(self._path) as connection:
            is_known = has_table(connection, "aibridge_processes")
            return read_processes(connection, datetime.now(UTC)) if is_known else []
