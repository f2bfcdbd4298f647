"""Numbers the ends of interceptions in the order of commits, for readers that follow the record.

A time cannot serve as their cursor: another process may commit an earlier end later. SQLite has one
writer at a time, so a number that is read is greater than all numbers committed before it.
"""

from sqlite_utils import Database

_ADD = "BEGIN INSERT INTO aibridge_endings (interception_id) VALUES (new.id); END"


def create(db: Database) -> None:
    """Create the table, its triggers, and the numbers of interceptions that have ended."""
    db.execute(
        "CREATE TABLE aibridge_endings (seq INTEGER PRIMARY KEY, interception_id TEXT NOT NULL)"
    )
    db.execute(
        "INSERT INTO aibridge_endings (interception_id) SELECT id FROM aibridge_interceptions"
        " WHERE ended_at IS NOT NULL ORDER BY ended_at, id"
    )
    db.execute(
        "CREATE TRIGGER aibridge_endings_inserted AFTER INSERT ON aibridge_interceptions"
        f" WHEN new.ended_at IS NOT NULL {_ADD}"
    )
    db.execute(
        "CREATE TRIGGER aibridge_endings_updated AFTER UPDATE OF ended_at ON aibridge_interceptions"
        f" WHEN new.ended_at IS NOT NULL AND old.ended_at IS NULL {_ADD}"
    )
