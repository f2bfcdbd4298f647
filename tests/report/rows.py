"""Builders of rows of reports."""

import json
from dataclasses import replace
from typing import Any

from aibridge_addon.formats import FORMATS
from aibridge_addon.report.figures import Figures
from aibridge_addon.report.rows import (
    CallRow,
    InterceptionDetail,
    RequestRow,
    StoredMessage,
    ToolCallRow,
)


def request_row(**changes: Any) -> RequestRow:
    """Return the row of a completed request."""
    row = RequestRow(
        id="r-1",
        actor="alice",
        team=None,
        token=None,
        client="Claude Code",
        session="s-1",
        provider="anthropic",
        api="anthropic_messages",
        model="opus",
        served_model="opus-1",
        kind="turn",
        prompt_id=None,
        agent_id=None,
        credential_kind="byok",
        streaming=True,
        started_at="2026-11-28T10:00:00.000000+00:00",
        ended_at="2026-11-28T10:00:02.000000+00:00",
        status="completed",
        http_status=200,
        error_type=None,
        error_message=None,
        partial=False,
        ttft_ms=300,
        duration_ms=2000,
        upstream_requests=1,
        tools=(),
        prompt="Hi",
        figures=Figures(requests=1, completed=1, calls=1, input=10, output=5),
    )
    return replace(row, **changes)


def call_row(**changes: Any) -> CallRow:
    """Return the row of a priced model call."""
    row = CallRow(
        id="u-1",
        upstream=0,
        call=None,
        response_id="msg_1",
        model="opus-1",
        service_tier=None,
        started_at=None,
        created_at="2026-11-28T10:00:02.000000+00:00",
        duration_ms=1800,
        ttft_ms=300,
        input=10,
        cache_read=0,
        cache_write=0,
        output=5,
        extra={},
        cost_nano_usd=12_300_000,
        uncached_cost_nano_usd=12_300_000,
        provider_cost_nano_usd=None,
        price_source="anthropic/opus-1, data of 2026-10-14",
        unpriced_reason=None,
    )
    return replace(row, **changes)


def tool_row(**changes: Any) -> ToolCallRow:
    """Return the row of a client tool's call."""
    row = ToolCallRow(
        id="t-1",
        tool="Read",
        call_id="toolu_1",
        response_id="msg_1",
        server_url=None,
        injected=False,
        input='{"path":"/x"}',
        error=None,
        duration_ms=None,
        result_bytes=None,
        created_at="2026-11-28T10:00:02.000000+00:00",
    )
    return replace(row, **changes)


def detail(**changes: Any) -> InterceptionDetail:
    """Return the detail of a request without content."""
    made = InterceptionDetail(
        row=request_row(),
        user_agent="claude-cli/2",
        credential_hint="sk-a...cdef",
        metadata={},
        calls=(call_row(),),
    )
    return replace(made, **changes)


def stored(
    api: str,
    request: dict[str, Any] | None = None,
    response: dict[str, Any] | None = None,
    *,
    upstream: int = 0,
    kinds: frozenset[str] | None = None,
) -> tuple[StoredMessage, ...]:
    """Return the stored content of an upstream request; `kinds` restricts it."""
    view = FORMATS[api].view
    assert view
    parts = view.split_request(json.dumps(request).encode()) if request else []
    found: list[tuple[str, str, bytes]] = [(p.role, p.kind, p.content) for p in parts]
    if response is not None:
        body = view.assemble_response(json.dumps(response).encode())
        found.append(("assistant", "response", body))
    return tuple(
        StoredMessage(
            upstream=upstream,
            position=position,
            role=role,
            kind=kind,
            digest=f"{position}",
            content=content,
        )
        for position, (role, kind, content) in enumerate(found)
        if kinds is None or kind in kinds
    )
