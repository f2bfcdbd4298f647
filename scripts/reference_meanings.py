"""Meanings of config keys, tables and columns, for the reference tables of the documentation.

Over 350 lines, since it is three tables of sentences and no logic.
"""

from aibridge_addon.store.sqlite import schema

_SELECTION = {
    "actors": "Actors that the rule is for, as names or shell patterns. Default: all.",
    "teams": "Teams that the rule is for, likewise: `team` or `teams` in the actor's metadata.",
    "models": "Requested models that the rule is for, likewise.",
    "providers": "Provider instances that the rule is for, likewise.",
    "clients": "Client programs that the rule is for, likewise.",
}
CONFIG = {
    "providers": {
        "name": "Name in records and metrics, and first segment of the reverse proxy's paths:"
        " lower-case letters, digits, single hyphens.",
        "type": "Provider type: its wire formats and credentials.",
        "base_url": "URL of its API; may have a port and a path. With the version for `openai`"
        " (`…/v1`), without it for `anthropic`. Needed for the reverse proxy; an instance with"
        " `hosts` alone sends requests of the forward proxy to the hosts that clients choose.",
        "hosts": "Hosts that the forward proxy intercepts for it. Default: the host of `base_url`."
        " `[]` for none. `*` stands for a part of a name: see [Host patterns](#host-patterns).",
        "api_key_env": "Environment variable with its central key. Default: none.",
        "preset": "Takes values that are not given from a [known host](providers.md#known-hosts).",
        "anthropic_path": "Path on the same host below which it speaks Anthropic Messages too, such"
        " as `/anthropic`; empty if it does so at `/v1/messages`. Default: it does not.",
        "models": "Models by the names that requests use for them, such as deployments of Azure:"
        ' `{ "our-chat" = "gpt-5" }`. They are recorded, priced and checked by these models.',
        "region": "Region of a provider with regional hosts, such as Bedrock: sets `base_url`, and"
        " lets the reverse proxy sign requests. The first such instance of a type has the hosts of"
        " all regions by default, each further one the host of its region. See [Amazon Bedrock]"
        "(providers.md#amazon-bedrock).",
        "profile": "Profile of the AWS credentials that sign requests. Default: as the environment"
        " of the proxy states.",
        "keys": 'Pool of central keys in place of `api_key_env`: `[{ env = "A", organization ='
        ' "eu", weight = 1 }, …]`. See [Keys](keys.md#key-pools).',
        "max_sends": "Sends of a request whose provider is overloaded or not reached. Default: 1,"
        " no retry. See [Retries](keys.md#retries).",
        "retry_errors": "Retries 500 and other 5xx statuses like an overload. Default: false.",
        "head_timeout_s": "Seconds for the head of a response, after which the provider counts as"
        " not reached. Default: none.",
        "fallbacks": 'Other instances for failed requests: `[{ provider = "b", models = { x ='
        ' "y" } }]`. See [Fallbacks](keys.md#fallbacks).',
        "circuit_breaker": "Stops requests for a model for a time after 5 failures in a row."
        " Default: false.",
        "send_actor": "Adds the headers `X-AI-Bridge-Actor-ID` and `X-AI-Bridge-Actor-Metadata-…`"
        " to requests. Default: false.",
        "include_usage": "Allows `aibridge_ask_chat_usage = auto` to request usage for its Chat"
        " Completions streams. Default: as known for its host.",
        "price_as": "Seller whose price list applies to its calls. Default: as known for its host."
        " See [Prices](prices.md#sellers).",
    },
    "actors": {
        "match": "`sha256:` and the SHA-256 of a key, in hexadecimal; or the value of the actor"
        " header; or the owner of an access token; or a user of `--proxyauth`.",
        "id": "The actor: `initiator_id` in the records.",
        "metadata": "Added to the `metadata` of the actor's interceptions.",
    },
    "prices": {
        "match": "Model, or shell pattern of models, as the provider names them.",
        "seller": "Only calls to this seller or provider instance. Default: all.",
        "from": "First day (UTC) on which the prices apply. Default: always.",
        "above": "Only prompts of more tokens, caches included. Default: all.",
        "modifiers": "Only calls with exactly these modifiers: `service_tier`, `speed`,"
        " `processing`. Default: standard calls.",
        "input": "USD per million input tokens; `0` if they are free.",
        "output": "USD per million output tokens.",
        "cache_read": "USD per million tokens read from a cache. Default: unknown.",
        "cache_write": "USD per million tokens written to a cache. Default: unknown.",
        "cache_write_1h": "The same for a cache that lives an hour. Default: unknown.",
        "audio_input": "USD per million tokens of audio input. Default: unknown.",
        "audio_output": "USD per million tokens of audio output. Default: unknown.",
        "image_output": "USD per million tokens of image output. Default: unknown.",
        "web_search": "USD per thousand web searches. Default: unknown.",
        "file_search": "USD per thousand searches in stored files. Default: unknown.",
    },
    "front_proxies": {
        "networks": "Networks or addresses from which a server connects that authenticates people.",
        "actor_header": "Header in which it names the actor. It counts from these networks only,"
        " and is removed from every request.",
        "teams_header": "Header with the actor's teams, a comma-separated list. Default: none.",
    },
    "identity": {
        "revoked_actors": "Actors that are refused, as names or shell patterns, however they prove"
        " who they are. Default: none.",
    },
    "identity.jwt": {
        "issuer": "Login service that signs the tokens: the claim `iss`, exactly.",
        "audience": "Accepted values of the claim `aud`: a text, or a list of texts.",
        "jwks_url": "HTTPS address of its public keys; `http` only for this machine.",
        "algorithms": 'Accepted signatures. Default: `["RS256", "PS256", "ES256", "EdDSA"]`.',
        "claims": 'Claims that name the actor and the teams, as `{ actor = "email", teams ='
        ' "groups" }`. Default: the actor is `sub`.',
        "teams": 'Team for each value of the claim, as `{ "value" = "team" }`; other values are'
        " ignored.",
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
    "redact": {
        "name": "Kind of secret, for the mark `[redacted: name]`.",
        "pattern": "Regular expression of the secret; of one with groups, only the first group is"
        " cut. Repetitions of repetitions, such as `(a+)+`, are refused.",
    },
    "injection": {
        "actors": "Actors that the tools are offered to, as names or shell patterns. Default: all.",
        "clients": "Client programs that the tools are offered to, likewise.",
        "providers": "Provider instances that the tools are offered for, likewise.",
        "models": "Models that the tools are offered for, likewise.",
    },
    "budgets": _SELECTION
    | {
        "name": "Identifies the budget and its counters, and is shown to whom it refuses.",
        "per": "Scope that is counted: `actor` (default), `team` or `total`.",
        "usd": "Limit in US dollars; either this or `tokens` is needed.",
        "tokens": "Limit in tokens: input, cache writes and output.",
        "window": "`hour`, `5h`, `day` (default), `week`, `month` or `total`.",
        "rolling": "True: the window ends now. Default: only for `5h`.",
        "timezone": "Time zone of days, weeks and months, such as `Europe/Berlin`. Default: the"
        " host's.",
        "starts_at": "Local time at which days, weeks and months start. Default: `00:00`.",
        "action": "`refuse` (default) or `warn`.",
        "warn_at": "Percentages that are reported when they are crossed. Default: `[80, 100]`.",
        "hold": "Output that is held for a running request: `worst` (default) or `likely`.",
        "strict": "True: not even the last request of a window may exceed the limit.",
        "unpriced": "Models without a price: `refuse` (default) or `allow`.",
        "batch": "Billed requests whose usage is not read: `refuse` (default) or `allow`.",
        "credentials": "Kinds of credentials that count: `centralized` (default), `byok`,"
        " `subscription`.",
        "on_store_failure": "While the database is unavailable: `refuse`, or `slice`: use up the"
        " room that the process has set aside. Default: `refuse`.",
        "show_remaining": "`true`: state the money that is left in a header of each response."
        " Default: `false`.",
        "wait_s": "Longest time in seconds to wait for room that running requests hold. Default:"
        " 20.",
    },
    "guardrails": {
        "policies": "Classes as `module:Class`, asked in this order. Default: none.",
        "timeout_s": "Time in seconds for each of them. Default: 5.",
        "on_failure": "Decision if one raises or takes too long: `refuse` (default) or `allow`.",
    },
    "limits": _SELECTION
    | {
        "name": "Identifies the limit and its counters, and is shown to whom it refuses.",
        "per": "Scope that is counted: `actor` (default), `team`, `token` (access token),"
        " `instance` (provider instance) or `total`.",
        "requests_per_minute": "Requests per minute; so many may come at once.",
        "input_tokens_per_minute": "Input tokens per minute, without those read from a cache.",
        "output_tokens_per_minute": "Output tokens per minute.",
        "open_requests": "Requests that run at the same time.",
        "queue": "Requests to a provider instance that may wait for room. Default: 0, none waits.",
        "queue_wait_s": "Longest time in seconds that a request waits. Default: 20.",
        "shared": "`true`: all processes count together in a PostgreSQL database. Default: each"
        " process enforces its part.",
    },
    "alerts": {
        "url": "URL that receives events. It is often a secret: prefer `url_env`.",
        "url_env": "Environment variable with the URL, in place of `url`.",
        "secret_env": "Environment variable with the key of the signature. Default: not signed.",
        "events": "Events to send. Default: all.",
    },
    "model_rules": _SELECTION
    | {
        "allow": "Models that may be used, as names or shell patterns. Default: all.",
        "deny": "Models that may not be used, likewise.",
        "aliases": 'Model that is sent in place of a requested one, as `{ requested = "sent" }`.',
        "max_output_tokens": "Ceiling of the output tokens (`max_tokens`, `max_output_tokens`,"
        " `maxOutputTokens`, …) in requests that limit them.",
    },
}

TABLES = {
    "aibridge_interceptions": "One row per bridged request: actor, client, model, and how"
    " it ended.",
    "aibridge_token_usages": "One row per billed model call whose usage was reported.",
    "aibridge_user_prompts": "One row per typed prompt, of the first request that brought it.",
    "aibridge_tool_usages": "One row per tool call that the model selected.",
    "aibridge_model_thoughts": "One row per thought that the model showed.",
    "aibridge_messages": "One row per stored part of a request or response, in order. Empty unless"
    " `aibridge_capture` asks for content.",
    "aibridge_parts": "Stored contents, each once, however many requests repeat it.",
    "aibridge_hourly": "Figures of the requests of one hour with the same actor, model and so on:"
    " what makes reports fast. Rows of the hours in `aibridge_stale_hours` are out of date.",
    "aibridge_hourly_tools": "Likewise by tool: a request has a row for each tool that it called.",
    "aibridge_spans": "Days, weeks and months that are summed up in the tables below, by table.",
    "aibridge_span_figures": "Figures of whole days, weeks and months, likewise. They overlap.",
    "aibridge_span_models": "The same without people: few rows.",
    "aibridge_span_sessions": "Figures of whole days by session.",
    "aibridge_span_tools": "Figures of whole days, weeks and months by tool, without people.",
    "aibridge_span_person_tools": "Figures of whole days and weeks by tool.",
    "aibridge_span_latency": "Completed requests of whole days and weeks by their time to the first"
    " byte and their duration.",
    "aibridge_stale_hours": "Hours whose figures have changed since they were rolled up.",
    "aibridge_hidden_turns": "Turns with central tools that the client did not see, restored in"
    " its later requests.",
    "aibridge_tokens": "All access tokens, also revoked and expired ones, without their secrets.",
    "aibridge_background_responses": "Background responses that no poll has completed yet.",
    "aibridge_processes": "Proxy processes, as they reported last; see `aibridge status`",
    "aibridge_rate_limits": "Headers about rate limits, as each credential and actor received them"
    " last.",
    "aibridge_tunnels": "Tunnels to AI services that are not read; nothing in them is decrypted.",
    "aibridge_search_texts": "Texts that `aibridge search` finds; `aibridge_search` is the FTS5"
    " index over them.",
    "aibridge_budget_entries": "Ledger of budgets: one row per charge, never changed.",
    "aibridge_budget_counters": "Sums of the ledger, for fast admission.",
    "aibridge_budget_holds": "Estimated charges of calls in flight.",
    "aibridge_budget_resets": "Resets of budgets by `aibridge budget reset`.",
    "aibridge_budget_warnings": "Thresholds that were reported, so that each is reported once.",
    "aibridge_budget_leases": "Processes whose holds and slices are valid.",
    "aibridge_budget_slices": "Room that processes have set aside for their next calls, with what"
    " their calls hold.",
    "aibridge_limit_buckets": "Use of the rates of shared limits; PostgreSQL only.",
    "aibridge_limit_slots": "Open requests of shared limits; PostgreSQL only.",
    "aibridge_endings": "Ended interceptions in the order of commits, for `aibridge tail` and"
    " `aibridge export`.",
}

COLUMNS = {
    "id": "UUIDv7: sorts by time",
    "initiator_id": "the actor",
    "response_id": "as the provider names it",
    "aibridge_background_responses.content": "JSON: facts that the end of the interception needs",
    "aibridge_search_texts.id": "`rowid` in `aibridge_search`",
    "source": "identifies the text, so that it is stored once",
    "kind": "`prompt`, `answer`, `thought`, `arguments` or `result`",
    "text": "at most its first 32,768 characters",
    "seq": "number of the end; greater than those of all earlier commits",
    "aibridge_tokens.id": "the public part of the access token",
    "metadata": "JSON",
    "aibridge_interceptions.metadata": "JSON: the actor's metadata; `claude_code_agent_id`;"
    " `server_tools`, the calls that the provider ran itself",
    "aibridge_model_thoughts.metadata": "JSON: `source` is `thinking`, `reasoning_summary` or"
    " `commentary`",
    "provider": "type: `anthropic` or `openai`",
    "provider_name": "instance",
    "api": "wire format",
    "model": "as the client requested it",
    "aibridge_token_usages.model": "as the provider names it",
    "client": "program, see Clients",
    "user_agent": "as sent",
    "client_session_id": "see Clients",
    "request_kind": "`turn`: a person or a script asks; `title`, `compaction`, `subagent`,"
    " `memory`, `warmup`, `side`: sent by the client program itself",
    "prompt_id": "the client's id of the typed prompt, the same for its attempts, tool round trips"
    " and sub-agents; null if the client has none",
    "agent_id": "the client's id of the sub-agent",
    "correlating_tool_call_id": "tool call whose result this request contains: a"
    " `tool_call_id` of `aibridge_tool_usages`",
    "credential_kind": "`byok`: the client's own key; `subscription`: the client's own login,"
    " whose calls are not billed one by one; `centralized`: added by the proxy; null: none",
    "credential_hint": "masked: a few characters of both ends",
    "streaming": "1 if the client requested a stream",
    "started_at": "UTC, ISO 8601",
    "ended_at": "null while the request is open",
    "status": "`completed`, `failed`, `cancelled` (by the client), `refused` (by a"
    " policy), `interrupted` (the proxy stopped); null while the request is open",
    "http_status": "status that the client received; null if the provider sent nothing",
    "access_token_id": "`aibridge_tokens.id`; null without an access token",
    "ttft_ms": "milliseconds to the first byte of a streamed response; null for others",
    "error_type": "as the provider names it, or a type of the proxy",
    "error_message": "text of the error",
    "partial": "1 if a part could not be read",
    "process_id": "`aibridge_processes.id` of the process that handled it",
    "host": "name of its machine",
    "pid": "process id",
    "version": "version of `aibridge_addon`",
    "aibridge_processes.seen_at": "last sign of life; there is one every 5 seconds",
    "aibridge_processes.ended_at": "its regular end; null while it runs, and if it was killed",
    "open_requests": "requests to providers that were open",
    "aibridge_processes.requests": "interceptions since its start",
    "cpu_percent": "CPU time in percent of the time since the sign of life before",
    "interception_id": "`aibridge_interceptions.id`",
    "provider_response_id": "id of the provider's response",
    "input_tokens": "tokens neither read from nor written to a cache; null, like any count, if the"
    " response does not state it; all are null if `extra` has the units that are billed",
    "output_tokens": "reasoning included",
    "cache_read_input_tokens": "input tokens read from a cache",
    "cache_write_input_tokens": "input tokens written to a cache",
    "upstream": "number of the upstream request within the interception; 0 is the client's own",
    "aibridge_token_usages.started_at": "start of the upstream request",
    "duration_ms": "milliseconds; null if the end was not seen",
    "service_tier": "as the provider names it",
    "cost_nano_usd": "price in nano-dollars (10⁻⁹ USD); null: unknown, see `unpriced_reason`",
    "uncached_cost_nano_usd": "price of the same tokens without a cache; null: unknown",
    "price_source": "price that was used, and the date of its data",
    "unpriced_reason": "reason why there is no price; null if there is a price",
    "provider_cost_nano_usd": "price that the provider itself reported; null: none",
    "extra": "JSON: other counts, such as `reasoning_tokens`",
    "raw": "JSON: the provider's own usage object",
    "prompt": "the typed text, without additions of the client program",
    "aibridge_user_prompts.digest": "digest of the client's prompt id and the text, so that it"
    " is stored once; null without a prompt id",
    "tool": "name",
    "tool_call_id": "id of the call in the response",
    "server_url": "server of a central tool; null for client tools",
    "input": "JSON: the arguments",
    "injected": "1 for a central tool, 0 for a client tool",
    "invocation_error": "error of a failed call of a central tool",
    "aibridge_tool_usages.duration_ms": "milliseconds of the call of a central tool",
    "result_bytes": "size of the result of a central tool",
    "content": "text",
    "position": "from 0; the response is the last of its upstream request",
    "role": "`system`, `developer`, `user`, `assistant` or `tool`; empty if the part has none",
    "part": "`aibridge_parts.digest`",
    "aibridge_parts.kind": "`system`, `tools`, `parameters`, `message` or `response`",
    "aibridge_parts.digest": "digest of the original content and of the redaction settings",
    "aibridge_parts.content": "JSON as it was sent, redacted; a streamed response as one document",
    "compressed": "1 if `content` is compressed with Zstandard",
    "aibridge_parts.created_at": "UTC, ISO 8601; renewed about once a day while it is used",
    "aibridge_hidden_turns.scope": "digest of the conversation's actor, credential and provider",
    "aibridge_hidden_turns.key": "identifies the visible response in later requests",
    "aibridge_hidden_turns.content": "JSON",
    "digest": "SHA-256 of the access token",
    "providers": "JSON: names or patterns of instances; empty: all",
    "models": "JSON: likewise, of models",
    "expires_at": "UTC, ISO 8601; null: never",
    "revoked_at": "UTC, ISO 8601; null: not revoked",
    "admin": "1 if its owner sees the records of all actors on the web page",
    "header": "name of the header, in lower case",
    "aibridge_rate_limits.credential_kind": "as in `aibridge_interceptions`; empty: none",
    "budget": "name of the budget",
    **dict.fromkeys(
        ("aibridge_budget_entries.scope", "aibridge_budget_counters.scope"),
        "the actor, the team, or `total`",
    ),
    **dict.fromkeys(
        (
            "aibridge_budget_holds.scope",
            "aibridge_budget_slices.scope",
            "aibridge_budget_warnings.scope",
        ),
        "the actor, the team, or `total`",
    ),
    "aibridge_budget_resets.scope": "the actor, the team, or `*` for all",
    "epoch": "number of resets before",
    "unit": "`usd` (amounts in nano-dollars) or `tokens`",
    "bucket": "start of the window, or of a sixtieth of a rolling one",
    "charge": "amount in the unit; negative only in a correction",
    "how": "`told`, `estimated`, `unpriced`, `none` (free) or `correction`",
    "spent": "sum of the charges",
    "amount": "amount that is held",
    "likely": "likely charge",
    "aibridge_budget_holds.input": "estimated charge of the input",
    "aibridge_budget_slices.amount": "amount that is set aside, with what is held",
    "aibridge_budget_slices.owner": "process that admits calls from it",
    "promised_until": "time until which no other process takes it away, in milliseconds of the"
    " machine's clock since its start",
    "wanted": "1: another process needs the room",
    "owner": "process that sends the request",
    "percent": "threshold",
    "limit_name": "name of the limit",
    **dict.fromkeys(
        ("aibridge_limit_buckets.scope", "aibridge_limit_slots.scope"),
        "the actor, team, access token or provider instance, or `total`",
    ),
    "bound": "`requests`, `input_tokens` or `output_tokens`",
    "full_at": "nanoseconds since 1970 at which there is full room again",
    "aibridge_limit_buckets.seen_at": "nanoseconds since 1970 of the last change",
    "request_id": "the interception",
    "aibridge_limit_slots.process_id": "process that sends the request",
    "aibridge_limit_slots.expires_at": "nanoseconds since 1970 at which the slot is free if its"
    " process does not renew it",
    "aibridge_rate_limits.credential_hint": "masked; empty: none",
    "aibridge_tunnels.duration_ms": "milliseconds",
    "aibridge_tunnels.host": "host that the client asked for",
    "service": "AI service, or provider instance that the forward proxy does not intercept",
    "bytes_sent": "encrypted bytes from the client",
    "bytes_received": "encrypted bytes to the client",
    "value": "as the provider sent it",
    "seen_at": "UTC, ISO 8601",
    "created_at": "UTC, ISO 8601",
    "hour": "beginning of the UTC time of its start, such as `2026-01-31T12`",
    "begin_hour": "its first hour: a day, week or month of the proxy's time zone",
    "end_hour": "the first hour after it",
    "aibridge_spans.part": "table that has its figures",
    "session": "the client's session, or empty",
    **dict.fromkeys(
        (f"aibridge_{name}.tool" for name in ("hourly_tools", "span_tools", "span_person_tools")),
        "tool that the responses called, or empty",
    ),
    "measurement": "`ttft`: time to the first byte; `duration`",
    "ms": "milliseconds, rounded to within 1.6 %",
    "archived": "1: of deleted interceptions, 0: of those that are still recorded",
    "team": "`team` in the actor's metadata, or empty",
    "requests": "number of requests",
    **dict.fromkeys(
        ("completed", "failed", "cancelled", "refused", "interrupted"), "requests with this status"
    ),
    "open": "requests that had not ended",
    "calls": "billed model calls with reported usage",
    **dict.fromkeys(
        (f"{name}.input" for name in schema.TABLES if "_hourly" in name or "_span_" in name),
        "input tokens, neither read from nor written to a cache",
    ),
    "cache_read": "input tokens read from a cache",
    "cache_write": "input tokens written to a cache",
    "output": "output tokens",
    "incomplete": "requests with a call in tokens that lacks a count",
    "without_usage": "requests that may have been billed and reported no usage",
    "chats_without_usage": "those of Chat Completions",
    "unpriced": "requests with a billed call without a price",
    "cost": "nano-dollars of the priced calls; null: nothing is priced",
    "saved": "nano-dollars that caches saved; null: unknown",
    "provider_cost": "nano-dollars as reported by the providers; null: none were reported",
    "latest": "start of the newest request",
}
