"""Tables whose rows belong to an interception."""

from sqlite_utils import Database


def create_child(db: Database, name: str, columns: dict[str, type]) -> None:
    """Create a table with the columns that all such tables have, and the given ones."""
    table = db.table(name)
    table.create(
        {
            "id": str,
            "interception_id": str,
            "provider_response_id": str,
            **columns,
            "metadata": str,
            "created_at": str,
        },
        pk="id",
        foreign_keys=[("interception_id", "aibridge_interceptions", "id")],
        not_null={"interception_id", "created_at"},
    )
    table.create_index(["interception_id"])
