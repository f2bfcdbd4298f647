"""Tests of OpenAI Realtime with the SDK's WebSocket client, through both proxies."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from openai import OpenAI
from standin import Part, Provider, Request, Server, Upgrade

from e2e.clients import OPENAI_KEY, Clients, Way
from e2e.conftest import StartProxy
from e2e.proxy import Proxy
from e2e.sockets import Socket
from e2e.test_tokens import CENTRAL, token

FORWARD, REVERSE = Way("forward"), Way("reverse")
pytestmark = pytest.mark.filterwarnings(
    "ignore:connect\\(\\) must be used as a context manager:DeprecationWarning"
)
each_way = pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)
CANNED = {"x-standin-canned": "realtime"}
USAGE = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {
        "text_tokens": 119,
        "audio_tokens": 13,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}
# Of gpt-realtime, per million tokens: audio 9 · 32, cached audio 4 · 0.4, text 59 · 4,
# cached text 60 · 0.4, and audio 91 · 64, text 30 · 16.
COST = 9 * 32_000 + 4 * 400 + 59 * 4_000 + 60 * 400 + 91 * 64_000 + 30 * 16_000


def serve_realtime(provider: Provider) -> None:
    """Let the stand-in speak Realtime: a response to each request, and a transcript of audio."""
    number = 0

    async def answer(message: bytes) -> AsyncIterator[Part]:
        nonlocal number
        asked = json.loads(message)
        if asked["type"] == "input_audio_buffer.commit":
            yield json.dumps(
                {
                    "type": "conversation.item.input_audio_transcription.completed",
                    "event_id": "e",
                    "item_id": "item_1",
                    "content_index": 0,
                    "transcript": "Turn on the light.",
                    "usage": {"type": "duration", "seconds": 2.5},
                }
            ).encode()
        if asked["type"] in ("input_audio_buffer.commit", "response.create"):
            number += 1
            response = {"object": "realtime.response", "id": f"resp_{number}", "output": []}
            created = {**response, "status": "in_progress"}
            done = {**response, "status": "completed", "usage": USAGE}
            for kind, told in (("response.created", created), ("response.done", done)):
                yield json.dumps({"type": kind, "event_id": "e", "response": told}).encode()

    def open_session(request: Request) -> Upgrade:
        return Upgrade(answer)

    provider.canned["realtime"] = open_session


def options(clients: Clients, proxy: Proxy, way: Way) -> Any:
    """Return the options of the SDK's WebSocket for a way to the provider."""
    if way == FORWARD:
        return {"proxy": proxy.forward_url, "ssl": clients.trust()}
    return {"proxy": None}


def sdk(clients: Clients, way: Way) -> OpenAI:
    return clients.openai(way, default_headers=CANNED)


@each_way
def test_session_of_the_sdk_is_recorded_with_audio_tokens_and_prices(
    proxy: Proxy, clients: Clients, provider: Provider, standin: Server, way: Way
) -> None:
    serve_realtime(provider)
    with proxy.recording() as records, sdk(clients, way) as client:
        session = client.realtime.connect(
            model="gpt-realtime", websocket_connection_options=options(clients, proxy, way)
        )
        with session as connection:
            transcription: Any = {"model": "whisper-1"}
            audio: Any = {"input": {"transcription": transcription}}
            connection.session.update(session={"type": "realtime", "audio": audio})
            content: Any = [{"type": "input_text", "text": "Say hello."}]
            connection.conversation.item.create(
                item={"type": "message", "role": "user", "content": content}
            )
            connection.response.create()
            assert [connection.recv().type for _ in range(2)][-1] == "response.done"
            connection.input_audio_buffer.append(audio="AAAA" * 1000)
            connection.input_audio_buffer.commit()
            assert [connection.recv().type for _ in range(3)][-1] == "response.done"
    asked, said, begun = records.interceptions
    assert [row["model"] for row in (asked, said, begun)] == [
        *("gpt-realtime", "whisper-1", "gpt-realtime")
    ]
    assert {row["api"] for row in (asked, said, begun)} == {"openai_realtime"}
    assert {row["status"] for row in (asked, said, begun)} == {"completed"}
    assert records.prompts == ["Say hello.", "Turn on the light."]
    usages = {row["interception_id"]: row for row in records.token_usages}
    for row in (asked, begun):
        assert usages[row["id"]]["input_tokens"] == 68
        assert usages[row["id"]]["cost_nano_usd"] == COST
    transcript = usages[said["id"]]
    assert transcript["input_tokens"] is None
    assert transcript["extra"]["input_audio_seconds"] == 2.5
    assert transcript["cost_nano_usd"] == 250_000
    sent = [json.loads(b"".join(frames))["type"] for frames in standin.requests[-1].messages]
    assert sent[-2:] == ["input_audio_buffer.append", "input_audio_buffer.commit"]


