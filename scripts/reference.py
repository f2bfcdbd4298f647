"""Generates the reference tables of the documentation from the code; called by its cog blocks.

Each function returns Markdown. What a thing means stands here where the code has no place for it;
a thing of the code without a meaning here raises, so that none goes undocumented.
"""

from collections.abc import Iterable
from typing import Any, get_args, get_origin

from platformdirs import user_data_path
from sqlite_utils import Database

from aibridge_addon.config.file import ConfigFile
from aibridge_addon.config.options import OPTIONS
from aibridge_addon.observe.metric_table import METRICS
from aibridge_addon.providers.clients import CLIENTS
from aibridge_addon.providers.routing import DEFAULT_PROVIDERS
from aibridge_addon.providers.types import PROVIDER_TYPES
from aibridge_addon.store.sqlite import schema

DATA_FOLDER = str(user_data_path("aibridge", appauthor=False))


def options() -> str:
    """Return mitmproxy's options that are ours."""
    rows = []
    for option in OPTIONS:
        values = " or ".join(map(_code, option.choices or ())) or option.type.__name__
        text = option.help + (" Read at the start only." if option.fixed else "")
        text += " Read again when it has changed." if option.watched else ""
        rows.append((_code(option.name), values, _default(option.default), text))
    return _table(("option", "value", "default", "what it does"), rows)


def _default(value: object) -> str:
    if isinstance(value, bool):
        return _code(str(value).lower())
    # The folder is another on every machine.
    text = str(value).replace(DATA_FOLDER, "<data folder>").replace("\\", "/")
    return _code(text) if text else "empty"


CONFIG = {
    "providers": {
        "name": "Name in records and metrics, and first segment of the reverse proxy's paths:"
        " lower-case letters, digits, single hyphens.",
        "type": "Provider type: its wire formats and credentials.",
        "base_url": "URL of its API; may have a port and a path. With the version for `openai`"
        " (`…/v1`), without it for `anthropic`.",
        "hosts": "Hosts that the forward proxy intercepts for it. Default: the host of `base_url`."
        " `[]` for none.",
        "api_key_env": "Environment variable with its central key. Default: none.",
        "include_usage": "Allows `aibridge_ask_chat_usage = auto` to request usage for its Chat"
        " Completions streams. Default: as known for its host.",
    },
    "actors": {
        "match": "`sha256:` and the SHA-256 of a key, in hexadecimal; or the value of the actor"
        " header; or the owner of an access token; or a user of `--proxyauth`.",
        "id": "The actor: `initiator_id` in the records.",
        "metadata": "Added to the `metadata` of the actor's interceptions.",
    },
    "mcp_servers": {
        "name": "Name of the server; a part of its tools' names.",
        "type": "Transport: `http`, `sse` or `stdio`. Default: `stdio` with a `command`, else"
        " `http`.",
        "url": "URL of the server; may contain `${VARIABLES}` of the environment.",
        "headers": "Headers of each request; may contain `${VARIABLES}`.",
        "command": "Program of a `stdio` server.",
        "args": "Arguments of the program; may contain `${VARIABLES}`.",
        "env": "Environment variables of the program; may contain `${VARIABLES}`.",
        "cwd": "Working directory of the program.",
        "allow": "Regular expression; only tools with a match in their name are offered. Default:"
        " all tools.",
        "deny": "Regular expression; tools with a match in their name are not offered. It takes"
        " precedence over `allow`.",
        "timeout_s": "Timeout of a tool call in seconds.",
    },
    "injection": {
        "actors": "Actors that the tools are offered to, as names or shell patterns. Default: all.",
        "clients": "Client programs that the tools are offered to, likewise.",
        "providers": "Provider instances that the tools are offered for, likewise.",
        "models": "Models that the tools are offered for, likewise.",
    },
}


