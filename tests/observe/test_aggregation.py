"""Metrics of several processes, added up."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Metric as Family

from aibridge_addon.observe.aggregation import added, lasting, read_exposition
from aibridge_addon.observe.metric_table import (
    ADDED_LATENCY,
    CIRCUIT_STATE,
    CIRCUIT_TRIPS,
    MCP_SERVER_UP,
    TUNNELS,
)
from aibridge_addon.observe.metrics import Metrics


def exposed(metrics: Metrics) -> list[Family]:
    return read_exposition(generate_latest(metrics.registry).decode())


def values(families: list[Family]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_counters_and_histograms_are_summed() -> None:
    one, other = Metrics(), Metrics()
    for metrics, count in ((one, 2), (other, 3)):
        metrics.count(TUNNELS, amount=count)
        metrics.time(ADDED_LATENCY, "commit", seconds=0.002)
    found = values(added([exposed(one), exposed(other)]))
    assert found["aibridge_tunnels_total", ()] == 5
    stage = ("stage", "commit")
    assert found["aibridge_added_latency_seconds_count", (stage,)] == 2
    assert found["aibridge_added_latency_seconds_bucket", (("le", "0.0025"), stage)] == 2
    assert found["aibridge_added_latency_seconds_bucket", (("le", "0.001"), stage)] == 0


def test_gauges_combine_as_their_rows_state() -> None:
    one, other = Metrics(), Metrics()
    one.show_circuit_breaker(("anthropic", "/v1/messages", "m"), "open", 2)
    other.show_circuit_breaker(("anthropic", "/v1/messages", "m"), "closed", 1)
    labels = (("model", "m"), ("provider", "anthropic"), ("route", "/v1/messages"))
    found = values(added([exposed(one), exposed(other)]))
    assert found[f"aibridge_{CIRCUIT_STATE.name}", labels] == 2
    assert found[f"aibridge_{CIRCUIT_TRIPS.name}", labels] == 3
    assert MCP_SERVER_UP.across == "least"


def test_versions_are_stated_once() -> None:
    found = values(added([exposed(Metrics()), exposed(Metrics())]))
    assert [value for (name, _), value in found.items() if name == "aibridge_build_info"] == [1.0]


def test_counts_of_an_ended_process_stay_and_its_gauges_do_not() -> None:
    metrics = Metrics()
    metrics.count(TUNNELS)
    metrics.show_circuit_breaker(("anthropic", "/v1/messages", "m"), "open", 1)
    found = values(added([lasting(exposed(metrics))]))
    assert found["aibridge_tunnels_total", ()] == 1
    assert not any("circuit" in name for name, _ in found)


def test_one_process_is_reported_as_it_is() -> None:
    families = exposed(Metrics())
    registry = CollectorRegistry()

    class Again:
        def collect(self) -> list[Family]:
            return added([families])

    registry.register(Again())
    assert values(read_exposition(generate_latest(registry).decode())) == values(families)
