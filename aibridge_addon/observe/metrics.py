"""Prometheus metrics, in a registry of their own.

Labels that a client controls are bounded: after so many values, further ones become `other`. Routes
come from the route table, never from a path.
"""

import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
)

from aibridge_addon import __version__
from aibridge_addon.fact_bus import Handlers
from aibridge_addon.facts import (
    UNEXPLAINED_TOKENS,
    BackgroundResponse,
    Fact,
    Interception,
    InterceptionEnded,
    TokenUsage,
    ToolUsage,
    UserPrompt,
)
from aibridge_addon.observe.labels import OTHER, Bounded, hidden

if TYPE_CHECKING:
    from aibridge_addon.tools.server import ServerStatus

disable_created_metrics()  # type: ignore[no-untyped-call]

_DURATION_BUCKETS = (0.5, 2, 5, 15, 30, 60, 120)
_FIRST_BYTE_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)
_OVERHEAD_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2)
_COUNTS = ("_tokens", "_requests")
"""Ends of the names in a usage's `extra` that are counts; others are labels and prices."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Counts facts, and what is no fact: tunnels, passing requests, the recorder's troubles.

    A metric with labels is reached by `_child`, whoever counts.
    """

    def __init__(
        self, *, label_values: int = 100, initiators: bool = True, tools: bool = True
    ) -> None:
        self.registry = CollectorRegistry()
        self._model = Bounded(label_values)
        self._initiator: Callable[[str], str] = Bounded(label_values) if initiators else hidden
        self._tool: Callable[[str], str] = Bounded(label_values) if tools else hidden
        self._event = Bounded(label_values)
        self._children: dict[tuple[Any, tuple[str, ...]], Any] = {}
        self._mcp_servers: frozenset[str] = frozenset()
        """Those that have a gauge."""

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, namespace="aibridge", registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, namespace="aibridge", registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(
                name, text, labels, namespace="aibridge", registry=self.registry, buckets=buckets
            )

        self.interceptions = counter(
            "interceptions_total",
            "Bridged requests that have ended.",
            *("provider", "model", "status", "route", "method", "initiator_id", "client"),
        )
        self.inflight = gauge(
            "interceptions_inflight",
            "Bridged requests that have not ended.",
            *("provider", "model", "route"),
        )
        self.duration = histogram(
            "interceptions_duration_seconds",
            "From a bridged request to the end of its answer.",
            _DURATION_BUCKETS,
            *("provider", "model"),
        )
        self.first_byte = histogram(
            "time_to_first_token_seconds",
            "From a bridged request to the first byte of its streamed answer.",
            _FIRST_BYTE_BUCKETS,
            *("provider", "model"),
        )
        self.added_latency = histogram(
            "added_latency_seconds",
            "What we add: handling a request, and waiting until its end is recorded.",
            _OVERHEAD_BUCKETS,
            "stage",
        )
        self.request_latency = self._child(self.added_latency, "request")
        self.commit_latency = self._child(self.added_latency, "commit")
        self.tokens = counter(
            "tokens_total",
            "Tokens by type, which add up: input (without cache), output, cache_read, cache_write.",
            *("provider", "model", "type", "initiator_id", "client"),
        )
        self.token_details = counter(
            "token_details_total",
            "Parts of the tokens, such as reasoning_tokens, and requests that tools of the provider"
            " made. They are contained in other counts: do not add them up.",
            *("provider", "model", "part", "initiator_id", "client"),
        )
        self.prompts = counter(
            "prompts_total",
            "Prompts of people.",
            *("provider", "model", "initiator_id", "client"),
        )
        self.injected_tools = counter(
            "injected_tool_invocations_total",
            "Calls of central MCP tools.",
            *("provider", "model", "server", "name"),
        )
        self.client_tools = counter(
            "non_injected_tool_selections_total",
            "Calls of the client's own tools that models selected.",
            *("provider", "model", "name"),
        )
        self.passthrough = counter(
            "passthrough_total",
            "Requests to providers that pass and are not recorded.",
            *("provider", "route", "method"),
        )
        self.unrecorded_usage = counter(
            "unrecorded_usage_total",
            "Answers that told token usage and are not recorded.",
            *("provider", "route"),
        )
        self.refused = counter(
            "refused_total", "Requests that a policy refused.", "provider", "reason"
        )
        self.edits_refused = counter(
            "edits_refused_total",
            "Requests that a provider refused after an edit, and that went up again without it.",
            *("provider", "http_status"),
        )
        self.tunnels = counter("tunnels_total", "Connections to other hosts, never decrypted.")
        self.unreadable = counter(
            "unreadable_total",
            "Requests, events and answers that should have been understood and were not.",
            *("provider", "what"),
        )
        self.unknown_events = counter(
            "unknown_events_total", "Events of a kind that is not known.", "provider", "event"
        )
        self.usage_mismatches = counter(
            "usage_mismatches_total",
            "Usage objects whose total is not the sum of what they count.",
            *("provider", "api"),
        )
        self.without_usage = counter(
            "responses_without_usage_total",
            "Requests that a provider may have billed, and of which it told no token usage.",
            *("provider", "model", "api"),
        )
        self.records = counter(
            "records_total",
            "Statements that could not go straight to the database, by what became of them.",
            "event",
        )
        self.commit_timeouts = counter(
            "commit_timeouts_total", "Ends of responses that could not wait for their record."
        )
        self.mcp_server_up = gauge(
            "mcp_server_up", "Whether an MCP server is connected: 1, or 0.", "server"
        )
        self.mcp_server_tools = gauge(
            "mcp_server_tools",
            "Tools of an MCP server that are offered; while it is down, those of before.",
            "server",
        )
        self.build = Info(
            "build",
            "Versions of the running proxy.",
            namespace="aibridge",
            registry=self.registry,
        )
        self.build.info(_versions())
        self.handlers: Handlers = {
            Interception: self._on_started,
            InterceptionEnded: self._on_ended,
            BackgroundResponse: self._on_background,
            TokenUsage: self._on_tokens,
            UserPrompt: self._on_prompt,
            ToolUsage: self._on_tool,
        }

    def observe(self, fact: Fact) -> None:
        """Count a fact."""
        if handler := self.handlers.get(type(fact)):
            handler(fact)

    def count_passthrough(self, provider: str, route: str, method: str) -> None:
        """Count a request that passes."""
        method = method if method in _METHODS else OTHER
        self._child(self.passthrough, provider, route, method).inc()

    def count_unrecorded_usage(self, provider: str, route: str) -> None:
        """Count an answer that told token usage and has no record."""
        self._child(self.unrecorded_usage, provider, route).inc()

    def count_refused(self, provider: str, reason: str) -> None:
        """Count a request that a policy refused."""
        self._child(self.refused, provider, reason).inc()

    def count_edit_refused(self, provider: str, http_status: int) -> None:
        """Count a request that was refused after an edit, and sent again without it."""
        self._child(self.edits_refused, provider, str(http_status)).inc()

    def count_unreadable(self, provider: str, what: str, count: int = 1) -> None:
        """Count what should have been understood and was not: a request, or of a response."""
        self._child(self.unreadable, provider, what).inc(count)

    def count_records(self, event: str, count: int) -> None:
        """Count what became of statements; called from the recorder's thread."""
        self._child(self.records, event).inc(count)

    def show_mcp_servers(self, servers: Sequence["ServerStatus"]) -> None:
        """Show how the servers are; those that are not among them any more have no gauge."""
        names = frozenset(server.name for server in servers)
        for gone in self._mcp_servers - names:
            self._drop(self.mcp_server_up, gone)
            self._drop(self.mcp_server_tools, gone)
        self._mcp_servers = names
        for server in servers:
            self._child(self.mcp_server_up, server.name).set(server.state == "up")
            self._child(self.mcp_server_tools, server.name).set(server.tools)

    def _child(self, metric: Any, *values: str) -> Any:
        """Return what `metric.labels` does, without its cost."""
        key = (metric, values)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*values)
        return child

    def _drop(self, metric: Any, *values: str) -> None:
        """Show what `_child` returned no more."""
        self._children.pop((metric, values), None)
        metric.remove(*values)

    def _on_started(self, fact: Interception) -> None:
        self._child(self.inflight, fact.provider_name, self._model(fact.model), fact.route).inc()

    def _on_ended(self, fact: InterceptionEnded) -> None:
        started = fact.interception
        provider, model = started.provider_name, self._model(started.model)
        if not fact.in_background:
            self._child(self.inflight, provider, model, started.route).dec()
            self._child(self.duration, provider, model).observe(fact.seconds)
        self._child(
            self.interceptions,
            provider,
            model,
            fact.status.value,
            started.route,
            started.method,
            self._initiator(started.initiator_id),
            started.client,
        ).inc()
        if fact.seconds_to_first_byte is not None:
            self._child(self.first_byte, provider, model).observe(fact.seconds_to_first_byte)
        if fact.unreadable:
            self.count_unreadable(provider, "response", fact.unreadable)
        for event in fact.unknown:
            self._child(self.unknown_events, provider, self._event(event)).inc()
        if fact.usage_is_unknown:
            self._child(self.without_usage, provider, model, started.api).inc()

    def _on_background(self, fact: BackgroundResponse) -> None:
        started = fact.interception
        labels = (started.provider_name, self._model(started.model), started.route)
        self._child(self.inflight, *labels).dec()

    def _on_tokens(self, fact: TokenUsage) -> None:
        wholes = {
            "input": fact.input_tokens,
            "output": fact.output_tokens,
            "cache_read": fact.cache_read_input_tokens,
            "cache_write": fact.cache_write_input_tokens,
        }
        parts = {
            name: count
            for name, count in fact.extra.items()
            if isinstance(count, int) and name != UNEXPLAINED_TOKENS and name.endswith(_COUNTS)
        }
        if UNEXPLAINED_TOKENS in fact.extra:
            started = fact.interception
            self._child(self.usage_mismatches, started.provider_name, started.api).inc()
        self._count_tokens(self.tokens, fact, wholes)
        self._count_tokens(self.token_details, fact, parts)

    def _count_tokens(self, metric: Counter, fact: TokenUsage, counts: Mapping[str, int]) -> None:
        started = fact.interception
        # Calls that the provider made by itself are often of another model than the one asked for.
        model = self._model((fact.call and fact.model) or started.model)
        actor = self._initiator(started.initiator_id)
        for kind, count in counts.items():
            if count > 0:
                labels = (started.provider_name, model, kind, actor, started.client)
                self._child(metric, *labels).inc(count)

    def _on_prompt(self, fact: UserPrompt) -> None:
        started = fact.interception
        self._child(
            self.prompts,
            started.provider_name,
            self._model(started.model),
            self._initiator(started.initiator_id),
            started.client,
        ).inc()

    def _on_tool(self, fact: ToolUsage) -> None:
        started = fact.interception
        labels = (started.provider_name, self._model(started.model))
        name = self._tool(fact.tool)
        if fact.injected:
            server = fact.metadata.get("server", "")
            self._child(self.injected_tools, *labels, server, name).inc()
        else:
            self._child(self.client_tools, *labels, name).inc()


def _versions() -> dict[str, str]:
    return {
        "version": __version__,
        "mitmproxy": version("mitmproxy"),
        "python": platform.python_version(),
    }
