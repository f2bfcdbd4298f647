"""Which connections are tunnelled: told by the address and by the name in the client hello."""

import contextlib
import ssl

import pytest
from mitmproxy import connection, options
from mitmproxy.proxy import events, layer, layers
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.mode_specs import ProxyMode

from aibridge_addon.proxy.tunnel import must_tunnel, tunnel

PROVIDER_HOSTS = {"api.anthropic.com", "127.0.0.9"}
ELSEWHERE = ("203.0.113.7", 443)


def client_hello(server_name: str | None) -> bytes:
    """The first bytes of a TLS client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


HELLO = client_hello("api.anthropic.com")


def asked(address, *data: bytes, sni: str | None = None, mode: str = "regular") -> layer.NextLayer:
    """A connection whose next layer is asked for after these bytes of the client."""
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


def test_a_client_that_still_speaks_to_the_proxy_is_heard():
    assert verdict(asked(None, b"CONNECT api.anthropic.com:443 HTTP/1.1\r\n")) is False


@pytest.mark.parametrize(
    "data", [HELLO, client_hello("example.com"), b"GET / HTTP/1.1", b"", b"\x16"]
)
def test_a_provider_s_address_is_intercepted_whatever_the_client_says(data):
    assert verdict(asked(("api.anthropic.com", 443), data)) is False


def test_a_provider_s_name_in_the_client_hello_is_enough():
    assert verdict(asked(ELSEWHERE, HELLO)) is False
    assert verdict(asked(ELSEWHERE, HELLO[:7], HELLO[7:])) is False


@pytest.mark.parametrize(
    "data",
    [client_hello("example.com"), client_hello(None), b"GET / HTTP/1.1\r\n", b"", b"SSH-2.0-x"],
)
def test_what_goes_to_no_provider_is_tunnelled(data):
    assert verdict(asked(("example.com", 443), data)) is True


@pytest.mark.parametrize("length", range(3, len(HELLO), 37))
def test_an_incomplete_client_hello_is_waited_for(length):
    assert verdict(asked(ELSEWHERE, HELLO[:length])) is None


def test_a_broken_client_hello_names_nobody_and_is_tunnelled():
    broken = HELLO[:9] + b"\xff" * (len(HELLO) - 9)  # its headers are whole

    assert verdict(asked(ELSEWHERE, broken)) is True


def test_a_server_name_that_is_already_known_is_used():
    assert verdict(asked(ELSEWHERE, b"PRI * HTTP/2.0", sni="api.anthropic.com")) is False
    assert verdict(asked(ELSEWHERE, HELLO[:9], sni="example.com")) is True


def test_reverse_mode_never_tunnels():
    assert verdict(asked(ELSEWHERE, b"GET /", mode="reverse:http://example.com")) is False


def test_a_tunnel_passes_bytes_and_makes_no_flow():
    made = tunnel(asked(ELSEWHERE).context)

    assert isinstance(made, layers.TCPLayer)
    assert made.flow is None
