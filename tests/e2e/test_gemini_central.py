"""Central tools with Google's SDK: streamed, whole and as a JSON array, also in a mixed turn."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import types
from standin import Server

from e2e.central import ADD, SUM, ToolServer
from e2e.clients import Clients, Way
from e2e.places import google_toml
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.test_gemini import KEY, MODEL, base_url

FORWARD, REVERSE = Way("forward"), Way("reverse")
OWN = types.Tool(function_declarations=[types.FunctionDeclaration(name="own", description="Mine.")])


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, standin: Server, tool_server: ToolServer) -> Iterator[Proxy]:
    servers = {"calc": {"url": tool_server.url, "allow": "^add$"}}
    config = google_toml(standin.origin)
    with run_proxy(standin.origin, config=config, servers=servers) as made:
        yield made


def contents_sent(standin: Server, number: int = -1) -> list[Any]:
    found: list[Any] = json.loads(standin.requests[number].body)["contents"]
    return found


@pytest.mark.parametrize(
    ("way", "stream"), [(FORWARD, True), (REVERSE, False)], ids=["streamed", "whole"]
)
def test_result_reaches_the_model_and_the_response_googles_sdk(
    proxy: Proxy, clients: Clients, standin: Server, way: Way, stream: bool
) -> None:
    said = f"{SUM} TOKENS:100,20"
    with proxy.recording() as records, clients.http(way) as http_client:
        options = types.HttpOptions(base_url=base_url(proxy, way), httpx_client=http_client)
        models = genai.Client(api_key=KEY, http_options=options).models
        if stream:
            chunks = list(models.generate_content_stream(model=MODEL, contents=said))
        else:
            chunks = [models.generate_content(model=MODEL, contents=said)]

    assert "".join(chunk.text or "" for chunk in chunks) == "MomentThe tool returned: 42"
    assert not any(chunk.function_calls for chunk in chunks)
    usage = chunks[-1].usage_metadata
    assert usage
    assert (usage.prompt_token_count, usage.candidates_token_count) == (100, 40)
    question, call, result = contents_sent(standin)
    assert question["parts"][0]["text"] == said
    assert call["parts"][-1]["functionCall"]["name"] == ADD
    assert call["parts"][-1]["thoughtSignature"]
    response = {"name": ADD, "response": {"output": "42"}}
    assert result == {"role": "user", "parts": [{"functionResponse": response}]}
    assert [row["input_tokens"] for row in records.token_usages] == [100, 100]
    [tool] = records.tool_usages
    assert (tool["tool"], tool["injected"]) == ("add", 1)


def test_stream_as_a_json_array_is_joined_to_one_array(
    proxy: Proxy, clients: Clients, standin: Server
) -> None:
    url = f"{base_url(proxy, FORWARD)}/v1beta/models/{MODEL}:streamGenerateContent?key={KEY}"
    body = {"contents": [{"role": "user", "parts": [{"text": SUM}]}]}
    with clients.http(FORWARD) as client:
        answer = client.post(url, json=body).json()

    texts = [part["text"] for c in answer for part in c["candidates"][0]["content"]["parts"]]
    assert "".join(texts) == "MomentThe tool returned: 42"
    assert standin.requests[-1].target.endswith(f"?key={KEY}")


def test_call_of_the_client_beside_a_hidden_call_gets_both_results_back(
    proxy: Proxy, clients: Clients, standin: Server
) -> None:
    said = f'USE_TOOL:{ADD} USE_TOOL:own ARGS:{{"a": 2, "b": 40}} ARGS:{{}}'
    with clients.http(REVERSE) as http_client:
        options = types.HttpOptions(base_url=base_url(proxy, REVERSE), httpx_client=http_client)
        chat = genai.Client(api_key=KEY, http_options=options).chats.create(
            model=MODEL, config=types.GenerateContentConfig(tools=[OWN])
        )
        *_, last = [chunk for chunk in chat.send_message_stream(said) if chunk.function_calls]
        assert last.function_calls
        assert [call.name for call in last.function_calls] == ["own"]
        response = types.Part.from_function_response(name="own", response={"output": "mine"})
        answer = chat.send_message(response)

    assert answer.text == "The tool returned: 42 | mine"
    results = contents_sent(standin)[-1]["parts"]
    assert [part["functionResponse"]["name"] for part in results] == [ADD, "own"]


def test_token_count_includes_the_central_tools(
    proxy: Proxy, clients: Clients, standin: Server
) -> None:
    url = f"{base_url(proxy, REVERSE)}/v1beta/models/{MODEL}:countTokens"
    body = {"generateContentRequest": {"contents": [{"parts": [{"text": "hi"}]}]}}
    with clients.http(REVERSE) as client:
        assert client.post(url, json=body, headers={"x-goog-api-key": KEY}).status_code == 200

    inner = json.loads(standin.requests[-1].body)["generateContentRequest"]
    assert inner["tools"][0]["functionDeclarations"][0]["name"] == ADD
