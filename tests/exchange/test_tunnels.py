"""Tunnels to AI services: recorded at their end, with actor, host, bytes and time."""

from typing import Any

from mitmproxy.connection import Client
from mitmproxy.proxy.mode_specs import ProxyMode

from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.exchange.tunnels import Tunnels
from aibridge_addon.facts import TunnelEnded
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.providers.identity import Actor


class Admission:
    """Knows the access tokens of connections."""

    def __init__(self, tokens: dict[Client, AccessToken]) -> None:
        self.tokens = tokens

    def token_of_connection(self, client: Client) -> AccessToken | None:
        return self.tokens.get(client)


class FirstRequest:
    """Waits for nothing."""

    def stop(self, client: Client) -> None:
        pass


def client() -> Client:
    return Client(
        peername=("127.0.0.1", 50000),
        sockname=("127.0.0.1", 8080),
        proxy_mode=ProxyMode.parse("regular"),
    )


class Case:
    """Tunnels, and what they record."""

    def __init__(self) -> None:
        self.recorded: list[TunnelEnded] = []
        self.tokens: dict[Client, AccessToken] = {}
        admission: Any = Admission(self.tokens)
        first: Any = FirstRequest()
        self.tunnels = Tunnels(admission, self.recorded.append, first, Metrics())


def test_tunnel_to_an_ai_service_is_recorded_when_its_client_disconnects() -> None:
    case, one = Case(), client()

    traffic = case.tunnels.open(one, "API2.cursor.sh")
    assert traffic
    traffic.sent, traffic.received = 100, 2000
    case.tunnels.end(one)
    case.tunnels.end(one)

    (ended,) = case.recorded
    assert (ended.host, ended.service) == ("api2.cursor.sh", "Cursor")
    assert (ended.bytes_sent, ended.bytes_received) == (100, 2000)
    assert (ended.initiator_id, ended.access_token_id) == ("anonymous", None)
    assert ended.duration_ms >= 0


def test_tunnel_to_another_host_is_not_recorded() -> None:
    case, one = Case(), client()

    assert case.tunnels.open(one, "example.com") is None
    case.tunnels.end(one)

    assert case.recorded == []


def test_actor_of_a_tunnel_is_its_login_or_the_owner_of_its_access_token() -> None:
    case, by_login, by_token = Case(), client(), client()
    case.tunnels.known_actors = {"bob": Actor(id="bob@example.com")}
    case.tunnels.note_user(by_login, "bob")
    case.tokens[by_token] = AccessToken(id="t1", initiator_id="alice", digest="", created_at="")

    for one in (by_login, by_token):
        case.tunnels.open(one, "claude.ai")
    case.tunnels.end_all()

    assert [(t.initiator_id, t.access_token_id) for t in case.recorded] == [
        ("bob@example.com", None),
        ("alice", "t1"),
    ]