@each_way
def test_responses_over_a_websocket_of_the_sdk_need_no_beta_header(
    proxy: Proxy, clients: Clients, standin: Server, way: Way
) -> None:
    with proxy.recording() as records, clients.openai(way) as client:
        session = client.responses.connect(
            websocket_connection_options=options(clients, proxy, way)
        )
        with session as connection:
            connection.response.create(model="gpt-5", input="Hi. TOKENS:7,5,3,2")
            while connection.recv().type != "response.completed":
                pass
    assert standin.requests[-1].header("openai-beta") is None
    assert records.counts == (7, 5, 3, 2)
    assert records.prompts == ["Hi. TOKENS:7,5,3,2"]


@each_way
def test_key_of_a_browser_among_the_protocols_is_relayed_and_never_shown(
    proxy: Proxy, clients: Clients, provider: Provider, standin: Server, way: Way
) -> None:
    serve_realtime(provider)
    offered = f"realtime, openai-insecure-api-key.{OPENAI_KEY}"
    headers = CANNED | {"sec-websocket-protocol": offered}
    url = clients.url(way, "openai", "/realtime")
    with (
        proxy.recording() as records,
        Socket(clients, way, headers=headers, url=f"{url}?model=gpt-realtime") as socket,
    ):
        socket.send({"type": "response.create"})
        assert [socket.event()["type"] for _ in range(2)][-1] == "response.done"
    assert standin.requests[-1].header("sec-websocket-protocol") == offered
    assert records.interception["credential_kind"] == "byok"
    assert records.interception["credential_hint"] == "sk-p...ghij"
    assert OPENAI_KEY not in proxy.log_text()


def test_access_token_among_the_protocols_is_replaced_by_the_central_key(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    provider: Provider,
    standin: Server,
) -> None:
    serve_realtime(provider)
    proxy = start_proxy(env=CENTRAL)
    text = token(proxy, models=("gpt-realtime",))
    clients = clients_of(proxy)
    url = clients.url(REVERSE, "openai", "/realtime")

    def connect(model: str) -> Socket:
        offered = f"realtime, openai-insecure-api-key.{text}"
        headers = CANNED | {"sec-websocket-protocol": offered}
        return Socket(clients, REVERSE, headers=headers, url=f"{url}?model={model}")

    with connect("gpt-realtime") as socket:
        socket.send({"type": "response.create"})
        assert [socket.event()["type"] for _ in range(2)][-1] == "response.done"
        socket.send({"type": "session.update", "session": {"model": "gpt-5"}})
        assert socket.event()["type"] == "error"
    request = standin.requests[-1]
    assert request.header("sec-websocket-protocol") == "realtime"
    assert request.header("authorization") == f"Bearer {CENTRAL['OPENAI_API_KEY']}"
    assert [len(request.messages), text in str(request.headers)] == [1, False]
    with connect("gpt-5") as refused:
        assert refused.status == 400
    assert proxy.records.interceptions[0]["credential_kind"] == "centralized"