def config() -> str:
    """Return the keys of the config file."""
    rows = []
    for table, field in ConfigFile.model_fields.items():
        is_list = get_origin(field.annotation) is list
        model: Any = get_args(field.annotation)[0] if is_list else field.annotation
        title = f"[[{table}]]" if is_list else f"[{table}]"
        for key, about in model.model_fields.items():
            needed = "yes" if about.is_required() else "no"
            rows.append((_code(title), _code(key), needed, CONFIG[table][key]))
    return _table(("table", "key", "needed", "what it is"), rows)


def providers() -> str:
    """Return the provider instances that need no configuration."""
    rows = [
        (
            _code(provider.name),
            _code(provider.type),
            _code(provider.base_url),
            ", ".join(map(_code, sorted(provider.hosts))),
            _code(provider.api_key_env or ""),
            _code(f"http://127.0.0.1:8081{provider.reverse_prefix}"),
        )
        for provider in DEFAULT_PROVIDERS
    ]
    head = ("name", "type", "base_url", "hosts", "api_key_env", "base URL for clients")
    return _table(head, rows)


def routes() -> str:
    """Return the route table."""
    rows = []
    for kind, table in PROVIDER_TYPES.items():
        for pattern in table.routes:
            path = f"/<name>{table.prefix}{pattern.path}"
            methods = ", ".join(sorted(pattern.methods))
            fate = "passes"
            if pattern.api:
                fate = f"`POST` is recorded as `{pattern.api}`"
            if pattern.socket:
                fate = fate.replace("`POST` is", "`POST` and WebSocket are") + ", a `GET` passes"
            rows.append((_code(kind), _code(path), methods, fate))
    return _table(("type", "path at the reverse proxy", "methods", "what becomes of it"), rows)


def clients() -> str:
    """Return the client programs that are known."""
    rows = []
    for client in CLIENTS:
        signs = []
        if client.user_agents:
            signs.append("user agent " + ", ".join(map(_code, client.user_agents)))
        if client.originators:
            signs.append("`originator` " + ", ".join(map(_code, client.originators)))
        if client.header:
            signs.append("header " + _code(client.header))
        if not signs:
            continue  # a row for setup only
        sessions = [*map(_code, client.session_headers)]
        if client.session_in_body:
            sessions.append("else the body")
        rows.append((client.name, "; or ".join(signs), ", ".join(sessions)))
    return _table(("client", "known by the beginning of", "session from"), rows)


def client_setup() -> str:
    """Return the client programs that `aibridge env` and `aibridge run` set up."""
    rows = []
    for client in CLIENTS:
        if not client.commands:
            continue
        reverse = [*client.base_urls, *client.other_variables]
        if client.arguments:
            reverse.append(" ".join(client.arguments))
        rows.append(
            (
                client.name,
                ", ".join(map(_code, client.commands)),
                ", ".join(map(_code, reverse)) or "not possible",
                ", ".join(map(_code, client.keys)) if reverse else "",
            )
        )
    head = ("program", "name for `aibridge env`", "set with `--reverse`", "its key variables")
    return _table(head, rows)


