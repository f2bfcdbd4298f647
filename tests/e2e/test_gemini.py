"""Google's models with Google's own SDK, in both modes: Gemini API, Code Assist and Vertex AI."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from google import genai
from google.genai import types
from standin import Provider, Server
from standin.plan import ANSWER, THOUGHT

from e2e.clients import Clients, Way
from e2e.places import google_toml
from e2e.proxies import RunProxy
from e2e.proxy import Proxy

KEY = "AIzaSyA-0123456789-abcdefghijklmnopq"
SAID = "How are you? TOKENS:100,20,30,0"
MODEL = "gemini-2.5-flash"
FORWARD, REVERSE = Way("forward"), Way("reverse")
each_mode = pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)

RULES = """
[[model_rules]]
aliases = { fast = "gemini-2.5-flash" }
deny = ["gemini-1*"]
max_output_tokens = 500
"""
CENTRAL = "AIza-central-0123456789-0123456789"


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    config = google_toml(standin.origin) + RULES
    with run_proxy(standin.origin, config=config, env={"GEMINI_API_KEY": CENTRAL}) as made:
        yield made


def base_url(proxy: Proxy, way: Way, name: str = "gemini", host: str = "") -> str:
    if way == FORWARD:
        return f"https://{host or 'generativelanguage.googleapis.com'}"
    return f"http://127.0.0.1:{proxy.reverse_port}/{name}"


@contextmanager
def sdk(clients: Clients, way: Way, url: str) -> Iterator[genai.models.Models]:
    with clients.http(way) as http_client:
        options = types.HttpOptions(base_url=url, httpx_client=http_client)
        yield genai.Client(api_key=KEY, http_options=options).models


@each_mode
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_google_sdk_is_recorded(
    proxy: Proxy, clients: Clients, standin: Server, way: Way, stream: bool
) -> None:
    with proxy.recording() as records, sdk(clients, way, base_url(proxy, way)) as models:
        said = f"{SAID} THINK"
        if stream:
            chunks = list(models.generate_content_stream(model=MODEL, contents=said))
        else:
            chunks = [models.generate_content(model=MODEL, contents=said)]

    assert "".join(chunk.text or "" for chunk in chunks) == ANSWER
    row = records.interception
    assert (row["provider"], row["api"], row["model"]) == ("gemini", "gemini", MODEL)
    assert (row["status"], bool(row["streaming"])) == ("completed", stream)
    assert (row["credential_kind"], row["credential_hint"]) == ("byok", "AIza...nopq")
    assert records.counts == (100, 20, 30, 0)
    assert records.usage["cost_nano_usd"] > 0
    assert records.prompts == [said]
    assert [thought["content"] for thought in records.model_thoughts] == [THOUGHT]
    assert standin.requests[-1].header("x-goog-api-key") == KEY


@each_mode
def test_key_in_the_query_is_sent_on_and_shown_nowhere(
    proxy: Proxy, clients: Clients, standin: Server, way: Way
) -> None:
    url = f"{base_url(proxy, way)}/v1beta/models/{MODEL}%3AstreamGenerateContent?alt=sse&key={KEY}"
    body = {"contents": [{"parts": [{"text": f"{SAID} and {KEY}"}]}]}
    with proxy.recording() as records, clients.http(way) as client:
        response = client.post(url, json=body)

    assert response.status_code == 200
    assert records.counts == (100, 20, 30, 0)
    assert records.interception["credential_hint"] == "AIza...nopq"
    expected = f"/v1beta/models/{MODEL}%3AstreamGenerateContent?alt=sse&key={KEY}"
    assert standin.requests[-1].target == expected
    assert KEY not in str(records)
    assert KEY not in proxy.log_text()


def test_central_key_replaces_a_placeholder_in_the_query(
    proxy: Proxy, clients: Clients, standin: Server
) -> None:
    url = f"{base_url(proxy, REVERSE)}/v1/models/{MODEL}:generateContent?key=aibridge&x=1"
    with proxy.recording() as records, clients.http(REVERSE) as client:
        client.post(url, json={"contents": [{"parts": [{"text": SAID}]}]})

    assert records.interception["credential_kind"] == "centralized"
    request = standin.requests[-1]
    assert request.target == f"/v1/models/{MODEL}:generateContent?x=1"
    assert request.header("x-goog-api-key") == CENTRAL


def test_stream_as_a_json_array_is_relayed_and_recorded(
    proxy: Proxy, clients: Clients, standin: Server
) -> None:
    url = f"{base_url(proxy, FORWARD)}/v1beta/models/{MODEL}:streamGenerateContent"
    body = {"contents": [{"parts": [{"text": SAID}]}]}
    with proxy.recording() as records, clients.http(FORWARD) as client:
        answer = client.post(url, json=body, headers={"x-goog-api-key": KEY}).json()

    texts = [c["candidates"][0]["content"]["parts"][0]["text"] for c in answer]
    assert "".join(texts) == ANSWER
    assert records.interception["status"] == "completed"
    assert records.counts == (100, 20, 30, 0)


@pytest.mark.parametrize("query", ["?alt=sse", ""], ids=["events", "array"])
def test_chunk_reaches_the_client_before_the_next_one_is_sent(
    proxy: Proxy, clients: Clients, provider: Provider, query: str
) -> None:
    name = "gemini_events" if query else "gemini_array"
    url = f"{base_url(proxy, REVERSE)}/v1beta/models/{MODEL}:streamGenerateContent{query}"
    body = {"contents": [{"parts": [{"text": f"GATE:{name}"}]}]}
    with (
        clients.http(REVERSE) as client,
        client.stream("POST", url, json=body, headers={"x-goog-api-key": KEY}) as response,
    ):
        chunks = response.iter_raw()
        assert b"candidates" in next(chunks)
        provider.gate(name).open()
        assert b"finishReason" in b"".join(chunks)


def test_error_in_the_middle_of_a_stream_is_recorded(proxy: Proxy, clients: Clients) -> None:
    with (
        proxy.recording() as records,
        sdk(clients, FORWARD, base_url(proxy, FORWARD)) as models,
        pytest.raises(genai.errors.APIError),
    ):
        list(models.generate_content_stream(model=MODEL, contents=f"{SAID} ERROR_EVENT"))

    row = records.interception
    assert (row["status"], row["error_type"]) == ("failed", "UNAVAILABLE")


def test_refused_stream_reaches_the_client_as_an_error(proxy: Proxy, clients: Clients) -> None:
    with (
        proxy.recording() as records,
        sdk(clients, FORWARD, base_url(proxy, FORWARD)) as models,
        pytest.raises(genai.errors.APIError, match="asked for 400"),
    ):
        list(models.generate_content_stream(model=MODEL, contents="STATUS:400"))

    assert records.interception["error_type"] == "INVALID_ARGUMENT"


def test_token_count_passes(proxy: Proxy, clients: Clients) -> None:
    with proxy.recording() as records, sdk(clients, REVERSE, base_url(proxy, REVERSE)) as models:
        assert models.count_tokens(model=MODEL, contents="Hello").total_tokens

    assert records.interceptions == []


@each_mode
def test_embeddings_are_recorded_without_a_prompt(proxy: Proxy, clients: Clients, way: Way) -> None:
    with proxy.recording() as records, sdk(clients, way, base_url(proxy, way)) as models:
        found = models.embed_content(model="gemini-embedding-001", contents="Hello")

    assert found.embeddings
    assert found.embeddings[0].values == [0.25, -0.5]
    row = records.interception
    assert (row["api"], row["model"]) == ("gemini_embeddings", "gemini-embedding-001")
    assert (row["request_kind"], row["status"], row["streaming"]) == ("side", "completed", 0)
    assert (records.usage["input_tokens"] > 0, records.usage["output_tokens"]) == (True, 0)
    assert records.prompts == []


@each_mode
def test_code_assist_is_recorded_with_its_session(proxy: Proxy, clients: Clients, way: Way) -> None:
    base = base_url(proxy, way, "code-assist", "cloudcode-pa.googleapis.com")
    body: dict[str, Any] = {
        "model": "gemini-2.5-pro",
        "project": "p",
        "user_prompt_id": "prompt-1",
        "request": {
            "contents": [{"role": "user", "parts": [{"text": SAID}]}],
            "session_id": "session-1",
        },
    }
    headers = {
        "authorization": "Bearer ya29.0123456789abcdefghij",
        "user-agent": "GeminiCLI-tui/0.61.0/gemini-2.5-pro (linux; x64; terminal)",
    }
    with proxy.recording() as records, clients.http(way) as client:
        url = f"{base}/v1internal:streamGenerateContent?alt=sse"
        lines = client.post(url, json=body, headers=headers).text.split("\n\n")
        assert client.post(f"{base}/v1internal:retrieveUserQuota", json={}).status_code == 200

    assert json.loads(lines[0].removeprefix("data: "))["traceId"]
    row = records.interception
    assert (row["provider"], row["model"]) == ("code-assist", "gemini-2.5-pro")
    assert (row["client"], row["client_session_id"]) == ("Gemini CLI", "session-1")
    assert (row["prompt_id"], row["request_kind"]) == ("prompt-1", "turn")
    assert records.counts == (100, 20, 30, 0)


@pytest.mark.parametrize(
    ("path", "is_priced"),
    [
        ("/v1/projects/p/locations/europe-west1/publishers/google/models", False),
        ("/v1/projects/p/locations/global/publishers/google/models", True),
        ("/v1beta1/publishers/google/models", True),
    ],
)
def test_vertex_is_recorded_and_priced_unless_its_region_may_cost_more(
    proxy: Proxy, clients: Clients, path: str, is_priced: bool
) -> None:
    url = f"https://europe-west1-aiplatform.googleapis.com{path}/{MODEL}:generateContent"
    body = {"contents": [{"role": "user", "parts": [{"text": SAID}]}]}
    with proxy.recording() as records, clients.http(FORWARD) as client:
        client.post(url, json=body, headers={"authorization": "Bearer ya29.0123456789abcdef"})

    assert (records.interception["provider"], records.interception["model"]) == ("vertex", MODEL)
    assert records.counts == (100, 20, 30, 0)
    assert (records.usage["cost_nano_usd"] is not None) is is_priced


@each_mode
def test_alias_replaces_the_model_in_the_path_and_a_ceiling_lowers_the_limit(
    proxy: Proxy, clients: Clients, standin: Server, way: Way
) -> None:
    url = f"{base_url(proxy, way)}/v1beta/models/fast%3AgenerateContent?key={KEY}&x=%2F"
    body = (
        b'{ "contents": [{"parts": [{"text": "TOKENS:100,20"}]}],\n'
        b'  "generationConfig": {"temperature": 1.50, "maxOutputTokens": 9000}}'
    )
    with proxy.recording() as records, clients.http(way) as client:
        client.post(url, content=body).raise_for_status()
        refused = client.post(url.replace("fast", "gemini-1.5-pro"), content=body)

    assert refused.status_code == 400
    assert "'gemini-1.5-pro' is not allowed" in refused.json()["error"]["message"]
    request = standin.requests[-1]
    path = "/v1beta/models/gemini-2.5-flash%3AgenerateContent"
    assert request.target == f"{path}?key={KEY}&x=%2F"
    assert request.body == body.replace(b"9000", b"500")
    first = records.interceptions[0]
    assert (first["model"], records.usage["model"]) == ("fast", "gemini-2.5-flash")
