"""Tests of OpenAI's smaller APIs with its SDK: recorded, priced and relayed, by both proxies.

The stand-in answers with the fixtures of the wire formats.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI
from standin import Provider, Request, Response, Server, Wait

from e2e.clients import OPENAI_KEY, Clients, Way
from e2e.conftest import StartProxy
from e2e.proxy import Proxy
from e2e.records import Records
from e2e.test_tokens import token

FIXTURES = Path(__file__).parents[1] / "fixtures"
AUDIO = b"\xff\xfb\x90\x64" + bytes(range(256)) * 40
each_way = pytest.mark.parametrize("way", [Way("forward"), Way("reverse", http2=True)], ids=str)


def answer(provider: Provider, fixture: str, body: bytes = b"", media_type: str = "") -> None:
    """Let the stand-in answer with a fixture, or with a body."""
    is_stream = fixture.endswith(".sse")
    content = body or (FIXTURES / fixture).read_bytes()
    kind = media_type or ("text/event-stream" if is_stream else "application/json")

    def respond(request: Request) -> Response:
        pieces = [content[n : n + 997] for n in range(0, len(content), 997)]
        return Response(200, [("content-type", kind)], pieces)

    provider.canned["other"] = respond


def sdk(clients: Clients, way: Way) -> OpenAI:
    """Return the SDK, whose requests the stand-in answers as `answer` told it to."""
    return clients.openai(way, default_headers={"x-standin-canned": "other"})


def row(records: Records) -> tuple[Any, ...]:
    """Return format, status, and the usage with its price."""
    usage = records.usage
    return (
        records.interception["api"],
        records.interception["status"],
        usage["input_tokens"],
        usage["output_tokens"],
        usage["extra"],
        usage["cost_nano_usd"],
    )


@each_way
def test_forms_of_the_sdk_are_read_and_relayed_byte_for_byte(
    proxy: Proxy, clients: Clients, provider: Provider, standin: Server, way: Way
) -> None:
    sent: list[bytes] = []
    http_client = clients.http(way, event_hooks={"request": [lambda r: sent.append(r.read())]})
    headers = {"x-standin-canned": "other"}
    with clients.openai(way, http_client=http_client, default_headers=headers) as client:
        answer(provider, "openai_transcriptions/tokens/stream.sse")
        with proxy.recording() as records:
            list(
                client.audio.transcriptions.create(
                    model="gpt-4o-transcribe", file=("a.mp3", AUDIO), stream=True
                )
            )
        assert records.interception["model"] == "gpt-4o-transcribe"
        assert records.interception["streaming"] == 1
        assert row(records)[:4] == ("openai_transcriptions", "completed", 14, 45)
        assert standin.requests[-1].body == sent[-1]

        answer(provider, "openai_transcriptions/seconds/answer.json")
        with proxy.recording() as records:
            client.audio.transcriptions.create(model="whisper-1", file=("a.mp3", AUDIO))
        assert row(records)[2:] == (None, None, {"input_audio_seconds": 9.5}, 950_000)

        answer(provider, "openai_images/url_without_usage/answer.json")
        with proxy.recording() as records:
            client.images.edit(model="dall-e-2", image=("a.png", b"\x89PNG"), prompt="Add a hat")
        assert records.interception["model"] == "dall-e-2"
        assert records.prompts == ["Add a hat"]
        assert records.token_usages == []
        assert standin.requests[-1].body == sent[-1]


@each_way
def test_speech_is_relayed_as_it_comes_and_recorded_without_usage(
    proxy: Proxy, clients: Clients, provider: Provider, way: Way
) -> None:
    gate = provider.gate(f"speech-{way}")

    def respond(request: Request) -> Response:
        return Response(200, [("content-type", "audio/mpeg")], [AUDIO, Wait(gate), AUDIO])

    provider.canned["other"] = respond
    with sdk(clients, way) as client, proxy.recording() as records:
        speech = client.audio.speech.with_streaming_response
        with speech.create(model="tts-1", input="Hello", voice="alloy") as response:
            pieces = response.iter_bytes(1)
            heard = b"".join(next(pieces) for _ in AUDIO)  # before the rest was sent
            gate.release()
            heard += b"".join(pieces)
    assert heard == AUDIO * 2
    assert records.interception["status"] == "completed"
    assert (records.interception["api"], records.token_usages) == ("openai_speech", [])
    assert records.prompts == []


def test_model_limits_of_an_access_token_hold_in_a_form(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], provider: Provider
) -> None:
    answer(provider, "openai_transcriptions/seconds/answer.json")
    proxy = start_proxy()
    limited = token(proxy, models=("whisper-*",))
    clients = clients_of(proxy)

    def ask(models: list[str]) -> httpx2.Response:
        headers = {
            "authorization": f"Bearer {OPENAI_KEY}",
            "x-aibridge-token": limited,
            "x-standin-canned": "other",
        }
        with clients.http(Way("reverse")) as client:
            return client.post(
                clients.url(Way("reverse"), "openai", "/audio/transcriptions"),
                data={"model": models},
                files={"file": ("a.mp3", AUDIO)},
                headers=headers,
            )

    assert ask(["whisper-1"]).status_code == 200
    for models in (["gpt-4o-transcribe"], ["whisper-1", "gpt-4o-transcribe"], []):
        refused = ask(models)
        assert refused.status_code == 400, models
        assert "aibridge" in json.loads(refused.content)["error"]["message"]
