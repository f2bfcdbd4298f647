"""Prices of recorded calls, from the response to the row and to the metrics."""

import json

import pytest
from prices.calls import call, library_nano
from standin import Provider, Response

from e2e.asking import API, APIS
from e2e.central import FORWARD, REVERSE, key_headers
from e2e.clients import Clients, Way
from e2e.metrics import metric
from e2e.proxy import Proxy

MESSAGES, CHAT, RESPONSES = APIS


@pytest.mark.parametrize(
    ("api", "model", "way", "stream"),
    [
        (MESSAGES, "claude-opus-4-5", FORWARD, True),
        (MESSAGES, "claude-opus-4-5", REVERSE, False),
        (CHAT, "gpt-5.6-sol", REVERSE, False),
        (RESPONSES, "gpt-5.6-sol", FORWARD, True),
    ],
    ids=str,
)
def test_row_and_metric_have_the_price_of_the_call(
    proxy: Proxy, clients: Clients, api: API, model: str, way: Way, stream: bool
) -> None:
    labels = {"provider": api.provider, "model": model, "basis": "billed"}
    before = metric(proxy, "aibridge_cost_usd_total", **labels)

    with proxy.recording() as records, clients.http(way) as client:
        asked = {**api.body("Hello", stream=stream), "model": model}
        url = clients.url(way, api.provider, api.path)
        client.post(url, json=asked, headers=key_headers(api)).raise_for_status()

    given, output, read, written = records.counts
    billed = call(model, given=given, output=output, read=read, written=written)
    expected = library_nano(billed, api.provider)
    assert expected > 0
    assert records.usage["cost_nano_usd"] == expected
    assert records.usage["price_source"].startswith(f"{api.provider}/{model}, data of ")
    assert records.usage["unpriced_reason"] is None
    added = metric(proxy, "aibridge_cost_usd_total", **labels) - before
    assert added == pytest.approx(expected / 1e9)


def test_requested_tier_counts_if_the_response_reports_none(
    proxy: Proxy, clients: Clients, provider: Provider
) -> None:
    usage = {"input_tokens": 1000, "output_tokens": 10, "total_tokens": 1010}
    body = {"id": "r", "model": "gpt-5.6-sol", "output": [], "usage": usage}
    headers = [("content-type", "application/json")]
    provider.canned["silent"] = lambda request: Response(200, headers, json.dumps(body).encode())

    with proxy.recording() as records, clients.http(REVERSE) as client:
        asked = {**RESPONSES.body("Hello", stream=False), "service_tier": "flex"}
        url = clients.url(REVERSE, "openai", RESPONSES.path)
        client.post(url, json=asked, headers={"x-standin-canned": "silent"}).raise_for_status()

    billed = call("gpt-5.6-sol", given=1000, output=10)
    assert records.usage["cost_nano_usd"] == library_nano(billed, "openai", service_tier="flex")
    assert ", flex, data of " in records.usage["price_source"]


def test_row_of_an_unknown_model_has_a_reason_and_no_price(proxy: Proxy, clients: Clients) -> None:
    with proxy.recording() as records, clients.http(REVERSE) as client:
        asked = {**MESSAGES.body("Hello", stream=False), "model": "unheard-of"}
        url = clients.url(REVERSE, "anthropic", MESSAGES.path)
        client.post(url, json=asked, headers=key_headers(MESSAGES)).raise_for_status()

    assert records.usage["cost_nano_usd"] is None
    assert "no model 'unheard-of'" in records.usage["unpriced_reason"]


def test_call_with_the_login_of_a_subscription_is_marked(proxy: Proxy, clients: Clients) -> None:
    login = {"authorization": "Bearer sk-ant-oat01-abcdefghijklmnop", "anthropic-version": "1"}
    with proxy.recording() as records, clients.http(FORWARD) as client:
        asked = {**MESSAGES.body("Hello", stream=False), "model": "claude-opus-4-5"}
        client.post(clients.url(FORWARD, "anthropic", MESSAGES.path), json=asked, headers=login)

    assert records.interception["credential_kind"] == "subscription"
    assert records.usage["cost_nano_usd"] > 0
