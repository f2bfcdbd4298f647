"""Tests of byte identity: bodies in both directions, and all headers but hop-by-hop headers.

The bodies are the wire fixtures, so whatever the readers are tested with is proved to pass too.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from standin import Provider, Request, Response, Server
from standin.codings import CODINGS, encode

from e2e.asking import API, APIS
from e2e.clients import WAYS, Clients, Way
from e2e.places import PLACES, Place
from e2e.proxy import Proxy

FIXTURES = Path(__file__).parents[1] / "fixtures"

each_way = pytest.mark.parametrize("way", WAYS, ids=str)
each_coding = pytest.mark.parametrize("coding", CODINGS)

HOP_BY_HOP = {
    b"connection",
    b"host",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"transfer-encoding",
    b"upgrade",
}
FRAMING = {b"content-length", b"transfer-encoding"}
FRAMINGS = ("announced", "in pieces")

_QUESTION = {
    "model": "m",
    "messages": [{"role": "user", "content": "hi"}],
    "input": "hi",
    "prompt": "hi",
    "stream_format": "sse",
    "stream_options": {"include_usage": True},
}


class Fixture(NamedTuple):
    """The body of a response, and where it comes from."""

    name: str
    place: Place
    body: bytes
    content_type: str
    is_stream: bool


def _answers() -> list[Fixture]:
    return [
        _fixture(path, place)
        for path in sorted(FIXTURES.glob("*/*/*"))
        if path.name in ("stream.sse", "answer.json")
        for place in PLACES.get(path.parts[-3], ())
    ]


def _fixture(path: Path, place: Place) -> Fixture:
    name = f"{path.relative_to(FIXTURES)} of {place.provider}"
    body = path.read_bytes()
    if path.name == "answer.json":
        return Fixture(name, place, body, "application/json", is_stream=False)
    body = b"".join(place.events(body)) if place.frame else body
    return Fixture(name, place, body, place.media_type, is_stream=True)


def _requests() -> list[tuple[Place, str, bytes]]:
    return [
        (place, name, body)
        for api, (place, *_) in PLACES.items()
        for name, body in (_recorded_requests(api) | _ODD_REQUESTS).items()
    ]


def _recorded_requests(api: str) -> dict[str, bytes]:
    return {
        str(path.relative_to(FIXTURES)): path.read_bytes()
        for path in sorted(FIXTURES.glob(f"{api}/*/request.json"))
    }


_ODD_REQUESTS = {
    "nothing": b"",
    "not JSON": b"what is this? \xff\x00",
    "not an object": b"[1, 2]",
    "odd but legal": (
        b' {"model" :"m","model":"n",\t"x":1.0e+02,"messages":[ ],"u":"\\u00e9\xc3\xa9"}\r\n'
    ),
    "half a surrogate": b'{"model":"m","messages":[{"role":"user","content":"\\ud83d"}]}',
    "invalid UTF-8": b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}',
    "large": b'{"model":"m","messages":[{"role":"user","content":"' + b"word " * 100_000 + b'"}]}',
}


def _pieces(body: bytes, size: int) -> list[Any]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def _in_turn[T](cases: Iterable[T], way: Way, coding: str, framing: str) -> list[T]:
    """Return the cases of a cell: without a coding half, else an eighth.

    So each case passes each way uncoded, each coding in one of the ways, and both framings. A
    framing is undone before anything reads a body, so not each case needs each coding in both.
    """
    place, in_pieces = WAYS.index(way), FRAMINGS.index(framing)
    if coding == "identity":  # each HTTP version and each mode has a case in both framings
        turn, cells = place + place // 2 + in_pieces, len(FRAMINGS)
    else:
        turn = list(CODINGS).index(coding) + place + len(WAYS) * in_pieces
        cells = len(WAYS) * len(FRAMINGS)
    return [case for number, case in enumerate(cases) if (number + turn) % cells == 0]


@each_way
@each_coding
@pytest.mark.parametrize("framing", FRAMINGS)
def test_responses_are_relayed_byte_for_byte(
    clients: Clients, provider: Provider, way: Way, coding: str, framing: str
) -> None:
    fixtures = _in_turn(_answers(), way, coding, framing)
    assert fixtures
    changed = []
    with clients.http(way) as client:
        for fixture in fixtures:
            wire = encode(fixture.body, coding)
            headers = [("X-Odd", "a,  b"), ("X-Odd", "c")]
            if not way.http2:  # else the first bytes tell what it is
                headers.append(("Content-Type", fixture.content_type))
            if coding != "identity":
                headers.append(("Content-Encoding", coding))
            body = wire if framing == "announced" else _pieces(wire, 61)
            _can(provider, Response(200, headers, body))
            place = fixture.place
            url = clients.url(way, place.provider, place.path_of(stream=fixture.is_stream))
            question = {**_QUESTION, "stream": fixture.is_stream}
            got = _exchange(client, url, json=question)
            if got.raw != wire or got.headers != _as_received(headers, way):
                changed.append(fixture.name)
    assert changed == []


@each_way
@each_coding
@pytest.mark.parametrize("framing", FRAMINGS)
def test_requests_are_relayed_byte_for_byte(
    clients: Clients, provider: Provider, standin: Server, way: Way, coding: str, framing: str
) -> None:
    _can(provider, Response(200, [("content-type", "application/json")], b"{}"))
    requests = _in_turn(_requests(), way, coding, framing)
    assert requests
    changed = []
    with clients.http(way) as client:
        for place, name, body in requests:
            url = clients.url(way, place.provider, f"{place.path}?beta=true")
            headers = {} if coding == "identity" else {"Content-Encoding": coding}
            wire = encode(body, coding)
            sent = wire if framing == "announced" else iter(_pieces(wire, 4001))
            _exchange(client, url, content=sent, headers=headers)
            if standin.requests[-1].body != wire:
                changed.append((place.path, name))
    assert changed == []


@each_way
@pytest.mark.parametrize("api", APIS, ids=str)
def test_request_headers_are_relayed_except_hop_by_hop_headers(
    clients: Clients, provider: Provider, standin: Server, way: Way, api: API
) -> None:
    _can(provider, Response(200, [("content-type", "application/json")], b"{}"))
    headers = [
        ("Authorization", "Bearer sk-ant-oat01-0123456789abcdefghij"),
        ("X-Api-Key", "sk-ant-api03-0123456789abcdefghij"),
        ("anthropic-beta", "oauth-2025-04-20,prompt-caching-2024-07-31"),
        ("anthropic-version", "2023-06-01"),
        ("X-Custom", "one"),
        ("x-custom", "two,  three"),
        ("X-Empty", ""),
        ("Cookie", "session=abc; other=def"),
        ("User-Agent", "claude-cli/2.1.197 (external, sdk-cli)"),
        ("OpenAI-Organization", "org-1"),
    ]
    url = clients.url(way, api.provider, api.path)
    with clients.http(way) as client:
        got = _exchange(client, url, json=api.body("hi"), headers=headers)
    sent = [pair for pair in got.request.headers.raw if pair[0].lower() not in HOP_BY_HOP]
    if way.http2:
        sent = [(name.lower(), value) for name, value in sent]
    request = standin.requests[-1]
    received = [
        (name.encode(), value.encode())
        for name, value in request.headers
        if name.lower().encode() not in HOP_BY_HOP
    ]
    assert received == sent
    origin = standin.origin.removeprefix("https://")
    assert (request.authority if way.http2 else request.header("host")) == origin


@each_way
def test_proxy_credentials_and_hop_by_hop_headers_are_removed(
    clients: Clients, provider: Provider, standin: Server, way: Way
) -> None:
    _can(provider, Response(200, [("content-type", "application/json")], b"{}"))
    headers = {"Proxy-Authorization": "Basic YWxpY2U6czNjcmV0", "TE": "trailers"}
    if not way.http2:
        headers |= {"Connection": "keep-alive, X-This-Hop", "X-This-Hop": "1"}
    with clients.http(way) as client:
        _exchange(
            client,
            clients.url(way, "anthropic", "/v1/messages"),
            json=APIS[0].body("hi"),
            headers=headers,
        )
    request = standin.requests[-1]
    for name in ("proxy-authorization", "te", "x-this-hop"):
        assert request.header(name) is None


@each_way
@pytest.mark.parametrize("status", [201, 400, 404, 429, 500, 529])
def test_errors_are_relayed_byte_for_byte(
    clients: Clients, provider: Provider, way: Way, status: int
) -> None:
    body = b'{"error": {"message":"odd  spacing","type":null}, "extra":[]}\n'
    headers = [("Content-Type", "application/json"), ("Retry-After", "7"), ("X-Request-Id", "r1")]
    _can(provider, Response(status, headers, body))
    with clients.http(way) as client:
        for api in APIS:
            url = clients.url(way, api.provider, api.path)
            got = _exchange(client, url, json=api.body("hi", stream=True))
            assert (got.status, got.raw) == (status, body)
            assert got.headers == _as_received(headers, way)


@each_way
def test_responses_with_wrong_headers_are_relayed_byte_for_byte(
    clients: Clients, provider: Provider, proxy: Proxy, way: Way
) -> None:
    cases = {
        "not JSON": ("application/json", None, b"<html>no</html>"),
        "no type": ("", None, b"\x00\x01"),
        "not gzip": ("text/event-stream", "gzip", b"data: {}\n\n"),
        "cut gzip": ("text/event-stream", "gzip", encode(b"data: {}\n\n" * 9, "gzip")[:-9]),
        "unknown coding": ("text/event-stream", "snappy", b"\xff\x06"),
        "no end of event": ("text/event-stream", None, b"data: {"),
        "not events": ("text/event-stream", None, b'{"type":"message"}'),
        "broken UTF-8": ("text/event-stream", None, b"data: \xff\xfe\n\ndata: [DONE]\n\n"),
        "empty": ("text/event-stream", None, b""),
        "empty JSON": ("application/json", None, b""),
    }
    with proxy.recording() as records, clients.http(way) as client:
        for name, (content_type, coding, body) in cases.items():
            headers = [("content-type", content_type)] if content_type else []
            headers += [("content-encoding", coding)] if coding else []
            _can(provider, Response(200, headers, [body] if body else []))
            for api in APIS:
                url = clients.url(way, api.provider, api.path)
                got = _exchange(client, url, json=api.body("hi", stream=True))
                assert (got.status, got.raw) == (200, body), name
                assert got.headers == headers_of(headers), name
    assert len(records.interceptions) == len(cases) * len(APIS)
    assert all(row["ended_at"] for row in records.interceptions)


class Got(NamedTuple):
    """A response, as it was on the wire."""

    status: int
    headers: list[tuple[bytes, bytes]]
    """All headers but those that frame the body."""
    raw: bytes
    request: httpx2.Request


def _exchange(client: httpx2.Client, url: str, **arguments: Any) -> Got:
    arguments["headers"] = httpx2.Headers(arguments.get("headers", {}))
    arguments["headers"]["x-standin-canned"] = "identity"
    with client.stream("POST", url, **arguments) as response:
        raw = b"".join(response.iter_raw())
    headers = [pair for pair in response.headers.raw if pair[0].lower() not in FRAMING]
    return Got(response.status_code, headers, raw, response.request)


def _can(provider: Provider, response: Response) -> None:
    def answer(request: Request) -> Response:
        return Response(response.status, list(response.headers), response.body)

    provider.canned["identity"] = answer


def headers_of(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return header fields as bytes."""
    return [(name.encode(), value.encode()) for name, value in headers]


def _as_received(headers: list[tuple[str, str]], way: Way) -> list[tuple[bytes, bytes]]:
    """Return what a client receives of the server's headers: HTTP/2 has no upper case."""
    if way.http2:
        headers = [(name.lower(), value) for name, value in headers]
    return headers_of(headers)
