"""Where connections go: what the config file names, what is allowed, what is said of the rest."""

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
    find_refusal,
    refused_connection_response,
)
from aibridge_addon.providers.routing import Provider


class Options:
    """Those of mitmproxy that are asked for."""

    mode = ("regular", "reverse:http://127.0.0.1:1111@1", "upstream:http://10.0.0.9:3128@2")


@pytest.fixture(autouse=True)
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that were looked up. They are where they should not be."""
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


class Tried:
    """A reach, and what it refused."""

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
async def test_a_provider_is_reached_where_the_config_file_says(
    at: Provider, host: str, port: int, allowed: bool
) -> None:
    assert await Tried(providers=(at,)).allows(host, port) is allowed


async def test_what_the_config_file_names_is_left_to_the_system(looked_up: list[str]) -> None:
    tried = Tried(providers=(provider("https://llm.corp/v1"),))

    assert (await tried.connect("llm.corp", 443)).address == ("llm.corp", 443)
    assert looked_up == []


@pytest.mark.parametrize(
    ("host", "port", "mode", "allowed"),
    [
        ("127.0.0.1", 1111, "reverse:http://127.0.0.1:1111@1", True),
        ("10.0.0.9", 3128, "upstream:http://10.0.0.9:3128@2", True),
        ("10.0.0.9", 3128, "regular", True),  # a request of an inner loop
        ("10.0.0.9", 3129, "upstream:http://10.0.0.9:3128@2", False),
        ("192.168.0.1", 53, "dns", True),
        ("192.168.0.1", 53, "wireguard", False),
    ],
)
async def test_what_the_command_line_names_is_reached(
    host: str, port: int, mode: str, allowed: bool
) -> None:
    assert await Tried().allows(host, port, mode) is allowed


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
async def test_networks_are_allowed_in_every_form(host: str, allowed: bool) -> None:
    networks = (ip_network("10.1.0.0/16"), ip_network("fd00::/16"))

    assert await Tried(networks=networks).allows(host, 443) is allowed


async def test_a_connection_is_bound_while_it_is_made_and_shown_as_it_was_asked_for() -> None:
    tried = Tried(networks=(ip_network("10.1.2.3"),))

    server = await tried.connect("name.test", 443)
    assert server.address == ("10.1.2.3", 443)

    server.state = connection.ConnectionState.OPEN
    tried.egress.restore(server)
    assert server.address == ("name.test", 443)


async def test_a_connection_that_was_refused_may_be_asked_for_again() -> None:
    tried = Tried()
    server = await tried.connect("127.0.0.1", 443)
    assert server.error

    tried.egress.restore(server)

    assert server.error is None
    assert tried.refused == ["private_address"]


async def test_an_error_that_is_not_ours_stays() -> None:
    server = connection.Server(address=("8.8.8.8", 443))
    server.error = "its certificate is bad"

    Tried().egress.restore(server)

    assert server.error == "its certificate is bad"


async def test_nobody_can_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tried = Tried()

    for number in range(MAX_LOGGED_HOSTS + 10):
        await tried.connect(f"n{number}.test", 443)
        await tried.connect("same.test", 443)

    assert len(caplog.records) == MAX_LOGGED_HOSTS
    assert "same.test" in caplog.messages[1]
    assert "192.168.0.7" in caplog.messages[1]


async def test_what_a_client_writes_is_not_written_as_it_is() -> None:
    server = await Tried().connect("a\r\nb\x1b" + "x" * 300 + ".test", 443)

    assert server.error
    assert server.error.isprintable()
    assert len(server.error) < 500


async def test_a_refusal_is_found_in_what_mitmproxy_makes_of_it() -> None:
    error = (await Tried().connect("127.0.0.1", 443)).error
    assert error

    assert find_refusal(f"Connection killed: {error}") == error
    assert find_refusal("Connection killed: something else") is None
    assert refused_connection_response(403, error).text == f"{error}\n"
