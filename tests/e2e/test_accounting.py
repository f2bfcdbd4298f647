"""Tests of accounting: hidden model calls, compaction, and billed responses without a record."""

import contextlib
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner
from standin import EndEarly, Provider, Request, Response, Upgrade

from aibridge_addon.cli import main
from e2e.clients import WAYS, Clients, Way
from e2e.metrics import metric
from e2e.proxy import Proxy
from e2e.sockets import CODEX, Socket

FORWARD, FORWARD_H2, REVERSE, REVERSE_H2 = WAYS
FIXTURES = Path(__file__).parents[1] / "fixtures"
CANNED = {"x-standin-canned": "accounting"}
JSON = [("content-type", "application/json")]
SSE = [("content-type", "text/event-stream")]
USAGE = {"prompt_tokens": 8, "total_tokens": 8}


def can(provider: Provider, response: Response) -> None:
    def answer(request: Request) -> Response:
        return Response(response.status, list(response.headers), response.body, response.coding)

    provider.canned["accounting"] = answer


@pytest.mark.parametrize(("way", "stream"), [(FORWARD, True), (REVERSE, False)], ids=str)
@pytest.mark.parametrize("name", ["compaction", "advisor", "server_side_fallback"])
def test_hidden_model_calls_have_their_own_token_usage_rows(
    proxy: Proxy, clients: Clients, provider: Provider, way: Way, stream: bool, name: str
) -> None:
    folder = FIXTURES / "anthropic_messages" / name
    body = (folder / ("stream.sse" if stream else "answer.json")).read_bytes()
    can(provider, Response(200, SSE if stream else JSON, body))
    asked = {"model": "m", "max_tokens": 9, "messages": [], "stream": stream}

    with proxy.recording() as records, clients.http(way) as client:
        url = clients.url(way, "anthropic", "/v1/messages?beta=true")
        assert client.post(url, json=asked, headers=CANNED).content == body

    facts = json.loads((folder / "facts.json").read_text())["response"]
    own, [hidden] = facts["usage"], facts["hidden_usages"]
    assert [
        (row["model"], row["input_tokens"], row["output_tokens"], row["metadata"])
        for row in records.token_usages
    ] == [
        (facts["model"], own["input_tokens"], own["output_tokens"], {}),
        (
            hidden["model"],
            hidden["input_tokens"],
            hidden["output_tokens"],
            {"call": hidden["call"]},
        ),
    ]


def test_count_that_a_response_lacks_is_unknown_everywhere(
    proxy: Proxy, clients: Clients, provider: Provider
) -> None:
    answer = {"id": "c-1", "object": "chat.completion", "model": "gpt-5", "choices": []}
    usage = {"prompt_tokens": 40, "completion_tokens": None, "total_tokens": 90}
    can(provider, Response(200, JSON, json.dumps(answer | {"usage": usage}).encode()))
    before = metric(proxy, "aibridge_unknown_tokens_total", type="output", provider="openai")
    with proxy.recording() as records, clients.openai(FORWARD) as client:
        client.chat.completions.create(
            model="gpt-5",
            messages=[{"role": "user", "content": "hi"}],
            extra_headers=CANNED | {"X-AIBridge-Actor": "unknown-count"},
        )

    assert (records.usage["input_tokens"], records.usage["output_tokens"]) == (40, None)
    assert records.usage["cost_nano_usd"] is None
    assert records.usage["unpriced_reason"] == "the response does not state its output tokens"
    after = metric(proxy, "aibridge_unknown_tokens_total", type="output", provider="openai")
    assert after == before + 1
    options = ["--db", str(proxy.database), "--by", "actor", "--actor", "unknown-count"]
    result = CliRunner().invoke(main, ["usage", "--json", *options])
    [row] = json.loads(result.output)
    assert (row["input"], row["output"], row["incomplete"]) == (40, None, 1)


