"""Tests of batches with the real SDKs: recorded once, however often and by whom they are read."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from formats.test_batch_results import ANTHROPIC, OPENAI
from standin import EndEarly, Part, Provider, Request, Response, Server

from e2e.clients import Clients, Way
from e2e.conftest import StartProxy
from e2e.metrics import metrics_text
from e2e.places import google_toml
from e2e.proxy import Proxy

FORWARD, REVERSE = Way("forward"), Way("reverse")
each_way = pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)
CANNED = {"x-standin-canned": "batch"}


def can(provider: Provider, body: Any, media_type: str = "application/json") -> None:
    """Let the stand-in answer with JSON, or with lines."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def respond(request: Request) -> Response:
        pieces = [content[n : n + 61] for n in range(0, len(content), 61)]
        return Response(200, [("content-type", media_type)], pieces)

    provider.canned["batch"] = respond


def anthropic_batch(id_: str, base: str = "https://api.anthropic.com") -> dict[str, Any]:
    """Return the state of a batch; the SDK follows its address of the results."""
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    return {
        "id": id_,
        "type": "message_batch",
        "processing_status": "ended",
        "request_counts": counts,
        "ended_at": None,
        "created_at": "2026-11-28T10:00:00Z",
        "expires_at": "2026-11-29T10:00:00Z",
        "archived_at": None,
        "cancel_initiated_at": None,
        "results_url": f"{base}/v1/messages/batches/{id_}/results",
    }


def openai_batch(id_: str, status: str, **members: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "input_file_id": "file-1",
        "completion_window": "24h",
        "created_at": 1780000000,
        "status": status,
        "model": "gpt-5",
        **members,
    }


USAGE = {
    "input_tokens": 1200,
    "input_tokens_details": {"cached_tokens": 200},
    "output_tokens": 300,
    "output_tokens_details": {"reasoning_tokens": 50},
    "total_tokens": 1500,
}
REQUEST: Any = {
    "custom_id": "a",
    "params": {
        "model": "claude-haiku-4-5",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
    },
}


def create_anthropic(clients: Clients, provider: Provider, way: Way, id_: str) -> None:
    can(provider, anthropic_batch(id_))
    with clients.anthropic(way, default_headers=CANNED) as client:
        client.messages.batches.create(requests=[REQUEST])


def read_results(clients: Clients, provider: Provider, way: Way, id_: str) -> None:
    """Retrieve a batch and read its results, as the SDK does."""
    base = clients.url(way, "anthropic")

    def respond(request: Request) -> Response:
        if request.path.endswith("/results"):
            pieces = [ANTHROPIC[n : n + 61] for n in range(0, len(ANTHROPIC), 61)]
            return Response(200, [("content-type", "application/x-jsonl")], pieces)
        body = json.dumps(anthropic_batch(id_, base)).encode()
        return Response(200, [("content-type", "application/json")], body)

    provider.canned["batch"] = respond
    with (
        clients.anthropic(way, default_headers=CANNED) as client,
        client.messages.batches.with_streaming_response.results(id_) as response,
    ):
        assert b"".join(response.iter_bytes()) == ANTHROPIC


@each_way
def test_results_of_an_anthropic_batch_have_a_usage_row_for_each_line_once(
    proxy: Proxy, clients: Clients, provider: Provider, way: Way
) -> None:
    id_ = f"msgbatch_{way}"
    with proxy.recording() as records:
        create_anthropic(clients, provider, way, id_)
        for _ in range(3):
            read_results(clients, provider, way, id_)
    assert records.interception["api"] == "anthropic_batches"
    assert records.interception["status"] == "completed"
    assert records.interception["model"] == "claude-haiku-4-5"
    rows = [
        (row["provider_response_id"], row["input_tokens"], row["extra"]["custom_id"])
        for row in records.token_usages
    ]
    assert sorted(rows) == [("msg_7", 7, "a"), ("msg_9", 9, "d")]
    assert {row["service_tier"] for row in records.token_usages} == {"batch"}
    # claude-haiku-4-5 costs 1 and 5 USD per million tokens, cached input 0.1, a batch half of it.
    assert sorted(row["cost_nano_usd"] for row in records.token_usages) == [6_000, 7_250]


