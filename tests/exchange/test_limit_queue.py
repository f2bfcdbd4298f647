"""Requests wait for room in a limit, in turn, and leave no trace if they are not admitted."""

import asyncio
import dataclasses
from typing import Any

import pytest
from access.policies.test_rate_limits import asked_by
from store.doubles import ended

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.access.limits.rules import Limit
from aibridge_addon.access.policies import RateLimits
from aibridge_addon.access.selection import Selection
from aibridge_addon.exchange import limit_queue
from aibridge_addon.exchange.limit_queue import LimitQueue
from aibridge_addon.facts import InterceptionEnded


class Proxy:
    """Limits with their queue, and the requests that run."""

    def __init__(self, **values: Any) -> None:
        given: dict[str, Any] = {"per": "total", "open_requests": 1, "queue": 10}
        limit = Limit(**{"name": "one", "selection": Selection(), **given, **values})
        self.limits = RateLimits(lambda *_: None)
        self.limits.limits = (limit,)
        self.lengths: list[int] = []
        self.queue = LimitQueue(self.limits, lambda _, length: self.lengths.append(length))
        self.order: list[str] = []

    async def ask(self, asked: Asked) -> Refusal | None:
        """Admit a request as the policies do, and note its actor."""
        shortage = self.queue.shortage_of(asked)
        if shortage is None:
            self.limits.admit(asked)
            refusal = None
        else:
            refusal = await self.queue.wait(asked, shortage)
        if refusal is None:
            self.order.append(asked.sender.actor.id)
        return refusal

    def end(self, asked: Asked) -> None:
        """End a request."""
        assert asked.interception
        end = ended(asked.interception)
        for handlers in (self.limits.handlers, self.queue.handlers):
            handlers[InterceptionEnded](end)


async def turns(number: int = 5) -> None:
    """Let tasks run that are ready."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_waiting_requests_are_served_in_turn_as_slots_become_free() -> None:
    proxy = Proxy()
    first = asked_by("a")
    assert await proxy.ask(first) is None
    waiting = [asked_by(actor) for actor in ("a", "a", "b", "c", "a")]
    tasks = [asyncio.create_task(proxy.ask(asked)) for asked in waiting]
    await turns()
    for asked in (first, waiting[0], waiting[2], waiting[3], waiting[1]):
        proxy.end(asked)
        await turns()
    assert await asyncio.gather(*tasks) == [None] * 5
    assert proxy.order == ["a", "a", "b", "c", "a", "a"]
    assert (max(proxy.lengths), proxy.lengths[-1]) == (5, 0)


async def test_full_room_refuses_at_once() -> None:
    proxy = Proxy(queue=1)
    assert await proxy.ask(asked_by("a")) is None
    waits = asyncio.create_task(proxy.ask(asked_by("b")))
    await turns()
    refusal = await proxy.ask(asked_by("c"))
    assert refusal
    assert (refusal.status, refusal.reason) == (429, "rate_limit_exceeded")
    waits.cancel()


async def test_request_that_has_waited_long_enough_is_refused_and_takes_nothing() -> None:
    proxy = Proxy(queue_wait_s=1e-3)
    running = asked_by("a")
    assert await proxy.ask(running) is None
    assert await proxy.ask(asked_by("b"))
    proxy.end(running)
    assert await proxy.ask(asked_by("c")) is None


async def test_client_that_has_left_gives_up_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit_queue, "_TICK_SECONDS", 1e-4)
    proxy = Proxy()
    running = asked_by("a")
    assert await proxy.ask(running) is None
    gone = dataclasses.replace(asked_by("b"), has_left=lambda: True)
    assert await asyncio.wait_for(proxy.ask(gone), 20)
    assert proxy.lengths[-1] == 0
    assert proxy.order == ["a"]


async def test_rate_admits_waiting_requests_as_it_refills(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit_queue, "_TICK_SECONDS", 1e-4)
    proxy = Proxy(open_requests=None, requests_per_minute=600, per="actor")
    proxy.limits.counters._clock = lambda: 0.0
    for _ in range(600):
        proxy.limits.admit(asked_by("a"))
    waits = asyncio.create_task(proxy.ask(asked_by("a")))
    await turns()
    assert not waits.done()
    proxy.limits.counters._clock = lambda: 1.0
    assert await asyncio.wait_for(waits, 20) is None


async def test_newcomer_does_not_overtake_its_own_requests_that_wait() -> None:
    proxy = Proxy(open_requests=None, input_tokens_per_minute=1_000, per="actor")
    proxy.limits.counters._clock = lambda: 0.0
    assert await proxy.ask(asked_by("a", body=b"x" * 1_500)) is None
    large = asyncio.create_task(proxy.ask(asked_by("a", body=b"x" * 2_400)))
    await turns()
    small = asyncio.create_task(proxy.ask(asked_by("a", body=b"x" * 30)))
    await turns()
    assert not small.done()
    proxy.limits.counters._clock = lambda: 60.0
    proxy.queue.serve()
    assert list(await asyncio.gather(large, small)) == [None, None]


async def test_cancelled_request_gives_back_slot_and_tokens() -> None:
    proxy = Proxy(requests_per_minute=1)
    asked = asked_by("a")
    assert await proxy.ask(asked) is None
    proxy.limits.cancel(asked)
    assert await proxy.ask(asked_by("b")) is None
