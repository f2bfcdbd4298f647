"""Amazon Bedrock through the reverse proxy: signed anew with the operator's credentials."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import boto3
import httpx
import pytest
from botocore.config import Config
from standin import Provider, Server, ServerThread

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


def test_signature_of_a_client_is_replaced_by_the_operators(
    bedrock: Proxy, upstream: Server
) -> None:
    client = boto3.client(
        "bedrock-runtime",
        region_name="eu-west-1",
        endpoint_url=f"http://127.0.0.1:{bedrock.reverse_port}/bedrock",
        aws_access_key_id="AKIACLIENT",
        aws_secret_access_key="whatever",
        config=Config(retries={"total_max_attempts": 1}),
    )
    said: Any = {"role": "user", "content": [{"text": "Hello TOKENS:9,2"}]}
    with bedrock.recording() as records:
        answer = client.converse(modelId=MODEL, messages=[said])
    client.close()

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
