"""Framing: HTTP/1.1 requests are framed and in origin form; unusual responses are relayed.

The provider speaks HTTP/1.1 only, so that requests in HTTP/2 are converted.
"""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from standin import Provider, Server, ServerThread

from e2e.bodies import APIS, MESSAGES, Api
from e2e.central import program
from e2e.clients import ANTHROPIC_KEY, OPENAI_KEY, WAYS, Clients, Way
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.raw_server import RawServer
from e2e.wire import HTTP2Client, connect, read_head

FORWARD, FORWARD_H2, REVERSE, REVERSE_H2 = WAYS
each_h1_way = pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)
each_h2_way = pytest.mark.parametrize("way", [FORWARD_H2, REVERSE_H2], ids=str)
each_api = pytest.mark.parametrize("api", APIS, ids=str)

SMUGGLED = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
ANTHROPIC = {"x-api-key": ANTHROPIC_KEY, "anthropic-version": "2023-06-01"}
ECHO = {"local": program() | {"allow": "^echo$"}}
OPENAI = {"authorization": f"Bearer {OPENAI_KEY}"}


@pytest.fixture(scope="module")
def standin() -> Iterator[Server]:
    """A provider that speaks HTTP/1.1 in clear text."""
    with ServerThread(Server(Provider(), http2=False)) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    """Run a proxy that offers a tool, so that it repeats some requests."""
    with run_proxy(standin.origin, servers=ECHO) as made:
        yield made


ROUTES = [
    ("anthropic", "/v1/messages/count_tokens", "POST"),
    ("anthropic", "/v1/models", "GET"),
    ("openai", "/models", "GET"),
    ("openai", "/models/gpt-5", "GET"),
    ("openai", "/responses/resp_1", "DELETE"),
    ("openai", "/responses/resp_1/cancel", "POST"),
    ("openai", "/conversations", "POST"),
]
"""Passthrough routes; other tests cover bridged ones."""


@each_h2_way
@pytest.mark.parametrize(("provider", "path", "method"), ROUTES)
@pytest.mark.parametrize("body", [SMUGGLED, b"", None], ids=["body", "empty body", "no body"])
def test_http2_request_without_a_length_is_sent_upstream_as_one_request(
    clients: Clients,
    standin: Server,
    way: Way,
    provider: Literal["anthropic", "openai"],
    path: str,
    method: str,
    body: bytes | None,
) -> None:
    headers = ANTHROPIC if provider == "anthropic" else OPENAI
    with HTTP2Client(clients, way, provider) as client:
        stream = client.send(method, path, headers, body)
        client.read_until(lambda: stream in client.ended)
    [request] = standin.requests
    assert (request.method, request.body) == (method, body or b"")
    assert request.header("content-length") == (str(len(body)) if body else None)


@each_h2_way
@each_api
@pytest.mark.parametrize("trailers", [None, {"x-checksum": "1"}], ids=["", "with trailers"])
def test_http2_model_request_without_a_length_is_sent_upstream_completely(
    clients: Clients, standin: Server, way: Way, api: Api, trailers: dict[str, str] | None
) -> None:
    assert clients.proxy
    content = api.request("hi", stream=True)
    with clients.proxy.recording() as records, HTTP2Client(clients, way, api.provider) as client:
        stream = client.send("POST", api.path, api.headers, content, trailers)
        client.read_until(lambda: stream in client.ended)
    assert client.statuses[stream] == 200
    [request] = standin.requests
    assert request.header("content-length") == str(len(request.body))
    assert json.loads(request.body)["model"] == json.loads(content)["model"]
    assert records.interception["status"] == "completed"


@each_h2_way
def test_requests_repeated_by_the_proxy_are_framed(
    clients: Clients, standin: Server, way: Way
) -> None:
    content = MESSAGES.request("USE_TOOL:bmcp_local_echo", stream=True)
    with HTTP2Client(clients, way) as client:
        stream = client.post("/v1/messages", dict(MESSAGES.headers), content)
        client.read_until(lambda: stream in client.ended)
    assert len(standin.requests) == 2
    for request in standin.requests:
        assert request.header("content-length") == str(len(request.body)) != "0"


