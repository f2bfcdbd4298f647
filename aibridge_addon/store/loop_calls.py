"""Calls on event loops that a thread makes: a single wake-up for all calls on one loop."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable

type Call = Callable[[], object]


class LoopCalls:
    """Collects calls, in order; used by one thread at a time. A call must not raise."""

    def __init__(self) -> None:
        self._calls: dict[asyncio.AbstractEventLoop, list[Call]] = {}

    def add(self, loop: asyncio.AbstractEventLoop, call: Call) -> None:
        """Add a call, which is made after `send`."""
        self._calls.setdefault(loop, []).append(call)

    def send(self) -> None:
        """Make all calls on their loops; drop those of a closed loop."""
        calls, self._calls = self._calls, {}
        for loop, of_loop in calls.items():
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_make, of_loop)


def _make(calls: Iterable[Call]) -> None:
    for call in calls:
        call()
