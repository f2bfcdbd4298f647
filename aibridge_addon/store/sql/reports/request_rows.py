"""Rows of single requests, by their ids."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import batched
from typing import Any

from aibridge_addon.report.figures import Figures
from aibridge_addon.report.rows import RequestRow
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql.figures import MEASURES, MONEY, requests_sql

PROMPT_CHARACTERS = 300
"""Longest beginning of a prompt in a row."""
_MOST_TOOLS = 20
_BATCH = 500
_COUNTS = tuple(name for name in MEASURES if name not in MONEY)

_OWN_CALL = "(x.metadata IS NULL OR json_extract(x.metadata, '$.call') IS NULL)"
_EXTRA = {
    "session": "i.client_session_id",
    "prompt_id": "i.prompt_id",
    "agent_id": "i.agent_id",
    "api": "i.api",
    "streaming": "i.streaming",
    "ended_at": "i.ended_at",
    "status": "i.status",
    "http_status": "i.http_status",
    "error_type": "i.error_type",
    "error_message": "i.error_message",
    "partial": "i.partial",
    "correlating_tool_call_id": "i.correlating_tool_call_id",
    "ttft_ms": "i.ttft_ms",
    "unpriced_reason": "max(t.unpriced_reason)",
    "upstream_requests": "count(DISTINCT CASE WHEN t.id IS NOT NULL THEN"
    " coalesce(CAST(t.upstream AS TEXT), t.provider_response_id, t.id) END)",
    "served_model": "(SELECT x.model FROM aibridge_token_usages x"  # noqa: S608
    f" WHERE x.interception_id = i.id AND {_OWN_CALL} ORDER BY x.id DESC LIMIT 1)",
    "tools": "(SELECT json_group_array(tool) FROM (SELECT x.tool"  # noqa: S608
    f" FROM aibridge_tool_usages x WHERE x.interception_id = i.id"
    f" GROUP BY x.tool ORDER BY min(x.id) LIMIT {_MOST_TOOLS}) y)",
    "prompt": f"(SELECT substr(x.prompt, 1, {PROMPT_CHARACTERS})"  # noqa: S608
    " FROM aibridge_user_prompts x"
    " WHERE x.interception_id = i.id ORDER BY x.id LIMIT 1)",
}
_SQL = requests_sql(
    "aibridge_interceptions i", ["i.id IN (SELECT value FROM json_each(:ids))"], _EXTRA
)


def load(connection: Connection, ids: Iterable[str]) -> Iterator[RequestRow]:
    """Yield the rows of requests in the order of their ids; unknown ids have none."""
    for batch in batched(ids, _BATCH, strict=False):
        cursor = connection.execute(_SQL, {"ids": json.dumps(batch)})
        names = [column[0] for column in cursor.description]
        found = {row["id"]: row for row in (_named(names, values) for values in cursor)}
        yield from (_to_row(found[id_]) for id_ in batch if id_ in found)


def _named(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))


def _to_row(row: dict[str, Any]) -> RequestRow:
    return RequestRow(
        id=row["id"],
        actor=row["initiator_id"],
        team=row["team"] or None,
        token=row["access_token_id"] or None,
        client=row["client"],
        session=row["session"],
        provider=row["provider_name"],
        api=row["api"],
        model=row["model"] or None,
        served_model=row["served_model"],
        kind=row["request_kind"] or None,
        prompt_id=row["prompt_id"],
        agent_id=row["agent_id"],
        credential_kind=row["credential_kind"] or None,
        streaming=bool(row["streaming"]),
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        status=row["status"],
        http_status=row["http_status"],
        error_type=row["error_type"],
        error_message=row["error_message"],
        partial=bool(row["partial"]),
        ttft_ms=row["ttft_ms"],
        duration_ms=_duration_ms(row["started_at"], row["ended_at"]),
        upstream_requests=row["upstream_requests"],
        tools=tuple(json.loads(row["tools"])),
        prompt=row["prompt"],
        brings_results=row["correlating_tool_call_id"] is not None,
        figures=_figures(row),
    )


def _duration_ms(started_at: str, ended_at: str | None) -> int | None:
    if ended_at is None:
        return None
    took = datetime.fromisoformat(ended_at) - datetime.fromisoformat(started_at)
    return max(0, round(took / timedelta(milliseconds=1)))


def _figures(row: dict[str, Any]) -> Figures:
    is_subscription = row["credential_kind"] == "subscription"
    return Figures(
        **{name: row[name] for name in _COUNTS},
        cost_nano_usd=None if is_subscription else row["cost"],
        list_price_nano_usd=row["cost"] if is_subscription else None,
        saved_nano_usd=None if is_subscription else row["saved"],
        provider_cost_nano_usd=row["provider_cost"],
        unpriced_models=(row["model"] or "unknown",) if row["unpriced"] else (),
        unpriced_reasons=(row["unpriced_reason"],) if row["unpriced_reason"] else (),
        latest=row["started_at"],
    )
