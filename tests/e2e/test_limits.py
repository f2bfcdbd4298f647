"""Limits of connections, buffered bodies and body sizes."""

import gzip
import json
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from standin import Gate, Provider, Response, Server, Wait

from e2e.bodies import APIS, CHAT, MESSAGES, RESPONSES, Api
from e2e.central import program
from e2e.clients import TIMEOUT_S, WAYS, Clients, Way
from e2e.conftest import StartProxy, StartStandin
from e2e.metrics import metric
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.records import Records
from e2e.sockets import LeftError, Socket
from e2e.wire import open_tunnel, read_head

FORWARD, FORWARD_H2, REVERSE, REVERSE_H2 = WAYS
KIB, MIB = 1024, 1024 * 1024
LIMIT = 100 * KIB

each_way = pytest.mark.parametrize("way", WAYS, ids=str)
each_pair = pytest.mark.parametrize(
    ("api", "way"),
    [(MESSAGES, FORWARD_H2), (CHAT, REVERSE), (RESPONSES, FORWARD), (MESSAGES, REVERSE_H2)],
    ids=str,
)


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    """Run a proxy with small limits."""
    options = {
        "body_size_limit": "100k",
        "aibridge_max_body_mib": 1,
        "aibridge_private_networks": "127.0.0.1",
    }
    with run_proxy(standin.origin, options=options, metrics=True) as made:
        yield made


# Connections


