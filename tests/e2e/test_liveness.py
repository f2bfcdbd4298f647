"""Tests of liveness: the client has every event before the next one exists.

The stand-in withholds each event until the client has the one before. Were anything on the way to
hold back a single event, client and provider would wait for each other until the client gives up.
"""

import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast

import brotli
import httpx2
import pytest
import zstandard
from standin import Gate, Provider, Request, Response, Server, Wait
from standin.codings import CODINGS

from e2e.asking import API, APIS
from e2e.clients import WAYS, Clients, Way
from e2e.places import PLACES, Place
from e2e.proxy import Proxy

each_way = pytest.mark.parametrize("way", WAYS, ids=str)
each_api = pytest.mark.parametrize("api", APIS, ids=str)
each_coding = pytest.mark.parametrize("coding", CODINGS)

FIXTURES = Path(__file__).parents[1] / "fixtures"
_numbers = count()

PATIENCE_S = 10.0
"""Seconds after which a client stops waiting for an event."""


@each_way
@each_api
@each_coding
def test_client_has_each_event_before_the_next_is_sent(
    clients: Clients, provider: Provider, proxy: Proxy, way: Way, api: API, coding: str
) -> None:
    name = f"lockstep_{next(_numbers)}"
    gate = provider.gate(name)
    prompt = f"THINK USE_TOOL CODING:{coding} GATE:{name}"
    body = api.body(prompt, stream=True, tools=["get_weather"])
    url = clients.url(way, api.provider, api.path)
    events = 0
    with (
        proxy.recording() as records,
        clients.http(way) as client,
        client.stream("POST", url, json=body, timeout=PATIENCE_S) as response,
    ):
        for _ in _events(response, coding):
            events += 1
            gate.release()
    assert events > 10
    assert records.interception["status"] == "completed"
    assert len(records.tool_usages) == 1


@pytest.mark.both_ways
@each_way
def test_client_of_every_other_api_has_each_event_before_the_next_is_sent(
    clients: Clients, provider: Provider, proxy: Proxy, way: Way
) -> None:
    with proxy.recording() as records, clients.http(way) as client:
        streams = list(_streams_of_other_apis())
        for place, events in streams:
            gate = Gate()
            parts = [part for event in events for part in (event, Wait(gate))]
            headers = [("content-type", place.media_type), ("x-odd", "1")]
            provider.canned["in lockstep"] = partial(_respond, headers, parts)
            url = clients.url(way, place.provider, place.path_of(stream=True))
            with client.stream(
                *("POST", url),
                json={"model": "m", "stream": True, "stream_format": "sse"},
                headers={"x-standin-canned": "in lockstep"},
                timeout=PATIENCE_S,
            ) as response:
                received, chunks = b"", response.iter_raw()
                for number in range(len(events)):
                    whole = b"".join(events[: number + 1])
                    while len(received) < len(whole):
                        received += next(chunks)
                    assert received == whole, place
                    gate.release()
                assert list(chunks) == [], (
                    "what is recorded at once is what the client saw the end of"
                )
    assert len(streams) > 10
    assert len(records.interceptions) == len(streams)
    assert {row["streaming"] for row in records.interceptions} == {1}


def _streams_of_other_apis() -> Iterator[tuple[Place, list[bytes]]]:
    """Yield the places of all formats but the three with an inner loop, and a stream for each."""
    for api in PLACES.keys() - {known.name for known in APIS}:
        fixture = next(iter(sorted(FIXTURES.glob(f"{api}/*t*/stream.sse"), reverse=True)), None)
        if fixture is not None:
            yield from ((place, place.events(fixture.read_bytes())) for place in PLACES[api])


def _respond(headers: list[tuple[str, str]], parts: list[Any], request: Request) -> Response:
    return Response(200, headers, parts)


@each_way
@each_api
def test_sdk_has_each_text_delta_before_the_next_is_sent(
    clients: Clients, provider: Provider, way: Way, api: API
) -> None:
    name = f"sdk_{next(_numbers)}"
    gate = provider.gate(name)
    pieces = []
    for piece, last in _pieces_by_sdk(clients, way, api, f"GATE:{name} LONG:5", gate):
        pieces.append(piece)
        assert not last or len(pieces) == 5
    assert "".join(pieces).split() == [f"word{number:04}" for number in range(5)]


