"""Amazon Bedrock through a real proxy, with the SDKs that sign requests.

The proxy is set to edit all that it may edit: tools, aliases, usage, headers.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import anthropic
import boto3
import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, EventStreamError
from standin import Provider, Response, Server, ServerThread

from aibridge_addon.formats.decoders.aws_frames import MEDIA_TYPE, chunk_frame, event_frame
from e2e.aws import KEY_ID, REGION, SECRET, SESSION, assert_signed, signed_headers
from e2e.central import ToolServer
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.records import latest_id

MODEL = "global.anthropic.claude-sonnet-4-5-20250929-v1:0"
ARN = f"arn:aws:bedrock:{REGION}:123456789012:inference-profile/{MODEL}"
SAID = "Hello TOKENS:100,20,30,40"
COUNTS = (100, 20, 30, 40)
NANO = 100 * 3000 + 20 * 15000 + 30 * 300 + 40 * 3750
BODY: dict[str, Any] = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 99,
    "messages": [{"role": "user", "content": SAID}],
}
CONVERSE: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": SAID}]}]}


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
def upstream(provider: Provider) -> Iterator[Server]:
    """A stand-in without TLS, which SDKs use as their endpoint."""
    with ServerThread(Server(provider, tls=None)) as server:
        yield server


@pytest.fixture(scope="module")
def bedrock(run_proxy: RunProxy, upstream: Server, tool_server: ToolServer) -> Iterator[Proxy]:
    config = f"""
[[providers]]
name = "bedrock"
type = "bedrock"
base_url = "{upstream.origin}"
hosts = ["127.0.0.1"]
send_actor = true
price_as = "aws"