@each_way
def test_openai_batch_is_recorded_by_the_first_poll_with_its_usage(
    proxy: Proxy, clients: Clients, provider: Provider, way: Way
) -> None:
    id_ = f"batch_{way}"
    with proxy.recording() as records, clients.openai(way, default_headers=CANNED) as client:
        can(provider, openai_batch(id_, "validating"))
        client.batches.create(
            completion_window="24h", endpoint="/v1/chat/completions", input_file_id="file-1"
        )
        can(provider, openai_batch(id_, "in_progress"))
        client.batches.retrieve(id_)
        assert proxy.records.interceptions[-1]["ended_at"] is None
        can(provider, openai_batch(id_, "completed", usage=USAGE, output_file_id="file-2"))
        for _ in range(3):
            client.batches.retrieve(id_)
        can(provider, OPENAI, "application/octet-stream")
        assert client.files.content("file-2").content == OPENAI
    assert records.interception["status"] == "completed"
    assert records.interception["model"] == "gpt-5"  # which only the batch names
    assert records.counts == (1000, 300, 200, 0)
    usage = records.usage
    assert (usage["model"], usage["service_tier"]) == ("gpt-5", "batch")
    # gpt-5 as a batch: 0.625, cached 0.0625, and 5 USD per million tokens
    assert usage["cost_nano_usd"] == 1000 * 625 + 200 * 62.5 + 300 * 5000


def test_openai_batch_without_usage_is_recorded_by_its_file(
    proxy: Proxy, clients: Clients, provider: Provider
) -> None:
    with proxy.recording() as records, clients.openai(REVERSE, default_headers=CANNED) as client:
        can(provider, openai_batch("batch_x", "validating"))
        client.batches.create(
            completion_window="24h", endpoint="/v1/chat/completions", input_file_id="file-1"
        )
        can(provider, openai_batch("batch_x", "completed", output_file_id="file-x"))
        for _ in range(2):
            client.batches.retrieve("batch_x")
        assert proxy.records.interceptions[-1]["ended_at"] is None
        can(provider, OPENAI, "application/octet-stream")
        for _ in range(2):
            assert client.files.content("file-x").content == OPENAI
    assert records.interception["status"] == "completed"
    assert sorted(row["input_tokens"] for row in records.token_usages) == [3, 5, 6]


def test_openai_batch_is_recorded_by_a_list_that_has_its_usage(
    proxy: Proxy, clients: Clients, provider: Provider
) -> None:
    before = len(proxy.records.token_usages)
    with proxy.recording() as records, clients.openai(REVERSE, default_headers=CANNED) as client:
        for id_ in ("batch_l1", "batch_l2"):
            can(provider, openai_batch(id_, "validating"))
            client.batches.create(
                completion_window="24h", endpoint="/v1/chat/completions", input_file_id="file-1"
            )
        ended = openai_batch("batch_l1", "completed", usage=USAGE, output_file_id="file-l")
        elsewhere = openai_batch("batch_elsewhere_l", "completed", usage=USAGE)
        listed = [ended, openai_batch("batch_l2", "in_progress"), elsewhere, "no batch"]
        can(provider, {"object": "list", "data": listed, "has_more": False})
        for _ in range(2):
            client.get("/batches", cast_to=httpx2.Response)
            assert len(proxy.records.token_usages) == before + 1
        can(provider, ended)
        client.batches.retrieve("batch_l1")
    assert [row["status"] for row in records.interceptions] == ["completed", None]
    assert [row["input_tokens"] for row in records.token_usages] == [1000]


