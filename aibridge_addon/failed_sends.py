"""Failed sends of one interception, each followed by another send. Pure."""

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from aibridge_addon import rate_limits
from aibridge_addon.facts import Interception, RateLimitsSeen, SendFailed, now
from aibridge_addon.headers import Field


class FailedSend(NamedTuple):
    """A failed send, and the receiver of the next one."""

    kind: str
    http_status: int | None
    seconds: float | None
    to: str


class FailedSends:
    """Publishes failed sends, and lists them for the record of the interception."""

    def __init__(self, publish: Callable[[SendFailed | RateLimitsSeen], None]) -> None:
        self.attempts: list[dict[str, Any]] = []
        self._publish = publish
        self._started = time.monotonic()

    def note(
        self, interception: Interception, failed: FailedSend, fields: Iterable[Field] = ()
    ) -> None:
        """Publish a failed send, and the rate limits in its response."""
        self.attempts.append(
            {
                "provider": interception.provider_name,
                "credential_hint": interception.credential_hint,
                "http_status": failed.http_status,
                "failure": failed.kind,
                "seconds": round(time.monotonic() - self._started, 3),
            }
        )
        self._publish(
            SendFailed(
                interception=interception,
                http_status=failed.http_status,
                failure=failed.kind,
                to=failed.to,
                retry_after=failed.seconds,
            )
        )
        if limits := rate_limits.select(fields):
            self._publish(RateLimitsSeen(interception=interception, headers=limits, seen_at=now()))