[[model_rules]]
aliases = {{ "gpt-oss" = "another", "{MODEL}" = "another" }}
max_output_tokens = 10
"""
    with run_proxy(
        upstream.origin,
        config=config,
        servers={"calc": {"url": tool_server.url}},
        options={"aibridge_ask_chat_usage": "always", "aibridge_capture": "all"},
    ) as shared:
        yield shared


@pytest.fixture
def client(bedrock: Proxy, upstream: Server) -> Iterator[Any]:
    """A client of boto3 that uses the forward proxy, with the session of a role."""
    upstream.requests.clear()
    made = boto3.client(
        "bedrock-runtime",
        region_name=REGION,
        endpoint_url=upstream.origin,
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
        aws_session_token=SESSION,
        config=Config(
            proxies={"http": f"http://127.0.0.1:{bedrock.forward_port}"},
            retries={"total_max_attempts": 1},
        ),
    )
    yield made
    made.close()


def converse(client: Any, model: str) -> None:
    answer = client.converse(modelId=model, **CONVERSE)
    assert answer["usage"]["outputTokens"] == 20


def converse_stream(client: Any, model: str) -> None:
    events = list(client.converse_stream(modelId=model, **CONVERSE)["stream"])
    assert events[-1]["metadata"]["usage"]["outputTokens"] == 20


def invoke(client: Any, model: str) -> None:
    answer = client.invoke_model(modelId=model, body=json.dumps(BODY))
    assert json.loads(answer["body"].read())["usage"]["output_tokens"] == 20


def invoke_stream(client: Any, model: str) -> None:
    answer = client.invoke_model_with_response_stream(modelId=model, body=json.dumps(BODY))
    *_, last = answer["body"]
    assert json.loads(last["chunk"]["bytes"])["type"] == "message_stop"


@pytest.mark.parametrize(
    ("ask", "api", "model"),
    [
        (converse, "bedrock_converse", ARN),
        (converse_stream, "bedrock_converse", MODEL),
        (invoke, "bedrock_invoke", MODEL),
        (invoke_stream, "bedrock_invoke", ARN),
    ],
)
def test_request_of_boto3_arrives_as_it_was_signed_and_is_recorded(
    bedrock: Proxy,
    upstream: Server,
    client: Any,
    ask: Callable[[Any, str], None],
    api: str,
    model: str,
) -> None:
    with bedrock.recording() as records:
        ask(client, model)

    (request,) = upstream.requests
    assert_signed(request)
    assert "x-amz-security-token" in signed_headers(request)
    row = records.interception
    assert (row["api"], row["model"], row["status"]) == (api, model, "completed")
    assert (row["provider"], row["partial"]) == ("bedrock", 0)
    assert (row["credential_kind"], row["credential_hint"]) == ("byok", "AKIA...MPLE")
    assert records.counts == COUNTS
    assert records.usage["cost_nano_usd"] == NANO
    assert records.prompts == [SAID]
    files = [path for path in bedrock.directory.rglob("*") if path.is_file()]
    assert not any(SESSION.encode() in path.read_bytes() for path in files)
    warnings = bedrock.log_text().count("do not change the requests of")
    assert warnings == 1 or (api, model) == ("bedrock_converse", ARN)  # which no rule would change
    assert SESSION not in bedrock.log_text()


def sdk(bedrock: Proxy, upstream: Server, **options: Any) -> anthropic.AnthropicBedrock:
    upstream.requests.clear()
    proxy = f"http://127.0.0.1:{bedrock.forward_port}"
    return anthropic.AnthropicBedrock(
        aws_region=REGION,
        base_url=upstream.origin,
        aws_access_key=KEY_ID,
        aws_secret_key=SECRET,
        aws_session_token=SESSION,
        max_retries=0,
        http_client=anthropic.DefaultHttpxClient(proxy=proxy, trust_env=False),
        default_headers={"x-aibridge-actor": "alice"},
        **options,
    )


@pytest.mark.parametrize("model", [MODEL, ARN])
def test_request_of_the_anthropic_sdk_arrives_as_it_was_signed(
    bedrock: Proxy, upstream: Server, model: str
) -> None:
    asked: Any = {"model": model, "max_tokens": 99, "messages": BODY["messages"]}
    with (
        bedrock.recording() as records,
        sdk(bedrock, upstream) as client,
        client.messages.stream(**asked) as stream,
    ):
        message = stream.get_final_message()
    assert message.usage.output_tokens == 20
    (request,) = upstream.requests
    assert_signed(request)
    assert {"accept-encoding", "content-length"} <= set(signed_headers(request))
    assert records.counts == COUNTS
    assert records.interception["model"] == model
    assert records.interception["initiator_id"] == "alice"


def test_request_to_mantle_arrives_as_it_was_signed(bedrock: Proxy, upstream: Server) -> None:
    upstream.requests.clear()
    proxy = f"http://127.0.0.1:{bedrock.forward_port}"
    client = anthropic.AnthropicBedrockMantle(
        aws_region=REGION,
        base_url=f"{upstream.origin}/anthropic",
        aws_access_key=KEY_ID,
        aws_secret_key=SECRET,
        max_retries=0,
        http_client=anthropic.DefaultHttpxClient(proxy=proxy, trust_env=False),
    )
    with bedrock.recording() as records, client:
        client.messages.create(model="gpt-oss", max_tokens=99, messages=BODY["messages"])
    (request,) = upstream.requests
    assert_signed(request)
    assert "/bedrock-mantle/" in (request.header("authorization") or "")
    row = records.interception
    assert (row["provider"], row["api"], row["status"]) == (
        "bedrock",
        "anthropic_messages",
        "completed",
    )


def test_signed_chat_completion_is_not_edited(bedrock: Proxy, upstream: Server) -> None:
    upstream.requests.clear()
    asked = {"model": "gpt-oss", "stream": True, "max_tokens": 99, "messages": BODY["messages"]}
    url = f"{upstream.origin}/openai/v1/chat/completions"
    made = AWSRequest("POST", url, {"accept-encoding": "gzip"}, json.dumps(asked))
    SigV4Auth(Credentials(KEY_ID, SECRET), "bedrock", REGION).add_auth(made)
    body = made.prepare().body

    with (
        bedrock.recording() as records,
        httpx.Client(proxy=f"http://127.0.0.1:{bedrock.forward_port}", trust_env=False) as client,
    ):
        client.post(url, headers=dict(made.headers), content=body).raise_for_status()

    (request,) = upstream.requests
    assert_signed(request)
    assert json.loads(request.body) == asked
    assert records.interception["model"] == "gpt-oss"


def test_stream_that_ends_without_its_last_event_is_partial(
    bedrock: Proxy, upstream: Server, client: Any
) -> None:
    said = {"role": "user", "content": [{"text": "CUT please"}]}
    before = latest_id(bedrock.database)
    stream = client.converse_stream(modelId=MODEL, messages=[said])["stream"]
    with closing(stream), pytest.raises(Exception, match="prematurely"):
        list(stream)
    records = bedrock.wait_for_records(lambda found: found.interceptions, after=before)
    row = records.interception
    assert (row["status"], row["partial"]) == ("failed", 1)
    assert records.token_usages == []


def test_exception_in_a_stream_is_recorded_by_its_type(
    bedrock: Proxy, upstream: Server, client: Any
) -> None:
    said = {"role": "user", "content": [{"text": "ERROR_EVENT"}]}
    with bedrock.recording() as records:
        stream = client.converse_stream(modelId=MODEL, messages=[said])["stream"]
        with closing(stream), pytest.raises(EventStreamError, match="Too many requests"):
            list(stream)
    row = records.interception
    assert (row["status"], row["error_type"]) == ("failed", "throttlingException")


def test_error_is_recorded_by_its_type(bedrock: Proxy, upstream: Server, client: Any) -> None:
    said = {"role": "user", "content": [{"text": "STATUS:429"}]}
    with bedrock.recording() as records, pytest.raises(ClientError, match="ThrottlingException"):
        client.converse(modelId=MODEL, messages=[said])
    row = records.interception
    assert (row["http_status"], row["error_type"]) == (429, "ThrottlingException")


START = {"id": "msg_1", "usage": {"input_tokens": 3, "output_tokens": 1}}
FRAMES = [
    chunk_frame(json.dumps({"type": "message_start", "message": START}).encode()),
    event_frame("somethingNew", b'{"a": 1}'),
    chunk_frame(b'{"type":"ping"}')[:-1] + b"\0",  # a wrong checksum
    chunk_frame(b'{"type":"message_delta","delta":{},"usage":{"output_tokens":5}}'),
    chunk_frame(b'{"type":"message_stop"}'),
]


@pytest.mark.parametrize("cut", [0, 20], ids=["whole", "cut"])
def test_frames_are_relayed_byte_for_byte(
    bedrock: Proxy, upstream: Server, provider: Provider, cut: int
) -> None:
    stream = b"".join(FRAMES)
    stream = stream[: len(stream) - cut]
    pieces = [stream[at : at + 7] for at in range(0, len(stream), 7)]
    headers = [("content-type", MEDIA_TYPE), ("x-amzn-requestid", "req-1")]
    provider.canned["frames"] = lambda request: Response(200, headers, pieces)
    url = f"{upstream.origin}/model/{MODEL}/invoke-with-response-stream"
    proxy = f"http://127.0.0.1:{bedrock.forward_port}"
    with (
        bedrock.recording() as records,
        httpx.Client(proxy=proxy, trust_env=False) as client,
    ):
        answer = client.post(url, json=BODY, headers={"x-standin-canned": "frames"})

    assert answer.content == stream
    row = records.interception
    assert (row["status"], row["partial"]) == ("completed", 1)
    assert records.counts[:2] == (3, 5)


def test_presigned_request_keeps_its_query_and_shows_none_of_its_secrets(
    bedrock: Proxy, upstream: Server
) -> None:
    upstream.requests.clear()
    query = f"X-Amz-Signature=00ff00ff00ff00ff&X-Amz-Credential={KEY_ID}%2Fscope&x=%7e"
    url = f"{upstream.origin}/model/{MODEL}/converse?{query}"
    proxy = f"http://127.0.0.1:{bedrock.forward_port}"
    with httpx.Client(proxy=proxy, trust_env=False) as client:
        client.post(httpx.URL(url), json=CONVERSE).raise_for_status()
    (request,) = upstream.requests
    assert request.target.partition("?")[2] == query
    assert json.loads(request.body) == CONVERSE
    assert "00ff00ff00ff00ff" not in bedrock.log_text()