TABLES = {
    "aibridge_interceptions": "One row per bridged request: who asked what for which model, and how"
    " it ended.",
    "aibridge_token_usages": "One row per answer that told its usage.",
    "aibridge_user_prompts": "One row per typed prompt, of the first request that brought it.",
    "aibridge_tool_usages": "One row per tool call that the model selected.",
    "aibridge_model_thoughts": "One row per thought that the model showed.",
    "aibridge_hidden_turns": "Turns with central MCP tools that the client did not see, to be put"
    " back into its later requests.",
    "aibridge_tokens": "The access tokens that were ever made, without their secrets.",
    "aibridge_background_responses": "Background responses whose end no poll has brought yet.",
}
COLUMNS = {
    "id": "UUIDv7: sorts by time",
    "initiator_id": "the actor",
    "response_id": "as the provider names it",
    "aibridge_background_responses.content": "JSON: what the end of the interception needs",
    "aibridge_tokens.id": "the part of the token that is no secret",
    "metadata": "JSON",
    "aibridge_interceptions.metadata": "JSON: the actor's metadata; `claude_code_agent_id`;"
    " `server_tools`, the tools that the provider ran itself",
    "aibridge_model_thoughts.metadata": "JSON: `source` is `thinking`, `reasoning_summary` or"
    " `commentary`",
    "provider": "type: `anthropic` or `openai`",
    "provider_name": "instance",
    "api": "wire format",
    "model": "as the client asked for it",
    "aibridge_token_usages.model": "as the provider names it",
    "client": "program, see Clients",
    "user_agent": "as sent",
    "client_session_id": "see Clients",
    "request_kind": "`turn`: a person or a script asks; `title`, `compaction`, `subagent`,"
    " `memory`, `warmup`, `side`: the client program does by itself",
    "prompt_id": "the client's id of the typed prompt, the same for its attempts, tool round trips"
    " and sub-agents; null if the client has none",
    "agent_id": "the client's id of the sub-agent that asks",
    "correlating_tool_call_id": "the tool call whose result this request brings: a"
    " `tool_call_id` of `aibridge_tool_usages`",
    "credential_kind": "`byok`: the client's own; `centralized`: added by the proxy; null: none",
    "credential_hint": "a few characters of both ends",
    "streaming": "1 if the client asked for a stream",
    "started_at": "UTC, ISO 8601",
    "ended_at": "null while it runs",
    "status": "`completed`, `failed`, `cancelled` (the client left), `refused` (by a policy of"
    " yours), `interrupted` (the proxy ended); null while it runs",
    "http_status": "what the client got; null if nothing came from the provider",
    "error_type": "as the provider names it, or ours",
    "error_message": "",
    "partial": "1 if something of it could not be seen or understood",
    "interception_id": "`aibridge_interceptions.id`",
    "provider_response_id": "the answer's id",
    "input_tokens": "without what was read from or written to a cache",
    "output_tokens": "",
    "cache_read_input_tokens": "",
    "cache_write_input_tokens": "",
    "extra": "JSON: other counts, such as `reasoning_tokens`",
    "raw": "JSON: the provider's own usage object",
    "prompt": "what was typed, without what the client program adds to it",
    "aibridge_user_prompts.digest": "names a typed prompt that has an id of the client's, so that"
    " it is kept once; null for others",
    "tool": "name",
    "tool_call_id": "",
    "server_url": "of a central MCP tool: its server",
    "input": "JSON: the arguments",
    "injected": "1 for a central MCP tool, 0 for one of the client's own",
    "invocation_error": "of a central MCP tool: why its call failed",
    "content": "text",
    "aibridge_hidden_turns.scope": "a digest of whose conversation it is",
    "aibridge_hidden_turns.key": "what the visible answer is known by",
    "aibridge_hidden_turns.content": "JSON",
    "digest": "the SHA-256 of the whole token",
    "providers": "JSON: names or patterns of instances; empty: all",
    "models": "JSON: likewise, of models",
    "expires_at": "UTC, ISO 8601; null: never",
    "revoked_at": "null: it was not",
    "created_at": "UTC, ISO 8601",
}


def tables() -> str:
    """Return the tables, as the migrations make them."""
    db = Database(memory=True)
    schema.migrate(db)
    parts = []
    for name in schema.TABLES:
        rows = [
            (_code(column.name), column.type, _meaning(name, column.name))
            for column in db.table(name).columns
        ]
        parts.append(
            f"`{name}`: {TABLES[name]}\n\n{_table(('column', 'type', 'what it is'), rows)}"
        )
    return "\n".join(parts)


def _meaning(table: str, column: str) -> str:
    return COLUMNS[f"{table}.{column}" if f"{table}.{column}" in COLUMNS else column]


def metrics() -> str:
    """Return the metrics."""
    rows = [
        (
            _code(f"aibridge_{metric.name}"),
            metric.kind,
            ", ".join(map(_code, metric.labels)),
            metric.help,
        )
        for metric in METRICS
    ]
    return _table(("metric", "type", "labels", "what it counts"), rows)


def _code(text: str) -> str:
    return f"`{text}`"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [head, ["---"] * len(list(head)), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join("| " + " | ".join(line) + " |\n" for line in cells)
