"""The graceful shutdown waits for open requests, and for those that are still on their way."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mitmproxy.master import Master

from aibridge_addon.cli import shutdown
from aibridge_addon.cli.shutdown import SILENCE_S, GracefulShutdown

LATE = 10
"""Check at which the request of a connected client is open."""


class Requests:
    """A request that is open at one check only."""

    def __init__(self) -> None:
        self.checks = 0

    @property
    def is_busy(self) -> bool:
        self.checks += 1
        return self.checks == LATE


class Proxy:
    """A master whose clients are connected or not."""

    def __init__(self, connections: dict[str, Any]) -> None:
        self.is_stopped = False
        self.addons = {"proxyserver": SimpleNamespace(connections=connections)}
        self.options = SimpleNamespace(update=lambda **_: None)

    def shutdown(self) -> None:
        self.is_stopped = True


@pytest.fixture(autouse=True)
def _fast_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the checks follow each other at once."""
    monkeypatch.setattr(shutdown, "POLL_S", shutdown.POLL_S / 1000)
    monkeypatch.setattr(shutdown, "SILENCE_S", SILENCE_S / 1000)


def checks_until_stop(connections: dict[str, Any]) -> int:
    """Return the number of checks for open requests before the proxy stops."""
    requests = Requests()

    async def run() -> None:
        proxy = Proxy(connections)
        ending = GracefulShutdown(cast(Master, proxy), requests, grace_s=60)
        ending.begin()
        assert ending._task
        await ending._task
        assert proxy.is_stopped

    asyncio.run(run())
    return requests.checks


def test_shutdown_serves_the_request_that_a_connected_client_has_just_sent() -> None:
    handler = SimpleNamespace(transports={})
    assert checks_until_stop({"client": handler}) > LATE + SILENCE_S / (shutdown.POLL_S * 1000) - 1


def test_shutdown_does_not_wait_without_connected_clients() -> None:
    assert checks_until_stop({}) < LATE
