"""Connections that make no request are closed after a time."""

import asyncio

from mitmproxy import connection

from aibridge_addon.access.first_request_timeout import SILENT, FirstRequestTimeout


class Timed(FirstRequestTimeout):
    """Keeps what was closed and counted."""

    def __init__(self, seconds: float | None) -> None:
        self.closed: list[connection.Client] = []
        self.refused: list[str] = []
        super().__init__(close=self.closed.append, on_refused=self.refused.append)
        self.seconds = seconds


def client(error: str | None = None) -> connection.Client:
    made = connection.Client(peername=("127.0.0.1", 50000), sockname=("127.0.0.1", 8080))
    made.error = error
    return made


async def expired(silent: Timed) -> None:
    """Wait until a timer that was started last has expired."""
    last = client()
    silent.start(last)
    while last not in silent.closed:
        await asyncio.sleep(0)


async def test_a_connection_without_a_request_is_closed() -> None:
    silent, first = Timed(0), client()
    silent.start(first)
    await expired(silent)
    assert silent.closed[0] is first
    assert silent.refused == [SILENT, SILENT]
    silent.stop(first)  # it ends


async def test_a_connection_that_asked_or_ended_is_left_alone() -> None:
    silent, first = Timed(0), client()
    silent.start(first)
    silent.stop(first)
    silent.stop(first)
    await expired(silent)
    assert first not in silent.closed


async def test_without_a_limit_and_for_refused_connections_no_timer_runs() -> None:
    silent, refused = Timed(None), client("too many connections")
    silent.start(client())
    silent.seconds = 0
    silent.start(refused)
    await expired(silent)
    assert len(silent.closed) == 1
