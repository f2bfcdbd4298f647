"""The tables of shared limits, which PostgreSQL alone uses: times are nanoseconds since 1970."""

from sqlite_utils import Database


def create(db: Database) -> None:
    """Create the tables."""
    scope = {"limit_name": str, "scope": str}
    times = {"full_at": int, "seen_at": int}
    db.table("aibridge_limit_buckets").create(
        {**scope, "bound": str, **times}, pk=(*scope, "bound"), not_null={*times}
    )
    slots = db.table("aibridge_limit_slots")
    own = {"process_id": str, "expires_at": int}
    slots.create({**scope, "request_id": str, **own}, pk=(*scope, "request_id"), not_null={*own})
    slots.create_index(["process_id"])
