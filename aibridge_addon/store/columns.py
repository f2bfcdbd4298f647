"""Columns that statements fill, by kind: the one list for `statements` and for every SQL store.

To add a column, add it here, a field of the same name to the fact, and a migration to the stores. A
spool of an older version lacks it: it is null then.
"""

INTERCEPTION_START = (
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
    "access_token_id",
    "process_id",
)
INTERCEPTION_END = (
    "ended_at",
    "status",
    "http_status",
    "error_type",
    "error_message",
    "partial",
    "ttft_ms",
)
INTERCEPTION_CHANGES = ("provider_name", "credential_hint", "model")
"""Columns of the start that may change: another key or provider instance serves the request, or
only the response names the model."""
CHILD = ("id", "interception_id", "provider_response_id", "metadata", "created_at")
"""Columns of every table whose rows belong to an interception."""
TOKENS = (
    "model",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_write_input_tokens",
    "extra",
    "raw",
    "upstream",
    "started_at",
    "duration_ms",
    "ttft_ms",
)
TIER = ("service_tier",)
PRICES = (
    "cost_nano_usd",
    "uncached_cost_nano_usd",
    "price_source",
    "unpriced_reason",
    "provider_cost_nano_usd",
)
TOOL = (
    "tool",
    "tool_call_id",
    "server_url",
    "input",
    "injected",
    "invocation_error",
    "duration_ms",
    "result_bytes",
)
PROMPT = ("prompt", "digest")
THOUGHT = ("content",)
BACKGROUND = ("provider_name", "response_id", "interception_id", "content", "created_at")
HIDDEN_TURNS = ("scope", "key", "content", "created_at")
SEARCH_TEXT = ("source", "interception_id", "kind", "text")
TUNNEL = (
    "id",
    "initiator_id",
    "access_token_id",
    "host",
    "service",
    "started_at",
    "duration_ms",
    "bytes_sent",
    "bytes_received",
)
PART = ("digest", "kind", "content", "compressed", "created_at")

PROCESS = (
    "id",
    "host",
    "pid",
    "version",
    "started_at",
    "seen_at",
    "ended_at",
    "open_requests",
    "requests",
    "cpu_percent",
)

BUDGET_HOLD = (
    "id",
    "interception_id",
    "budget",
    "scope",
    "epoch",
    "unit",
    "bucket",
    "amount",
    "likely",
    "input",
    "owner",
    "created_at",
)

COLUMNS = {
    "interception": INTERCEPTION_START,
    "interception_ended": (*INTERCEPTION_START, *INTERCEPTION_END),
    "token_usage": (*CHILD, *TOKENS, *TIER, *PRICES),
    "token_usage_so_far": (*CHILD, *TOKENS, *TIER, *PRICES),
    "user_prompt": (*CHILD, *PROMPT),
    "tool_usage": (*CHILD, *TOOL),
    "model_thought": (*CHILD, *THOUGHT),
    "background_response": BACKGROUND,
    "hidden_turns": HIDDEN_TURNS,
    "tunnel": TUNNEL,
    "part": PART,
    "search_text": SEARCH_TEXT,
    "process_seen": PROCESS,
    "budget_hold": BUDGET_HOLD,
}
"""Columns of the row that each kind of statement inserts. A statement `messages` has many rows."""