def connects(proxy: Proxy) -> socket.socket | None:
    """Connect and send a request; return None if the connection was closed."""
    sock = socket.create_connection(("127.0.0.1", proxy.reverse_port), TIMEOUT_S)
    try:
        sock.sendall(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n")
        if re.match(rb"HTTP/1.1 404 ", read_head(sock)):
            return sock
    except ConnectionError:
        pass
    sock.close()
    return None


def test_connection_above_the_limit_is_closed(start_proxy: StartProxy) -> None:
    proxy = start_proxy(options={"aibridge_max_connections": 2}, metrics=True)
    first, second = connects(proxy), connects(proxy)
    assert first
    assert second
    assert [connects(proxy) for _ in range(5)] == [None] * 5
    first.sendall(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n")  # it is as good as before
    while b"is not a route of this proxy" not in (first.recv(64 * KIB)):
        pass
    refused = metric(proxy, "aibridge_refused_total", provider="", reason="too_many_connections")
    assert refused == 5
    assert proxy.log_text().count("the maximum (aibridge_max_connections)") == 1
    second.close()
    deadline = time.monotonic() + TIMEOUT_S
    while (third := connects(proxy)) is None:  # once the proxy has seen that there is room
        assert time.monotonic() < deadline
    third.close()
    first.close()


def is_open(sock: socket.socket) -> bool:
    """Send a request; return True if a response arrives."""
    try:
        sock.sendall(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n")
        return bool(sock.recv(100))
    except ConnectionError:
        return False


def test_only_connections_without_a_request_are_closed_after_the_timeout(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients]
) -> None:
    proxy = start_proxy(options={"aibridge_first_request_seconds": 1}, metrics=True)
    asked = connects(proxy)
    assert asked
    tunnel = open_tunnel(proxy.forward_port, "api.anthropic.com")
    with (
        socket.create_connection(("127.0.0.1", proxy.reverse_port), TIMEOUT_S) as silent,
        socket.create_connection(("127.0.0.1", proxy.reverse_port), TIMEOUT_S) as slow,
        tunnel,
        asked,
    ):
        slow.sendall(b"GET /nothing HTTP/1.1\r\nhost: x")
        for sock in (silent, slow, tunnel):
            assert sock.recv(100) == b""
        while b"is not a route of this proxy" not in asked.recv(64 * KIB):
            pass
        assert is_open(asked)
    assert metric(proxy, "aibridge_refused_total", provider="", reason="silent_connection") == 3


# Requests


@each_pair
def test_request_above_the_total_body_limit_gets_a_provider_error(
    few_held: Proxy,
    clients_of: Callable[[Proxy], Clients],
    provider: Provider,
    standin: Server,
    api: Api,
    way: Way,
) -> None:
    proxy, clients, gate = few_held, clients_of(few_held), Gate()
    labels = {"provider": api.provider, "reason": "too_much_held"}
    before = metric(proxy, "aibridge_refused_total", **labels)
    provider.canned["gated"] = lambda request: Response(200, [], [Wait(gate)])
    head = (
        "POST /anthropic/v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\nx-standin-canned: gated\r\n"
        f"content-length: {MIB - 100}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", proxy.reverse_port), TIMEOUT_S) as holding:
        holding.sendall(head.encode() + b"x" * (MIB - 100))
        standin.wait_until(lambda: len(standin.requests) == 1)  # it is held until its answer ends
        answer = ask_with(clients, way, api)
        assert answer.status_code == 503
        assert api.is_error(answer.json())
        assert "aibridge_held_bodies_mib" in answer.json()["error"]["message"]
        assert answer.headers["retry-after"] == "1"
        gate.open()
        while not holding.recv(64 * KIB).endswith(b"0\r\n\r\n"):
            pass
    for _ in range(3):  # each of them gives its room back
        large = api.request("x" * (MIB // 2), stream=False)
        assert ask_with(clients, way, api, large).status_code == 200
    assert metric(proxy, "aibridge_refused_total", **labels) == before + 1


def ask_with(clients: Clients, way: Way, api: Api, content: bytes | None = None) -> httpx2.Response:
    with clients.http(way) as http:
        return http.post(
            clients.url(way, api.provider, api.path),
            content=content or api.request("hi" * 100, stream=False),
            headers=api.headers,
        )


@pytest.fixture(scope="module")
def few_held(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    """Run a proxy with a small limit of buffered bodies."""
    options = {"aibridge_held_bodies_mib": 1}
    with run_proxy(standin.origin, options=options, metrics=True) as made:
        yield made


@pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)
@pytest.mark.parametrize("frames", [1, 10])
def test_too_large_websocket_message_closes_the_connection(
    proxy: Proxy, clients: Clients, standin: Server, way: Way, frames: int
) -> None:
    with proxy.recording() as records:
        with Socket(clients, way, compress=False) as client:
            assert client.ask("x" * (MIB // 2))["type"] == "response.completed"
            client.send(b"x" * (MIB + 1), frames=frames)
            with pytest.raises(LeftError):
                client.hear()
            assert client.close_code == 1009
        standin.wait_until(lambda: standin.requests[-1].close_code == 1009)
    assert [row["status"] for row in records.interceptions] == ["completed"]


def parts(content: bytes) -> Iterator[bytes]:
    """Yield a body without a content-length."""
    for start in range(0, len(content), 16 * KIB):
        yield content[start : start + 16 * KIB]


@each_pair
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "in parts"])
def test_too_large_request_gets_a_provider_error(
    proxy: Proxy, clients: Clients, standin: Server, api: Api, way: Way, announced: bool
) -> None:
    before = metric(proxy, "aibridge_refused_total", provider=api.provider, reason="body_too_large")
    content = api.request("x" * 3 * MIB, stream=True)
    with proxy.recording() as records, clients.http(way) as http:
        answer = http.post(
            clients.url(way, api.provider, api.path),
            content=content if announced else parts(content),
            headers=api.headers,
        )
        assert answer.status_code == 413
        assert api.is_error(answer.json())
        assert "larger than 100k (option body_size_limit)" in answer.json()["error"]["message"]
        following = http.post(  # by the same connection, in HTTP/2
            clients.url(way, api.provider, api.path),
            content=api.request("hi", stream=False),
            headers=api.headers,
        )
        assert following.status_code == 200
    assert len(standin.requests) == 1
    assert records.interception["status"] == "completed"
    assert before + 1 == metric(
        proxy, "aibridge_refused_total", provider=api.provider, reason="body_too_large"
    )


def test_too_large_content_length_is_answered_before_the_body_arrives(proxy: Proxy) -> None:
    head = b"POST /anthropic/v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", proxy.reverse_port), TIMEOUT_S) as sock:
        sock.sendall(head)
        answer = read_head(sock)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("way", [FORWARD_H2, REVERSE], ids=str)
def test_rest_of_a_too_large_request_is_not_buffered(
    proxy: Proxy, clients: Clients, way: Way
) -> None:
    status = Path(f"/proc/{proxy.pid}/status")
    Path(f"/proc/{proxy.pid}/clear_refs").write_text("5")  # forget the peak so far
    before = peak_bytes(status)
    block = bytes(64 * KIB)
    with clients.http(way) as http:
        answer = http.post(
            clients.url(way, "anthropic", MESSAGES.path),
            content=(block for _ in range(1024)),
            headers=MESSAGES.headers,
        )
    assert answer.status_code == 413
    assert peak_bytes(status) - before < 32 * MIB


def peak_bytes(status: Path) -> int:
    """Return the peak memory of a process."""
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def test_large_request_to_an_unknown_route_is_answered_with_404(proxy: Proxy) -> None:
    answer = httpx2.post(f"{proxy.reverse_url}/nothing", content=bytes(MIB), trust_env=False)
    assert answer.status_code == 404
    assert "is not a route of this proxy" in answer.text


def test_too_large_request_to_another_host_gets_the_response_of_mitmproxy(
    proxy: Proxy, start_standin: StartStandin
) -> None:
    server = start_standin(tls=False)
    with httpx2.Client(proxy=proxy.forward_url, trust_env=False) as http:
        answer = http.post(f"{server.origin}/upload", content=bytes(MIB))
    assert answer.status_code == 413
    assert "body_size_limit" in answer.text
    assert server.requests == []


# Answers: a body that is not held is a body that goes on as it comes


def large_answer(api: Api, size: int) -> bytes:
    """Return a response that is larger decoded than encoded."""
    body = json.loads(api.answer())
    return json.dumps({**body, "padding": "x" * size}).encode()


@each_way
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "in parts"])
@pytest.mark.parametrize("size", [LIMIT * 5, 3 * MIB], ids=["held", "too large to be read"])
def test_large_response_is_relayed_completely(
    proxy: Proxy, clients: Clients, provider: Provider, way: Way, announced: bool, size: int
) -> None:
    body = large_answer(MESSAGES, size)
    provider.canned["large"] = lambda request: Response(
        200,
        [("content-type", "application/json")],
        body if announced else list(parts(body)),
    )
    with proxy.recording() as records, clients.http(way) as http:
        answer = http.post(
            clients.url(way, "anthropic", MESSAGES.path),
            content=MESSAGES.request("hi", stream=False),
            headers={**MESSAGES.headers, "x-standin-canned": "large"},
        )
    assert answer.content == body
    row = records.interception
    is_read = size < MIB
    assert (row["status"], row["http_status"]) == ("completed", 200)
    assert bool(row["partial"]) is not is_read
    assert bool(records.token_usages) is is_read


