"""Tests of background responses: recorded by the poll that contains their end."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from standin import Provider, Request, Response

from e2e.bodies import RESPONSES
from e2e.clients import WAYS, Clients, Way
from e2e.conftest import StartProxy
from e2e.proxy import Proxy

FORWARD, FORWARD_H2, REVERSE, REVERSE_H2 = WAYS
JSON = [("content-type", "application/json")]
SSE = [("content-type", "text/event-stream")]
CANNED = {**RESPONSES.headers, "x-standin-canned": "background"}


def response(status: str, response_id: str) -> dict[str, Any]:
    whole = json.loads(RESPONSES.answer())
    unfinished: dict[str, Any] = {} if status == "completed" else {"output": [], "usage": None}
    return {**whole, "id": response_id, "background": True, "status": status, **unfinished}


def events(*told: dict[str, Any]) -> bytes:
    return b"".join(
        b"event: response.%s\ndata: %s\n\n" % (each["status"].encode(), json.dumps(event).encode())
        for each in told
        for event in [{"type": f"response.{each['status']}", "response": each}]
    )


class Asking:
    """A client that polls one background response."""

    def __init__(self, clients: Clients, provider: Provider, way: Way, response_id: str) -> None:
        self._clients = clients
        self._provider = provider
        self._way = way
        self._id = response_id

    def ask(self, method: str, path: str, body: bytes, headers: list[tuple[str, str]]) -> None:
        def answer(request: Request) -> Response:
            return Response(200, list(headers), body)

        self._provider.canned["background"] = answer
        content = RESPONSES.request("hi", stream=False, background=True)
        with self._clients.http(self._way) as client:
            url = self._clients.url(self._way, "openai", f"/responses{path}")
            asked = client.request(
                method, url, headers=CANNED, content=content if method == "POST" else None
            )
            assert asked.content == body

    def begin(self) -> None:
        self.ask("POST", "", json.dumps(response("queued", self._id)).encode(), JSON)

    def poll(self, status: str) -> None:
        body = json.dumps(response(status, self._id)).encode()
        self.ask("GET", f"/{self._id}", body, JSON)

    def poll_stream(self, *statuses: str, headers: Sequence[tuple[str, str]] = SSE) -> None:
        body = events(*(response(status, self._id) for status in statuses))
        self.ask("GET", f"/{self._id}?stream=true&starting_after=3", body, list(headers))

    def cancel(self) -> None:
        body = json.dumps(response("cancelled", self._id)).encode()
        self.ask("POST", f"/{self._id}/cancel", body, JSON)


@pytest.mark.parametrize("way", [FORWARD_H2, REVERSE], ids=str)
@pytest.mark.parametrize("kind", ["whole", "streamed", "streamed-without-content-type"])
def test_background_response_is_recorded_once_by_the_poll_with_its_end(
    proxy: Proxy, clients: Clients, provider: Provider, way: Way, kind: str
) -> None:
    asking = Asking(clients, provider, way, f"resp_{way}_{kind}")
    unlabelled = partial(asking.poll_stream, headers=())
    polls: dict[str, Callable[[str], None]] = {
        "whole": asking.poll,
        "streamed": asking.poll_stream,
        "streamed-without-content-type": unlabelled,
    }
    poll = polls[kind]
    with proxy.recording() as records:
        asking.begin()
        poll("in_progress")
        assert proxy.records.interceptions[-1]["ended_at"] is None
        for _ in range(3):
            poll("completed")
    assert records.interception["status"] == "completed"
    assert records.counts == RESPONSES.tokens
    assert records.prompts == ["hi"]
    assert len(records.tool_usages) == len({row["tool_call_id"] for row in records.tool_usages})


def test_cancelled_background_response_is_recorded_as_cancelled(
    proxy: Proxy, clients: Clients, provider: Provider
) -> None:
    asking = Asking(clients, provider, REVERSE, "resp_cancelled")
    with proxy.recording() as records:
        asking.begin()
        asking.cancel()
        asking.poll("cancelled")
    assert records.interception["status"] == "cancelled"
    assert records.token_usages == []


def test_poll_after_a_restart_ends_the_earlier_record(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], provider: Provider
) -> None:
    proxy = start_proxy()
    Asking(clients_of(proxy), provider, FORWARD, "resp_restart").begin()
    proxy.kill()
    proxy.start()
    assert proxy.records.interception["ended_at"] is None
    asking = Asking(clients_of(proxy), provider, FORWARD, "resp_restart")
    asking.poll("completed")
    proxy.restart()
    asking = Asking(clients_of(proxy), provider, FORWARD, "resp_restart")
    asking.poll("completed")
    assert proxy.records.interception["status"] == "completed"
    assert proxy.records.counts == RESPONSES.tokens
