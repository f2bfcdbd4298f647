"""Signs of life of this process, so that others see it and finish its work when it dies."""

import asyncio
import os
import platform
import time
from collections.abc import Callable
from typing import Any

from aibridge_addon import __version__
from aibridge_addon.facts import Interception, ProcessSeen, now, this_process_id

BEAT_SECONDS = 5.0


class Presence:
    """Publishes a sign of life at the start, every few seconds, and at the end."""

    def __init__(
        self, publish: Callable[[ProcessSeen], None], open_requests: Callable[[], int]
    ) -> None:
        self._publish = publish
        self._open_requests = open_requests
        self._started_at = now()
        self._requests = 0
        self._used = (time.monotonic(), time.process_time())
        self._task: asyncio.Task[None] | None = None
        self.handlers: dict[type, Callable[[Any], None]] = {Interception: self._count}

    def start(self) -> None:
        """Begin; an event loop must run."""
        self._task = asyncio.get_running_loop().create_task(self._beat(), name="aibridge presence")

    def stop(self) -> None:
        """Publish the end."""
        if self._task:
            self._task.cancel()
            self._publish(self._state(ended_at=now()))

    def _count(self, fact: Interception) -> None:
        self._requests += 1

    async def _beat(self) -> None:
        while True:
            self._publish(self._state(ended_at=None))
            await asyncio.sleep(BEAT_SECONDS)

    def _state(self, *, ended_at: str | None) -> ProcessSeen:
        return ProcessSeen(
            id=this_process_id(),
            host=platform.node(),
            pid=os.getpid(),
            version=__version__,
            started_at=self._started_at,
            seen_at=now(),
            ended_at=ended_at,
            open_requests=self._open_requests(),
            requests=self._requests,
            cpu_percent=self._cpu_percent(),
        )

    def _cpu_percent(self) -> float:
        before, used_before = self._used
        self._used = at, used = (time.monotonic(), time.process_time())
        return round(100 * (used - used_before) / max(at - before, 0.001), 1)
