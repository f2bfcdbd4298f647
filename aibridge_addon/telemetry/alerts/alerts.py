"""Watches providers and the record, and sends what happens to the configured webhooks."""

import asyncio
import time
from collections.abc import Callable, Iterable

from aibridge_addon.fact_bus import Handlers
from aibridge_addon.facts import InterceptionEnded, UsagePriced
from aibridge_addon.telemetry.alerts.actor_watch import ActorWatch, HasEarlier
from aibridge_addon.telemetry.alerts.event import Event
from aibridge_addon.telemetry.alerts.outbox import Outbox
from aibridge_addon.telemetry.alerts.price_watch import PriceWatch
from aibridge_addon.telemetry.alerts.provider_watch import ProviderWatch
from aibridge_addon.telemetry.alerts.record_watch import RecordWatch
from aibridge_addon.telemetry.alerts.sender import OnOutcome, Post, WebhookSender
from aibridge_addon.telemetry.alerts.webhook import Webhook

CHECK_SECONDS = 1.0
"""Time between two looks at the state of the record."""


class Alerts:
    """Sends events; without webhooks it costs a look at each outcome.

    Args:
        is_recording: Tells whether records reach the database now.
        on_outcome: Counts an event by type and outcome.
        outbox: Keeps events that wait over a restart.
        has_earlier: Tells whether an actor was recorded before a time; None: nobody can tell.
    """

    def __init__(
        self,
        *,
        is_recording: Callable[[], bool],
        on_outcome: OnOutcome,
        outbox: Outbox,
        has_earlier: HasEarlier | None = None,
    ) -> None:
        self._is_recording = is_recording
        self._on_outcome = on_outcome
        self._outbox = outbox
        self._actors = ActorWatch(self.publish, has_earlier)
        self._providers = ProviderWatch(self.publish, time.monotonic)
        self._prices = PriceWatch(self.publish)
        self._record = RecordWatch(self.publish, time.monotonic)
        self._senders: dict[Webhook, WebhookSender] = {}
        self._post: Post | None = None
        self._checking: asyncio.TimerHandle | None = None

    @property
    def handlers(self) -> Handlers:
        """Functions that accept facts, by the type of the facts."""
        return {InterceptionEnded: self._note_end, UsagePriced: self._prices.note}

    def apply(self, webhooks: Iterable[Webhook]) -> None:
        """Use these webhooks; those that stay keep the events that wait."""
        wanted = set(webhooks)
        for gone in self._senders.keys() - wanted:
            self._senders.pop(gone).cancel()
        for added in wanted - self._senders.keys():
            self._senders[added] = WebhookSender(
                added, self._open_post(), self._on_outcome, self._outbox
            )
        if self._senders and self._checking is None:
            self._check()

    def _note_end(self, end: InterceptionEnded) -> None:
        self._providers.note(end)
        if self._senders:  # a look into the record is not free
            self._actors.note(end)

    def publish(self, event: Event) -> None:
        """Send an event to the webhooks that want it."""
        for sender in self._senders.values():
            sender.put(event)

    def close(self) -> None:
        """Stop; events that wait stay in the outbox."""
        for sender in self._senders.values():
            sender.cancel()
        self._senders.clear()
        self._outbox.close()
        if self._checking:
            self._checking.cancel()

    def _open_post(self) -> Post:
        if self._post is None:
            # Only here: httpx2 costs memory.
            from aibridge_addon.telemetry.alerts.http_post import HttpPost

            self._post = HttpPost()
        return self._post

    def _check(self) -> None:
        self._record.note(available=self._is_recording())
        self._checking = asyncio.get_running_loop().call_later(CHECK_SECONDS, self._check)
