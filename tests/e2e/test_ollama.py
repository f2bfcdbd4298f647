"""Ollama's own API, with its SDK, in both modes: lines of JSON are relayed and recorded."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from ollama import Client, ResponseError
from standin import Provider, Server
from standin.plan import ANSWER, THOUGHT

from e2e.central import ADD, SUM, ToolServer
from e2e.clients import Clients, Way
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.tables import provider_toml

SAID = "How are you? TOKENS:100,20,30,0"
FORWARD, REVERSE = Way("forward"), Way("reverse")
each_mode = pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)


def config_of(origin: str) -> str:
    return provider_toml(origin, "ollama", "ollama.example")


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    with run_proxy(standin.origin, config=config_of(standin.origin)) as made:
        yield made


def base_url(proxy: Proxy, way: Way) -> str:
    if way == FORWARD:
        return "https://ollama.example"
    return f"http://127.0.0.1:{proxy.reverse_port}/ollama"


@pytest.fixture(params=[FORWARD, REVERSE], ids=str)
def client(request: pytest.FixtureRequest, proxy: Proxy, clients: Clients) -> Iterator[Client]:
    made = sdk(proxy, clients, request.param)
    with closing(made._client):
        yield made


def sdk(proxy: Proxy, clients: Clients, way: Way) -> Client:
    """Return a client of Ollama's SDK; it has no `close` of its own."""
    options: dict[str, Any] = {"verify": clients.trust(), "trust_env": False, "timeout": 30.0}
    if way == FORWARD:
        options["proxy"] = proxy.forward_url
    return Client(host=base_url(proxy, way), **options)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_chat_is_recorded_with_exact_rows(proxy: Proxy, client: Client, stream: bool) -> None:
    messages = [{"role": "user", "content": f"{SAID} THINK"}]
    with proxy.recording() as records:
        if stream:
            lines = list(client.chat("qwen3:8b", messages, stream=True))
            text = "".join(line.message.content or "" for line in lines)
            assert lines[-1].done
        else:
            text = client.chat("qwen3:8b", messages).message.content or ""

    assert text == ANSWER
    row = records.interception
    assert (row["provider"], row["api"], row["model"]) == ("ollama", "ollama_chat", "qwen3:8b")
    assert (row["status"], row["streaming"], row["partial"]) == ("completed", int(stream), 0)
    assert row["client"] == "Ollama"
    assert records.counts == (100, 20, 30, 0)
    assert records.usage["unpriced_reason"].startswith("provider 'ollama' has no known price list")
    assert [thought["content"] for thought in records.model_thoughts] == [THOUGHT]


def test_tool_calls_are_recorded(proxy: Proxy, client: Client) -> None:
    def get_weather(city: str) -> str:
        """Return the weather of a city."""
        return city

    said = 'USE_TOOL:get_weather ARGS:{"city": "Tromsø"}'
    with proxy.recording() as records:
        client.chat("qwen3:8b", [{"role": "user", "content": said}], tools=[get_weather])

    (call,) = records.tool_usages
    assert (call["tool"], call["input"]) == ("get_weather", {"city": "Tromsø"})


def test_error_in_a_stream_is_recorded_as_failed(proxy: Proxy, client: Client) -> None:
    messages = [{"role": "user", "content": "ERROR_EVENT"}]
    with proxy.recording() as records, pytest.raises(ResponseError, match="an error was enc"):
        list(client.chat("qwen3:8b", messages, stream=True))

    assert records.interception["status"] == "failed"
    assert records.interception["error_message"].startswith("an error was encountered")


@each_mode
def test_lines_arrive_unchanged_and_stream_by_default(
    proxy: Proxy, clients: Clients, standin: Server, way: Way
) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": SAID}]}
    with clients.http(Way("direct")) as direct:
        expected = direct.post(f"{standin.origin}/api/chat", json=body)
    with proxy.recording() as records, clients.http(way) as client:
        response = client.post(f"{base_url(proxy, way)}/api/chat", json=body)

    assert response.content == expected.content
    assert response.headers["content-type"] == "application/x-ndjson"
    assert records.interception["streaming"] == 1
    assert json.loads(response.content.splitlines()[-1])["done"]


@each_mode
def test_client_has_each_line_before_the_next_is_sent(
    proxy: Proxy, clients: Clients, provider: Provider, way: Way
) -> None:
    name = f"ollama_{way}"
    gate = provider.gate(name)
    body = {"model": "m", "messages": [{"role": "user", "content": f"THINK GATE:{name}"}]}
    lines = 0
    with (
        proxy.recording() as records,
        clients.http(way) as client,
        client.stream("POST", f"{base_url(proxy, way)}/api/chat", json=body) as response,
    ):
        for _ in response.iter_lines():
            lines += 1
            gate.release()

    assert lines > 2
    assert records.interception["status"] == "completed"


