"""Meanings of the keys of the config file, for the reference of the documentation."""

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
        "models": "Models that it is for, as they are sent: of each request that names one of them"
        " anywhere, or names none. Default: all.",
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
        "batch": "Batches, and billed requests whose usage is not read: `refuse` (default) or"
        " `allow`.",
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
        "models": "Models that it is for, as they are requested: of each request that"
        " names one of them anywhere, or names none. Default: all.",
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
