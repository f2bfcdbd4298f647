"""Lets requests wait for room in a limit, in a waiting room for each provider instance."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.access.limits.counters import Shortage
from aibridge_addon.access.limits.waiting_room import WaitingRoom
from aibridge_addon.access.policies.rate_limits import RateLimits, refusal_of
from aibridge_addon.facts import BackgroundResponse, InterceptionEnded

_TICK_SECONDS = 0.25
"""Interval at which rates are looked at, which refill continuously, and clients that have left."""

type OnLength = Callable[[str, int], None]
"""Receives the number of requests that wait for a provider instance."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    asked: Asked
    served: asyncio.Future[bool]
    """True: it was admitted; False: its client has left."""

    @property
    def is_admitted(self) -> bool:
        """True if it was admitted, perhaps in the same turn of the loop in which its wait ended."""
        return self.served.done() and not self.served.cancelled() and self.served.result()


class LimitQueue:
    """The waiting rooms of all provider instances."""

    def __init__(self, limits: RateLimits, on_length: OnLength) -> None:
        self._limits = limits
        self._on_length = on_length
        self._rooms: dict[str, WaitingRoom[_Waiter]] = {}
        self._tick: asyncio.TimerHandle | None = None

    @property
    def handlers(self) -> Mapping[type, Callable[[Any], None]]:
        """Handlers of the facts that make room; those of the limits must come first."""
        return {InterceptionEnded: self.serve, BackgroundResponse: self.serve}

    @property
    def is_waited_in(self) -> bool:
        """True while any request waits."""
        return any(self._rooms.values())

    def shortage_of(self, asked: Asked) -> Shortage | None:
        """Return the bound that a request must wait for; None if it need not wait, or may not.

        It must wait while earlier requests of its actor do.
        """
        if not self._limits.has_queue(asked):
            return None
        self.serve()
        room = self._rooms.get(asked.route.provider.name)
        if room and (ahead := room.first_of(asked.sender.actor.id)):
            return self._limits.find_shortage(ahead.asked)
        return self._limits.find_shortage(asked)

    async def wait(self, asked: Asked, shortage: Shortage) -> Refusal | None:
        """Count a request in its limits once they have room; return its refusal otherwise."""
        limit = shortage.limit
        name = asked.route.provider.name
        room = self._rooms.setdefault(name, WaitingRoom())
        if len(room) < limit.queue and await self._served(room, asked, limit.queue_wait_s):
            return None
        return refusal_of(self._limits.find_shortage(asked) or shortage)

    async def _served(self, room: WaitingRoom[_Waiter], asked: Asked, seconds: float) -> bool:
        name, actor = asked.route.provider.name, asked.sender.actor.id
        waiter = _Waiter(asked, asyncio.get_running_loop().create_future())
        room.add(actor, waiter)
        self._on_length(name, len(room))
        self._start_ticking()
        try:
            async with asyncio.timeout(seconds):
                return await waiter.served
        except TimeoutError:
            return waiter.is_admitted
        except asyncio.CancelledError:
            if waiter.is_admitted:
                self._limits.cancel(asked)
            raise
        finally:
            room.remove(actor, waiter)
            self._on_length(name, len(room))

    def serve(self, _fact: object = None) -> None:
        """Admit those for whom there is room now."""
        for room in self._rooms.values():
            room.serve(self._admit)

    def _admit(self, waiter: _Waiter) -> bool:
        if waiter.served.done():
            return True
        if waiter.asked.has_left():
            waiter.served.set_result(False)
            return True
        if self._limits.find_shortage(waiter.asked):
            return False
        self._limits.admit(waiter.asked)
        waiter.served.set_result(True)
        return True

    def _start_ticking(self) -> None:
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._on_tick)

    def _on_tick(self) -> None:
        self._tick = None
        self.serve()
        if any(self._rooms.values()):
            self._start_ticking()