@each_mode
def test_request_that_loads_a_model_is_no_prompt(proxy: Proxy, clients: Clients, way: Way) -> None:
    with proxy.recording() as records, clients.http(way) as client:
        client.post(f"{base_url(proxy, way)}/api/generate", json={"model": "m", "keep_alive": 0})

    assert (records.interception["request_kind"], records.prompts) == ("side", [])


def test_reverse_proxy_does_not_manage_models(proxy: Proxy, clients: Clients) -> None:
    with clients.http(REVERSE) as client:
        for path in ("delete", "pull", "create", "copy", "push"):
            answer = client.request("POST", f"{base_url(proxy, REVERSE)}/api/{path}", json={})
            assert (answer.status_code, "error" in answer.json()) == (404, True)


@pytest.fixture(scope="module")
def tool_proxy(run_proxy: RunProxy, standin: Server, tool_server: ToolServer) -> Iterator[Proxy]:
    servers = {"calc": {"url": tool_server.url, "allow": "^add$"}}
    config = config_of(standin.origin)
    with run_proxy(standin.origin, config=config, servers=servers) as made:
        yield made


@pytest.mark.parametrize(
    ("way", "stream"), [(FORWARD, True), (REVERSE, False)], ids=["streamed", "whole"]
)
def test_result_of_a_central_tool_reaches_the_model_and_the_response_the_sdk(
    tool_proxy: Proxy, clients: Clients, standin: Server, way: Way, stream: bool
) -> None:
    client = sdk(tool_proxy, clients, way)
    said = [{"role": "user", "content": f"{SUM} TOKENS:100,20"}]
    with tool_proxy.recording() as records, closing(client._client):
        if stream:
            parts = list(client.chat("qwen3:8b", said, stream=True))
        else:
            parts = [client.chat("qwen3:8b", said)]

    assert "".join(p.message.content or "" for p in parts) == "MomentThe tool returned: 42"
    assert not any(part.message.tool_calls for part in parts)
    assert [part.done for part in parts] == [*[False] * (len(parts) - 1), True]
    assert (parts[-1].prompt_eval_count, parts[-1].eval_count) == (100, 40)
    _, call, answer = json.loads(standin.requests[-1].body)["messages"]
    assert call["tool_calls"][0]["function"]["name"] == ADD
    assert answer == {"role": "tool", "tool_name": ADD, "content": "42"}
    assert [row["output_tokens"] for row in records.token_usages] == [20, 20]
    [tool] = records.tool_usages
    assert (tool["tool"], tool["injected"]) == ("add", 1)


def test_call_of_the_client_beside_a_hidden_call_gets_both_results_back(
    tool_proxy: Proxy, clients: Clients, standin: Server
) -> None:
    client = sdk(tool_proxy, clients, REVERSE)
    own: Any = {"type": "function", "function": {"name": "own", "parameters": {"type": "object"}}}
    said = f'USE_TOOL:{ADD} USE_TOOL:own ARGS:{{"a": 2, "b": 40}} ARGS:{{}}'
    messages: list[Any] = [{"role": "user", "content": said}]
    with closing(client._client):
        turn = client.chat("qwen3:8b", messages, tools=[own]).message
        assert [call.function.name for call in turn.tool_calls or ()] == ["own"]
        messages += [turn, {"role": "tool", "tool_name": "own", "content": "mine"}]
        answer = client.chat("qwen3:8b", messages, tools=[own])

    assert answer.message.content == "The tool returned: 42 | mine"
    sent = json.loads(standin.requests[-1].body)["messages"]
    assert [message.get("tool_name") for message in sent] == [None, None, ADD, "own"]


@pytest.mark.parametrize(
    ("path", "api"),
    [
        ("/v1/chat/completions", "openai_chat"),
        ("/v1/responses", "openai_responses"),
        ("/v1/messages", "anthropic_messages"),
    ],
)
def test_other_apis_of_ollama_are_recorded_as_their_formats(
    proxy: Proxy, clients: Clients, path: str, api: str
) -> None:
    said = [{"role": "user", "content": SAID}]
    body = {"model": "qwen3:8b", "max_tokens": 9, "messages": said, "input": said}
    with proxy.recording() as records, clients.http(REVERSE) as client:
        client.post(base_url(proxy, REVERSE) + path, json=body).raise_for_status()
    row = records.interception
    assert (row["provider"], row["api"], row["model"]) == ("ollama", api, "qwen3:8b")
