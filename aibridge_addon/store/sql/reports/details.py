"""Everything recorded of one request, and the requests of one session."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import zstandard

from aibridge_addon.report.figures import Figures
from aibridge_addon.report.rows import (
    CallRow,
    InterceptionDetail,
    RequestRow,
    SessionDetail,
    SessionRow,
    StoredMessage,
    TextRow,
    ToolCallRow,
)
from aibridge_addon.report.sums import total
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql.reports import neighbours, request_rows

MOST_REQUESTS = 2_000
"""Most requests that the detail of a session lists."""
_MOST_MODELS = 20
_MOST_OF_PROMPT = 50
_LAST_CHARACTER = "\U0010ffff"

_SAME_PROMPT = """
SELECT o.id FROM aibridge_interceptions o JOIN aibridge_interceptions i ON i.id = :id
WHERE o.prompt_id = i.prompt_id AND o.initiator_id = i.initiator_id
AND o.client_session_id IS i.client_session_id AND o.id <> i.id
ORDER BY o.started_at, o.id LIMIT :most
"""


def find(connection: Connection, id_or_part: str, for_actor: str | None = None) -> str | None:
    """Return the id of the only request whose id is, begins with, or ends with a text."""
    conditions = ("id = :text", "id >= :text AND id < :end", "id LIKE '%' || :text")
    is_id = id_or_part and all(char.isalnum() or char == "-" for char in id_or_part)
    seen = " AND initiator_id = :actor" if for_actor is not None else ""  # else an index suffices
    for condition in conditions if is_id else ():
        found = connection.execute(
            f"SELECT id FROM aibridge_interceptions WHERE {condition}{seen} LIMIT 2",  # noqa: S608
            {"text": id_or_part, "end": id_or_part + _LAST_CHARACTER, "actor": for_actor},
        ).fetchall()
        if found:
            return str(found[0][0]) if len(found) == 1 else None
    return None


def interception(
    connection: Connection, id_or_part: str, for_actor: str | None = None
) -> InterceptionDetail | None:
    """Return everything recorded of a request, and its neighbours."""
    id_ = find(connection, id_or_part, for_actor)
    found = detail(connection, id_) if id_ else None
    if id_ is None or found is None:
        return None
    others = connection.execute(_SAME_PROMPT, {"id": id_, "most": _MOST_OF_PROMPT})
    rows = request_rows.load(connection, [other for (other,) in others])
    return replace(
        found,
        previous_id=neighbours.previous(connection, id_),
        next_id=neighbours.following(connection, id_),
        same_prompt=tuple(rows),
    )


def detail(connection: Connection, id_: str, *, content: bool = True) -> InterceptionDetail | None:
    """Return everything recorded of the request with an id, without other requests."""
    row = next(request_rows.load(connection, [id_]), None)
    if row is None:
        return None
    values = {"id": id_}
    agent, hint, metadata, tool_call = connection.execute(
        "SELECT user_agent, credential_hint, metadata, correlating_tool_call_id"
        " FROM aibridge_interceptions WHERE id = :id",
        values,
    ).fetchone()
    return InterceptionDetail(
        row=row,
        user_agent=agent,
        credential_hint=hint,
        metadata=_mapping(metadata),
        correlating_tool_call_id=tool_call,
        texts=(*_prompts(connection, id_), *_thoughts(connection, id_)),
        calls=tuple(_calls(connection, id_)),
        tools=tuple(_tools(connection, id_)),
        messages=tuple(_messages(connection, id_)) if content else (),
    )


def _prompts(connection: Connection, id_: str) -> Iterable[TextRow]:
    rows = connection.execute(
        "SELECT prompt, provider_response_id, created_at FROM aibridge_user_prompts"
        " WHERE interception_id = ? ORDER BY id",
        [id_],
    )
    return (TextRow(kind="prompt", text=p, response_id=r, created_at=c) for p, r, c in rows)


def _thoughts(connection: Connection, id_: str) -> Iterable[TextRow]:
    rows = connection.execute(
        "SELECT coalesce(json_extract(metadata, '$.source'), 'thinking'), content,"
        " provider_response_id, created_at FROM aibridge_model_thoughts"
        " WHERE interception_id = ? ORDER BY id",
        [id_],
    )
    return (TextRow(kind=k, text=t, response_id=r, created_at=c) for k, t, r, c in rows)


_CALL_COLUMNS = {
    "id": "id",
    "upstream": "coalesce(upstream, 0)",
    "call": "json_extract(metadata, '$.call')",
    "response_id": "provider_response_id",
    "input": "input_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write": "cache_write_input_tokens",
    "output": "output_tokens",
    **{
        name: name
        for name in (
            *("model", "service_tier", "started_at", "created_at", "duration_ms", "ttft_ms"),
            *("cost_nano_usd", "uncached_cost_nano_usd", "provider_cost_nano_usd"),
            *("price_source", "unpriced_reason", "extra"),
        )
    },
}


def _calls(connection: Connection, id_: str) -> Iterable[CallRow]:
    selected = ", ".join(f"{sql} AS {name}" for name, sql in _CALL_COLUMNS.items())
    for values in connection.execute(
        f"SELECT {selected} FROM aibridge_token_usages"  # noqa: S608
        " WHERE interception_id = ? ORDER BY coalesce(upstream, 0), id",
        [id_],
    ):
        named: dict[str, Any] = dict(zip(_CALL_COLUMNS, values, strict=True))
        yield CallRow(**named | {"extra": _mapping(named["extra"])})


def _tools(connection: Connection, id_: str) -> Iterable[ToolCallRow]:
    names = (
        *("id", "tool", "call_id", "response_id", "server_url", "injected", "input", "error"),
        *("duration_ms", "result_bytes", "created_at"),
    )
    for values in connection.execute(
        "SELECT id, tool, tool_call_id, provider_response_id, server_url, injected,"
        " coalesce(input, ''), invocation_error, duration_ms, result_bytes, created_at"
        " FROM aibridge_tool_usages"
        " WHERE interception_id = ? ORDER BY id",
        [id_],
    ):
        named: dict[str, Any] = dict(zip(names, values, strict=True))
        yield ToolCallRow(**named | {"injected": bool(named["injected"])})


def _messages(connection: Connection, id_: str) -> Iterable[StoredMessage]:
    for upstream, position, role, kind, digest, content, compressed in connection.execute(
        "SELECT m.upstream, m.position, m.role, p.kind, p.digest, p.content, p.compressed"
        " FROM aibridge_messages m JOIN aibridge_parts p ON p.digest = m.part"
        " WHERE m.interception_id = ? ORDER BY m.upstream, m.position",
        [id_],
    ):
        yield StoredMessage(
            upstream=upstream,
            position=position,
            role=role,
            kind=kind,
            digest=digest.hex(),
            content=zstandard.decompress(content) if compressed else content,
        )


def _mapping(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def session(
    connection: Connection, id_or_part: str, for_actor: str | None = None
) -> SessionDetail | None:
    """Return a session by its id, or by the only beginning of one."""
    id_ = _find_session(connection, id_or_part, for_actor)
    if id_ is None:
        return None
    ids = connection.execute(
        "SELECT id FROM aibridge_interceptions WHERE client_session_id = :id"
        " AND (CAST(:actor AS TEXT) IS NULL OR initiator_id = :actor) ORDER BY started_at, id",
        {"id": id_, "actor": for_actor},
    ).fetchall()
    rows = tuple(request_rows.load(connection, (i for (i,) in ids[:MOST_REQUESTS])))
    rest = request_rows.load(connection, (i for (i,) in ids[MOST_REQUESTS:]))
    figures = total(row.figures for row in chain(rows, rest))
    return SessionDetail(
        session=_session_row(id_, rows, figures), requests=rows, more=len(ids) - len(rows)
    )


def _find_session(connection: Connection, id_or_part: str, for_actor: str | None) -> str | None:
    conditions = ("= :text", ">= :text AND client_session_id < :end")
    for condition in conditions if id_or_part else ():
        found = connection.execute(
            "SELECT DISTINCT client_session_id FROM aibridge_interceptions"  # noqa: S608
            f" WHERE client_session_id {condition}"
            " AND (CAST(:actor AS TEXT) IS NULL OR initiator_id = :actor) LIMIT 2",
            {"text": id_or_part, "end": id_or_part + _LAST_CHARACTER, "actor": for_actor},
        ).fetchall()
        if found:
            return str(found[0][0]) if len(found) == 1 else None
    return None


def _session_row(id_: str, rows: Sequence[RequestRow], figures: Figures) -> SessionRow:
    models = Counter(row.model for row in rows if row.model)
    return SessionRow(
        id=id_,
        actor=rows[0].actor,
        client=rows[0].client,
        started_at=rows[0].started_at,
        latest_at=figures.latest,
        models=tuple(name for name, _ in models.most_common(_MOST_MODELS)),
        prompt=next((row.prompt for row in rows if row.prompt), None),
        figures=figures,
    )
