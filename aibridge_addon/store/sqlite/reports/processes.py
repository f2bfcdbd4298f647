"""Proxy processes, as they reported last."""

from aibridge_addon.report.rows import ProcessRow
from aibridge_addon.store.columns import PROCESS
from aibridge_addon.store.connection import Connection

_EXISTS = "SELECT 1 FROM sqlite_master WHERE name = 'aibridge_processes'"
_QUERY = f"SELECT {', '.join(PROCESS)} FROM aibridge_processes ORDER BY started_at, id"  # noqa: S608


def read_processes(connection: Connection) -> list[ProcessRow]:
    """Return the processes; none from a database that no proxy has migrated yet."""
    if connection.execute(_EXISTS).fetchone() is None:
        return []
    rows = connection.execute(_QUERY).fetchall()
    return [ProcessRow(**dict(zip(PROCESS, row, strict=True))) for row in rows]
