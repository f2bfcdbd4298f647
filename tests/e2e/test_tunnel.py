"""Tunnels: connections to hosts of no provider are relayed unchanged and unrecorded."""

import re
import socket
import sqlite3
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from standin import Authority, Server

from e2e.bodies import MESSAGES
from e2e.clients import TIMEOUT_S, WAYS, Clients
from e2e.conftest import StartProxy, StartStandin
from e2e.metrics import metric
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.records import Records
from e2e.wire import connect, open_tunnel

FORWARD, FORWARD_H2, REVERSE, _ = WAYS

PROVIDER_HOST = "api.anthropic.com"


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    """Run a proxy that logs and saves every flow."""
    options = {
        "flow_detail": 4,
        "save_stream_file": "flows",
        "aibridge_private_networks": "127.0.0.1",  # the other hosts of these tests
    }
    with run_proxy(standin.origin, options=options, metrics=True) as made:
        yield made


def handshake(
    proxy: Proxy,
    authority: Authority,
    host: str,
    port: int,
    server_name: str,
    *,
    cut: bool = False,
    record_version: int | None = None,
) -> ssl.SSLObject:
    """Speak TLS through the proxy up to the server's certificate.

    Args:
        proxy: By which.
        authority: The CA of the server itself.
        host: What the client asks the proxy to connect to.
        port: Which port there.
        server_name: What it says in TLS.
        cut: Whether the client hello comes in two parts.
        record_version: What its record says of the version of TLS, if not the usual.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for path in (authority.path, proxy.ca_path):
        context.load_verify_locations(path)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    with open_tunnel(proxy.forward_port, host, port) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                hello = outgoing.read()
                if hello and record_version is not None:
                    hello, record_version = hello[:2] + bytes([record_version]) + hello[3:], None
                if cut:
                    sock.sendall(hello[:40])
                    hello, cut = hello[40:], False
                sock.sendall(hello)
                if heard := sock.recv(64 * 1024):
                    incoming.write(heard)
                else:
                    incoming.write_eof()
            else:
                return tls


def issuer(tls: ssl.SSLObject) -> str:
    """Return the name of the CA that signed the peer's certificate."""
    der = tls.getpeercert(binary_form=True)
    assert der
    [name] = x509.load_der_x509_certificate(der).issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


def tunnels(proxy: Proxy) -> float:
    """Return the number of tunnels so far."""
    return metric(proxy, "aibridge_tunnels_total")


@pytest.mark.parametrize("server_name", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
def test_tunnelled_client_sees_the_certificate_of_the_host(
    proxy: Proxy, authority: Authority, standin: Server, server_name: str, cut: bool
) -> None:
    before = tunnels(proxy)
    tls = handshake(proxy, authority, "127.0.0.1", standin.port, server_name, cut=cut)
    assert issuer(tls).startswith("standin-ca")
    assert tunnels(proxy) == before + 1


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
@pytest.mark.parametrize("by_address", [False, True], ids=["by name", "by address"])
def test_intercepted_client_sees_the_certificate_of_the_proxy(
    proxy: Proxy, authority: Authority, standin: Server, by_address: bool, cut: bool
) -> None:
    before = tunnels(proxy)
    host, port = ("127.0.0.1", standin.port) if by_address else (PROVIDER_HOST, 443)
    tls = handshake(proxy, authority, host, port, PROVIDER_HOST, cut=cut)
    assert issuer(tls).startswith("mitmproxy-ca-cert")
    assert tunnels(proxy) == before


@pytest.mark.parametrize("way", [FORWARD, FORWARD_H2], ids=str)
def test_tunnelled_bytes_are_unchanged_and_create_no_flow(
    proxy: Proxy, clients: Clients, standin: Server, way: object
) -> None:
    standin.requests.clear()
    mark = len(proxy.log)
    headers = {**MESSAGES.headers, "x-aibridge-actor": "alice", "te": "trailers"}
    with proxy.recording() as records, clients.http(way) as http:  # type: ignore[arg-type]
        answer = http.post(
            f"{standin.origin}/v1/messages",
            content=MESSAGES.request("through a tunnel", stream=True),
            headers=headers,
        )
    assert answer.status_code == 200
    [request] = standin.requests
    assert {name: request.header(name) for name in headers} == headers
    assert records == Records()
    assert "POST" not in proxy.log_text(mark)
    assert b"through a tunnel" not in (proxy.directory / "flows").read_bytes()


def test_tunnel_to_an_ai_service_is_counted_by_host_bytes_and_time(
    proxy: Proxy, standin: Server
) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        open_tunnel(proxy.forward_port, "127.0.0.1", standin.port) as sock,
        context.wrap_socket(sock, server_hostname="api2.cursor.sh") as tls,
    ):
        tls.sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        received = len(b"".join(iter(lambda: tls.recv(64 * 1024), b"")))

    row = wait_for_tunnel(proxy)
    assert (row["host"], row["service"], row["initiator_id"]) == (
        "api2.cursor.sh",
        "Cursor",
        "anonymous",
    )
    assert row["bytes_received"] > received
    assert row["bytes_sent"] > 0


