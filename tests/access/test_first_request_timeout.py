"""Client connections without a request are closed after the timeout."""

import asyncio

from mitmproxy import connection

from aibridge_addon.access.first_request_timeout import SILENT, FirstRequestTimeout


class Timed(FirstRequestTimeout):
    """A first-request timeout that collects closed connections and reasons."""

    def __init__(self, seconds: float | None) -> None:
        self.closed: list[connection.Client] = []
        self.refused: list[str] = []
        super().__init__(close=self.closed.append, on_refused=self.refused.append)
        self.seconds = seconds


def client(error: str | None = None) -> connection.Client:
    made = connection.Client(peername=("127.0.0.1", 50000), sockname=("127.0.0.1", 8080))
    made.error = error
    return made


async def wait_for_timers(timeout: Timed) -> None:
    """Wait until all timers that are running now have expired."""
    last = client()
    timeout.start(last)
    while last not in timeout.closed:
        await asyncio.sleep(0)


async def test_connection_without_a_request_is_closed_after_the_timeout() -> None:
    timeout, first = Timed(0), client()
    timeout.start(first)
    await wait_for_timers(timeout)
    assert timeout.closed[0] is first
    assert timeout.refused == [SILENT, SILENT]
    timeout.stop(first)  # the client disconnects


async def test_connection_with_a_request_is_not_closed_by_the_first_request_timeout() -> None:
    timeout, first = Timed(0), client()
    timeout.start(first)
    timeout.stop(first)
    timeout.stop(first)
    await wait_for_timers(timeout)
    assert first not in timeout.closed


async def test_no_first_request_timer_runs_without_a_limit_or_for_refused_connections() -> None:
    timeout, refused = Timed(None), client("too many connections")
    timeout.start(client())
    timeout.seconds = 0
    timeout.start(refused)
    await wait_for_timers(timeout)
    assert len(timeout.closed) == 1
