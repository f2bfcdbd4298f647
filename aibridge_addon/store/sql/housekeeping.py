"""SQL that closes interceptions without an end and deletes rows after their retention."""

from aibridge_addon.store.sql import rollup

CLOSE_INTERRUPTED = (
    "UPDATE aibridge_interceptions SET status = 'interrupted', partial = 1, ended_at = :now"
    " WHERE ended_at IS NULL AND started_at < :before"
    " AND id NOT IN (SELECT interception_id FROM aibridge_background_responses)"
)

_EXPIRED = "SELECT interception_id FROM aibridge_background_responses WHERE created_at < :before"
FIND_NEVER_POLLED = f"{_EXPIRED} LIMIT 1"
CLOSE_NEVER_POLLED = (
    "UPDATE aibridge_interceptions SET status = 'interrupted', partial = 1, ended_at = :now,"  # noqa: S608
    " error_type = 'never_polled',"
    " error_message = 'No poll brought the end of this background response.'"
    f" WHERE ended_at IS NULL AND id IN ({_EXPIRED})",
    "DELETE FROM aibridge_background_responses WHERE created_at < :before",
)
"""Executed in this order."""

DELETE_HIDDEN_TURNS = "DELETE FROM aibridge_hidden_turns WHERE created_at < :before"
DELETE_TUNNELS = "DELETE FROM aibridge_tunnels WHERE started_at < :before"
DELETE_RATE_LIMITS = "DELETE FROM aibridge_rate_limits WHERE seen_at < :before"

_OLD = (
    "SELECT id FROM aibridge_interceptions WHERE started_at < :before AND ended_at IS NOT NULL"
    " ORDER BY started_at, id LIMIT :limit"
)
DELETE_INTERCEPTIONS = (
    *rollup.archive_sql(_OLD),
    *(
        f"DELETE FROM {table} WHERE interception_id IN ({_OLD})"  # noqa: S608
        for table in (
            "aibridge_token_usages",
            "aibridge_user_prompts",
            "aibridge_tool_usages",
            "aibridge_model_thoughts",
            "aibridge_search_texts",
        )
    ),
    f"DELETE FROM aibridge_interceptions WHERE id IN ({_OLD})",  # noqa: S608
)
"""Executed in this order: the figures go into the roll-up, then the rows that belong to
interceptions are deleted."""

_FEW = "(SELECT min(min(seq) + :limit, max(seq)) FROM aibridge_endings)"
DELETE_ENDINGS = (
    f"DELETE FROM aibridge_endings WHERE seq < {_FEW} AND NOT EXISTS"  # noqa: S608
    " (SELECT 1 FROM aibridge_interceptions i WHERE i.id = interception_id)"
)
"""Deletes the oldest numbers whose interceptions were deleted, never the newest number: the next is
the newest and one."""
