"""Proxy processes, as they reported last."""

from datetime import datetime

from aibridge_addon.report.processes import ProcessRow
from aibridge_addon.store.columns import PROCESS
from aibridge_addon.store.connection import Connection

_QUERY = f"SELECT {', '.join(PROCESS)} FROM aibridge_processes ORDER BY started_at, id"  # noqa: S608


def read_processes(connection: Connection, now: datetime) -> list[ProcessRow]:
    """Return the processes, oldest first; `now` is by the clock that dates signs of life."""
    rows = connection.execute(_QUERY).fetchall()
    read_at = now.isoformat(timespec="microseconds")
    return [ProcessRow(**dict(zip(PROCESS, row, strict=True)), read_at=read_at) for row in rows]
