"""Hosts of no provider: their connections are passed on untouched, unread and unrecorded."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from standin import Authority, Server

from e2e.bodies import MESSAGES
from e2e.clients import TIMEOUT_S, WAYS, Clients
from e2e.conftest import StartStandin
from e2e.metrics import metric
from e2e.proxy import Proxy, config_toml
from e2e.records import Records
from e2e.wire import open_tunnel

FORWARD, FORWARD_H2, REVERSE, _ = WAYS

PROVIDER_HOST = "api.anthropic.com"


@pytest.fixture(scope="module")
def proxy(
    standin: Server, authority: Authority, confdir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy that logs and saves every flow it makes."""
    made = Proxy(
        tmp_path_factory.mktemp("tunnel"),
        config=config_toml(standin.origin),
        confdir=confdir,
        upstream_ca=authority.path,
        options={
            "flow_detail": 4,
            "save_stream_file": "flows",
            "aibridge_private_networks": "127.0.0.1",  # the other hosts of these tests
        },
        metrics=True,
    )
    made.start()
    yield made
    assert made.stop() == 0, made.log_text()


def handshake(
    proxy: Proxy, authority: Authority, host: str, port: int, server_name: str, *, cut: bool = False
) -> ssl.SSLObject:
    """Speak TLS through the proxy up to the server's certificate.

    Args:
        proxy: By which.
        authority: The CA of the server itself.
        host: What the client asks the proxy to connect to.
        port: Which port there.
        server_name: What it says in TLS.
        cut: Whether the client hello comes in two parts.
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
                if cut:
                    sock.sendall(hello[:40])
                    hello, cut = hello[40:], False
                sock.sendall(hello)
                incoming.write(sock.recv(64 * 1024))
            else:
                return tls


def issuer(tls: ssl.SSLObject) -> str:
    """Return the name of the CA that signed the peer's certificate."""
    der = tls.getpeercert(binary_form=True)
    assert der
    [name] = x509.load_der_x509_certificate(der).issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


def tunnels(proxy: Proxy) -> float:
    """Return how many there have been."""
    return metric(proxy, "aibridge_tunnels_total")


@pytest.mark.parametrize("server_name", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
def test_a_client_of_another_host_sees_that_hosts_own_certificate(
    proxy: Proxy, authority: Authority, standin: Server, server_name: str, cut: bool
) -> None:
    before = tunnels(proxy)
    tls = handshake(proxy, authority, "127.0.0.1", standin.port, server_name, cut=cut)
    assert issuer(tls).startswith("standin-ca")
    assert tunnels(proxy) == before + 1


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
@pytest.mark.parametrize("by_address", [False, True], ids=["by name", "by address"])
def test_a_client_of_a_provider_sees_the_proxys_certificate(
    proxy: Proxy, authority: Authority, standin: Server, by_address: bool, cut: bool
) -> None:
    before = tunnels(proxy)
    host, port = ("127.0.0.1", standin.port) if by_address else (PROVIDER_HOST, 443)
    tls = handshake(proxy, authority, host, port, PROVIDER_HOST, cut=cut)
    assert issuer(tls).startswith("mitmproxy-ca-cert")
    assert tunnels(proxy) == before


@pytest.mark.parametrize("way", [FORWARD, FORWARD_H2], ids=str)
def test_what_goes_through_a_tunnel_is_unchanged_and_never_a_flow(
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


def test_what_is_no_tls_goes_through_a_tunnel_too(proxy: Proxy) -> None:
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


def test_a_provider_stays_intercepted_beside_tunnels(
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


def test_plain_http_to_other_hosts_passes_untouched_and_unrecorded(
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


def test_a_host_that_is_down_is_told_to_the_client(proxy: Proxy) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with open_tunnel(proxy.forward_port, "127.0.0.1", port) as sock:
            sock.sendall(b"hello?")
            assert sock.recv(100) == b""


@pytest.fixture(scope="module", autouse=True)
def _no_leftovers(proxy: Proxy) -> Iterator[Callable[[], None] | None]:
    """No test of this module may make the proxy log an error, in whatever order they run."""
    yield None
    assert proxy.faults() == ""
