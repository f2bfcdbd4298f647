"""Upstream requests of the inner loop, as the loop sees them: an answer, or why there is none.

Decides which failures are worth another try, and after how long.
"""

import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

from aibridge_addon.facts import ProviderError, ResponseFacts
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.formats.upstream_error import UpstreamError
from aibridge_addon.raw_json import JSON

MAX_TRIES = 5
"""Of one follow-up request, the first included."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0
"""Between tries, doubling, where the provider does not say how long to wait."""

_RETRIED = frozenset({408, 425, 429})
_STATUS_OF_TYPE = {
    "overloaded_error": 529,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
}
"""Errors that providers also tell as the first event of a stream, once its head has gone out."""
_NO_MONEY = frozenset({"insufficient_quota", "billing_error", "billing_hard_limit_reached"})
"""Error types of a 429 that waiting does not cure."""


class UpstreamResponse(Protocol):
    """One upstream answer, on its way."""

    async def head(self) -> None:
        """Wait for its head.

        Raises:
            UpstreamError: nobody answered, or it is an error.
        """

    def events(self) -> AsyncGenerator[list[tuple[Event, JSON]]]:
        """Give the events of a streamed answer as they come, with their decoded data.

        Raises:
            UpstreamError: it broke off.
        """

    async def body(self) -> bytes:
        """Return the whole body of an answer that is not streamed.

        Raises:
            UpstreamError: nobody answered, it is an error, or it broke off.
        """

    def facts(self) -> ResponseFacts:
        """Return what was read of it."""


type SendRequest = Callable[[Members, int], AbstractAsyncContextManager[UpstreamResponse]]
"""Sends a request of some iteration upstream; leaving the context early cancels it."""


def pause_before_retry(error: UpstreamError, tries: int, seconds_left: float) -> float | None:
    """Return how long to wait before a request is sent again; None if it is not to be."""
    if tries >= MAX_TRIES or not _is_worth_retrying(error):
        return None
    asked_for = _retry_after(error.headers)
    pause = _backoff(tries) if asked_for is None else asked_for
    return pause if pause < seconds_left else None


def raise_if_transient(error: ProviderError, data: JSON) -> None:
    """Raise an error with which a stream begins if it is one that passes, as its HTTP status would.

    Raises:
        UpstreamError: it is.
    """
    if status := _STATUS_OF_TYPE.get(error.type or ""):
        raise UpstreamError(
            error.message or "", error_type=error.type, http_status=status, body=data
        )


def _is_worth_retrying(error: UpstreamError) -> bool:
    if error.headers.get("x-should-retry") == "false" or error.error_type in _NO_MONEY:
        return False
    status = error.http_status
    return error.connection_failed if status is None else status in _RETRIED or status >= 500


def _backoff(tries: int) -> float:
    longest = min(FIRST_PAUSE_SECONDS * 2.0 ** (tries - 1), LONGEST_PAUSE_SECONDS)
    return longest * (0.75 + random.random() / 4)  # or all that were refused come back at once


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how long the provider wants us to wait: in milliseconds, seconds, or until a date."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if value.replace(".", "", 1).isdecimal():
            return float(value) / unit
    try:
        until = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
