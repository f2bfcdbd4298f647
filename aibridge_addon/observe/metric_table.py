"""All metrics, one row each. To add a metric that facts are counted in, add its row.

A row that no fact is counted in has a name here, by which the rest of the proxy counts in it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aibridge_addon.facts import (
    UNEXPLAINED_TOKENS,
    BackgroundResponse,
    Interception,
    InterceptionEnded,
    Status,
    TokenUsage,
    ToolUsage,
    UserPrompt,
)

type Sampler = Callable[[Any], Iterable[tuple[str, float]]]
"""Returns what a fact adds to a metric: values of the metric's own label, with their amounts. The
own label is the one that is not in `FACT_LABELS`; without one, the values are ignored."""

_DURATION_BUCKETS = (0.5, 2, 5, 15, 30, 60, 120)
_FIRST_BYTE_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)
_OVERHEAD_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2)
_COUNTS = ("_tokens", "_requests")
"""Suffixes of the names in a usage's `extra` that are counts; others are labels and prices."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Metric:
    """One row: a metric of Prometheus, and how facts are counted in it."""

    name: str
    """Without the prefix `aibridge_`."""
    kind: Literal["counter", "gauge", "histogram", "info"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram."""
    samplers: Mapping[type, Sampler] = field(default_factory=dict)
    """By the type of the facts that are counted."""
    is_collected: bool = False
    """True if a collector computes its samples at each scrape."""


def _interception(fact: Any) -> Interception:
    return fact if isinstance(fact, Interception) else fact.interception


def _model(fact: Any) -> str | None:
    # A call that the provider made by itself often uses another model than the requested one.
    if isinstance(fact, TokenUsage) and fact.call and fact.model:
        return fact.model
    return _interception(fact).model


FACT_LABELS: Mapping[str, Callable[[Any], str | None]] = {
    "provider": lambda fact: _interception(fact).provider_name,
    "model": _model,
    "route": lambda fact: _interception(fact).route,
    "method": lambda fact: _interception(fact).method,
    "api": lambda fact: _interception(fact).api,
    "initiator_id": lambda fact: _interception(fact).initiator_id,
    "client": lambda fact: _interception(fact).client,
    "status": lambda fact: fact.status.value,
    "server": lambda fact: fact.metadata.get("server", ""),
    "name": lambda fact: fact.tool,
}
"""Labels whose values every metric reads from a fact in the same way."""


def _once(fact: Any) -> Iterable[tuple[str, float]]:
    return (("", 1),)


def _ends_in_flight(fact: InterceptionEnded) -> Iterable[tuple[str, float]]:
    return () if fact.in_background else (("", -1),)


def _tokens(fact: TokenUsage) -> Iterable[tuple[str, float]]:
    counts = {
        "input": fact.input_tokens,
        "output": fact.output_tokens,
        "cache_read": fact.cache_read_input_tokens,
        "cache_write": fact.cache_write_input_tokens,
    }
    return [(kind, count) for kind, count in counts.items() if count > 0]


def _token_details(fact: TokenUsage) -> Iterable[tuple[str, float]]:
    return [
        (name, count)
        for name, count in fact.extra.items()
        if isinstance(count, int)
        and count > 0
        and name.endswith(_COUNTS)
        and name != UNEXPLAINED_TOKENS
    ]


def _seconds(fact: InterceptionEnded) -> Iterable[tuple[str, float]]:
    return () if fact.in_background else (("", fact.seconds),)


def _seconds_to_first_byte(fact: InterceptionEnded) -> Iterable[tuple[str, float]]:
    seconds = fact.seconds_to_first_byte
    return () if seconds is None else (("", seconds),)


def _if(condition: Callable[[Any], bool]) -> Sampler:
    """Return a sampler that counts the facts for which a condition holds."""
    return lambda fact: (("", 1),) if condition(fact) else ()


def _was_rate_limited(fact: InterceptionEnded) -> bool:
    return fact.http_status == 429 and fact.status is Status.FAILED


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
)
MCP_SERVER_TOOLS = Metric(
    name="mcp_server_tools",
    kind="gauge",
    help="Tools of the MCP server that are offered; while it is down, the last known number.",
    labels=("server",),
)
RATE_LIMIT_USED = Metric(
    name="rate_limit_used_ratio",
    kind="gauge",
    help="Used fraction of a provider's rate limit or window, as seen last; none after its reset.",
    labels=("provider", "credential", "limit"),
    is_collected=True,
)
RATE_LIMIT_RESET = Metric(
    name="rate_limit_reset_timestamp_seconds",
    kind="gauge",
    help="Time at which a provider's rate limit or window resets, as seen last.",
    labels=("provider", "credential", "limit"),
    is_collected=True,
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
        samplers={InterceptionEnded: _once},
    ),
    Metric(
        name="interceptions_inflight",
        kind="gauge",
        help="Bridged requests that have not ended.",
        labels=("provider", "model", "route"),
        samplers={
            Interception: _once,
            InterceptionEnded: _ends_in_flight,
            BackgroundResponse: lambda fact: (("", -1),),
        },
    ),
    Metric(
        name="interceptions_duration_seconds",
        kind="histogram",
        help="Time from a bridged request to the end of its response.",
        labels=("provider", "model"),
        buckets=_DURATION_BUCKETS,
        samplers={InterceptionEnded: _seconds},
    ),
    Metric(
        name="time_to_first_token_seconds",
        kind="histogram",
        help="Time from a bridged request to the first byte of its streamed response.",
        labels=("provider", "model"),
        buckets=_FIRST_BYTE_BUCKETS,
        samplers={InterceptionEnded: _seconds_to_first_byte},
    ),
    ADDED_LATENCY,
    Metric(
        name="tokens_total",
        kind="counter",
        help="LLM tokens by type. The types add up: input (without cache), output, cache_read,"
        " cache_write.",
        labels=("provider", "model", "type", "initiator_id", "client"),
        samplers={TokenUsage: _tokens},
    ),
    Metric(
        name="token_details_total",
        kind="counter",
        help="Details of token usage, such as reasoning_tokens, and requests by tools of the"
        " provider. Other counts include them: do not add them up.",
        labels=("provider", "model", "part", "initiator_id", "client"),
        samplers={TokenUsage: _token_details},
    ),
    Metric(
        name="prompts_total",
        kind="counter",
        help="Prompts that people typed.",
        labels=("provider", "model", "initiator_id", "client"),
        samplers={UserPrompt: _once},
    ),
    Metric(
        name="injected_tool_invocations_total",
        kind="counter",
        help="Calls of central MCP tools.",
        labels=("provider", "model", "server", "name"),
        samplers={ToolUsage: _if(lambda fact: fact.injected)},
    ),
    Metric(
        name="non_injected_tool_selections_total",
        kind="counter",
        help="Calls of the client's own tools that models selected.",
        labels=("provider", "model", "name"),
        samplers={ToolUsage: _if(lambda fact: not fact.injected)},
    ),
    PASSTHROUGH,
    UNRECORDED_USAGE,
    REFUSED,
    LIMITED,
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
        samplers={TokenUsage: _if(lambda fact: UNEXPLAINED_TOKENS in fact.extra)},
    ),
    Metric(
        name="responses_without_usage_total",
        kind="counter",
        help="Requests that a provider may have billed without reporting token usage.",
        labels=("provider", "model", "api"),
        samplers={InterceptionEnded: _if(lambda fact: fact.usage_is_unknown)},
    ),
    RECORDS,
    COMMIT_TIMEOUTS,
    Metric(
        name="rate_limited_total",
        kind="counter",
        help="Bridged requests that a provider refused with 429 (rate limit or quota).",
        labels=("provider", "model"),
        samplers={InterceptionEnded: _if(_was_rate_limited)},
    ),
    RATE_LIMIT_USED,
    RATE_LIMIT_RESET,
    MCP_SERVER_UP,
    MCP_SERVER_TOOLS,
    BUILD,
)
