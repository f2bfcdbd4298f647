"""Tests of protocol upgrades: only WebSockets are allowed, and only if they are read or harmless.

The provider of these tests switches at every request, to what its client does not understand.
"""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from standin import Server

from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.store import open_store
from e2e.clients import OPENAI_KEY, Clients, Way
from e2e.metrics import metric
from e2e.proxies import RunProxy
from e2e.proxy import Proxy, config_toml
from e2e.raw_server import RawServer
from e2e.records import Records
from e2e.wire import connect, read_head

FORWARD, REVERSE = Way("forward"), Way("reverse")
each_way = pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)

CENTRAL = "sk-central-0123456789abcdef"
KEY = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION = "sec-websocket-version: 13"
WEBSOCKET = ["upgrade: websocket", VERSION]
ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
RAW = b'RAW {"model": "anything"}'

RESPONSES, MODELS, UNREAD = "/responses", "/models", "/live"

ODD = {
    "h2c": ["upgrade: h2c", "http2-settings: AAMAAABkAARAAAAAAAIAAAAA"],
    "version 8": ["upgrade: websocket", "sec-websocket-version: 8"],
    "no version": ["upgrade: websocket"],
    "version twice": ["upgrade: websocket", VERSION, VERSION],
    "versions": ["upgrade: websocket", "sec-websocket-version: 13, 8"],
    "another first": ["upgrade: foo", *WEBSOCKET],
    "another after": [*WEBSOCKET, "upgrade: foo"],
    "a list": ["upgrade: websocket, foo", VERSION],
    "nothing asked": [],
}


class Switching(RawServer):
    """A provider that responds to every request with 101, and echoes further bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: list[bytes] = []
        """Heads of requests."""
        self.raw = b""
        """Bytes after the heads."""
        self.response = ACCEPTED

    def forget(self) -> None:
        self.heads.clear()
        self.raw, self.response = b"", ACCEPTED

    def serve(self, peer: socket.socket) -> None:
        self.heads.append(read_head(peer))
        self.raw = b""  # an earlier connection may have sent its close since `forget`
        peer.sendall(self.response)
        while received := peer.recv(4096):
            self.raw += received
            peer.sendall(received)


@pytest.fixture(scope="module")
def switching() -> Iterator[Switching]:
    """Yield the provider."""
    with Switching() as made:
        yield made


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, switching: Switching) -> Iterator[Proxy]:
    """Run a proxy for the provider, with a central key and without access tokens."""
    options = {"aibridge_require_token": "never"}
    env = {"OPENAI_API_KEY": CENTRAL}
    with run_proxy(switching.origin, env=env, options=options, metrics=True) as made:
        yield made


@pytest.fixture(autouse=True)
def _nothing_yet(switching: Switching) -> None:
    switching.forget()


@contextmanager
def asking(
    clients: Clients, way: Way, path: str, fields: list[str], method: str = "GET"
) -> Iterator[tuple[socket.socket, bytes]]:
    """Request an upgrade; yield the connection and the head of the response."""
    prefix = "/openai/v1" if way is REVERSE else "/v1"
    names = [field.partition(":")[0] for field in fields if not field.startswith("sec-")]
    host = "api.openai.com" if way.mode == "forward" else "127.0.0.1"
    lines = [f"{method} {prefix}{path} HTTP/1.1", f"host: {host}", KEY, *fields]
    lines += [f"connection: {', '.join(names)}"] if names else []
    lines += [f"authorization: Bearer {OPENAI_KEY}"] if way is FORWARD else []
    with connect(clients, way, "api.openai.com") as sock:
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        yield sock, read_head(sock)


def body_of(sock: socket.socket, head: bytes) -> dict[str, dict[str, str]]:
    """Return the error in a response."""
    [length] = [
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    got = b""
    while len(got) < length:
        got += sock.recv(length - len(got))
    decoded: dict[str, dict[str, str]] = json.loads(got)
    return decoded


def refused(proxy: Proxy) -> float:
    return metric(proxy, "aibridge_refused_total", reason="unread_websocket")


@each_way
@pytest.mark.parametrize("path", [RESPONSES, MODELS])
@pytest.mark.parametrize("odd", ODD)
def test_no_upgrade_makes_the_proxy_relay_raw_bytes(
    proxy: Proxy, clients: Clients, switching: Switching, way: Way, path: str, odd: str
) -> None:
    if path == MODELS and odd == "nothing asked":
        switching.response = ACCEPTED.replace(b"websocket", b"h2c")
    with asking(clients, way, path, ODD[odd]) as (sock, head):
        assert head.startswith(b"HTTP/1.1 502 ")
        assert "a protocol that was not requested" in body_of(sock, head)["error"]["message"]
        sock.sendall(RAW)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(4096):
            pass
    assert switching.raw == b""
    [asked] = switching.heads
    names = [line.partition(b":")[0].lower() for line in asked.split(b"\r\n")]
    assert not {b"upgrade", b"http2-settings", b"connection"}.intersection(names)
    assert b"sec-websocket-key" in names


@each_way
@pytest.mark.parametrize("protocol", [b"h2c", b"foo, websocket", b""])
def test_switch_to_another_protocol_than_requested_is_an_error(
    proxy: Proxy, clients: Clients, switching: Switching, way: Way, protocol: bytes
) -> None:
    switching.response = ACCEPTED.replace(b"websocket", protocol)
    with (
        proxy.recording() as records,
        asking(clients, way, RESPONSES, WEBSOCKET) as (sock, head),
    ):
        assert head.startswith(b"HTTP/1.1 502 ")
        assert "a protocol that was not requested" in body_of(sock, head)["error"]["message"]
    row = records.interception
    assert (row["status"], row["error_type"]) == ("failed", "upstream_error")


@each_way
@pytest.mark.parametrize("spelled", ["websocket", "WebSocket"])
def test_websocket_of_a_known_path_passes(
    proxy: Proxy, clients: Clients, switching: Switching, way: Way, spelled: str
) -> None:
    fields = [f"upgrade: {spelled}", VERSION]
    with asking(clients, way, RESPONSES, fields) as (_, head):
        assert head.startswith(b"HTTP/1.1 101 ")
    [asked] = switching.heads
    assert f"upgrade: {spelled}".encode() in asked


def test_websocket_of_an_unknown_path_passes_the_forward_proxy_and_is_counted(
    proxy: Proxy, clients: Clients, switching: Switching
) -> None:
    labels = {"provider": "openai", "route": "other", "method": "GET"}
    before = metric(proxy, "aibridge_passthrough_total", **labels)
    frame = b"\x81\x82\x00\x00\x00\x00hi"
    with (
        proxy.recording() as records,
        asking(clients, FORWARD, UNREAD, WEBSOCKET) as (sock, head),
    ):
        assert head.startswith(b"HTTP/1.1 101 ")
        sock.sendall(frame)
        sock.recv(100)  # what comes back has a mask, which servers must not use
    assert switching.raw[:2] == frame[:2]
    assert records == Records()
    assert metric(proxy, "aibridge_passthrough_total", **labels) == before + 1


def test_websocket_of_an_unknown_path_is_refused_by_the_reverse_proxy(
    proxy: Proxy, clients: Clients, switching: Switching
) -> None:
    before = refused(proxy)
    with asking(clients, REVERSE, MODELS, WEBSOCKET) as (sock, head):
        assert head.startswith(b"HTTP/1.1 400 ")
        assert "WebSocket" in body_of(sock, head)["error"]["message"]
    assert switching.heads == []
    assert refused(proxy) == before + 1


@pytest.mark.parametrize(("scope", "passes"), [({}, True), ({"models": ("cheap-*",)}, False)])
def test_access_token_with_model_limits_opens_no_unread_websocket(
    proxy: Proxy,
    clients: Clients,
    switching: Switching,
    scope: dict[str, tuple[str, ...]],
    passes: bool,
) -> None:
    limits: Any = scope
    text, made = AccessToken.make("alice", **limits)
    open_store(proxy.database).add_access_token(made)
    fields = [*WEBSOCKET, f"x-aibridge-token: {text}"]
    with asking(clients, FORWARD, UNREAD, fields) as (_, head):
        assert head.startswith(b"HTTP/1.1 101 " if passes else b"HTTP/1.1 400 ")
    assert len(switching.heads) == passes


JUDGED = """
[[model_rules]]
actors = ["judged"]
deny = ["dear-*"]

