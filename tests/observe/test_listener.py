"""What is served over HTTP: by address, by method, and while the event loop is busy or gone."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry, Counter

from aibridge_addon import __version__
from aibridge_addon.observe.health import Health
from aibridge_addon.observe.listener import Listener

WAIT_S = 20.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Served:
    """A listener, and who asks it, from another thread as everybody does."""

    def __init__(self, *, timeout: float = WAIT_S) -> None:
        self.health = Health(database="ok")
        self.looked_on: set[int] = set()
        self.port = free_port()
        registry = CollectorRegistry()
        Counter("seen", "Things.", registry=registry).inc()
        self.listener = Listener(("127.0.0.1", self.port), registry, self._look, timeout=timeout)

    def _look(self) -> Health:
        self.looked_on.add(threading.get_ident())
        return self.health

    def ask_here(self, path: str, method: str = "GET") -> tuple[int, str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, answer.headers["content-type"], body

    async def ask(self, path: str, method: str = "GET") -> tuple[int, str, str]:
        return await asyncio.to_thread(self.ask_here, path, method)


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
async def test_metrics_are_where_prometheus_looks(served: Served, path: str) -> None:
    status, kind, body = await served.ask(path)
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
async def test_health_is_what_the_loop_says(
    served: Served, health: Health, status: int, word: str
) -> None:
    served.health = health
    answer = await served.ask("/healthz")
    assert answer[:2] == (status, "application/json")
    assert json.loads(answer[2]) == {
        "status": word,
        "database": health.database,
        "mcp_servers": health.mcp_servers,
        "version": __version__,
    }
    assert served.looked_on == {threading.get_ident()}, "only the loop's thread may look"


async def test_a_probe_that_wants_the_head_only_gets_no_body(served: Served) -> None:
    assert await served.ask("/healthz", "HEAD") == (200, "application/json", "")


async def test_the_root_names_what_there_is(served: Served) -> None:
    status, _, body = await served.ask("/")
    assert status == 200
    assert "/metrics" in body
    assert "/healthz" in body


@pytest.mark.parametrize("path", ["/healthz/", "/metricsx", "/favicon.ico", "/health"])
async def test_anything_else_is_not_there(served: Served, path: str) -> None:
    status, _, body = await served.ask(path)
    assert status == 404
    assert "seen_total" not in body


async def test_a_loop_that_is_stuck_is_not_healthy_and_its_metrics_can_be_had() -> None:
    async with serving(timeout=0.01) as served:
        # Here the loop waits for these threads, and answers nobody meanwhile.
        status, _, body = served.ask_here("/healthz")
        assert status == 503
        assert json.loads(body)["database"] == "unknown"
        assert served.ask_here("/metrics")[0] == 200


def test_a_loop_that_has_ended_is_not_healthy() -> None:
    async def start() -> Served:
        return Served()

    served = asyncio.run(start())
    try:
        assert served.ask_here("/healthz")[0] == 503
    finally:
        served.listener.close()


async def test_after_the_end_nobody_listens_and_no_thread_is_left() -> None:
    threads = threading.active_count()
    async with serving() as served:
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", served.port), timeout=WAIT_S)
    assert threading.active_count() <= threads


async def test_an_address_that_is_taken_is_an_error() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="Address already in use"),
    ):
        Listener(taken.getsockname(), CollectorRegistry(), lambda: Health(database="ok"))
