"""Pages of the listener: by path, by method, and while the event loop is blocked or closed."""

import asyncio
import http.client
import json
import selectors
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from ports import free_port
from prometheus_client import CollectorRegistry, Counter

from aibridge_addon import __version__
from aibridge_addon.observe.health import Health
from aibridge_addon.observe.listener import Listener

WAIT_S = 20.0


class Served:
    """A listener with a client on another thread."""

    def __init__(self, *, timeout: float = WAIT_S) -> None:
        self.health = Health(database="ok")
        self.checked_on: set[int] = set()
        self.port = free_port()
        registry = CollectorRegistry()
        Counter("seen", "Things.", registry=registry).inc()
        self.listener = Listener(("127.0.0.1", self.port), registry, self._check, timeout=timeout)

    def _check(self) -> Health:
        self.checked_on.add(threading.get_ident())
        return self.health

    def get_here(self, path: str, method: str = "GET") -> tuple[int, str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        return response.status, response.headers["content-type"], body

    async def get(self, path: str, method: str = "GET") -> tuple[int, str, str]:
        return await asyncio.to_thread(self.get_here, path, method)


@asynccontextmanager
async def serving(**options: float) -> AsyncIterator[Served]:
    served = Served(**options)
    try:
        yield served
    finally:
        served.listener.close()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as served:
        yield served


@pytest.mark.parametrize("path", ["/metrics", "/metrics?name[]=seen_total"])
async def test_metrics_are_served_at_the_default_path_of_prometheus(
    served: Served, path: str
) -> None:
    status, kind, body = await served.get(path)
    assert status == 200
    assert kind.startswith("text/plain")
    assert "seen_total 1.0" in body


@pytest.mark.parametrize(
    ("health", "status", "word"),
    [
        (Health(database="ok"), 200, "ok"),
        (Health(database="ok", mcp_servers={"a": "up", "b": "starting"}), 200, "ok"),
        (Health(database="ok", mcp_servers={"a": "up", "b": "down"}), 200, "degraded"),
        (Health(database="away"), 503, "degraded"),
        (Health(database="away", mcp_servers={"a": "down"}), 503, "degraded"),
    ],
)
async def test_health_is_checked_on_the_event_loop(
    served: Served, health: Health, status: int, word: str
) -> None:
    served.health = health
    response = await served.get("/healthz")
    assert response[:2] == (status, "application/json")
    assert json.loads(response[2]) == {
        "status": word,
        "database": health.database,
        "mcp_servers": health.mcp_servers,
        "prices": "ok",
        "version": __version__,
    }
    assert served.checked_on == {threading.get_ident()}, "components are used on the loop"


async def test_head_request_of_a_probe_gets_no_body(served: Served) -> None:
    assert await served.get("/healthz", "HEAD") == (200, "application/json", "")


async def test_root_lists_the_pages(served: Served) -> None:
    status, _, body = await served.get("/")
    assert status == 200
    assert "/metrics" in body
    assert "/healthz" in body


@pytest.mark.parametrize("path", ["/healthz/", "/metricsx", "/favicon.ico", "/health"])
async def test_unknown_path_is_not_found(served: Served, path: str) -> None:
    status, _, body = await served.get(path)
    assert status == 404
    assert "seen_total" not in body


async def test_blocked_event_loop_is_unhealthy_while_metrics_are_served() -> None:
    async with serving(timeout=0.01) as served:
        # The event loop waits for these requests, so it runs nothing meanwhile.
        status, _, body = served.get_here("/healthz")
        assert status == 503
        assert json.loads(body)["database"] == "unknown"
        assert served.get_here("/metrics")[0] == 200


def test_closed_event_loop_is_unhealthy() -> None:
    async def start() -> Served:
        return Served()

    served = asyncio.run(start())
    try:
        assert served.get_here("/healthz")[0] == 503
    finally:
        served.listener.close()


async def test_closed_listener_leaves_no_port_and_no_thread() -> None:
    threads = threading.active_count()
    async with serving() as served:
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", served.port), timeout=WAIT_S)
    assert threading.active_count() <= threads


async def test_listener_sleeps_until_a_request_or_its_end_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timeouts = []
    select = selectors.DefaultSelector.select

    def noted(self: selectors.DefaultSelector, timeout: float | None = None) -> Any:
        if threading.current_thread().name == "aibridge metrics":
            timeouts.append(timeout)
        return select(self, timeout)

    monkeypatch.setattr(selectors.DefaultSelector, "select", noted)
    async with serving() as served:
        assert (await served.get("/"))[0] == 200
    assert set(timeouts) == {None}


async def test_address_in_use_is_an_error() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="Address already in use"),
    ):
        Listener(taken.getsockname(), CollectorRegistry(), lambda: Health(database="ok"))


async def test_readiness_ends_when_a_shutdown_begins() -> None:
    ready = True
    port = free_port()
    listener = Listener(
        ("127.0.0.1", port), CollectorRegistry(), lambda: Health(database="ok"), lambda: ready
    )

    def get() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
        connection.request("GET", "/readyz")
        with connection.getresponse() as response:
            return response.status

    try:
        assert await asyncio.to_thread(get) == 200
        ready = False
        assert await asyncio.to_thread(get) == 503
    finally:
        listener.close()
