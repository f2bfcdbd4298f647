"""Sums up usage in a SQLite file, read only: a proxy may write to it at the same time."""

import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from aibridge_addon.access.runs import METADATA_KEY
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.usage import Grouping, UsageQuery, UsageTotal

_READ_SECONDS = 5.0
"""Seconds to wait for a lock."""
_GROUPS: Mapping[Grouping, str] = {
    "actor": "i.initiator_id",
    "model": "coalesce(i.model, 'unknown')",
    "client": "i.client",
    "session": "coalesce(i.client_session_id, 'none')",
    "day": "date(i.started_at, 'localtime')",
}

# As `InterceptionEnded.usage_is_unknown` has it.
_UNKNOWN = """(
    u.interception_id IS NULL AND i.ended_at IS NOT NULL AND i.status <> 'refused'
    AND coalesce(i.http_status < 400, i.status IN ('cancelled', 'interrupted'))
)"""
_QUERY = """
WITH i AS (SELECT * FROM aibridge_interceptions i WHERE i.started_at >= :since AND {condition})
SELECT {group} AS name, count(*) AS requests,
       sum(status IS NOT NULL AND status <> 'completed') AS failed,
       coalesce(sum(u.input), 0) AS input, coalesce(sum(u.cache_read), 0) AS cache_read,
       coalesce(sum(u.cache_write), 0) AS cache_write, coalesce(sum(u.output), 0) AS output,
       max(i.started_at) AS latest,
       sum({unknown}) AS without_usage,
       sum({unknown} AND i.api = 'openai_chat') AS chats_without_usage
FROM i LEFT JOIN (
    SELECT interception_id, sum(input_tokens) AS input, sum(output_tokens) AS output,
           sum(cache_read_input_tokens) AS cache_read, sum(cache_write_input_tokens) AS cache_write
    FROM aibridge_token_usages {usages} GROUP BY interception_id
) u ON u.interception_id = i.id
GROUP BY 1 ORDER BY {order}
"""
_OF_RUN = f"json_extract(i.metadata, '$.{METADATA_KEY}') = :run"
_OF_SELECTED = "WHERE interception_id IN (SELECT id FROM i)"


def read(path: Path, query: UsageQuery) -> list[UsageTotal]:
    """Return the totals of a query.

    Raises:
        StoreError: there is no such file, or it has other tables.
    """
    if not path.exists():
        raise StoreError(f"nothing was recorded yet: there is no {path}")
    # Only text of this module goes into the SQL.
    sql = _QUERY.format(
        group=_GROUPS[query.by],
        order="1" if query.by == "day" else "output DESC, requests DESC",
        unknown=_UNKNOWN,
        condition="1" if query.run is None else _OF_RUN,
        # Of all usages, a plain scan is faster.
        usages=_OF_SELECTED if query.since or query.run else "",
    )
    uri = f"{path.as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_READ_SECONDS)) as reader:
            rows = reader.execute(sql, {"since": query.since, "run": query.run}).fetchall()
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error
    return [UsageTotal(*row) for row in rows]
