"""SQL text for each kind of statement, and for the lookups of the recorder."""

from collections.abc import Iterable

from aibridge_addon.store.statements import Kind


def _insert(table: str, columns: Iterable[str]) -> str:
    names = tuple(columns)
    values = ", ".join(f":{name}" for name in names)
    # Only names from this file go into it.
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values}) ON CONFLICT DO NOTHING"  # noqa: S608


def _upsert(insert: str, columns: Iterable[str]) -> str:
    """Return an insert that updates some columns if the row exists."""
    updates = ", ".join(f"{name} = excluded.{name}" for name in columns)
    return f"{insert.removesuffix('DO NOTHING')}(id) DO UPDATE SET {updates}"


_START_COLUMNS = (
    "id",
    "initiator_id",
    "metadata",
    "provider",
    "provider_name",
    "api",
    "model",
    "client",
    "user_agent",
    "client_session_id",
    "correlating_tool_call_id",
    "credential_kind",
    "credential_hint",
    "streaming",
    "started_at",
    "request_kind",
    "prompt_id",
    "agent_id",
)
_END_COLUMNS = (
    "ended_at",
    "status",
    "http_status",
    "error_type",
    "error_message",
    "partial",
)
_CHILD_COLUMNS = ("id", "interception_id", "provider_response_id", "metadata", "created_at")

_TOKEN_COLUMNS = (
    "model",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_write_input_tokens",
    "extra",
    "raw",
)
_TOOL_COLUMNS = (
    "tool",
    "tool_call_id",
    "server_url",
    "input",
    "injected",
    "invocation_error",
)

_INSERT_TOKENS = _insert("aibridge_token_usages", (*_CHILD_COLUMNS, *_TOKEN_COLUMNS))

SQL: dict[Kind, str] = {
    "interception": _insert("aibridge_interceptions", _START_COLUMNS),
    # The complete row: the start may have been lost with an older database file.
    "interception_ended": _upsert(
        _insert("aibridge_interceptions", (*_START_COLUMNS, *_END_COLUMNS)),
        ("metadata", *_END_COLUMNS),
    ),
    "prompt_answered": (
        "UPDATE aibridge_user_prompts SET provider_response_id = :provider_response_id"
        " WHERE interception_id = :interception_id"
    ),
    "token_usage": _upsert(_INSERT_TOKENS, ("provider_response_id", "metadata", *_TOKEN_COLUMNS)),
    "token_usage_so_far": _INSERT_TOKENS,
    "background_response": _insert(
        "aibridge_background_responses",
        ("provider_name", "response_id", "interception_id", "content", "created_at"),
    ),
    "background_ended": (
        "DELETE FROM aibridge_background_responses WHERE interception_id = :interception_id"
    ),
    "user_prompt": _insert("aibridge_user_prompts", (*_CHILD_COLUMNS, "prompt", "digest")),
    "tool_usage": _insert("aibridge_tool_usages", (*_CHILD_COLUMNS, *_TOOL_COLUMNS)),
    "hidden_turns": (
        "INSERT INTO aibridge_hidden_turns (scope, key, content, created_at)"
        " VALUES (:scope, :key, :content, :created_at)"
        " ON CONFLICT DO UPDATE SET content = excluded.content, created_at = excluded.created_at"
    ),
    "rate_limits": (
        "INSERT INTO aibridge_rate_limits (provider_name, credential_kind, credential_hint,"
        " initiator_id, header, value, seen_at)"
        " SELECT :provider_name, :credential_kind, :credential_hint, :initiator_id, key, value,"
        " :seen_at FROM json_each(:headers) WHERE 1"
        # A spool may be read after newer headers were stored.
        " ON CONFLICT DO UPDATE SET value = excluded.value, seen_at = excluded.seen_at"
        " WHERE excluded.seen_at >= seen_at"
    ),
    "model_thought": _insert("aibridge_model_thoughts", (*_CHILD_COLUMNS, "content")),
}

FIND_BACKGROUND_RESPONSE = (
    "SELECT content FROM aibridge_background_responses"
    " WHERE provider_name = :provider_name AND response_id = :response_id"
)
FIND_HIDDEN_TURNS = (
    "SELECT key, content FROM aibridge_hidden_turns"
    " WHERE scope = :scope AND key IN (SELECT value FROM json_each(:keys))"
)
