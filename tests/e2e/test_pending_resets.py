"""Pending resets: a provider's reset that arrives together with data ends each client's response.

The proxy is stopped (SIGSTOP) until data and reset are both pending in its sockets, so that it
always reads them together.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from standin import Gate, Part, Provider, Reset, Response, Server, ServerThread, Upgrade, Wait

from e2e.bodies import MESSAGES, RESPONSES
from e2e.clients import Clients, Way
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.records import Records
from e2e.sockets import CODEX, LeftError, Socket
from e2e.wire import HTTP2Client

FORWARD, REVERSE = Way("forward"), Way("reverse")
FORWARD_H2, REVERSE_H2 = Way("forward", http2=True), Way("reverse", http2=True)
SOCKETS, CONNECTIONS, STREAMS = 6, 4, 5
PENDING = 1000
"""Messages or events before the reset: more bytes than mitmproxy reads at once."""
PING = b'event: ping\ndata: {"type": "ping"%b}\n\n' % (b" " * 100)


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
def standin(provider: Provider) -> Iterator[Server]:
    """A provider that speaks HTTP/1.1, so that each stream has a separate connection."""
    with ServerThread(Server(provider, http2=False)) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    with run_proxy(standin.origin) as made:
        yield made


@contextmanager
def stopped(proxy: Proxy) -> Iterator[None]:
    """Stop the process of the proxy for a while."""
    os.kill(proxy.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(proxy.pid, signal.SIGCONT)


def all_broken(standin: Server, number: int) -> bool:
    outcomes = [request.outcome for request in standin.requests]
    return outcomes.count("broken") == number


def check_failed(records: Records, number: int) -> None:
    ends = [(row["status"], row["error_type"]) for row in records.interceptions]
    assert ends == [("failed", "upstream_error")] * number


def have_ended(number: int) -> Any:
    return lambda found: (
        len(found.interceptions) == number and all(row["ended_at"] for row in found.interceptions)
    )


@pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)
def test_pending_reset_closes_each_websocket(
    proxy: Proxy, clients: Clients, provider: Provider, standin: Server, way: Way
) -> None:
    gate, mark = Gate(), proxy.mark()
    events = [event.partition(b"\ndata: ")[2].strip() for event in RESPONSES.events()]
    parts: list[Part] = [events[0], Wait(gate), *[events[1]] * PENDING, Reset()]
    provider.canned["reset"] = lambda request: Upgrade(lambda message: [*parts])
    headers = {**CODEX, "x-standin-canned": "reset"}
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(Socket(clients, way, headers=headers)) for _ in range(SOCKETS)
        ]
        for client in sockets:
            client.request("hi")
            client.event()
        with stopped(proxy):
            gate.open()
            standin.wait_until(lambda: all_broken(standin, SOCKETS))
        for client in sockets:
            with pytest.raises(LeftError):
                list(iter(client.event, None))
    records = proxy.wait_for_records(have_ended(SOCKETS), after=mark)
    check_failed(records, SOCKETS)


@pytest.mark.parametrize("way", [FORWARD_H2, REVERSE_H2], ids=str)
def test_pending_reset_ends_each_stream_of_an_http2_connection(
    proxy: Proxy, clients: Clients, provider: Provider, standin: Server, way: Way
) -> None:
    gate, mark = Gate(), proxy.mark()
    events = MESSAGES.events()
    kind = [("content-type", "text/event-stream")]
    provider.canned["reset"] = lambda request: Response(
        200, [*kind], [events[0], Wait(gate), *[PING] * PENDING, Reset()]
    )
    headers = {**MESSAGES.headers, "x-standin-canned": "reset"}
    body = MESSAGES.request("hi", stream=True)
    with ExitStack() as stack:
        # mitmproxy opens at most 5 connections to a server at once for each client connection.
        made = [stack.enter_context(HTTP2Client(clients, way)) for _ in range(CONNECTIONS)]
        for client in made:
            streams = {client.post("/v1/messages", headers, body) for _ in range(STREAMS)}
            client.read_until(lambda client=client: all(client.bodies.values()))
        with stopped(proxy):
            gate.open()
            standin.wait_until(lambda: all_broken(standin, CONNECTIONS * STREAMS))
        for client in made:
            client.read_until(lambda client=client: client.broken == streams)
    records = proxy.wait_for_records(have_ended(CONNECTIONS * STREAMS), after=mark)
    check_failed(records, CONNECTIONS * STREAMS)