def wait_for_tunnel(proxy: Proxy) -> dict[str, Any]:
    """Return the only recorded tunnel; it is recorded once the proxy sees its client leave."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        with closing(sqlite3.connect(f"{proxy.database.as_uri()}?mode=ro", uri=True)) as found:
            found.row_factory = sqlite3.Row
            if rows := found.execute("SELECT * FROM aibridge_tunnels").fetchall():
                (row,) = rows
                return dict(row)
    raise TimeoutError(proxy.log_text())


def test_other_protocols_than_tls_are_tunnelled(proxy: Proxy) -> None:
    before = tunnels(proxy)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT_S)
        heard: list[bytes] = []

        def greet() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"SSH-2.0-server\r\n")
                heard.append(peer.recv(100))
                peer.sendall(b"\x00bye")

        thread = threading.Thread(target=greet)
        thread.start()
        with open_tunnel(proxy.forward_port, "127.0.0.1", listener.getsockname()[1]) as sock:
            sock.sendall(b"SSH-2.0-client\r\n")
            answer = b""
            while chunk := sock.recv(100):
                answer += chunk
        thread.join(TIMEOUT_S)
    assert heard == [b"SSH-2.0-client\r\n"]
    assert answer == b"SSH-2.0-server\r\n\x00bye"
    assert tunnels(proxy) == before + 1


def test_provider_is_intercepted_beside_tunnels(
    proxy: Proxy, clients: Clients, standin: Server
) -> None:
    before = tunnels(proxy)
    with proxy.recording() as records, clients.http(FORWARD) as http:
        for origin in (standin.origin, f"https://{PROVIDER_HOST}", standin.origin):
            answer = http.post(
                f"{origin}/v1/messages",
                content=MESSAGES.request("hi", stream=False),
                headers=MESSAGES.headers,
            )
            assert answer.status_code == 200
    assert records.interception["status"] == "completed"
    assert tunnels(proxy) == before + 1  # the second request goes by the same connection


def test_plain_http_to_other_hosts_is_relayed_unchanged_and_unrecorded(
    proxy: Proxy, clients: Clients, start_standin: StartStandin
) -> None:
    server = start_standin(tls=False)
    headers = {
        **MESSAGES.headers,
        "x-aibridge-actor": "alice",
        "authorization": "Bearer of-that-host",
        "cookie": "a=b",
    }
    content = MESSAGES.request("hi", stream=True)
    url = f"{server.origin}/v1/messages?x=1"
    with httpx2.Client(trust_env=False) as http:
        direct = http.post(url, content=content, headers=headers)
    with (
        proxy.recording() as records,
        httpx2.Client(proxy=proxy.forward_url, trust_env=False) as http,
    ):
        by_proxy = http.post(url, content=content, headers=headers)
    first, second = server.requests
    assert (second.target, second.body) == (first.target, first.body)
    assert sorted(second.headers) == sorted(first.headers)
    assert by_proxy.headers["content-type"] == direct.headers["content-type"]
    assert len(by_proxy.content) == len(direct.content)
    assert records == Records()
    assert metric(proxy, "aibridge_passthrough_total") == 0


def test_unreachable_host_is_reported_to_the_client(proxy: Proxy) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with open_tunnel(proxy.forward_port, "127.0.0.1", port) as sock:
            sock.sendall(b"hello?")
            assert sock.recv(100) == b""


# --- connections to a provider that do not look like HTTP


ASKED = (
    b"POST /v1/messages HTTP/1.1\r\nhost: api.anthropic.com\r\nconnection: close\r\n"
    + b"".join(b"%b: %b\r\n" % (k.encode(), v.encode()) for k, v in MESSAGES.headers.items())
    + b"content-length: %d\r\n\r\n"
)


def request(prompt: str) -> bytes:
    """Return the bytes of a request."""
    body = MESSAGES.request(prompt, stream=False)
    return ASKED % len(body) + body


def read_all(sock: socket.socket) -> bytes:
    """Read until the other side closes."""
    got = b""
    while chunk := sock.recv(64 * 1024):
        got += chunk
    return got


@pytest.mark.parametrize("before", [b"\r\n", b"\n\n", b"\r\n\r\n"])
def test_request_after_empty_lines_is_recorded(
    proxy: Proxy, clients: Clients, before: bytes
) -> None:
    with proxy.recording() as records, connect(clients, FORWARD) as sock:
        sock.sendall(before + request("after empty lines"))
        assert read_all(sock).startswith(b"HTTP/1.1 200")
    assert records.prompts == ["after empty lines"]


@pytest.mark.parametrize("first", [1, 2, 4], ids=lambda size: f"{size} bytes")
def test_request_in_small_pieces_is_recorded(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], first: int
) -> None:
    # Its log says what it has read, so that the rest comes when it must have decided.
    proxy = start_proxy(options={"proxy_debug": True, "termlog_verbosity": "debug"})
    prompt = request("in bits")
    with proxy.recording() as records, connect(clients_of(proxy), FORWARD) as sock:
        sock.sendall(prompt[:first])
        proxy.wait_for_log(re.escape(f">> DataReceived(client, {prompt[:first]!r})"))
        sock.sendall(prompt[first:])
        assert read_all(sock).startswith(b"HTTP/1.1 200")
    assert records.prompts == ["in bits"]


@pytest.mark.parametrize("by_address", [False, True], ids=["by name", "by address"])
def test_unknown_tls_version_is_closed_to_a_provider_and_tunnelled_elsewhere(
    proxy: Proxy, authority: Authority, standin: Server, by_address: bool
) -> None:
    before, closed = tunnels(proxy), metric(proxy, "aibridge_refused_total", reason="unknown_tls")
    host, port = ("127.0.0.1", standin.port) if by_address else (PROVIDER_HOST, 443)
    with pytest.raises(ssl.SSLEOFError):
        handshake(proxy, authority, host, port, PROVIDER_HOST, record_version=4)
    assert tunnels(proxy) == before
    assert metric(proxy, "aibridge_refused_total", reason="unknown_tls") == closed + 1
    elsewhere = handshake(
        proxy, authority, "127.0.0.1", standin.port, "localhost", record_version=4
    )
    assert issuer(elsewhere).startswith("standin-ca")
    assert tunnels(proxy) == before + 1
    told = [line for line in proxy.log if "would bypass the records (unknown_tls)" in line]
    assert len(told) == 1


def test_other_data_than_http_to_a_provider_is_refused_with_400(
    proxy: Proxy, clients: Clients
) -> None:
    with proxy.recording() as records, connect(clients, FORWARD) as sock:
        sock.sendall(b"\x00\x01\x02 what?\r\n\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 400")
    assert records == Records()


@pytest.mark.parametrize("option", ["ignore_hosts", "tcp_hosts"])
def test_no_mitmproxy_option_bypasses_interception_of_a_provider(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], option: str
) -> None:
    proxy = start_proxy(options={option: r"ignored\.test"})
    clients = clients_of(proxy)
    body = MESSAGES.request("unread?", stream=False)
    prompt = (ASKED % len(body)).replace(b"host: api.anthropic.com", b"host: ignored.test") + body
    with proxy.recording() as records, connect(clients, FORWARD) as sock:
        sock.sendall(prompt)
        assert read_all(sock).startswith(b"HTTP/1.1 200")
    assert records.prompts == ["unread?"]


@pytest.fixture(scope="module", autouse=True)
def _no_leftovers(proxy: Proxy) -> Iterator[Callable[[], None] | None]:
    """Assert that no test of this module makes the proxy log an error, in any order."""
    yield None
    assert proxy.faults() == ""
