"""Proxy processes, as they reported last."""

from aibridge_addon.report.rows import ProcessRow
from aibridge_addon.store.columns import PROCESS
from aibridge_addon.store.connection import Connection

_QUERY = f"SELECT {', '.join(PROCESS)} FROM aibridge_processes ORDER BY started_at, id"  # noqa: S608


def read_processes(connection: Connection) -> list[ProcessRow]:
    """Return the processes, oldest first."""
    rows = connection.execute(_QUERY).fetchall()
    return [ProcessRow(**dict(zip(PROCESS, row, strict=True))) for row in rows]
