"""Sends events to one webhook, in order, from a task of its own.

An attempt that fails is repeated with growing delays, for at most a day. While one event is
repeated, later ones wait in a bounded queue. All of them are in the outbox until they are sent.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from typing import Literal, Protocol

from aibridge_addon.telemetry.alerts.event import Event
from aibridge_addon.telemetry.alerts.outbox import Outbox
from aibridge_addon.telemetry.alerts.webhook import Webhook

logger = logging.getLogger(__name__)

FIRST_DELAY, LONGEST_DELAY = 1.0, 3600.0
GIVE_UP_SECONDS = 86_400.0
MAX_WAITING = 100
"""Events that wait for one webhook."""

type Outcome = Literal["sent", "rejected", "failed", "dropped"]
type OnOutcome = Callable[[str, Outcome | Literal["retried"]], None]
"""Counts an event by its type and outcome, and each attempt that is retried."""


class Post(Protocol):
    """Sends one request; returns the status of the response.

    Raises:
        OSError: no response came.
    """

    async def __call__(self, webhook: Webhook, body: bytes, timestamp: int) -> int: ...


class WebhookSender:
    """Sends the events of one webhook from its creation to `cancel`."""

    def __init__(self, webhook: Webhook, post: Post, on_outcome: OnOutcome, outbox: Outbox) -> None:
        """Begin with the events that still wait in the outbox."""
        self.webhook = webhook
        self._outbox = outbox
        self._post = post
        self._on_outcome = on_outcome
        self._waiting: asyncio.Queue[Event] = asyncio.Queue(MAX_WAITING)
        for event in outbox.waiting(webhook.url)[:MAX_WAITING]:
            self._waiting.put_nowait(event)
        self._task = asyncio.create_task(self._run(), name="aibridge webhook")

    def put(self, event: Event) -> None:
        """Queue an event, if the webhook wants its type."""
        if event.type not in self.webhook.events:
            return
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            self._finish(event, "dropped")
        else:
            self._outbox.add(self.webhook.url, event)

    def cancel(self) -> None:
        """Stop; events that wait stay in the outbox."""
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            event = await self._waiting.get()
            try:
                self._finish(event, await self._send(event))
            except Exception:  # the edge: later events must be sent
                logger.exception("aibridge: an alert is not sent")

    async def _send(self, event: Event) -> Outcome:
        body = event.body()
        for delay in _delays():
            status = await self._attempt(body)
            if status is not None and status < 300:
                return "sent"
            if status is not None and status < 500 and status not in (408, 425, 429):
                return "rejected"
            self._on_outcome(event.type, "retried")
            await asyncio.sleep(delay)
        return "failed"

    async def _attempt(self, body: bytes) -> int | None:
        """Return the status of the response; None if no response came."""
        try:
            return await self._post(self.webhook, body, int(time.time()))
        except OSError:
            return None

    def _finish(self, event: Event, outcome: Outcome) -> None:
        self._on_outcome(event.type, outcome)
        self._outbox.remove(self.webhook.url, event)
        if outcome != "sent":
            host = self.webhook.host
            logger.warning("aibridge: alert %s to %s: %s", event.type, host, outcome)


def _delays() -> Iterator[float]:
    """Yield the delay after each attempt, until it is time to give up."""
    delay, total = FIRST_DELAY, 0.0
    while total < GIVE_UP_SECONDS:
        yield delay
        total += delay
        delay = min(delay * 2, LONGEST_DELAY)
