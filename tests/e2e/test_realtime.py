"""Tests of OpenAI Realtime: keys among the protocols of the WebSocket, through both proxies."""

from collections.abc import Callable

import pytest
from standin import Server

from e2e.clients import OPENAI_KEY, Clients, Way
from e2e.conftest import StartProxy
from e2e.proxy import Proxy
from e2e.sockets import Socket
from e2e.test_tokens import CENTRAL, token

FORWARD, REVERSE = Way("forward"), Way("reverse")


def receive_response(socket: Socket) -> None:
    """Receive the events up to the end of a response."""
    while socket.event()["type"] != "response.done":
        pass


@pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)
def test_key_of_a_browser_among_the_protocols_is_relayed_and_never_shown(
    proxy: Proxy, clients: Clients, standin: Server, way: Way
) -> None:
    offered = f"realtime, openai-insecure-api-key.{OPENAI_KEY}"
    headers = {"sec-websocket-protocol": offered}
    url = clients.url(way, "openai", "/realtime")
    with (
        proxy.recording() as records,
        Socket(clients, way, headers=headers, url=f"{url}?model=gpt-realtime") as socket,
    ):
        socket.send({"type": "response.create"})
        receive_response(socket)
    assert standin.requests[-1].header("sec-websocket-protocol") == offered
    assert records.interception["credential_kind"] == "byok"
    assert records.interception["credential_hint"] == "sk-p...ghij"
    assert OPENAI_KEY not in proxy.log_text()


def test_access_token_among_the_protocols_is_replaced_by_the_central_key(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], standin: Server
) -> None:
    proxy = start_proxy(env=CENTRAL)
    text = token(proxy, models=("gpt-realtime",))
    clients = clients_of(proxy)
    url = clients.url(REVERSE, "openai", "/realtime")

    def connect(model: str) -> Socket:
        offered = f"realtime, openai-insecure-api-key.{text}"
        headers = {"sec-websocket-protocol": offered}
        return Socket(clients, REVERSE, headers=headers, url=f"{url}?model={model}")

    with connect("gpt-realtime") as socket:
        socket.send({"type": "response.create"})
        receive_response(socket)
        socket.send({"type": "session.update", "session": {"model": "gpt-5"}})
        assert socket.event()["type"] == "error"
    request = standin.requests[-1]
    assert request.header("sec-websocket-protocol") == "realtime"
    assert request.header("authorization") == f"Bearer {CENTRAL['OPENAI_API_KEY']}"
    assert [len(request.messages), text in str(request.headers)] == [1, False]
    with connect("gpt-5") as refused:
        assert refused.status == 400
    assert proxy.records.interceptions[0]["credential_kind"] == "centralized"
