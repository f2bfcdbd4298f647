"""SQL text for each kind of statement, and for the lookups of the recorder."""

from collections.abc import Iterable

from aibridge_addon.store.columns import (
    COLUMNS,
    INTERCEPTION_CHANGES,
    INTERCEPTION_END,
    PRICES,
    TIER,
    TOKENS,
)
from aibridge_addon.store.statements import Kind


def _insert(table: str, names: Iterable[str]) -> str:
    names = tuple(names)
    values = ", ".join(f":{name}" for name in names)
    # Only names from this file go into it.
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values}) ON CONFLICT DO NOTHING"  # noqa: S608


def _upsert(insert: str, names: Iterable[str]) -> str:
    """Return an insert that updates some columns if the row exists."""
    updates = ", ".join(f"{name} = excluded.{name}" for name in names)
    return f"{insert.removesuffix('DO NOTHING')}(id) DO UPDATE SET {updates}"


_INSERTS = {
    kind: _insert(table, COLUMNS[kind])
    for kind, table in {
        "interception": "aibridge_interceptions",
        "interception_ended": "aibridge_interceptions",
        "token_usage": "aibridge_token_usages",
        "background_response": "aibridge_background_responses",
        "user_prompt": "aibridge_user_prompts",
        "tool_usage": "aibridge_tool_usages",
        "model_thought": "aibridge_model_thoughts",
        "tunnel": "aibridge_tunnels",
        "part": "aibridge_parts",
        "search_text": "aibridge_search_texts",
        "process_seen": "aibridge_processes",
        "budget_hold": "aibridge_budget_holds",
    }.items()
}

SQL: dict[Kind, str] = {
    "interception": _INSERTS["interception"],
    # The complete row: the start may have been lost with an older database file.
    "interception_ended": _upsert(
        _INSERTS["interception_ended"], ("metadata", *INTERCEPTION_CHANGES, *INTERCEPTION_END)
    ),
    "prompt_answered": (
        "UPDATE aibridge_user_prompts SET provider_response_id = :provider_response_id"
        " WHERE interception_id = :interception_id"
    ),
    "token_usage": _upsert(
        _INSERTS["token_usage"],
        ("provider_response_id", "metadata", *TOKENS, *TIER, *PRICES),
    ),
    "token_usage_so_far": _INSERTS["token_usage"],
    "background_response": _INSERTS["background_response"],
    "background_ended": (
        "DELETE FROM aibridge_background_responses WHERE interception_id = :interception_id"
    ),
    "user_prompt": _INSERTS["user_prompt"],
    "tool_usage": _INSERTS["tool_usage"],
    "hidden_turns": (
        "INSERT INTO aibridge_hidden_turns (scope, key, content, created_at)"
        " VALUES (:scope, :key, :content, :created_at)"
        " ON CONFLICT (scope, key)"
        " DO UPDATE SET content = excluded.content, created_at = excluded.created_at"
    ),
    "rate_limits": (
        "INSERT INTO aibridge_rate_limits (provider_name, credential_kind, credential_hint,"
        " initiator_id, header, value, seen_at)"
        " SELECT :provider_name, :credential_kind, :credential_hint, :initiator_id, key, value,"
        " :seen_at FROM json_each(:headers) WHERE TRUE"
        # A spool may be read after newer headers were stored.
        " ON CONFLICT (provider_name, credential_kind, credential_hint, initiator_id, header)"
        " DO UPDATE SET value = excluded.value, seen_at = excluded.seen_at"
        " WHERE excluded.seen_at >= aibridge_rate_limits.seen_at"
    ),
    "model_thought": _INSERTS["model_thought"],
    "tunnel": _INSERTS["tunnel"],
    # Executed with many rows.
    "messages": (
        "INSERT INTO aibridge_messages (interception_id, upstream, position, role, part)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
    ),
    "part": _INSERTS["part"].removesuffix("DO NOTHING")
    + "(digest) DO UPDATE SET created_at = max(aibridge_parts.created_at, excluded.created_at)",
    "search_text": _INSERTS["search_text"],
    "process_seen": _upsert(
        _INSERTS["process_seen"],
        ("seen_at", "ended_at", "open_requests", "requests", "cpu_percent"),
    ),
    "budget_hold": _INSERTS["budget_hold"],
    "budget_release": "DELETE FROM aibridge_budget_holds WHERE id = :id",
}

FIND_BACKGROUND_RESPONSE = (
    "SELECT content FROM aibridge_background_responses"
    " WHERE provider_name = :provider_name AND response_id = :response_id"
)
FIND_USAGES = "SELECT id FROM aibridge_token_usages WHERE interception_id = :interception_id"
FIND_END = (
    "SELECT 1 FROM aibridge_interceptions WHERE id = :interception_id AND ended_at IS NOT NULL"
)
FIND_HIDDEN_TURNS = (
    "SELECT key, content FROM aibridge_hidden_turns"
    " WHERE scope = :scope AND key IN (SELECT value FROM json_each(:keys))"
)
