"""Time limits of a call."""

import asyncio
from collections.abc import Callable

import pytest

from aibridge_addon.tools.call_time import CallTimeoutError, call_time

LONG = 3600.0


class Clock:
    """The clock of the running loop, which only the test advances."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)

    async def pass_by(self, seconds: float) -> None:
        self.now += seconds
        for _ in range(3):
            await asyncio.sleep(0)


async def working(clock: Clock, renewals: int, renew: Callable[[], None], every: float) -> None:
    for _ in range(renewals):
        await clock.pass_by(every)
        renew()


async def test_call_without_progress_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    async def call() -> None:
        async with call_time(60.0, in_all=600.0):
            await clock.pass_by(61.0)
            await asyncio.sleep(LONG)

    with pytest.raises(CallTimeoutError, match="no answer within 60 seconds; the call was"):
        await call()


async def test_progress_extends_the_time_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    async with call_time(60.0, in_all=600.0) as renew:
        await working(clock, 10, renew, 59.0)
    renew()


async def test_progress_extends_a_call_only_up_to_the_total_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)

    async def call() -> None:
        async with call_time(60.0, in_all=600.0) as renew:
            await working(clock, 11, renew, 59.0)
            await asyncio.sleep(LONG)

    with pytest.raises(CallTimeoutError, match="no answer within 600 seconds in all"):
        await call()
