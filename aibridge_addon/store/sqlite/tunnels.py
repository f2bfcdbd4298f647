"""The table of tunnels to AI services that are not read."""

from sqlite_utils import Database


def create(db: Database) -> None:
    """Create the table."""
    table = db.table("aibridge_tunnels")
    table.create(
        {
            "id": str,
            "initiator_id": str,
            "access_token_id": str,
            "host": str,
            "service": str,
            "started_at": str,
            "duration_ms": int,
            "bytes_sent": int,
            "bytes_received": int,
        },
        pk="id",
        not_null={"initiator_id", "host", "service", "started_at", "duration_ms"}
        | {"bytes_sent", "bytes_received"},
    )
    table.create_index(["started_at"])