@each_h1_way
@pytest.mark.parametrize("path", ["/messages/count_tokens", "//messages/count_tokens?a=//"])
def test_absolute_target_is_sent_upstream_in_origin_form(
    clients: Clients, standin: Server, way: Way, path: str
) -> None:
    prefix = "http://127.0.0.1/anthropic/v1" if way is REVERSE else "https://api.anthropic.com/v1"
    head = f"POST {prefix}{path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 2\r\n\r\n"
    with connect(clients, way) as sock:
        sock.sendall(head.encode() + b"{}")
        read_head(sock)
    [request] = standin.requests
    assert request.target == "/v1" + path.replace("//messages", "/messages")


@each_h1_way
def test_bare_carriage_return_in_a_header_is_not_sent_upstream(
    clients: Clients, standin: Server, way: Way
) -> None:
    prefix = "/anthropic" if way is REVERSE else ""
    head = f"POST {prefix}/v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\nx-a: b\rc: d"
    with connect(clients, way) as sock:
        sock.sendall(head.encode() + b"\r\ncontent-length: 2\r\n\r\n{}")
        assert read_head(sock).startswith(b"HTTP/1.1 400 ")
    assert standin.requests == []


# Responses


@pytest.mark.parametrize("way", [REVERSE, REVERSE_H2], ids=str)
def test_refusal_of_head_has_no_body_so_that_the_connection_serves_the_next_request(
    clients: Clients, proxy: Proxy, way: Way
) -> None:
    url = f"{clients.url(way, 'openai')}/no/such/route"
    with clients.http(way) as http:
        for method in ("HEAD", "GET", "HEAD"):
            response = http.request(method, url)
            assert response.status_code == 404
            assert bool(response.content) == (method == "GET")
            assert int(response.headers["content-length"]) > 0
    if way is REVERSE:
        path = url.partition(str(proxy.reverse_port))[2]
        with connect(clients, way) as sock:
            sock.sendall(f"HEAD {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode() * 2)
            read_head(sock)
            assert read_head(sock).startswith(b"HTTP/1.1 404 ")


AS_HEAD = """
from aibridge_addon.addon import AIBridge

class AsHead:
    def requestheaders(self, flow):
        flow.request.method = "HEAD"

addons = [AIBridge(), AsHead()]
"""


def test_method_that_another_addon_changes_leaves_the_body_to_the_client(
    run_proxy: RunProxy, clients_of: Callable[[Proxy], Clients], standin: Server, tmp_path: Path
) -> None:
    script = tmp_path / "as_head.py"
    script.write_text(AS_HEAD)
    with run_proxy(standin.origin, script=script) as made:
        clients = clients_of(made)
        with clients.http(REVERSE) as http:
            response = http.get(f"{clients.url(REVERSE, 'openai')}/no/such/route")
    assert response.status_code == 404
    assert response.json()["error"]["message"].startswith("aibridge: ")


class FixedResponse(RawServer):
    """A provider that responds to each request with the same bytes."""

    response = b""

    def serve(self, peer: socket.socket) -> None:
        head = read_head(peer).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while length > 0:
            length -= len(peer.recv(length))
        peer.sendall(self.response)


@pytest.fixture(scope="module")
def raw_provider() -> Iterator[FixedResponse]:
    with FixedResponse() as made:
        yield made


@pytest.fixture(scope="module")
def raw_proxy(run_proxy: RunProxy, raw_provider: FixedResponse) -> Iterator[Proxy]:
    """Run a proxy for this provider that offers a tool."""
    with run_proxy(raw_provider.origin, servers=ECHO) as made:
        yield made


INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"


@pytest.mark.both_ways
@each_api
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("way", [FORWARD, REVERSE_H2], ids=str)
def test_response_with_interim_responses_and_trailers_is_relayed_and_recorded(
    raw_provider: FixedResponse,
    raw_proxy: Proxy,
    clients_of: Callable[[Proxy], Clients],
    api: Api,
    way: Way,
    stream: bool,
) -> None:
    body = b"".join(api.events()) if stream else api.answer()
    kind = b"text/event-stream" if stream else b"application/json"
    raw_provider.response = (
        INTERIM
        + b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ntransfer-encoding: chunked\r\n\r\n" % kind
        + b"%x\r\n%b\r\n0\r\nx-checksum: 1\r\n\r\n" % (len(body), body)
    )
    clients = clients_of(raw_proxy)
    with raw_proxy.recording() as records, clients.http(way) as client:
        response = client.post(
            clients.url(way, api.provider, api.path),
            content=api.request("hi", stream=stream),
            headers=api.headers,
        )
    assert (response.status_code, response.content) == (200, body)
    assert records.interception["status"] == "completed"
    assert records.counts == api.tokens