[[model_rules]]
providers = ["anthropic"]
allow = ["claude-*"]

[[model_rules]]
clients = ["OpenCode"]
allow = ["gpt-*"]
"""


def test_sender_with_a_model_rule_opens_no_unread_websocket(
    start_proxy: Callable[..., Proxy],
    clients_of: Callable[[Proxy], Clients],
    switching: Switching,
) -> None:
    clients = clients_of(start_proxy(config=config_toml(switching.origin) + JUDGED))
    for actor, agent, status in (
        ("judged", "curl/8", b"400"),
        ("another", "opencode/1.0", b"400"),
        ("another", "curl/8", b"101"),  # no rule is for this provider instance and client
    ):
        fields = [*WEBSOCKET, f"x-aibridge-actor: {actor}", f"user-agent: {agent}"]
        with asking(clients, FORWARD, UNREAD, fields) as (_, head):
            assert head.startswith(b"HTTP/1.1 " + status), (actor, agent)
    assert len(switching.heads) == 1


@each_way
def test_upgrade_to_http2_is_stripped_and_the_request_is_served(
    start_proxy: Callable[..., Proxy],
    clients_of: Callable[[Proxy], Clients],
    standin: Server,
    way: Way,
) -> None:
    # As Java's client does over plain HTTP, with whatever it asks first.
    clients = clients_of(start_proxy())
    with asking(clients, way, MODELS, ODD["h2c"]) as (_, head):
        assert head.startswith(b"HTTP/1.1 200 ")
    assert standin.requests[-1].header("upgrade") is None


def test_websocket_upgrade_of_another_method_than_get_is_stripped(
    proxy: Proxy, clients: Clients, switching: Switching
) -> None:
    with asking(clients, FORWARD, RESPONSES, WEBSOCKET, "PUT") as (_, head):
        assert head.startswith(b"HTTP/1.1 502 ")
    assert b"upgrade:" not in switching.heads[0].lower()
