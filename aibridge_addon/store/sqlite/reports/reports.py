"""`SQLiteReports`: the reports on a SQLite file."""

from pathlib import Path

from aibridge_addon.report.protocol import Reports


class SQLiteReports(Reports):
    """Opens a read-only connection for each query, so that a proxy may write meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path
