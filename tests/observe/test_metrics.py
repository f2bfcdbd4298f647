"""Metrics: counts, labels, and the limits on labels that clients control."""

import platform
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import mitmproxy.version
import pytest
from prometheus_client import generate_latest
from store.doubles import all_of_one, ended, limits, prompt, started, thought, tokens, tool

import aibridge_addon
from aibridge_addon.facts import BackgroundResponse, Fact, Price, Status, UsagePriced, now
from aibridge_addon.observe.metric_table import COMMIT_TIMEOUTS, TUNNELS
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.tools.server import ServerStatus, State

CONTRACT = {
    "aibridge_interceptions": "provider model status route method initiator_id client",
    "aibridge_interceptions_inflight": "provider model route",
    "aibridge_interceptions_duration_seconds": "provider model",
    "aibridge_time_to_first_token_seconds": "provider model",
    "aibridge_added_latency_seconds": "stage",
    "aibridge_tokens": "provider model type initiator_id client",
    "aibridge_token_details": "provider model part initiator_id client",
    "aibridge_build": "version mitmproxy python",
    "aibridge_cost_usd": "provider model basis initiator_id client",
    "aibridge_unpriced_calls": "provider model",
    "aibridge_provider_cost_usd": "provider model initiator_id client",
    "aibridge_prompts": "provider model initiator_id client",
    "aibridge_injected_tool_invocations": "provider model server name",
    "aibridge_non_injected_tool_selections": "provider model name",
    "aibridge_passthrough": "provider route method",
    "aibridge_unrecorded_usage": "provider route",
    "aibridge_refused": "provider reason",
    "aibridge_tunnels": "",
    "aibridge_unreadable": "provider what",
    "aibridge_unknown_events": "provider event",
    "aibridge_responses_without_usage": "provider model api",
    "aibridge_usage_mismatches": "provider api",
    "aibridge_records": "event",
    "aibridge_commit_timeouts": "",
    "aibridge_rate_limited": "provider model",
    "aibridge_alerts": "type outcome",
    "aibridge_rate_limit_used_ratio": "provider credential limit",
    "aibridge_rate_limit_reset_timestamp_seconds": "provider credential limit",
    "aibridge_mcp_server_up": "server",
    "aibridge_mcp_server_tools": "server",
}
FIVE_HOURS = {
    "anthropic_ratelimit_unified_5h_utilization": "0.42",
    "anthropic_ratelimit_unified_5h_reset": "60",
}
INTERCEPTION = started(initiator_id="alice", model="m", client="c", provider_name="acme")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def observed(metrics: Metrics, *facts: Fact) -> Metrics:
    for fact in facts:
        metrics.observe(fact)
    return metrics


def value(metrics: Metrics, name: str, /, **labels: str) -> float | None:
    """Return the value of a sample; None if the sample does not exist."""
    return metrics.registry.get_sample_value(f"aibridge_{name}", labels)


def label_values(metrics: Metrics, name: str, label: str) -> set[str]:
    """Return all values of a label of a metric."""
    return {
        sample.labels[label]
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == f"aibridge_{name}"
    }


def server(name: str, state: State, tools: int) -> ServerStatus:
    """Return the status of an MCP server."""
    return ServerStatus(
        name=name, transport="http", url="", state=state, tools=tools, last_error=""
    )


def count_everything(metrics: Metrics) -> None:
    """Give every metric a sample."""
    observed(metrics, *all_of_one(INTERCEPTION))
    observed(metrics, tool(INTERCEPTION, injected=True, metadata={"server": "mcp"}))
    observed(metrics, ended(INTERCEPTION, unreadable=1, unknown=("x",), usage_reported=False))
    observed(metrics, tokens(INTERCEPTION, extra={"unexplained_tokens": 1}))
    metrics.count_passthrough("acme", "/v1/models", "GET")
    metrics.count_records("spooled", 1)
    metrics.count_unrecorded_usage("acme", "other")
    metrics.count_refused("acme", "no_actor")
    metrics.count_unreadable("acme", "request")
    metrics.show_mcp_servers([server("calc", "up", 3)])
    metrics.count(TUNNELS)
    metrics.count_alert("provider_down", "sent")
    observed(metrics, ended(INTERCEPTION, status=Status.FAILED, http_status=429))
    observed(metrics, limits(INTERCEPTION, **FIVE_HOURS))
    metrics.count(COMMIT_TIMEOUTS)
    observed(metrics, priced(5, own=5), priced(None))


