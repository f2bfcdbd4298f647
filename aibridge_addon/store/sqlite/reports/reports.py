"""`SQLiteReports`: the reports on a SQLite file."""

from pathlib import Path

from aibridge_addon.report.protocol import Reports
from aibridge_addon.report.queries import TotalsQuery
from aibridge_addon.report.rows import RateLimitRow, Totals
from aibridge_addon.store.sqlite.reports import totals
from aibridge_addon.store.sqlite.reports.rate_limits import read_rate_limits
from aibridge_addon.store.sqlite.reports.reader import reading


class SQLiteReports(Reports):
    """Opens a read-only connection for each query, so that a proxy may write meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def totals(self, query: TotalsQuery) -> Totals:
        """Return figures by groups, and overall."""
        with reading(self._path) as connection:
            return totals.read(connection, query)

    def rate_limits(self) -> list[RateLimitRow]:
        """Return the rate limits as the providers last reported them."""
        with reading(self._path) as connection:
            return read_rate_limits(connection)
