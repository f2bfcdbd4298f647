"""Tests of shutdown and crash under load: completed responses are recorded exactly once.

Forty clients ask as fast as they can; the end comes when so many answers have been seen. All rounds
share one database, and each restart takes in what the round before has left.
"""

import signal
from collections.abc import Callable

import pytest
from standin import Gate, Provider, Response, Server, Wait

from e2e.bodies import MESSAGES
from e2e.clients import WAYS, Clients
from e2e.conftest import StartProxy
from e2e.load import Crowd, Load
from e2e.proxy import Proxy

CLIENTS = 40
FORWARD, *_ = WAYS

ROUNDS = {
    signal.SIGKILL: (1, 40, 110),
    signal.SIGTERM: (30, 90),
}
"""Number of responses after which the proxy ends."""


def _finish(proxy: Proxy, how: signal.Signals) -> None:
    code = proxy.kill() if how is signal.SIGKILL else proxy.stop()
    assert code == (-signal.SIGKILL if how is signal.SIGKILL else 0), proxy.log_text()


@pytest.mark.parametrize("how", ROUNDS, ids=lambda how: how.name)
def test_completed_response_is_recorded_once_however_the_proxy_ends(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    standin: Server,
    how: signal.Signals,
) -> None:
    proxy = start_proxy()
    asked = Load()
    for seen in ROUNDS[how]:
        # With pauses between events, many streams are half-way when the end comes.
        with Crowd(clients_of(proxy), CLIENTS, "LONG:5 PACE:2") as load:
            load.wait_until_seen(seen)
            _finish(proxy, how)
        proxy.start()
        asked.asked |= load.asked
        asked.seen |= load.seen
        asked.problems += load.problems
        ends = asked.check(proxy.records)
        assert ends.keys() <= {"completed", "interrupted", "cancelled", "failed"}
    assert ends["completed"] >= len(asked.seen)
    assert ends["completed"] < len(asked.asked)  # the end did come in the middle
    assert proxy.faults() == ""
    standin.requests.clear()


def test_clean_shutdown_records_open_requests_as_interrupted(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], standin: Server
) -> None:
    proxy = start_proxy()
    with Crowd(clients_of(proxy), CLIENTS, "GATE:never"):
        proxy.wait_for_records(lambda records: len(records.interceptions) >= CLIENTS / 2)
        proxy.stop()
    rows = proxy.records.interceptions  # before any restart
    assert all(row["ended_at"] for row in rows)
    streaming = [row for row in rows if row["streaming"]]
    assert {row["status"] for row in streaming} <= {"interrupted", "cancelled"}
    assert "interrupted" in {row["status"] for row in streaming}
    standin.requests.clear()


@pytest.mark.both_ways
def test_usage_reported_at_the_start_of_a_stream_survives_a_kill(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], provider: Provider
) -> None:
    proxy = start_proxy()
    clients = clients_of(proxy)
    gate = Gate()
    begin, *rest = MESSAGES.events()
    sse = [("content-type", "text/event-stream")]
    provider.canned["halves"] = lambda request: Response(200, sse, [begin, Wait(gate), *rest])
    with (
        clients.http(FORWARD) as client,
        client.stream(
            "POST",
            clients.url(FORWARD, MESSAGES.provider, MESSAGES.path),
            content=MESSAGES.request("hi", stream=True),
            headers={**MESSAGES.headers, "x-standin-canned": "halves"},
        ),
    ):
        told = proxy.wait_for_records(lambda records: records.token_usages)
        proxy.kill()
    gate.open()
    assert told.usage["input_tokens"] > 0
    proxy.start()
    assert proxy.records.interception["status"] == "interrupted"
    assert proxy.records.usage == told.usage