def test_gemini_batch_is_recorded_by_a_list_that_has_its_results(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], provider: Provider
) -> None:
    proxy = start_proxy(env={"GEMINI_API_KEY": "k"})
    proxy.config_path.write_text(google_toml(clients_of(proxy).origin))
    clients = clients_of(proxy.restart())
    begun = {"name": "batches/b1", "metadata": {"model": "models/gemini-2.5-flash"}}
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7}
    answer = {"response": {"candidates": [], "usageMetadata": usage}}
    output = {"inlinedResponses": {"inlinedResponses": [answer]}}
    ended = begun | {"done": True, "response": output}
    headers = CANNED | {"x-goog-api-key": "k"}
    url = clients.url(REVERSE, "gemini", "/v1beta")
    with clients.http(REVERSE) as client:
        can(provider, begun)
        client.post(f"{url}/models/gemini-2.5-flash:batchGenerateContent", json={}, headers=headers)
        can(provider, {"operations": [ended]})
        for _ in range(2):
            assert client.get(f"{url}/batches", headers=headers).json() == {"operations": [ended]}
    assert [row["status"] for row in proxy.records.interceptions] == ["completed"]
    assert [row["input_tokens"] for row in proxy.records.token_usages] == [3]


def test_part_of_results_is_not_asked_for_until_their_usage_is_recorded(
    proxy: Proxy, clients: Clients, provider: Provider, standin: Server
) -> None:
    id_ = "msgbatch_part"
    create_anthropic(clients, provider, REVERSE, id_)
    can(provider, ANTHROPIC, "application/x-jsonl")
    headers = CANNED | {"x-api-key": "k", "range": "bytes=9-", "if-range": '"x"'}
    url = clients.url(REVERSE, "anthropic", f"/v1/messages/batches/{id_}/results")
    with proxy.recording(), clients.http(REVERSE) as client:
        for asked in (None, "bytes=9-"):
            assert client.get(url, headers=headers).content == ANTHROPIC
            assert standin.requests[-1].header("range") == asked


def test_batch_that_was_created_elsewhere_is_recorded_once_by_several_processes(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], provider: Provider
) -> None:
    proxy = start_proxy(metrics=True)
    read_results(clients_of(proxy), provider, FORWARD, "msgbatch_elsewhere")
    proxy.restart()
    read_results(clients_of(proxy), provider, REVERSE, "msgbatch_elsewhere")
    with clients_of(proxy).openai(FORWARD, default_headers=CANNED) as client:
        can(provider, openai_batch("batch_elsewhere", "completed", usage=USAGE))
        client.batches.retrieve("batch_elsewhere")
    proxy.restart()
    with clients_of(proxy).openai(FORWARD, default_headers=CANNED) as client:
        client.batches.retrieve("batch_elsewhere")
    read_results(clients_of(proxy), provider, REVERSE, "msgbatch_elsewhere")
    counted = metrics_text(proxy)
    assert "aibridge_tokens_total{" not in counted, "the process before counted them"
    assert "aibridge_interceptions_total{" not in counted
    records = proxy.records
    assert [row["api"] for row in records.interceptions] == ["anthropic_batches", "openai_batches"]
    assert sorted(row["input_tokens"] for row in records.token_usages) == [7, 9, 1000]


def test_results_that_break_off_are_completed_by_the_next_reading(
    proxy: Proxy, clients: Clients, provider: Provider
) -> None:
    def respond(request: Request) -> Response:
        pieces: list[Part] = [ANTHROPIC[: ANTHROPIC.index(b"\n") + 9], EndEarly()]
        return Response(200, [("content-type", "application/x-jsonl")], pieces)

    provider.canned["half"] = respond
    id_ = "msgbatch_half"
    with proxy.recording() as records:
        create_anthropic(clients, provider, REVERSE, id_)
        headers = {"x-standin-canned": "half", "x-api-key": "k"}
        url = clients.url(REVERSE, "anthropic", f"/v1/messages/batches/{id_}/results")
        with clients.http(REVERSE) as client, pytest.raises(httpx2.RemoteProtocolError):
            client.get(url, headers=headers)
        assert proxy.records.interceptions[-1]["ended_at"] is None
        read_results(clients, provider, REVERSE, id_)
    assert records.interception["status"] == "completed"
    assert sorted(row["input_tokens"] for row in records.token_usages) == [7, 9]
