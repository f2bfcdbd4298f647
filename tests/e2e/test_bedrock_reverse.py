"""Amazon Bedrock through the reverse proxy: signed anew with the operator's credentials."""

import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import anthropic
import boto3
import httpx
import pytest
from botocore.config import Config
from standin import Provider, Server, ServerThread

from aibridge_addon.formats.bedrock_converse.reader import ConverseReader
from aibridge_addon.formats.decoders.sse import Event
from e2e.aws import REGION, SESSION, assert_signed, key_id_of
from e2e.central import ADD, ToolServer
from e2e.proxies import RunProxy
from e2e.proxy import Proxy

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OPERATOR_ID, OPERATOR_SECRET = "AKIAOPERATOROPERATOR", "operator+secret/operator+secret"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Server]:
    with ServerThread(Server(Provider(), tls=None)) as server:
        yield server


@pytest.fixture(scope="module")
def bedrock(run_proxy: RunProxy, upstream: Server, tool_server: ToolServer) -> Iterator[Proxy]:
    config = f"""
[[providers]]
name = "bedrock"
type = "bedrock"
base_url = "{upstream.origin}"
region = "{REGION}"
price_as = "aws"

[[providers]]
name = "bedrock-away"
type = "bedrock"
base_url = "http://127.0.0.1:1"
hosts = []
region = "eu-west-1"
fallbacks = [{{ provider = "bedrock", models = {{ "eu.model" = "{MODEL}" }} }}]

[[model_rules]]
aliases = {{ "sonnet:latest" = "{MODEL}" }}
max_output_tokens = 500
"""
    with run_proxy(
        upstream.origin,
        config=config,
        servers={"calc": {"url": tool_server.url, "allow": "^add$"}},
        env={
            "AWS_ACCESS_KEY_ID": OPERATOR_ID,
            "AWS_SECRET_ACCESS_KEY": OPERATOR_SECRET,
            "AWS_SESSION_TOKEN": SESSION,
            "AWS_EC2_METADATA_DISABLED": "true",
        },
    ) as shared:
        yield shared


@pytest.fixture(autouse=True)
def _no_earlier_requests(upstream: Server) -> None:
    upstream.requests.clear()


