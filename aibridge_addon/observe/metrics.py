"""Counts facts, and events that are not facts, in the metrics of `metric_table`.

Labels that a client controls are bounded: after so many values, further ones become `other`. Routes
come from the route table, never from a path.
"""

import platform
from collections.abc import Callable, Hashable, Sequence
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
from aibridge_addon.facts import Fact, RateLimitsSeen
from aibridge_addon.observe import metric_table as table
from aibridge_addon.observe import send_metrics
from aibridge_addon.observe.labels import OTHER, Bounded, hidden
from aibridge_addon.observe.metric import Metric
from aibridge_addon.observe.metric_table import METRICS
from aibridge_addon.observe.rate_limits import RateLimits
from aibridge_addon.observe.samplers import FACT_LABELS, Sampler, inputs_of

if TYPE_CHECKING:
    from aibridge_addon.tools.server import ServerStatus

disable_created_metrics()  # type: ignore[no-untyped-call]

_KINDS: dict[str, type[Counter | Gauge | Histogram]] = {
    "counter": Counter,
    "gauge": Gauge,
    "histogram": Histogram,
}
_CIRCUIT_STATES = {"closed": 0, "half_open": 1, "open": 2}
_MOST_KNOWN = 1000
"""Number of inputs, for each metric, whose series is found at once: clients choose the inputs."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """All metrics, in a registry of their own.

    `label_values` limits the distinct values of a label that clients control; `initiators` and
    `tools` switch the labels that name actors and tools on.
    """

    def __init__(
        self, *, label_values: int = 100, initiators: bool = True, tools: bool = True
    ) -> None:
        self.registry = CollectorRegistry()
        self._bounds: dict[str, Callable[[str | None], str]] = {
            "model": Bounded(label_values),
            "initiator_id": Bounded(label_values) if initiators else hidden,
            "name": Bounded(label_values) if tools else hidden,
            "event": Bounded(label_values),
        }
        self._series: dict[tuple[Metric, tuple[str, ...]], Any] = {}
        self._families = {
            metric: _family(metric, self.registry) for metric in METRICS if not metric.is_collected
        }
        self._rate_limits = RateLimits(label_values)
        self.registry.register(self._rate_limits)
        self._families[table.BUILD].info(_versions())
        for stage in ("request", "commit"):
            self._one_series(table.ADDED_LATENCY, (stage,))  # shown from the start
        self._mcp_servers: frozenset[str] = frozenset()
        """Servers that have gauges."""
        self.handlers = self._handlers()
        """Functions that count facts, by the type of the facts."""

    def observe(self, fact: Fact) -> None:
        """Count a fact."""
        if handler := self.handlers.get(type(fact)):
            handler(fact)

    def count(self, metric: Metric, *labels: str, amount: float = 1) -> None:
        """Count an event that is not a fact; its labels must be bounded already."""
        self._one_series(metric, labels).inc(amount)

    def time(self, metric: Metric, *labels: str, seconds: float) -> None:
        """Add a duration to a histogram."""
        self._one_series(metric, labels).observe(seconds)

    def count_passthrough(self, provider: str, route: str, method: str) -> None:
        """Count a request that is relayed and not recorded."""
        method = method if method in _METHODS else OTHER
        self.count(table.PASSTHROUGH, provider, route, method)

    def count_unrecorded_usage(self, provider: str, route: str) -> None:
        """Count a response that reported token usage and is not recorded."""
        self.count(table.UNRECORDED_USAGE, provider, route)

    def count_refused(self, provider: str, reason: str) -> None:
        """Count a request or connection that a policy refused."""
        self.count(table.REFUSED, provider, reason)

    def count_limited(self, limit: str, bound: str) -> None:
        """Count a request for which a limit had no room."""
        self.count(table.LIMITED, limit, bound)

    def show_limit_queue(self, provider: str, length: int) -> None:
        """Set the gauge of the requests that wait for a provider instance."""
        self._one_series(table.LIMIT_QUEUE, (provider,)).set(length)

    def count_budget_warning(self, budget: str, percent: int) -> None:
        """Count a threshold of a budget that a settlement has crossed."""
        self.count(table.BUDGET_WARNINGS, budget, str(percent))

    def count_jwks_fetch(self, url: str, outcome: str) -> None:
        """Count a fetch of the public keys of an issuer of JWTs."""
        self.count(table.JWKS_FETCHES, url, outcome)

    def count_edit_refused(self, provider: str, http_status: int) -> None:
        """Count an edited request that was refused, and sent again without the edit."""
        self.count(table.EDITS_REFUSED, provider, str(http_status))

    def count_unreadable(self, provider: str, what: str, count: int = 1) -> None:
        """Count requests, or events of a response, that could not be parsed."""
        self.count(table.UNREADABLE, provider, what, amount=count)

    def count_records(self, event: str, count: int) -> None:
        """Count deferred database writes by outcome; called on the recorder's thread."""
        self.count(table.RECORDS, event, amount=count)

    def count_alert(self, event: str, outcome: str) -> None:
        """Count an event for a webhook by its outcome."""
        self.count(table.ALERTS, event, outcome)

    def show_mcp_servers(self, servers: Sequence["ServerStatus"]) -> None:
        """Set the gauges of MCP servers; removes those of servers that are not configured."""
        names = frozenset(server.name for server in servers)
        for removed in self._mcp_servers - names:
            self._remove(table.MCP_SERVER_UP, removed)
            self._remove(table.MCP_SERVER_TOOLS, removed)
        self._mcp_servers = names
        for server in servers:
            self._one_series(table.MCP_SERVER_UP, (server.name,)).set(server.state == "up")
            self._one_series(table.MCP_SERVER_TOOLS, (server.name,)).set(server.tools)

    def show_circuit_breaker(self, key: tuple[str, str, str], state: str, trips: int) -> None:
        """Set the gauges of a circuit breaker."""
        provider, route, model = key
        labels = (provider, route, self._bounds["model"](model))
        self._one_series(send_metrics.CIRCUIT_STATE, labels).set(_CIRCUIT_STATES[state])
        self._one_series(send_metrics.CIRCUIT_TRIPS, labels).set(trips)

    def show_usable_keys(self, provider: str, number: int) -> None:
        """Set the number of keys of a pool that are not set aside."""
        self._one_series(send_metrics.KEYS_USABLE, (provider,)).set(number)

    def count_key_set_aside(self, provider: str, key: str) -> None:
        """Count a key that its provider refused; `key` is its environment variable."""
        self.count(send_metrics.KEYS_SET_ASIDE, provider, key)

    def _handlers(self) -> dict[type, Callable[[Any], None]]:
        counting: dict[type, list[Callable[[Any], None]]] = {}
        for metric in METRICS:
            for kind, sampler in metric.samplers.items():
                counting.setdefault(kind, []).append(self._counter(metric, kind, sampler))
        counting.setdefault(RateLimitsSeen, []).append(self._rate_limits.note)
        return {kind: _all(functions) for kind, functions in counting.items()}

    def _counter(self, metric: Metric, kind: type, sampler: Sampler) -> Callable[[Any], None]:
        """Return a function that counts facts of a type in a metric."""
        find = self._finder(metric, kind)
        is_histogram = metric.kind == "histogram"

        def count(fact: Any) -> None:
            for own, amount in sampler(fact):
                series = find(fact, own)
                series.observe(amount) if is_histogram else series.inc(amount)

        return count

    def _finder(self, metric: Metric, kind: type) -> Callable[[Any, str], Any]:
        """Return a function that finds the series of a fact and a value of the metric's own label.

        The same inputs have the same labels for ever, since a bounded label does not change: the
        series of the first inputs are found without reading and bounding each label again.
        """
        readers = [(FACT_LABELS.get(label), self._bounds.get(label)) for label in metric.labels]
        inputs = inputs_of(kind, metric.labels)
        known: dict[Hashable, Any] = {}

        def look_up(fact: Any, own: str) -> Any:
            labels = []
            for read, bound in readers:
                value = read(fact) if read else own
                labels.append(bound(value) if bound else value or "")
            return self._one_series(metric, tuple(labels))

        def find(fact: Any, own: str) -> Any:
            key = (own, inputs(fact)) if inputs else None
            series = known.get(key)
            if series is None:
                series = look_up(fact, own)
                if key and len(known) < _MOST_KNOWN:
                    known[key] = series
            return series

        return find

    def _one_series(self, metric: Metric, labels: tuple[str, ...]) -> Any:
        """Return what `labels` of prometheus_client returns, without its cost."""
        key = (metric, labels)
        series = self._series.get(key)
        if series is None:
            family = self._families[metric]
            series = self._series[key] = family.labels(*labels) if metric.labels else family
        return series

    def _remove(self, metric: Metric, *labels: str) -> None:
        self._series.pop((metric, labels), None)
        self._families[metric].remove(*labels)


def _all(functions: Sequence[Callable[[Any], None]]) -> Callable[[Any], None]:
    def call(fact: Any) -> None:
        for function in functions:
            function(fact)

    return call


def _family(metric: Metric, registry: CollectorRegistry) -> Any:
    options: dict[str, Any] = {"namespace": "aibridge", "registry": registry}
    if metric.kind == "info":  # prometheus_client adds the suffix
        return Info(metric.name.removesuffix("_info"), metric.help, **options)
    if metric.buckets:
        options["buckets"] = metric.buckets
    return _KINDS[metric.kind](metric.name, metric.help, metric.labels, **options)


def _versions() -> dict[str, str]:
    return {
        "version": __version__,
        "mitmproxy": version("mitmproxy"),
        "python": platform.python_version(),
    }
