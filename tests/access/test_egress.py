"""Egress rules: provider hosts, allowed networks, refusals, and the binding of connections."""

import logging
import socket
from ipaddress import ip_network
from typing import Any

import pytest
from mitmproxy import connection
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from aibridge_addon.access.egress import (
    MAX_LOGGED_HOSTS,
    Egress,
    PrivateAddressError,
    find_refusal,
    refused_connection_response,
)
from aibridge_addon.providers.instance import Provider


class Options:
    """The options of mitmproxy that egress reads."""

    mode = ("regular", "reverse:http://127.0.0.1:1111@1", "upstream:http://10.0.0.9:3128@2")


@pytest.fixture(autouse=True)
def resolved_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Resolve every name to a private address; return the resolved names."""
    names: list[str] = []

    def getaddrinfo(
        host: str, port: None, family: int, kind: int, proto: int, flags: int
    ) -> list[object]:
        names.append(host)
        assert flags == socket.AI_ADDRCONFIG
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr("aibridge_addon.access.egress.ctx", type("Ctx", (), {"options": Options}))
    return names


class Attempts:
    """Egress rules, and the reasons that they reported."""

    def __init__(self, **allowed: Any) -> None:
        self.refused: list[str] = []
        self.egress = Egress(on_refused=self.refused.append)
        self.egress.allow(**allowed)

    async def connect(self, host: str, port: int, mode: str = "regular") -> connection.Server:
        server = connection.Server(address=(host, port))
        client = connection.Client(
            peername=("192.168.0.7", 50000),
            sockname=("127.0.0.1", 8080),
            proxy_mode=ProxyMode.parse(mode),
        )
        await self.egress.bind(ServerConnectionHookData(client=client, server=server))
        return server

    async def allows(self, host: str, port: int, mode: str = "regular") -> bool:
        return (await self.connect(host, port, mode)).error is None


def provider(base_url: str, *hosts: str) -> Provider:
    return Provider(name="x", type="openai", base_url=base_url, hosts=frozenset(hosts))


LOCAL = Provider(
    name="ollama",
    type="ollama",
    base_url="http://127.0.0.1:11434",
    hosts=frozenset(),
    is_optional=True,
)


async def test_default_instance_on_this_machine_is_for_the_reverse_proxy_only() -> None:
    attempts = Attempts(providers=[LOCAL])

    assert await attempts.allows("127.0.0.1", 11434, "reverse:http://127.0.0.1:1111")
    assert not await attempts.allows("127.0.0.1", 11435, "reverse:http://127.0.0.1:1111")
    assert not await attempts.allows("127.0.0.1", 11434)


@pytest.mark.parametrize(
    ("at", "host", "port", "allowed"),
    [
        (provider("http://127.0.0.1:11434/v1", "127.0.0.1"), "127.0.0.1", 11434, True),
        (provider("http://127.0.0.1:11434/v1", "127.0.0.1"), "127.0.0.1", 80, False),
        (provider("http://127.0.0.1:11434/v1", "127.0.0.1"), "127.0.0.1", 443, False),
        (provider("http://127.0.0.1:11434/v1", "127.0.0.1"), "127.1", 11434, False),
        (provider("http://localhost:11434/v1", "localhost"), "localhost", 11434, True),
        (provider("http://localhost:11434/v1", "localhost"), "localhost", 80, False),
        (provider("http://127.0.0.1:11434/v1", "localhost"), "localhost", 11434, False),
        (LOCAL, "127.0.0.1", 11434, False),
        (provider("", "*.llm.example"), "a.llm.example", 443, False),
        (provider("", "*.llm.example", "a.llm.example"), "a.llm.example", 443, True),
        (provider("https://llm.corp/v1", "llm.corp"), "llm.corp", 443, True),
        (provider("https://llm.corp/v1", "llm.corp"), "LLM.Corp.", 443, True),
        (provider("https://llm.corp/v1", "llm.corp"), "llm.corp", 80, True),
        (provider("https://llm.corp/v1", "llm.corp"), "llm.corp", 22, False),
        (provider("http://llm.corp:8000/v1"), "llm.corp", 8000, True),
        (provider("http://llm.corp:8000/v1"), "llm.corp", 443, False),
        (provider("http://10.0.0.5:8000/v1", "llm.corp"), "llm.corp", 443, True),
        (provider("http://10.0.0.5:8000/v1", "llm.corp"), "llm.corp", 8000, True),
        (provider("http://10.0.0.5:8000/v1", "llm.corp"), "10.0.0.5", 8000, True),
        (provider("http://10.0.0.5:8000/v1", "llm.corp"), "10.0.0.5", 443, False),
        (provider("https://llm.corp/v1", "llm.corp"), "x.llm.corp", 443, False),
    ],
)
async def test_provider_hosts_are_allowed_at_their_url_and_web_ports_only(
    at: Provider, host: str, port: int, allowed: bool
) -> None:
    assert await Attempts(providers=(at,)).allows(host, port) is allowed


async def test_provider_host_is_not_resolved_by_the_egress_rules(resolved_names: list[str]) -> None:
    attempts = Attempts(providers=(provider("https://llm.corp/v1"),))

    assert (await attempts.connect("llm.corp", 443)).address == ("llm.corp", 443)
    assert resolved_names == []


@pytest.mark.parametrize(
    ("host", "port", "mode", "allowed"),
    [
        ("127.0.0.1", 1111, "reverse:http://127.0.0.1:1111@1", True),
        ("10.0.0.9", 3128, "upstream:http://10.0.0.9:3128@2", True),
        ("10.0.0.9", 3128, "regular", True),  # an upstream request of an inner loop
        ("10.0.0.9", 3129, "upstream:http://10.0.0.9:3128@2", False),
        ("192.168.0.1", 53, "dns", True),
        ("192.168.0.1", 53, "wireguard", False),
    ],
)
async def test_targets_of_proxy_modes_are_allowed(
    host: str, port: int, mode: str, allowed: bool
) -> None:
    assert await Attempts().allows(host, port, mode) is allowed


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("10.1.2.3", True),
        ("name.test", True),
        ("::ffff:10.1.2.3", True),
        ("64:ff9b::10.1.2.3", True),
        ("10.2.0.1", False),
        ("fd00::1", True),
        ("fd01::1", False),
        ("8.8.8.8", True),
    ],
)
async def test_allowed_networks_include_ipv6_forms_of_their_addresses(
    host: str, allowed: bool
) -> None:
    networks = (ip_network("10.1.0.0/16"), ip_network("fd00::/16"))

    assert await Attempts(networks=networks).allows(host, 443) is allowed


async def test_connection_is_bound_to_the_checked_address_and_keeps_the_requested_host() -> None:
    attempts = Attempts(networks=(ip_network("10.1.2.3"),))

    server = await attempts.connect("name.test", 443)
    assert server.address == ("10.1.2.3", 443)

    server.state = connection.ConnectionState.OPEN
    attempts.egress.restore(server)
    assert server.address == ("name.test", 443)


async def test_refused_connection_can_be_requested_again() -> None:
    attempts = Attempts()
    server = await attempts.connect("127.0.0.1", 443)
    assert server.error

    attempts.egress.restore(server)

    assert server.error is None
    assert attempts.refused == ["private_address"]


async def test_error_of_a_connection_set_by_mitmproxy_is_preserved() -> None:
    server = connection.Server(address=("8.8.8.8", 443))
    server.error = "its certificate is bad"

    Attempts().egress.restore(server)

    assert server.error == "its certificate is bad"


async def test_refused_hosts_are_logged_once_each_up_to_a_maximum(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    attempts = Attempts()

    for number in range(MAX_LOGGED_HOSTS + 10):
        await attempts.connect(f"n{number}.test", 443)
        await attempts.connect("same.test", 443)

    assert len(caplog.records) == MAX_LOGGED_HOSTS
    assert "same.test" in caplog.messages[1]
    assert "192.168.0.7" in caplog.messages[1]


async def test_host_in_a_refusal_is_escaped_and_shortened() -> None:
    server = await Attempts().connect("a\r\nb\x1b" + "x" * 300 + ".test", 443)

    assert server.error
    assert server.error.isprintable()
    assert len(server.error) < 500


async def test_refusal_is_found_in_the_error_message_of_mitmproxy() -> None:
    error = (await Attempts().connect("127.0.0.1", 443)).error
    assert error

    assert find_refusal(f"Connection killed: {error}") == error
    assert find_refusal("Connection killed: something else") is None
    assert refused_connection_response(PrivateAddressError, error).text == f"{error}\n"