def test_metrics_and_labels_match_the_contract(metrics: Metrics) -> None:
    count_everything(metrics)

    found: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            labels = found.setdefault(family.name, set())
            labels |= set(sample.labels) - {"le"}
    assert found == {name: set(labels.split()) for name, labels in CONTRACT.items()}


def test_interception_is_in_flight_from_its_start_to_its_end(metrics: Metrics) -> None:
    labels = {"provider": "acme", "model": "m", "route": "/v1/messages"}

    observed(metrics, INTERCEPTION)
    assert value(metrics, "interceptions_inflight", **labels) == 1
    observed(metrics, ended(INTERCEPTION))
    assert value(metrics, "interceptions_inflight", **labels) == 0


@pytest.mark.parametrize("limit", [1, 100])
def test_series_found_by_inputs_are_those_found_by_labels(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("provider_name", "model", "route", "method", "api", "initiator_id", "client")
    changes: list[dict[str, Any]] = [{}, *({name: "other"} for name in names)]
    sent = [replace(INTERCEPTION, **change) for change in changes]
    facts = [
        fact
        for one in sent
        for usage in (tokens(one), tokens(one, call="compaction", model="own"))
        for fact in (
            *(one, prompt(one), usage, UsagePriced(usage=usage, price=Price(cost_nano_usd=1))),
            *(tool(one), tool(one, tool="another"), tool(one, injected=True)),
            *(ended(one), ended(one, status=Status.CANCELLED)),
            ended(one, status=Status.FAILED, http_status=429),
        )
    ]
    found = generate_latest(observed(Metrics(label_values=limit), *facts, *facts).registry)
    monkeypatch.setattr("aibridge_addon.observe.metrics._MOST_KNOWN", 0)
    assert found == generate_latest(observed(Metrics(label_values=limit), *facts, *facts).registry)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_in_flight_returns_to_zero_with_bounded_model_labels(limit: int) -> None:
    metrics = Metrics(label_values=limit)
    all_started = [started(model=model) for model in ("a", "b", None, "c", "a", "b")]

    observed(metrics, *all_started)
    observed(metrics, *(ended(fact) for fact in reversed(all_started)))

    for family in metrics.registry.collect():
        if family.name == "aibridge_interceptions_inflight":
            assert {sample.value for sample in family.samples} == {0}


@pytest.mark.parametrize("status", Status)
def test_ended_interception_is_counted_with_its_status(metrics: Metrics, status: Status) -> None:
    observed(metrics, INTERCEPTION, ended(INTERCEPTION, status=status))

    assert (
        value(
            metrics,
            "interceptions_total",
            provider="acme",
            model="m",
            status=status.value,
            route="/v1/messages",
            method="POST",
            initiator_id="alice",
            client="c",
        )
        == 1
    )


def test_duration_buckets_match_the_contract(metrics: Metrics) -> None:
    observed(metrics, ended(INTERCEPTION, seconds=4.0, seconds_to_first_byte=0.3))
    observed(metrics, ended(INTERCEPTION, seconds=1.0, seconds_to_first_byte=None))

    labels = {"provider": "acme", "model": "m"}
    counts = {
        bound: value(metrics, "interceptions_duration_seconds_bucket", le=bound, **labels)
        for bound in ("0.5", "2.0", "5.0", "15.0", "30.0", "60.0", "120.0", "+Inf")
    }
    assert list(counts.values()) == [0, 1, 2, 2, 2, 2, 2, 2]
    assert value(metrics, "interceptions_duration_seconds_sum", **labels) == 5.0
    assert value(metrics, "time_to_first_token_seconds_count", **labels) == 1


def test_no_created_series_is_served(metrics: Metrics) -> None:
    count_everything(metrics)

    served = generate_latest(metrics.registry).decode()
    assert "aibridge_tokens_total{" in served
    assert "_created" not in served


def test_build_info_names_the_versions(metrics: Metrics) -> None:
    versions = {
        "version": aibridge_addon.__version__,
        "mitmproxy": mitmproxy.version.VERSION,
        "python": platform.python_version(),
    }
    assert value(metrics, "build_info", **versions) == 1


def test_token_details_are_not_counted_as_tokens(metrics: Metrics) -> None:
    extra = {
        "reasoning_tokens": 15,
        "cache_write_5m_input_tokens": 40,
        "web_search_requests": 2,
        "zero_tokens": 0,
        "cost": 0.25,
        "cost_in_usd_ticks": 12,
        "service_tier": "standard",
    }
    observed(metrics, tokens(INTERCEPTION, extra=extra), tokens(INTERCEPTION, extra=extra))

    labels = {"provider": "acme", "model": "m", "initiator_id": "alice", "client": "c"}
    parts = label_values(metrics, "token_details_total", "part")
    assert {part: value(metrics, "token_details_total", part=part, **labels) for part in parts} == {
        "reasoning_tokens": 30,
        "cache_write_5m_input_tokens": 80,
        "web_search_requests": 4,
    }
    assert label_values(metrics, "tokens_total", "type") == {
        *("input", "output", "cache_read", "cache_write")
    }


def test_tokens_are_counted_by_type(metrics: Metrics) -> None:
    observed(metrics, tokens(INTERCEPTION), tokens(INTERCEPTION, input_tokens=0, extra={}))

    kinds = label_values(metrics, "tokens_total", "type")
    labels = {"provider": "acme", "model": "m", "initiator_id": "alice", "client": "c"}
    assert {kind: value(metrics, "tokens_total", type=kind, **labels) for kind in kinds} == {
        "input": 10,
        "output": 40,
        "cache_read": 60,
        "cache_write": 80,
    }


def test_calls_with_unknown_tokens_are_counted_by_type(metrics: Metrics) -> None:
    in_seconds = tokens(INTERCEPTION, input_tokens=None, output_tokens=None)
    observed(metrics, tokens(INTERCEPTION, output_tokens=None), tokens(INTERCEPTION), in_seconds)

    labels = {"provider": "acme", "model": "m", "initiator_id": "alice", "client": "c"}
    assert label_values(metrics, "unknown_tokens_total", "type") == {"output"}
    assert value(metrics, "unknown_tokens_total", type="output", **labels) == 1
    assert value(metrics, "tokens_total", type="output", **labels) == 20


def test_prices_and_unexplained_totals_are_not_counted_as_tokens(metrics: Metrics) -> None:
    extra = {"cost": 3, "cost_in_usd_ticks": 4, "unexplained_tokens": -5, "reasoning_tokens": 6}
    observed(metrics, tokens(INTERCEPTION, extra=extra), tokens(INTERCEPTION, extra={"cost": 0.5}))

    kinds = label_values(metrics, "tokens_total", "type")
    assert not kinds & {"cost", "cost_in_usd_ticks", "unexplained_tokens"}
    labels = {"provider": "acme", "api": INTERCEPTION.api}
    assert value(metrics, "usage_mismatches_total", **labels) == 1


def test_tokens_of_a_hidden_model_call_are_counted_for_its_own_model(metrics: Metrics) -> None:
    observed(metrics, tokens(INTERCEPTION, call="advisor_message", model="dear"))

    assert label_values(metrics, "tokens_total", "model") == {"dear"}


def test_prompts_and_tools_are_counted_and_thoughts_are_not(metrics: Metrics) -> None:
    observed(metrics, prompt(INTERCEPTION), tool(INTERCEPTION), thought(INTERCEPTION))
    observed(metrics, tool(INTERCEPTION, injected=True, metadata={"server": "mcp"}, tool="ask"))

    labels = {"provider": "acme", "model": "m"}
    assert value(metrics, "prompts_total", initiator_id="alice", client="c", **labels) == 1
    assert value(metrics, "non_injected_tool_selections_total", name="Read", **labels) == 1
    injected = {"server": "mcp", "name": "ask"}
    assert value(metrics, "injected_tool_invocations_total", **injected, **labels) == 1


def test_unreadable_and_unknown_events_are_counted(metrics: Metrics) -> None:
    observed(metrics, ended(INTERCEPTION, unreadable=3, unknown=("x", "y", "x")))
    observed(metrics, ended(INTERCEPTION, usage_unreadable=True))

    assert value(metrics, "unreadable_total", provider="acme", what="response") == 3
    assert value(metrics, "unreadable_total", provider="acme", what="usage") == 1
    assert value(metrics, "unknown_events_total", provider="acme", event="x") == 2
    assert value(metrics, "unknown_events_total", provider="acme", event="y") == 1


@pytest.mark.parametrize(
    ("status", "http_status", "unknown"),
    [
        (Status.COMPLETED, 200, True),
        (Status.FAILED, 200, True),
        (Status.CANCELLED, None, True),
        (Status.INTERRUPTED, None, True),
        (Status.FAILED, 429, False),
        (Status.FAILED, None, False),
        (Status.REFUSED, 400, False),
    ],
)
def test_missing_usage_is_counted_only_if_a_provider_may_have_billed(
    metrics: Metrics, status: Status, http_status: int | None, unknown: bool
) -> None:
    end = ended(INTERCEPTION, usage_reported=False, status=status, http_status=http_status)
    observed(metrics, end, ended(INTERCEPTION, status=status, http_status=http_status))

    labels = {"provider": "acme", "model": "m", "api": "anthropic_messages"}
    assert (value(metrics, "responses_without_usage_total", **labels) == 1) is unknown


def test_gauges_of_mcp_servers_follow_their_state_and_configuration(metrics: Metrics) -> None:
    metrics.show_mcp_servers([server("a", "starting", 0), server("b", "up", 2)])
    assert label_values(metrics, "mcp_server_up", "server") == {"a", "b"}
    assert value(metrics, "mcp_server_up", server="a") == 0
    assert value(metrics, "mcp_server_up", server="b") == 1
    assert value(metrics, "mcp_server_tools", server="b") == 2

    metrics.show_mcp_servers([server("b", "down", 2), server("c", "up", 1)])
    assert label_values(metrics, "mcp_server_up", "server") == {"b", "c"}
    assert value(metrics, "mcp_server_up", server="b") == 0
    assert value(metrics, "mcp_server_tools", server="b") == 2
    assert value(metrics, "mcp_server_tools", server="a") is None

    metrics.show_mcp_servers([server("a", "up", 4)])
    assert value(metrics, "mcp_server_up", server="a") == 1
    assert label_values(metrics, "mcp_server_tools", "server") == {"a"}


# Labels that clients control


@pytest.mark.parametrize(
    ("metric", "label", "facts_of"),
    [
        ("interceptions_total", "model", lambda n: [ended(started(model=f"m{n}"))]),
        ("interceptions_total", "initiator_id", lambda n: [ended(started(initiator_id=f"a{n}"))]),
        (
            "non_injected_tool_selections_total",
            "name",
            lambda n: [tool(INTERCEPTION, tool=f"t{n}")],
        ),
        ("unknown_events_total", "event", lambda n: [ended(INTERCEPTION, unknown=(f"e{n}",))]),
    ],
)
def test_values_beyond_the_limit_of_a_label_are_other(
    metric: str, label: str, facts_of: Callable[[int], list[Fact]]
) -> None:
    metrics = Metrics(label_values=3)

    for number in [*range(10), 0, 9]:
        observed(metrics, *facts_of(number))

    values = label_values(metrics, metric, label)
    assert len(values) == 4
    assert "other" in values
    assert sum("0" in name for name in values) == 1


def test_missing_model_is_labelled_unknown(metrics: Metrics) -> None:
    observed(metrics, ended(started(model=None)))

    assert label_values(metrics, "interceptions_total", "model") == {"unknown"}


@pytest.mark.parametrize(
    ("method", "label"), [("GET", "GET"), ("get", "other"), ("X" * 99, "other")]
)
def test_methods_beyond_the_known_are_other(metrics: Metrics, method: str, label: str) -> None:
    metrics.count_passthrough("acme", "/v1/models", method)

    assert label_values(metrics, "passthrough_total", "method") == {label}


def test_labels_of_actors_and_tools_can_be_switched_off() -> None:
    metrics = Metrics(initiators=False, tools=False)

    count_everything(metrics)

    for metric in ("interceptions_total", "tokens_total", "prompts_total"):
        assert label_values(metrics, metric, "initiator_id") == {""}
    for metric in ("injected_tool_invocations_total", "non_injected_tool_selections_total"):
        assert label_values(metrics, metric, "name") == {""}


def test_two_registries_share_no_counts() -> None:
    first, second = Metrics(), Metrics()

    first.count(TUNNELS)

    assert value(second, "tunnels_total") == 0


def test_background_response_is_not_in_flight_and_has_no_duration(metrics: Metrics) -> None:
    fact = BackgroundResponse(
        interception=INTERCEPTION,
        provider_response_id="resp_1",
        prompted=False,
        token_usage_id="u-1",
        created_at=now(),
    )
    labels = {"provider": "acme", "model": "m"}

    observed(metrics, INTERCEPTION, fact)
    assert value(metrics, "interceptions_inflight", route="/v1/messages", **labels) == 0
    observed(metrics, ended(INTERCEPTION, in_background=True))
    assert value(metrics, "interceptions_inflight", route="/v1/messages", **labels) == 0
    assert value(metrics, "interceptions_duration_seconds_count", **labels) is None


def rate_limit(
    metrics: Metrics, name: str = "rate_limit_used_ratio", **labels: str
) -> float | None:
    defaults = {"provider": "acme", "credential": "sk-a...cdef", "limit": "5h"}
    return value(metrics, name, **defaults | labels)


def test_rate_limits_are_shown_as_seen_last(metrics: Metrics) -> None:
    observed(metrics, limits(INTERCEPTION, **FIVE_HOURS))
    observed(metrics, limits(INTERCEPTION, x_ratelimit_limit="9", x_ratelimit_remaining="6"))
    observed(metrics, limits(INTERCEPTION, anthropic_ratelimit_unified_5h_utilization="0.5"))

    assert rate_limit(metrics) == 0.5
    assert rate_limit(metrics, limit="requests") == pytest.approx(1 / 3)
    reset = rate_limit(metrics, "rate_limit_reset_timestamp_seconds")
    assert reset is not None
    assert 0 < reset - datetime.now(UTC).timestamp() <= 60


def test_rate_limit_is_not_shown_after_its_reset(metrics: Metrics) -> None:
    past = {"anthropic_ratelimit_unified_5h_reset": "0"}

    observed(metrics, limits(INTERCEPTION, **FIVE_HOURS | past))

    assert rate_limit(metrics) is None


def test_credentials_of_rate_limits_are_bounded() -> None:
    metrics = Metrics(label_values=2)

    for number in range(5):
        credential = started(provider_name="acme", credential_hint=f"k{number}")
        observed(metrics, limits(credential, **FIVE_HOURS))

    assert label_values(metrics, "rate_limit_used_ratio", "credential") == {"k0", "k1"}


def test_only_refusals_of_the_provider_count_as_rate_limited(metrics: Metrics) -> None:
    observed(metrics, ended(INTERCEPTION, status=Status.REFUSED, http_status=429))
    observed(metrics, ended(INTERCEPTION, status=Status.FAILED, http_status=500))
    observed(metrics, ended(INTERCEPTION, status=Status.FAILED, http_status=429))

    assert value(metrics, "rate_limited_total", provider="acme", model="m") == 1


# Prices


def priced(cost: int | None, own: int | None = None, **interception: Any) -> UsagePriced:
    usage = tokens(replace(INTERCEPTION, **interception))
    return UsagePriced(usage=usage, price=Price(cost_nano_usd=cost, provider_cost_nano_usd=own))


def test_costs_of_billed_calls_and_of_subscriptions_are_counted_apart(metrics: Metrics) -> None:
    observed(metrics, priced(1_500_000_000), priced(500_000_000))
    observed(metrics, priced(250_000_000, credential_kind="subscription"))

    labels = {"provider": "acme", "model": "m", "initiator_id": "alice", "client": "c"}
    assert value(metrics, "cost_usd_total", basis="billed", **labels) == 2.0
    assert value(metrics, "cost_usd_total", basis="list_price", **labels) == 0.25
    assert label_values(metrics, "unpriced_calls_total", "model") == set()


def test_unpriced_call_is_counted_and_costs_nothing(metrics: Metrics) -> None:
    observed(metrics, priced(None, own=40_000_000))

    labels = {"provider": "acme", "model": "m"}
    assert value(metrics, "unpriced_calls_total", **labels) == 1
    assert label_values(metrics, "cost_usd_total", "basis") == set()
    people = {"initiator_id": "alice", "client": "c"}
    assert value(metrics, "provider_cost_usd_total", **labels, **people) == 0.04


def test_call_that_costs_nothing_is_priced(metrics: Metrics) -> None:
    observed(metrics, priced(0))

    assert label_values(metrics, "cost_usd_total", "basis") == {"billed"}
    assert label_values(metrics, "unpriced_calls_total", "model") == set()
