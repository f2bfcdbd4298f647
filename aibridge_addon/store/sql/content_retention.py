"""Deletes contents after their retention: references by the time in their ids, parts by their age.

A part is renewed on each day on which it is used, so that a part that is older than all remaining
references, and a day, is used by none of them.
"""

from datetime import UTC, datetime, timedelta

from aibridge_addon.store.connection import Connection

STEP_ROWS = 2000
"""References, and parts, deleted in one step."""
_RENEWAL = timedelta(days=2)
"""Longest time between two renewals of a part that is used, with a margin for clocks."""

_DELETE_MESSAGES = (
    "DELETE FROM aibridge_messages WHERE (interception_id, upstream, position) IN"
    " (SELECT interception_id, upstream, position FROM aibridge_messages"
    " WHERE interception_id < :id LIMIT :limit)"
)
_DELETE_PARTS = (
    "DELETE FROM aibridge_parts WHERE digest IN"
    " (SELECT digest FROM aibridge_parts WHERE created_at < :unused LIMIT :limit)"
)
_DELETE_TEXTS = (
    "DELETE FROM aibridge_search_texts WHERE id IN"
    " (SELECT id FROM aibridge_search_texts WHERE interception_id < :id"
    " AND kind IN ('answer', 'result') LIMIT :limit)"
)


def delete_content(connection: Connection, *, days: int) -> bool:
    """Delete some of the contents that are older; return True if there may be more."""
    before = datetime.now(UTC) - timedelta(days=days)
    values = {
        "id": _first_id(before),
        "unused": (before - _RENEWAL).isoformat(timespec="microseconds"),
        "limit": STEP_ROWS,
    }
    statements = (_DELETE_MESSAGES, _DELETE_TEXTS, _DELETE_PARTS)
    deleted = [connection.execute(statement, values).rowcount for statement in statements]
    return max(deleted) == STEP_ROWS


def _first_id(moment: datetime) -> str:
    """Return the beginning of the ids (UUIDv7) that were made at a time."""
    milliseconds = f"{int(moment.timestamp() * 1000):012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}"