@each_way
@each_api
def test_client_has_the_headers_before_the_first_event_is_sent(
    clients: Clients, provider: Provider, way: Way, api: API
) -> None:
    gate = Gate()
    headers = [("content-type", "text/event-stream")]
    provider.canned["headers-first"] = lambda request: Response(
        200, headers, [Wait(gate), b"data: {}\n\n"]
    )
    with (
        clients.http(way, headers={"x-standin-canned": "headers-first"}) as client,
        client.stream(
            "POST",
            clients.url(way, api.provider, api.path),
            json=api.body("hi", stream=True),
            timeout=PATIENCE_S,
        ) as response,
    ):
        assert response.status_code == 200
        gate.open()
        assert response.read() == b"data: {}\n\n"


@each_way
def test_unrecorded_stream_is_relayed_event_by_event(
    clients: Clients, provider: Provider, way: Way
) -> None:
    gate = Gate()
    parts = [part for n in range(5) for part in (b"data: %d\n\n" % n, Wait(gate))]
    headers = [("content-type", "text/event-stream")]
    provider.canned["passing"] = lambda request: Response(200, headers, parts)
    url = clients.url(way, "openai", "/responses/resp_1?stream=true")
    events = []
    with (
        clients.http(way, headers={"x-standin-canned": "passing"}) as client,
        client.stream("GET", url, timeout=PATIENCE_S) as response,
    ):
        for event in _events(response, "identity"):
            events.append(event)
            gate.release()
    assert events == [b"data: %d" % number for number in range(5)]


@each_way
def test_paused_stream_does_not_delay_another(
    clients: Clients, provider: Provider, standin: Server, way: Way
) -> None:
    gate = provider.gate(name := f"waiting_{next(_numbers)}")
    url = clients.url(way, "anthropic", "/v1/messages")
    with clients.http(way) as client:
        waiting = APIS[0].body(f"GATE:{name}", stream=True)
        with client.stream("POST", url, json=waiting, timeout=PATIENCE_S) as response:
            chunks = response.iter_raw()
            assert next(chunks).startswith(b"event: message_start")
            other = client.post(url, json=APIS[0].body("hi", stream=True), timeout=PATIENCE_S)
            assert other.text.endswith("\n\n")
            gate.open()
            rest = b"".join(chunks)
    assert b"message_stop" in rest
    if way.http2:
        assert [request.http_version for request in standin.requests[-2:]] == ["2", "2"]


@each_way
@each_api
def test_client_disconnect_ends_the_upstream_request_and_is_recorded(
    clients: Clients, provider: Provider, proxy: Proxy, standin: Server, way: Way, api: API
) -> None:
    before = proxy.mark()
    url = clients.url(way, api.provider, api.path)
    body = api.body(f"GATE:leaving_{next(_numbers)}", stream=True)
    with (
        clients.http(way) as client,
        client.stream("POST", url, json=body, timeout=PATIENCE_S) as response,
    ):
        assert next(response.iter_raw())
    request = standin.requests[-1]
    standin.wait_until(lambda: request.outcome == "abandoned")
    records = proxy.wait_for_records(
        lambda found: [row for row in found.interceptions if row["ended_at"]], after=before
    )
    assert records.interception["status"] == "cancelled"
    assert records.interception["partial"] == 1


def _events(response: httpx2.Response, coding: str) -> Iterator[bytes]:
    """Yield each event as soon as its bytes are there."""
    decode = _decoder(coding)
    rest = b""
    for chunk in filter(None, response.iter_raw()):
        *whole, rest = (rest + decode(chunk)).split(b"\n\n")
        yield from whole
    assert rest == b""


def _decoder(coding: str) -> Callable[[bytes], bytes]:
    match coding:
        case "gzip":
            return zlib.decompressobj(31).decompress
        case "br":
            return cast(Callable[[bytes], bytes], brotli.Decompressor().process)
        case "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress
    return bytes


def _pieces_by_sdk(
    clients: Clients, way: Way, api: API, prompt: str, gate: Gate
) -> Iterator[tuple[str, bool]]:
    """Stream with the SDK; yield text deltas, and let the provider send one event for each."""
    request: dict[str, Any] = api.request(prompt) | {"stream": True, "timeout": PATIENCE_S}
    if api.provider == "anthropic":
        with clients.anthropic(way) as client:
            for event in client.messages.create(**request):
                if event.type == "content_block_delta":
                    yield event.delta.text, False
                # A ping is an event of its own that the SDK keeps to itself.
                gate.release()
                if event.type == "content_block_start":
                    gate.release()
        return
    with clients.openai(way) as client:
        if api.name == "openai_chat":
            for chunk in client.chat.completions.create(**request):
                if chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content, False
                gate.release()
        else:
            for event in client.responses.create(**request):
                if event.type == "response.output_text.delta":
                    yield event.delta, False
                gate.release()
