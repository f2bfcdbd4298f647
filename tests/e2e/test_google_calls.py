"""Google's other billed calls with Google's own SDK: interactions, batches, images and caches."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google import genai
from google.genai import types
from standin import Provider, Request, Response

from e2e.clients import Clients, Way
from e2e.proxy import Proxy
from e2e.records import Records

FIXTURES = Path(__file__).parents[1] / "fixtures"
KEY = "AIzaSyA-0123456789-abcdefghijklmnopq"
FORWARD, REVERSE = Way("forward"), Way("reverse")
each_mode = pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)


def answer(provider: Provider, fixture: str) -> None:
    """Let the stand-in answer with a fixture."""
    answer_with(provider, (FIXTURES / fixture).read_bytes(), fixture.endswith(".sse"))


def answer_with(provider: Provider, body: bytes, is_stream: bool = False) -> None:
    kind = "text/event-stream" if is_stream else "application/json"

    def respond(request: Request) -> Response:
        pieces = [body[n : n + 97] for n in range(0, len(body), 97)]
        return Response(200, [("content-type", kind)], pieces)

    provider.canned["google"] = respond


@contextmanager
def sdk(clients: Clients, way: Way) -> Iterator[genai.Client]:
    """Return Google's client; the stand-in answers as `answer` told it to."""
    with clients.http(way) as http_client:
        options = types.HttpOptions(
            base_url=clients.url(way, "gemini"),
            api_version="v1beta",
            httpx_client=http_client,
            headers={"x-standin-canned": "google"},
        )
        yield genai.Client(api_key=KEY, http_options=options)


def row(records: Records) -> tuple[Any, ...]:
    """Return format, model, status, and the counts of the only usage."""
    found = records.interception
    return found["api"], found["model"], found["status"], *records.counts


def test_interaction_in_the_background_ends_with_the_poll_that_has_its_usage(
    proxy: Proxy, clients: Clients, provider: Provider
) -> None:
    with proxy.recording() as records, sdk(clients, FORWARD) as client:
        answer(provider, "gemini_interactions/background_agent/answer.json")
        asked: Any = {"agent": "deep-research-pro-preview-12-2025", "input": "Research cats"}
        client.interactions.create(background=True, **asked)
        done = {
            **asked,
            "id": "v1_bg",
            "status": "completed",
            "usage": {"total_input_tokens": 70, "total_output_tokens": 9, "total_tokens": 79},
        }
        for status in ("in_progress", "completed", "completed"):
            body = {**done, "status": status} if status == "completed" else {"id": "v1_bg"}
            answer_with(provider, json.dumps({"status": status, **body}).encode())
            client.interactions.get("v1_bg")

    assert row(records)[1:] == ("deep-research-pro-preview-12-2025", "completed", 70, 9, 0, 0)


BATCH = "gemini_batches"
REQUEST: Any = {"contents": [{"parts": [{"text": "hi"}], "role": "user"}]}


@each_mode
def test_results_in_a_batch_have_a_usage_for_each_request_once(
    proxy: Proxy, clients: Clients, provider: Provider, way: Way
) -> None:
    name = f"batches/inline-{way}"
    with proxy.recording() as records, sdk(clients, way) as client:
        created = (FIXTURES / BATCH / "created/answer.json").read_bytes()
        answer_with(provider, created.replace(b"batches/abc", name.encode()))
        client.batches.create(model="gemini-2.5-flash", src=[REQUEST])
        results = (FIXTURES / BATCH / "inline_results/answer.json").read_bytes()
        answer_with(provider, results.replace(b"batches/abc", name.encode()))
        for _ in range(2):
            job = client.batches.get(name=name)
    assert job.dest
    assert len(job.dest.inlined_responses or []) == 3

    found = records.interception
    assert (found["api"], found["model"], found["status"]) == (
        *(BATCH, "gemini-2.5-flash", "completed"),
    )
    rows = [
        (u["provider_response_id"], u["input_tokens"], u["output_tokens"], u["extra"]["custom_id"])
        for u in records.token_usages
    ]
    assert sorted(rows) == [("r-1", 7, 5, "a"), ("r-2", 10, 8, "")]
    assert {u["extra"]["service_tier"] for u in records.token_usages} == {"batch"}


def test_results_of_a_batch_in_a_file_have_a_usage_for_each_line_once(
    proxy: Proxy, clients: Clients, provider: Provider
) -> None:
    generated = json.loads((FIXTURES / BATCH / "inline_results/answer.json").read_bytes())
    results = generated["metadata"]["output"]["inlinedResponses"]["inlinedResponses"]
    lines = [{"key": "a", **results[0]}, {"key": "b", "error": {"code": 8}}, results[2]]
    file = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    with proxy.recording() as records, sdk(clients, FORWARD) as client:
        answer(provider, f"{BATCH}/created/answer.json")
        client.batches.create(model="gemini-2.5-flash", src="files/input")
        answer(provider, f"{BATCH}/file_results/answer.json")
        job = client.batches.get(name="batches/abc")
        assert job.dest
        answer_with(provider, file)
        for _ in range(2):
            assert client.files.download(file=str(job.dest.file_name)) == file

    assert records.interception["status"] == "completed"
    assert sorted(u["input_tokens"] for u in records.token_usages) == [7, 10]
    assert {u["model"] for u in records.token_usages} == {"gemini-2.5-flash"}
