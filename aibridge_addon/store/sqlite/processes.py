"""The table of proxy processes, and the end of those that gave no sign of life."""

from datetime import UTC, datetime, timedelta

from sqlite_utils import Database

from aibridge_addon.facts import now
from aibridge_addon.store.connection import Connection

SILENCE_SECONDS = 60
"""Time after which a process without a sign of life has ended, whatever it did."""
_KEPT_DAYS = 7

CLOSE_ORPHANS = (
    "UPDATE aibridge_interceptions SET status = 'interrupted', partial = 1, ended_at = :now"
    " WHERE ended_at IS NULL AND process_id IN"
    " (SELECT id FROM aibridge_processes WHERE seen_at < :silent OR ended_at IS NOT NULL)"
    " AND id NOT IN (SELECT interception_id FROM aibridge_background_responses)"
)
"""Closes the interceptions of ended processes. If such a process lives after all, the real end of
an interception replaces this one."""
FORGET = "DELETE FROM aibridge_processes WHERE seen_at < :old"


def create(db: Database) -> None:
    """Create the table, and an index of the few interceptions that have not ended."""
    db.table("aibridge_processes").create(
        {
            "id": str,
            "host": str,
            "pid": int,
            "version": str,
            "started_at": str,
            "seen_at": str,
            "ended_at": str,
            "open_requests": int,
            "requests": int,
            "cpu_percent": float,
        },
        pk="id",
        not_null={"host", "pid", "version", "started_at", "seen_at"},
    )
    db.table("aibridge_interceptions").add_column("process_id", str)
    db.execute(
        "CREATE INDEX idx_aibridge_interceptions_open ON aibridge_interceptions (process_id)"
        " WHERE ended_at IS NULL"
    )


def tidy(connection: Connection) -> None:
    """Close what ended processes left open, and forget processes that ended long ago."""
    connection.execute(CLOSE_ORPHANS, {"now": now(), "silent": _ago(seconds=SILENCE_SECONDS)})
    connection.execute(FORGET, {"old": _ago(days=_KEPT_DAYS)})


def _ago(**time: float) -> str:
    return (datetime.now(UTC) - timedelta(**time)).isoformat(timespec="microseconds")
