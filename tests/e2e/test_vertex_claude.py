"""Claude on Vertex AI and in Azure AI Foundry through a real proxy, with Anthropic's SDKs."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from standin import Provider, Server, ServerThread

from e2e.central import ADD, ToolServer
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.tables import provider_toml

MODEL = "claude-sonnet-4-5@20250929"
ASKED: Any = {
    "model": MODEL,
    "max_tokens": 99,
    "messages": [{"role": "user", "content": "Hello TOKENS:11,7,5,3"}],
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Server]:
    with ServerThread(Server(Provider(), tls=None)) as server:
        yield server


@pytest.fixture(scope="module")
def vertex(run_proxy: RunProxy, upstream: Server, tool_server: ToolServer) -> Iterator[Proxy]:
    config = provider_toml(upstream.origin, "vertex", "127.0.0.1", price_as="google")
    config += provider_toml(upstream.origin, "azure", price_as="azure")
    servers = {"calc": {"url": tool_server.url, "allow": "^add$"}}
    with run_proxy(upstream.origin, config=config, servers=servers) as shared:
        yield shared


def sdk(vertex: Proxy, upstream: Server, mode: str) -> anthropic.AnthropicVertex:
    upstream.requests.clear()
    proxy = f"http://127.0.0.1:{vertex.forward_port}"
    reverse = f"http://127.0.0.1:{vertex.reverse_port}/vertex"
    return anthropic.AnthropicVertex(
        region="global",
        project_id="p",
        access_token="ya29.token-of-google",
        base_url=f"{upstream.origin if mode == 'forward' else reverse}/v1",
        max_retries=0,
        http_client=anthropic.DefaultHttpxClient(
            proxy=proxy if mode == "forward" else None, trust_env=False
        ),
    )


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_messages_of_claude_on_vertex_are_recorded(
    vertex: Proxy, upstream: Server, mode: str
) -> None:
    with vertex.recording() as records, sdk(vertex, upstream, mode) as client:
        with client.messages.stream(**ASKED) as stream:
            assert stream.get_final_message().usage.output_tokens == 7
        assert client.messages.create(**ASKED).usage.input_tokens == 11
        assert client.messages.count_tokens(model=MODEL, messages=ASKED["messages"]).input_tokens

    streamed, whole = records.interceptions
    assert (streamed["streaming"], whole["streaming"]) == (1, 0)
    for row in (streamed, whole):
        assert (row["provider"], row["api"]) == ("vertex", "anthropic_messages")
        assert (row["model"], row["status"]) == (MODEL, "completed")
    for usage in records.token_usages:
        assert (usage["input_tokens"], usage["output_tokens"]) == (11, 7)
        assert usage["price_source"].startswith("google/claude-sonnet-4-5")
    paths = [request.target.rpartition("/")[2] for request in upstream.requests]
    assert paths == [f"{MODEL}:streamRawPredict", f"{MODEL}:rawPredict", "count-tokens:rawPredict"]
    for request in upstream.requests:  # what is counted has the central tools too
        assert [tool["name"] for tool in json.loads(request.body)["tools"]] == [ADD]


def test_messages_of_claude_in_foundry_are_recorded(vertex: Proxy, upstream: Server) -> None:
    upstream.requests.clear()
    client = anthropic.AnthropicFoundry(
        api_key="key-of-the-azure-resource",
        base_url=f"http://127.0.0.1:{vertex.reverse_port}/azure/anthropic",
        max_retries=0,
        http_client=anthropic.DefaultHttpxClient(trust_env=False),
    )
    with vertex.recording() as records, client:
        client.messages.create(**{**ASKED, "model": "claude-opus-5"})
    row = records.interception
    assert (row["provider"], row["api"], row["credential_hint"]) == (
        "azure",
        "anthropic_messages",
        "key-...urce",
    )
    assert records.counts == (11, 7, 5, 3)
    (request,) = upstream.requests
    assert request.header("api-key") == request.header("x-api-key") == "key-of-the-azure-resource"