@pytest.mark.both_ways
@pytest.mark.parametrize("api", APIS, ids=str)
def test_large_stream_is_relayed_completely(
    proxy: Proxy, clients: Clients, provider: Provider, api: Api
) -> None:
    comment = b": " + b"x" * 1000 + b"\n\n"
    events = [part for event in api.events() for part in (*[comment] * 40, event)]
    assert LIMIT < len(b"".join(events)) < MIB
    provider.canned["long"] = lambda request: Response(
        200, [("content-type", "text/event-stream")], events
    )
    with proxy.recording() as records, clients.http(FORWARD) as http:
        answer = http.post(
            clients.url(FORWARD, api.provider, api.path),
            content=api.request("hi", stream=True),
            headers={**api.headers, "x-standin-canned": "long"},
        )
    assert answer.content == b"".join(events)
    assert records.interception["status"] == "completed"
    assert records.counts == api.tokens


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "in parts"])
def test_large_download_from_a_provider_is_relayed_completely(
    proxy: Proxy, clients: Clients, provider: Provider, announced: bool
) -> None:
    body = bytes(3 * MIB)
    provider.canned["file"] = lambda request: Response(
        200,
        [("content-type", "application/octet-stream")],
        body if announced else list(parts(body)),
    )
    with proxy.recording() as records, clients.http(FORWARD_H2) as http:
        answer = http.get(
            clients.url(FORWARD_H2, "anthropic", "/v1/files/1/content"),
            headers={**MESSAGES.headers, "x-standin-canned": "file"},
        )
    assert answer.content == body
    assert records == Records()


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "in parts"])
def test_large_download_from_another_host_is_relayed_completely(
    proxy: Proxy, start_standin: StartStandin, announced: bool
) -> None:
    body = bytes(3 * MIB)

    async def app(request: object) -> Response:
        return Response(200, [], body if announced else list(parts(body)))

    server = start_standin(app, tls=False)
    with httpx2.Client(proxy=proxy.forward_url, trust_env=False) as http:
        answer = http.get(f"{server.origin}/file")
    assert answer.status_code == 200
    assert answer.content == body


@pytest.mark.may_log_errors
def test_too_large_response_that_must_be_edited_becomes_a_provider_error(
    start_proxy: StartProxy, standin: Server, provider: Provider
) -> None:
    servers = {"calc": program() | {"allow": "^add$"}}
    proxy = start_proxy(servers=servers, options={"body_size_limit": "100k"})
    body = large_answer(MESSAGES, 5 * LIMIT)
    provider.canned["large"] = lambda request: Response(
        200, [("content-type", "application/json")], body
    )
    with proxy.recording() as records:
        answer = httpx2.post(
            f"{proxy.reverse_url}/anthropic{MESSAGES.path}",
            content=MESSAGES.request("hi", stream=False),
            headers={**MESSAGES.headers, "x-standin-canned": "large"},
            trust_env=False,
        )
    assert answer.status_code == 502
    assert MESSAGES.is_error(answer.json())
    assert records.interception["status"] == "failed"


# What a body decodes to


@pytest.mark.parametrize("way", [FORWARD, REVERSE_H2], ids=str)
def test_body_size_limit_counts_encoded_bytes(
    proxy: Proxy, clients: Clients, standin: Server, way: Way
) -> None:
    body = gzip.compress(MESSAGES.request("x" * 8 * MIB, stream=False))
    assert len(body) < LIMIT
    with proxy.recording() as records, clients.http(way) as http:
        answer = http.post(
            clients.url(way, "anthropic", MESSAGES.path),
            content=body,
            headers={**MESSAGES.headers, "content-encoding": "gzip"},
        )
    assert answer.status_code == 200
    assert standin.requests[-1].body == body
    assert records.interception["partial"]
