"""The table of proxy processes."""

from sqlite_utils import Database


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
