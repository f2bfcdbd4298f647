"""Tunnels: the address and the server name decide which connections are tunnelled.

All other connections must be HTTP.
"""

import contextlib
import ssl
from collections.abc import Callable

import pytest
from mitmproxy import connection, options
from mitmproxy.connection import Address
from mitmproxy.proxy import events, layer, layers
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.mode_specs import ProxyMode

from aibridge_addon.relay.tunnel import (
    NotHttpError,
    interception_layer,
    must_tunnel,
    protocol_is_known,
    require_http,
    tunnel,
)

PROVIDER_HOSTS = {"api.anthropic.com", "127.0.0.9"}
ELSEWHERE = ("203.0.113.7", 443)


def client_hello(server_name: str | None) -> bytes:
    """Return the first bytes of a TLS client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


HELLO = client_hello("api.anthropic.com")
PROVIDER = ("api.anthropic.com", 443)


def of_version(minor: int, hello: bytes = HELLO) -> bytes:
    """Return a client hello with another version in its record, which servers ignore."""
    return hello[:2] + bytes([minor]) + hello[3:]


def in_two_records(hello: bytes) -> bytes:
    """Return a client hello that is split into two records."""
    head, body = hello[:3], hello[5:]
    parts = (body[:50], body[50:])
    return b"".join(head + len(part).to_bytes(2, "big") + part for part in parts)


def asked(
    address: Address | None, *data: bytes, sni: str | None = None, mode: str = "regular"
) -> layer.NextLayer:
    """Return the request for the next layer of a connection after these bytes of the client."""
    client = connection.Client(
        peername=("127.0.0.1", 50000),
        sockname=("127.0.0.1", 8080),
        timestamp_start=0,
        proxy_mode=ProxyMode.parse(mode),
    )
    client.sni = sni
    context = Context(client, options.Options())
    context.server.address = address
    first = modes.ReverseProxy if mode.startswith("reverse:") else modes.HttpProxy
    first(context)
    subject = layer.NextLayer(context)
    subject.events = [events.DataReceived(client, chunk) for chunk in data]
    return subject


def verdict(subject: layer.NextLayer) -> bool | None:
    return must_tunnel(subject, lambda host: host in PROVIDER_HOSTS)


def test_connection_to_the_proxy_itself_is_not_tunnelled() -> None:
    assert verdict(asked(None, b"CONNECT api.anthropic.com:443 HTTP/1.1\r\n")) is False


# Parameters have ids: a client hello holds random bytes, and pytest-xdist compares generated ids.
@pytest.mark.parametrize(
    "data",
    [HELLO, client_hello("example.com"), b"GET / HTTP/1.1", b"", b"\x16"],
    ids=["hello", "hello to another", "HTTP", "nothing", "a byte"],
)
def test_connection_to_a_provider_address_is_intercepted_whatever_the_client_sends(
    data: bytes,
) -> None:
    assert verdict(asked(("api.anthropic.com", 443), data)) is False


def test_provider_name_in_the_client_hello_is_intercepted() -> None:
    assert verdict(asked(ELSEWHERE, HELLO)) is False
    assert verdict(asked(ELSEWHERE, HELLO[:7], HELLO[7:])) is False


@pytest.mark.parametrize(
    "data",
    [client_hello("example.com"), client_hello(None), b"GET / HTTP/1.1\r\n", b"", b"SSH-2.0-x"],
    ids=["hello", "hello without a name", "HTTP", "nothing", "SSH"],
)
def test_connection_to_no_provider_is_tunnelled(data: bytes) -> None:
    assert verdict(asked(("example.com", 443), data)) is True


def test_client_hello_that_is_too_large_is_refused() -> None:
    record = b"\x16\x03\x01\x40\x00" + bytes(0x4000)
    begun = b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(0x4000 - 4)
    assert verdict(asked(ELSEWHERE, begun + record * 2)) is None
    with pytest.raises(NotHttpError, match="client_hello_too_large"):
        verdict(asked(ELSEWHERE, begun + record * 3))


@pytest.mark.parametrize("length", range(3, len(HELLO), 37))
def test_incomplete_client_hello_defers_the_decision(length: int) -> None:
    assert verdict(asked(ELSEWHERE, HELLO[:length])) is None


def test_invalid_client_hello_is_tunnelled() -> None:
    broken = HELLO[:9] + b"\xff" * (len(HELLO) - 9)  # its headers are whole

    assert verdict(asked(ELSEWHERE, broken)) is True


def test_known_server_name_is_used() -> None:
    assert verdict(asked(ELSEWHERE, b"PRI * HTTP/2.0", sni="api.anthropic.com")) is False
    assert verdict(asked(ELSEWHERE, HELLO[:9], sni="example.com")) is True


def test_reverse_mode_never_tunnels() -> None:
    assert verdict(asked(ELSEWHERE, b"GET /", mode="reverse:http://example.com")) is False


def test_tunnel_relays_bytes_without_a_flow() -> None:
    made = tunnel(asked(ELSEWHERE).context)

    assert isinstance(made, layers.TCPLayer)
    assert made.flow is None


@pytest.mark.parametrize("minor", [0, 3, 4, 5, 0xFF])
@pytest.mark.parametrize("spread", [lambda hello: hello, in_two_records], ids=["one", "two"])
def test_server_name_is_read_from_records_of_any_version(
    minor: int, spread: Callable[[bytes], bytes]
) -> None:
    assert verdict(asked(ELSEWHERE, spread(of_version(minor)))) is False
    assert verdict(asked(ELSEWHERE, spread(of_version(minor))[:40])) is None
    assert verdict(asked(ELSEWHERE, of_version(minor, client_hello("example.com")))) is True


def test_data_that_is_no_client_hello_is_tunnelled_at_once() -> None:
    assert verdict(asked(ELSEWHERE, b"\x16\x03\x07\x40\x00\x02 something else")) is True


# --- what goes to a provider


NO_TLS = [
    b"P",
    b"PO",
    b"POST /v1/messages HTTP/1.1\r\n",
    b"SSH-2.0-x\r\n",
    b"\x80\x2e\x01\x03\x01",  # a hello of SSL 2, which some servers take
    b"\x16\x02\x01",
    b"\x00" * 50,
]


@pytest.mark.parametrize("data", NO_TLS)
@pytest.mark.parametrize("port", [443, 53, 5353])
def test_connection_to_a_provider_is_http_whatever_its_first_bytes(data: bytes, port: int) -> None:
    made = interception_layer(asked((PROVIDER[0], port), data))
    assert type(made) is layers.HttpLayer
    assert made.mode is HTTPMode.transparent


@pytest.mark.parametrize(
    "data",
    [*NO_TLS, pytest.param(HELLO, id="hello"), pytest.param(of_version(4), id="hello of 1.4")],
)
def test_data_inside_tls_to_a_provider_is_http(data: bytes) -> None:
    subject = asked(PROVIDER, data, sni=PROVIDER[0])
    layers.ClientTLSLayer(subject.context)
    subject.context.client.alpn = b"not-http"

    assert type(interception_layer(subject)) is layers.HttpLayer


def test_tls_to_a_provider_is_terminated() -> None:
    made = interception_layer(asked(PROVIDER, HELLO[:3]))

    assert isinstance(made, layers.ServerTLSLayer)
    assert isinstance(made.child_layer, layers.ClientTLSLayer)
    assert isinstance(made.child_layer.child_layer, layer.NextLayer)


@pytest.mark.parametrize("data", [b"", b"\x16", b"\x16\x03", b"\r\n", b"\r"])
def test_too_few_bytes_defer_the_decision(data: bytes) -> None:
    assert interception_layer(asked(PROVIDER, data)) is None


def test_data_of_the_server_does_not_decide() -> None:
    subject = asked(PROVIDER)
    subject.events = [events.DataReceived(subject.context.server, b"SSH-2.0-server\r\n")]
    assert interception_layer(subject) is None


@pytest.mark.parametrize("chunks", [[b"\r\n\r\nGET /"], [b"\r", b"\n", b"\nGET", b" /"]])
def test_empty_lines_before_a_request_are_dropped(chunks: list[bytes]) -> None:
    subject = asked(PROVIDER, *chunks)

    assert type(interception_layer(subject)) is layers.HttpLayer
    assert subject.data_client() == b"GET /"


@pytest.mark.parametrize("minor", [4, 5, 0xFF])
def test_tls_that_mitmproxy_does_not_parse_is_refused(minor: int) -> None:
    for subject in (asked(PROVIDER, of_version(minor)), asked(PROVIDER, of_version(minor)[:3])):
        with pytest.raises(NotHttpError, match="unknown_tls"):
            interception_layer(subject)
    with pytest.raises(NotHttpError, match="unknown_tls"):
        protocol_is_known(asked(None, of_version(minor)))


def test_datagrams_to_a_provider_are_refused() -> None:
    subject = asked(PROVIDER, b"\x00" * 30)
    subject.context.client.transport_protocol = "udp"

    with pytest.raises(NotHttpError, match="udp_to_provider"):
        interception_layer(subject)


@pytest.mark.parametrize("raw", [layers.TCPLayer, layers.UDPLayer, layers.DNSLayer])
@pytest.mark.parametrize("in_tls", [False, True], ids=["bare", "in TLS"])
def test_stack_of_layers_without_http_is_refused(raw: type[layer.Layer], in_tls: bool) -> None:
    def stack(kind: Callable[[Context], layer.Layer]) -> layer.Layer:
        context = asked(ELSEWHERE).context
        if not in_tls:
            return kind(context)
        first = layers.ClientTLSLayer(context)
        first.child_layer = kind(context)
        return first

    with pytest.raises(NotHttpError, match="not_http"):
        require_http(stack(raw))
    require_http(stack(lambda context: layers.HttpLayer(context, HTTPMode.transparent)))
