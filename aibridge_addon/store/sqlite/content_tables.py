"""The tables of what was said: parts, each stored once, and references to them."""

from sqlite_utils import Database


def create(db: Database) -> None:
    """Create the tables."""
    db.execute("""
        CREATE TABLE aibridge_messages (
            interception_id TEXT NOT NULL,
            upstream INTEGER NOT NULL,
            position INTEGER NOT NULL,
            role TEXT NOT NULL,
            part BLOB NOT NULL,
            PRIMARY KEY (interception_id, upstream, position)
        ) WITHOUT ROWID
    """)
    parts = db.table("aibridge_parts")
    parts.create(
        {"digest": bytes, "kind": str, "content": bytes, "compressed": int, "created_at": str},
        pk="digest",
        not_null={"kind", "content", "compressed", "created_at"},
    )
    parts.create_index(["created_at"])
