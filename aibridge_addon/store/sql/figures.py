"""SQL of the figures of requests: their keys, their measures, and sums of both.

The roll-up and every report take these expressions, so that a figure means the same everywhere.
"""

from collections.abc import Iterable, Mapping

_METADATA = "CASE WHEN json_valid(i.metadata) THEN json_extract(i.metadata, '$.team') END"

KEYS: Mapping[str, str] = {
    "initiator_id": "i.initiator_id",
    "team": f"coalesce(CAST({_METADATA} AS TEXT), '')",
    "model": "coalesce(i.model, '')",
    "client": "coalesce(i.client, '')",
    "provider_name": "i.provider_name",
    "request_kind": "coalesce(i.request_kind, '')",
    "credential_kind": "coalesce(i.credential_kind, '')",
    "access_token_id": "coalesce(i.access_token_id, '')",
}
"""Key columns of the roll-up, by their SQL for an interception `i`; unknown is an empty text."""

_UNKNOWN_USAGE = """(
    count(t.id) = 0 AND i.ended_at IS NOT NULL AND i.status <> 'refused'
    AND coalesce(i.http_status < 400, i.status IN ('cancelled', 'interrupted'))
)"""
"""As `InterceptionEnded.usage_is_unknown` has it."""

_LACKS_TOKENS = """(
    (t.input_tokens IS NOT NULL OR t.output_tokens IS NOT NULL)
    AND (t.input_tokens IS NULL OR t.output_tokens IS NULL
         OR t.cache_read_input_tokens IS NULL OR t.cache_write_input_tokens IS NULL)
)"""
"""As `TokenUsage.unknown_counts` has it, for a usage `t`."""


def _whole(total: str) -> str:
    """Return a sum as an integer.

    In PostgreSQL it has any length, and every row of the roll-up beside it would be converted.
    """
    return f"CAST({total} AS BIGINT)"


MEASURES: Mapping[str, str] = {
    "requests": "1",
    **{
        status: f"CASE WHEN i.status = '{status}' THEN 1 ELSE 0 END"
        for status in ("completed", "failed", "cancelled", "refused", "interrupted")
    },
    "open": "CASE WHEN i.status IS NULL THEN 1 ELSE 0 END",
    "calls": "count(t.id)",
    **{
        name: _whole(f"coalesce(sum(t.{column}), 0)")
        for name, column in {
            "input": "input_tokens",
            "cache_read": "cache_read_input_tokens",
            "cache_write": "cache_write_input_tokens",
            "output": "output_tokens",
        }.items()
    },
    "incomplete": f"CASE WHEN count(CASE WHEN {_LACKS_TOKENS} THEN 1 END) > 0 THEN 1 ELSE 0 END",
    "without_usage": f"CASE WHEN {_UNKNOWN_USAGE} THEN 1 ELSE 0 END",
    "chats_without_usage": f"CASE WHEN {_UNKNOWN_USAGE} AND i.api = 'openai_chat'"
    " THEN 1 ELSE 0 END",
    "unpriced": f"CASE WHEN {_UNKNOWN_USAGE} OR count(t.id) > count(t.cost_nano_usd)"
    " THEN 1 ELSE 0 END",
    "cost": _whole("sum(t.cost_nano_usd)"),
    "saved": _whole("sum(t.uncached_cost_nano_usd - t.cost_nano_usd)"),
    "provider_cost": _whole("sum(t.provider_cost_nano_usd)"),
}
"""Columns of the roll-up that are summed, by their SQL for one interception `i` and its usages `t`;
the last three are null if nothing is known."""

MONEY = ("cost", "saved", "provider_cost")


def requests_sql(source: str, conditions: Iterable[str], extra: Mapping[str, str]) -> str:
    """Return a SELECT with a row for each interception `i` of a source that meets conditions."""
    columns = {"id": "i.id", "started_at": "i.started_at", **KEYS, **MEASURES, **extra}
    selected = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    # Only text of these modules goes into the SQL.
    return (
        f"SELECT {selected} FROM {source}"  # noqa: S608
        " LEFT JOIN aibridge_token_usages t ON t.interception_id = i.id"
        # Without the plus, SQLite reads the whole table in the order of the groups.
        f" WHERE {' AND '.join(conditions) or 'TRUE'} GROUP BY +i.rowid"
    )


def sums_sql() -> str:
    """Return the columns that sum up the measures of a source `i`, in the order of `MEASURES`."""
    return ", ".join(f"sum(i.{name}) AS {name}" for name in MEASURES)
