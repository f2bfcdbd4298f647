"""Follow-up requests of the inner loop: the protocol of a response, and the retries of failures."""

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
"""Tries of one follow-up request, including the first."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0
"""Limits of the pause between tries, which doubles, unless the provider sends `retry-after`."""

_RETRIED = frozenset({408, 425, 429})
_STATUS_OF_TYPE = {
    "overloaded_error": 529,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
}
"""HTTP statuses of errors that providers also send as the first event of a stream."""
_QUOTA_ERRORS = frozenset({"insufficient_quota", "billing_error", "billing_hard_limit_reached"})
"""Error types of a 429 that a retry does not help."""


class UpstreamResponse(Protocol):
    """One upstream response."""

    async def head(self) -> None:
        """Wait for the head.

        Raises:
            UpstreamError: the request failed, or the response is an error.
        """

    def events(self) -> AsyncGenerator[list[tuple[Event, JSON]]]:
        """Yield the events of a streamed response in batches, with their decoded data.

        Raises:
            UpstreamError: the response is truncated.
        """

    async def body(self) -> bytes:
        """Return the body of a buffered response.

        Raises:
            UpstreamError: the request failed, or the response is an error or truncated.
        """

    def facts(self) -> ResponseFacts:
        """Return the facts read so far."""


type SendRequest = Callable[[Members], AbstractAsyncContextManager[UpstreamResponse]]
"""Sends a request upstream; leaving the context early cancels it."""


def pause_before_retry(error: UpstreamError, tries: int, seconds_left: float) -> float | None:
    """Return the seconds to wait before the next try; None if there must be none."""
    if error.has_other_key and tries < MAX_TRIES:
        return 0.0
    if tries >= MAX_TRIES or not _is_worth_retrying(error):
        return None
    requested = _retry_after(error.headers)
    pause = _backoff(tries) if requested is None else requested
    return pause if pause < seconds_left else None


def raise_if_transient(error: ProviderError, data: JSON) -> None:
    """Raise the first event of a stream if it is an error that a retry may help.

    Raises:
        UpstreamError: the error is transient.
    """
    if status := _STATUS_OF_TYPE.get(error.type or ""):
        raise UpstreamError(
            error.message or "", error_type=error.type, http_status=status, body=data
        )


def _is_worth_retrying(error: UpstreamError) -> bool:
    if error.headers.get("x-should-retry") == "false" or error.error_type in _QUOTA_ERRORS:
        return False
    status = error.http_status
    return error.connection_failed if status is None else status in _RETRIED or status >= 500


def _backoff(tries: int) -> float:
    longest = min(FIRST_PAUSE_SECONDS * 2.0 ** (tries - 1), LONGEST_PAUSE_SECONDS)
    return longest * (0.75 + random.random() / 4)  # else all refused clients retry at once


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait, which providers send in milliseconds, seconds or as a date."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if value.replace(".", "", 1).isdecimal():
            return float(value) / unit
    try:
        until = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