def test_placeholders_of_a_stream_that_broke_off_are_no_usage(
    proxy: Proxy, clients: Clients, provider: Provider
) -> None:
    message = {"id": "m-1", "model": "m", "usage": {"input_tokens": 0, "output_tokens": 0}}
    start = {"type": "message_start", "message": message}
    event = b"event: message_start\ndata: " + json.dumps(start).encode() + b"\n\n"
    can(provider, Response(200, SSE, [event, EndEarly()]))
    asked = {"model": "m", "max_tokens": 9, "messages": [], "stream": True}
    with proxy.recording() as records, clients.http(REVERSE) as client:
        url = clients.url(REVERSE, "anthropic", "/v1/messages")
        with contextlib.suppress(httpx2.RemoteProtocolError):
            client.post(url, json=asked, headers=CANNED)

    assert records.token_usages == []
    assert records.interception["partial"]


@pytest.mark.parametrize("way", [FORWARD_H2, REVERSE], ids=str)
def test_compaction_request_of_openai_responses_is_recorded(
    proxy: Proxy, clients: Clients, provider: Provider, way: Way
) -> None:
    body = (FIXTURES / "openai_responses_compact" / "compacted" / "answer.json").read_bytes()
    can(provider, Response(200, JSON, body))

    with proxy.recording() as records, clients.openai(way) as client:
        compacted = client.responses.compact(
            model="gpt-5.2", input="A long conversation.", extra_headers=CANNED
        )

    assert compacted.usage.output_tokens == 310
    interception = records.interception
    assert interception["api"] == "openai_responses_compact"
    assert interception["request_kind"] == "compaction"
    assert (interception["model"], interception["status"]) == ("gpt-5.2", "completed")
    assert records.counts == (200, 310, 1000, 0)
    assert (records.prompts, records.tool_usages) == ([], [])


@pytest.mark.parametrize("shape", ["whole", "coded", "streamed", "large"])
def test_usage_of_an_unrecorded_response_is_counted_and_logged_once(
    proxy: Proxy, clients: Clients, provider: Provider, shape: str
) -> None:
    told: dict[str, Any] = {"object": "list", "data": [], "usage": USAGE}
    body = json.dumps(told).encode()
    answers = {
        "whole": Response(200, JSON, body),
        "coded": Response(200, JSON, body, coding="gzip"),
        "streamed": Response(200, SSE, [b"data: ", body[:40], body[40:], b"\n\n"]),
        "large": Response(200, JSON, b" " * 2_000_000 + body),
    }
    can(provider, answers[shape])
    labels = {"provider": "openai", "route": "other"}
    before = metric(proxy, "aibridge_unrecorded_usage_total", **labels)

    with proxy.recording() as records, clients.http(FORWARD) as client:
        for _ in range(2):
            got = client.post("https://api.openai.com/v1/evals", json={}, headers=CANNED)
            assert body in got.content

    assert records.interceptions == []
    assert metric(proxy, "aibridge_unrecorded_usage_total", **labels) == before + 2
    assert proxy.log_text().count("responses of openai to other report token usage") == 1


def test_usage_of_a_recorded_response_is_not_counted_as_unrecorded(
    proxy: Proxy, clients: Clients
) -> None:
    before = metric(proxy, "aibridge_unrecorded_usage_total")
    with proxy.recording() as records, clients.openai(REVERSE) as client:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        client.models.list()
    assert records.counts
    assert metric(proxy, "aibridge_unrecorded_usage_total") == before


def test_usage_in_an_unread_websocket_is_counted(
    proxy: Proxy, clients: Clients, provider: Provider
) -> None:
    told = json.dumps({"type": "response.done", "response": {"usage": USAGE}}).encode()
    provider.canned["accounting"] = lambda request: Upgrade(lambda message: [told])
    labels = {"provider": "openai", "route": "other"}
    before = metric(proxy, "aibridge_unrecorded_usage_total", **labels)

    url = clients.url(FORWARD, "openai", "/live?model=gpt-live")
    with Socket(clients, FORWARD, headers=CODEX | CANNED, url=url) as client:
        client.send({"type": "response.create"})
        assert client.event() == json.loads(told)

    assert metric(proxy, "aibridge_unrecorded_usage_total", **labels) == before + 1
