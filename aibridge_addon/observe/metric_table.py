"""All metrics, one row each. To add a metric that counts facts, add its row.

A metric that counts anything else has a constant here, which the code that counts uses.
"""

from aibridge_addon.facts import (
    UNEXPLAINED_TOKENS,
    BackgroundResponse,
    Interception,
    InterceptionEnded,
    MovedAway,
    ServedElsewhere,
    TokenUsage,
    ToolUsage,
    UsagePriced,
    UserPrompt,
)
from aibridge_addon.observe import samplers
from aibridge_addon.observe.metric import Metric
from aibridge_addon.observe.send_metrics import CIRCUIT_STATE as CIRCUIT_STATE
from aibridge_addon.observe.send_metrics import CIRCUIT_TRIPS as CIRCUIT_TRIPS
from aibridge_addon.observe.send_metrics import SEND_METRICS

_DURATION_BUCKETS = (0.5, 2, 5, 15, 30, 60, 120)
_FIRST_BYTE_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)
_OVERHEAD_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2)


ADDED_LATENCY = Metric(
    name="added_latency_seconds",
    kind="histogram",
    help="Latency that the proxy adds: handling a request, and waiting for its record at its end.",
    labels=("stage",),
    buckets=_OVERHEAD_BUCKETS,
)
PASSTHROUGH = Metric(
    name="passthrough_total",
    kind="counter",
    help="Requests to providers that are relayed and not recorded.",
    labels=("provider", "route", "method"),
)
UNRECORDED_USAGE = Metric(
    name="unrecorded_usage_total",
    kind="counter",
    help="Responses that reported token usage and are not recorded.",
    labels=("provider", "route"),
)
REFUSED = Metric(
    name="refused_total",
    kind="counter",
    help="Requests and connections that a policy refused.",
    labels=("provider", "reason"),
)
LIMITED = Metric(
    name="limited_total",
    kind="counter",
    help="Requests for which a limit of the config file had no room, by limit and bound.",
    labels=("limit", "bound"),
)
LIMIT_QUEUE = Metric(
    name="limit_queue_length",
    kind="gauge",
    help="Requests that wait for room in a limit.",
    labels=("provider",),
)
BUDGET_WARNINGS = Metric(
    name="budget_warnings_total",
    kind="counter",
    help="Thresholds of budgets that were crossed, once per scope and window.",
    labels=("budget", "percent"),
)
BUDGET_SET_ASIDE = Metric(
    name="budget_set_aside",
    kind="gauge",
    help="Room of budgets that the process has set aside, in USD or tokens: held by calls in"
    " flight, and free for the next.",
    labels=("budget", "unit", "state"),
    is_collected=True,
)
BUDGET_SPARE_ROOM = Metric(
    name="budget_spare_room",
    kind="gauge",
    help="Room of budgets from which the process admits calls while the database is unavailable, in"
    " USD or tokens: held by calls in flight, and free for the next.",
    labels=("budget", "unit", "state"),
    is_collected=True,
)
EDITS_REFUSED = Metric(
    name="edits_refused_total",
    kind="counter",
    help="Edited requests that a provider refused, and that were sent again without the edit.",
    labels=("provider", "http_status"),
)
TUNNELS = Metric(
    name="tunnels_total",
    kind="counter",
    help="Connections to hosts that are not providers; they are never decrypted.",
)
UNREADABLE = Metric(
    name="unreadable_total",
    kind="counter",
    help="Requests, events, responses and usage objects of a known type that could not be parsed.",
    labels=("provider", "what"),
    samplers={
        InterceptionEnded: lambda fact: [
            (what, number)
            for what, number in (("response", fact.unreadable), ("usage", fact.usage_unreadable))
            if number
        ]
    },
)
RECORDS = Metric(
    name="records_total",
    kind="counter",
    help="Deferred database writes by outcome (spooled, recovered, rejected, lost), and"
    " interceptions deleted by retention (forgotten).",
    labels=("event",),
)
COMMIT_TIMEOUTS = Metric(
    name="commit_timeouts_total",
    kind="counter",
    help="Responses that ended before their record was committed, since the commit took too long.",
)
MCP_SERVER_UP = Metric(
    name="mcp_server_up",
    kind="gauge",
    help="1 if the MCP server is connected, else 0.",
    labels=("server",),
    across="least",
)
MCP_SERVER_TOOLS = Metric(
    name="mcp_server_tools",
    kind="gauge",
    help="Tools of the MCP server that are offered; while it is down, the last known number.",
    labels=("server",),
    across="most",
)
RATE_LIMIT_USED = Metric(
    name="rate_limit_used_ratio",
    kind="gauge",
    help="Used fraction of a provider's rate limit or window, as seen last; none after its reset.",
    labels=("provider", "credential", "limit"),
    is_collected=True,
    across="most",
)
RATE_LIMIT_RESET = Metric(
    name="rate_limit_reset_timestamp_seconds",
    kind="gauge",
    help="Time at which a provider's rate limit or window resets, as seen last.",
    labels=("provider", "credential", "limit"),
    is_collected=True,
    across="most",
)
WORKERS = Metric(
    name="workers",
    kind="gauge",
    help="Worker processes that are up; only with `aibridge proxy --workers`.",
    is_collected=True,
)
WORKER_EXITS = Metric(
    name="worker_exits_total",
    kind="counter",
    help="Worker processes that ended without being asked to, and were replaced.",
    is_collected=True,
)
ALERTS = Metric(
    name="alerts_total",
    kind="counter",
    help="Events for webhooks by outcome (sent, rejected, failed, dropped), and attempts that are"
    " repeated (retried).",
    labels=("type", "outcome"),
)
JWKS_FETCHES = Metric(
    name="jwks_fetches_total",
    kind="counter",
    help="Fetches of the public keys of issuers of JWTs by outcome (ok, failed).",
    labels=("url", "outcome"),
)
BUILD = Metric(
    name="build_info",
    kind="info",
    help="Versions of the running proxy.",
    labels=("version", "mitmproxy", "python"),
)