@pytest.fixture(scope="module")
def client(bedrock: Proxy) -> Iterator[Any]:
    made = boto3.client(
        "bedrock-runtime",
        region_name="eu-west-1",
        endpoint_url=f"http://127.0.0.1:{bedrock.reverse_port}/bedrock",
        aws_access_key_id="AKIACLIENT",
        aws_secret_access_key="whatever",
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield made
    made.close()


def test_signature_of_a_client_is_replaced_by_the_operators(
    bedrock: Proxy, upstream: Server, client: Any
) -> None:
    said: Any = {"role": "user", "content": [{"text": "Hello TOKENS:9,2"}]}
    with bedrock.recording() as records:
        answer = client.converse(modelId=MODEL, messages=[said])

    assert answer["usage"]["inputTokens"] == 9
    (request,) = upstream.requests
    assert key_id_of(request) == OPERATOR_ID
    assert request.header("x-amz-security-token") == SESSION
    assert_signed(request, OPERATOR_SECRET)
    assert len([1 for name, _ in request.headers if name.lower() == "authorization"]) == 1
    row = records.interception
    assert (row["credential_kind"], row["model"]) == ("centralized", MODEL)
    files = [path for path in bedrock.directory.rglob("*") if path.is_file()]
    secrets = (SESSION.encode(), OPERATOR_SECRET.encode())
    assert not any(secret in path.read_bytes() for path in files for secret in secrets)


def test_alias_in_the_path_is_signed_and_priced_as_the_model_that_is_sent(
    bedrock: Proxy, upstream: Server, client: Any
) -> None:
    with bedrock.recording() as records:
        client.converse(
            modelId="sonnet:latest",
            messages=[user({"text": "TOKENS:1000,100"})],
            inferenceConfig={"maxTokens": 9000, "temperature": 0.5},
        )
    (request,) = upstream.requests
    assert_signed(request, OPERATOR_SECRET)
    assert request.target == f"/model/{quote(MODEL, safe='')}/converse"
    assert json.loads(request.body)["inferenceConfig"] == {"maxTokens": 500, "temperature": 0.5}
    assert (records.interception["model"], records.usage["model"]) == ("sonnet:latest", MODEL)
    assert records.usage["cost_nano_usd"] > 0


def test_fallback_to_another_region_is_signed_for_it_and_priced_as_its_model(
    bedrock: Proxy, upstream: Server
) -> None:
    url = f"http://127.0.0.1:{bedrock.reverse_port}/bedrock-away/model/eu.model/converse"
    said = [{"role": "user", "content": [{"text": "TOKENS:1000,100"}]}]
    with bedrock.recording() as records:
        answer = httpx.post(url, json={"messages": said}, trust_env=False)
    assert answer.headers["x-aibridge-served-by"] == f"bedrock/{MODEL}"
    (request,) = upstream.requests
    assert_signed(request, OPERATOR_SECRET)
    assert f"/{REGION}/" in (request.header("authorization") or "")
    assert request.target == f"/model/{quote(MODEL, safe='')}/converse"
    assert (records.interception["provider_name"], records.interception["model"]) == (
        "bedrock",
        "eu.model",
    )
    assert (records.usage["model"], records.usage["cost_nano_usd"] > 0) == (MODEL, True)


def test_client_without_credentials_is_signed_for(bedrock: Proxy, upstream: Server) -> None:
    url = f"http://127.0.0.1:{bedrock.reverse_port}/bedrock/model/{MODEL}/invoke"
    body = {"max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    httpx.post(url, json=body, trust_env=False).raise_for_status()
    assert_signed(upstream.requests[0], OPERATOR_SECRET)


def test_bearer_key_of_a_client_is_passed_on_unsigned(bedrock: Proxy, upstream: Server) -> None:
    url = f"http://127.0.0.1:{bedrock.reverse_port}/bedrock/model/{MODEL}/invoke"
    body = {"max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"authorization": "Bearer bedrock-api-key-of-the-client"}
    httpx.post(url, json=body, headers=headers, trust_env=False).raise_for_status()
    (request,) = upstream.requests
    assert request.header("authorization") == headers["authorization"]
    assert request.header("x-amz-date") is None


@pytest.mark.parametrize("stream", [True, False])
def test_central_tool_is_called_within_one_request(
    bedrock: Proxy, upstream: Server, stream: bool
) -> None:
    said = f'USE_TOOL:{ADD} ARGS:{{"a": 2, "b": 40}} SAY:Moment'
    asked: Any = {
        "model": MODEL,
        "max_tokens": 99,
        "messages": [{"role": "user", "content": said}],
    }
    client = anthropic.AnthropicBedrock(
        aws_region=REGION,
        base_url=f"http://127.0.0.1:{bedrock.reverse_port}/bedrock",
        aws_access_key="none",
        aws_secret_key="none",
        max_retries=0,
        http_client=anthropic.DefaultHttpxClient(trust_env=False),
    )
    with bedrock.recording() as records, client:
        if stream:
            with client.messages.stream(**asked) as events:
                message = events.get_final_message()
        else:
            message = client.messages.create(**asked)

    texts = [block.text for block in message.content if block.type == "text"]
    assert "".join(texts).endswith("The tool returned: 42")
    assert message.stop_reason == "end_turn"
    first, second = upstream.requests
    for request in (first, second):
        assert_signed(request, OPERATOR_SECRET)
    assert ADD in {tool["name"] for tool in json.loads(first.body)["tools"]}
    [call] = records.tool_usages
    assert (call["tool"], call["injected"]) == ("add", 1)
    assert len(records.token_usages) == 2


OWN: Any = {"toolSpec": {"name": "own", "inputSchema": {"json": {"type": "object"}}}}


def converse(client: Any, messages: list[Any], *, stream: bool) -> tuple[list[Any], str, Any]:
    """Return content, stop reason and usage that boto3 reads of Converse."""
    asked: Any = {"modelId": MODEL, "messages": messages, "toolConfig": {"tools": [OWN]}}
    if not stream:
        answer = client.converse(**asked)
        return answer["output"]["message"]["content"], answer["stopReason"], answer["usage"]
    reader = ConverseReader()
    for event in client.converse_stream(**asked)["stream"]:
        for kind, data in event.items():
            reader.feed(Event(kind.encode(), json.dumps(data).encode(), b""))
    message = reader.message()
    return message["output"]["message"]["content"], message["stopReason"], message["usage"]


def user(*blocks: Any) -> Any:
    return {"role": "user", "content": list(blocks)}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_central_tool_is_called_within_one_request_of_converse(
    bedrock: Proxy, upstream: Server, client: Any, stream: bool
) -> None:
    said = f'USE_TOOL:{ADD} ARGS:{{"a": 2, "b": 40}} SAY:Moment TOKENS:100,20'
    with bedrock.recording() as records:
        content, stop_reason, usage = converse(client, [user({"text": said})], stream=stream)

    assert [block["text"] for block in content] == ["Moment", "The tool returned: 42"]
    assert stop_reason == "end_turn"
    assert (usage["inputTokens"], usage["outputTokens"]) == (100, 40)
    for request in upstream.requests:
        assert_signed(request, OPERATOR_SECRET)
    first, second = (json.loads(request.body) for request in upstream.requests)
    names = [tool["toolSpec"]["name"] for tool in first["toolConfig"]["tools"]]
    assert names == [ADD, "own"]
    [result] = second["messages"][-1]["content"]
    assert result["toolResult"]["content"] == [{"text": "42"}]
    [call] = records.tool_usages
    assert (call["tool"], call["injected"]) == ("add", 1)
    assert [row["output_tokens"] for row in records.token_usages] == [20, 20]


def test_call_of_the_client_beside_a_hidden_call_gets_both_results_back(
    bedrock: Proxy, upstream: Server, client: Any
) -> None:
    said = f'USE_TOOL:{ADD} USE_TOOL:own ARGS:{{"a": 2, "b": 40}} ARGS:{{}}'
    question = user({"text": said})
    content, stop_reason, _ = converse(client, [question], stream=True)
    [call] = [block["toolUse"] for block in content if "toolUse" in block]
    assert (call["name"], stop_reason) == ("own", "tool_use")

    result = {"toolUseId": call["toolUseId"], "content": [{"text": "mine"}]}
    turn = {"role": "assistant", "content": content}
    answer, _, _ = converse(client, [question, turn, user({"toolResult": result})], stream=True)
    assert answer[-1]["text"] == "The tool returned: 42 | mine"
    sent = json.loads(upstream.requests[-1].body)["messages"]
    assert [block["toolUse"]["name"] for block in sent[1]["content"] if "toolUse" in block] == [
        ADD,
        "own",
    ]


def test_token_count_of_invoke_includes_tools_and_hidden_turns(
    bedrock: Proxy, upstream: Server, client: Any
) -> None:
    said = {"role": "user", "content": f'USE_TOOL:{ADD} ARGS:{{"a": 2, "b": 40}}'}
    asked = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 99, "messages": [said]}
    answer = json.loads(client.invoke_model(modelId=MODEL, body=json.dumps(asked))["body"].read())
    turn = {"role": "assistant", "content": answer["content"]}
    asked["messages"] = [said, turn, {"role": "user", "content": "And now?"}]
    client.count_tokens(modelId=MODEL, input={"invokeModel": {"body": json.dumps(asked).encode()}})

    request = upstream.requests[-1]
    assert_signed(request, OPERATOR_SECRET)
    sent = json.loads(b64decode(json.loads(request.body)["input"]["invokeModel"]["body"]))
    assert sent["tools"][0]["name"] == ADD
    kinds = [block["type"] for message in sent["messages"][1:-1] for block in message["content"]]
    assert kinds == ["text", "tool_use", "tool_result", "text"]


def test_token_count_includes_the_central_tools(upstream: Server, client: Any) -> None:
    counted = {"converse": {"messages": [user({"text": "hi"})]}}
    answer = client.count_tokens(modelId=MODEL, input=counted)
    assert answer["inputTokens"] > 0
    (request,) = upstream.requests
    assert_signed(request, OPERATOR_SECRET)
    config = json.loads(request.body)["input"]["converse"]["toolConfig"]
    assert config["tools"][0]["toolSpec"]["name"] == ADD