METRICS = (
    Metric(
        name="interceptions_total",
        kind="counter",
        help="Bridged requests that have ended.",
        labels=("provider", "model", "status", "route", "method", "initiator_id", "client"),
        samplers={InterceptionEnded: samplers.once},
    ),
    Metric(
        name="interceptions_inflight",
        kind="gauge",
        help="Bridged requests that have not ended.",
        labels=("provider", "model", "route"),
        samplers={
            Interception: samplers.once,
            InterceptionEnded: samplers.ends_in_flight,
            BackgroundResponse: samplers.leaves_flight,
            MovedAway: lambda fact: (("", -1),),
            ServedElsewhere: samplers.once,
        },
    ),
    Metric(
        name="interceptions_duration_seconds",
        kind="histogram",
        help="Time from a bridged request to the end of its response.",
        labels=("provider", "model"),
        buckets=_DURATION_BUCKETS,
        samplers={InterceptionEnded: samplers.seconds},
    ),
    Metric(
        name="time_to_first_token_seconds",
        kind="histogram",
        help="Time from a bridged request to the first byte of its streamed response.",
        labels=("provider", "model"),
        buckets=_FIRST_BYTE_BUCKETS,
        samplers={InterceptionEnded: samplers.seconds_to_first_byte},
    ),
    ADDED_LATENCY,
    Metric(
        name="tokens_total",
        kind="counter",
        help="LLM tokens by type. The types add up: input (without cache), output, cache_read,"
        " cache_write.",
        labels=("provider", "model", "type", "initiator_id", "client"),
        samplers={TokenUsage: samplers.tokens},
    ),
    Metric(
        name="unknown_tokens_total",
        kind="counter",
        help="Model calls that did not report their tokens of a type, which `tokens_total` lacks.",
        labels=("provider", "model", "type", "initiator_id", "client"),
        samplers={TokenUsage: samplers.unknown_tokens},
    ),
    Metric(
        name="token_details_total",
        kind="counter",
        help="Details of token usage, such as reasoning_tokens, and requests by tools of the"
        " provider. Other counts include them: do not add them up.",
        labels=("provider", "model", "part", "initiator_id", "client"),
        samplers={TokenUsage: samplers.token_details},
    ),
    Metric(
        name="cost_usd_total",
        kind="counter",
        help="Cost of model calls by list prices, in USD. Basis: billed, or list_price for calls"
        " with a subscription, which are not billed one by one.",
        labels=("provider", "model", "basis", "initiator_id", "client"),
        samplers={UsagePriced: samplers.cost},
    ),
    Metric(
        name="unpriced_calls_total",
        kind="counter",
        help="Model calls with token usage whose price is unknown; the cost leaves them out.",
        labels=("provider", "model"),
        samplers={UsagePriced: samplers.if_true(lambda fact: fact.price.cost_nano_usd is None)},
    ),
    Metric(
        name="provider_cost_usd_total",
        kind="counter",
        help="Cost that providers themselves report, in USD.",
        labels=("provider", "model", "initiator_id", "client"),
        samplers={UsagePriced: samplers.provider_cost},
    ),
    Metric(
        name="prompts_total",
        kind="counter",
        help="Prompts that people typed.",
        labels=("provider", "model", "initiator_id", "client"),
        samplers={UserPrompt: samplers.once},
    ),
    Metric(
        name="injected_tool_invocations_total",
        kind="counter",
        help="Calls of central MCP tools.",
        labels=("provider", "model", "server", "name"),
        samplers={ToolUsage: samplers.if_true(lambda fact: fact.injected)},
    ),
    Metric(
        name="non_injected_tool_selections_total",
        kind="counter",
        help="Calls of the client's own tools that models selected.",
        labels=("provider", "model", "name"),
        samplers={ToolUsage: samplers.if_true(lambda fact: not fact.injected)},
    ),
    PASSTHROUGH,
    UNRECORDED_USAGE,
    REFUSED,
    LIMITED,
    LIMIT_QUEUE,
    BUDGET_WARNINGS,
    *SEND_METRICS,
    EDITS_REFUSED,
    TUNNELS,
    UNREADABLE,
    Metric(
        name="unknown_events_total",
        kind="counter",
        help="Events of a type that is not known; they are relayed all the same.",
        labels=("provider", "event"),
        samplers={InterceptionEnded: lambda fact: [(event, 1) for event in fact.unknown]},
    ),
    Metric(
        name="usage_mismatches_total",
        kind="counter",
        help="Usage objects whose total is not the sum of their counts.",
        labels=("provider", "api"),
        samplers={TokenUsage: samplers.if_true(lambda fact: UNEXPLAINED_TOKENS in fact.extra)},
    ),
    Metric(
        name="responses_without_usage_total",
        kind="counter",
        help="Requests that a provider may have billed without reporting token usage.",
        labels=("provider", "model", "api"),
        samplers={InterceptionEnded: samplers.if_true(lambda fact: fact.usage_is_unknown)},
    ),
    RECORDS,
    COMMIT_TIMEOUTS,
    Metric(
        name="rate_limited_total",
        kind="counter",
        help="Bridged requests that a provider refused with 429 (rate limit or quota).",
        labels=("provider", "model"),
        samplers={InterceptionEnded: samplers.if_true(samplers.was_rate_limited)},
    ),
    ALERTS,
    JWKS_FETCHES,
    RATE_LIMIT_USED,
    RATE_LIMIT_RESET,
    BUDGET_SET_ASIDE,
    BUDGET_SPARE_ROOM,
    MCP_SERVER_UP,
    MCP_SERVER_TOOLS,
    BUILD,
)
