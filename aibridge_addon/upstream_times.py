"""Times of one upstream request: its start, the first byte of its response, and its end. Pure."""

import time
from typing import TypedDict

from aibridge_addon.facts import milliseconds, now


class Times(TypedDict):
    """The fields of a `TokenUsage` that describe its upstream request."""

    upstream: int
    started_at: str
    duration_ms: int | None
    ttft_ms: int | None


class UpstreamTimes:
    """Measures one upstream request, from its creation."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        """Number of the upstream request within its interception."""
        self.first_byte_at: float | None = None
        """Time of the first byte of a streamed body, on the monotonic clock."""
        self._started_at = now()
        self._started = time.monotonic()
        self._ended: float | None = None

    def note_first_byte(self) -> None:
        """Note the first byte of a streamed body; later bytes change nothing."""
        if self.first_byte_at is None:
            self.first_byte_at = time.monotonic()

    def note_end(self) -> None:
        """Note the end of the response; later ends change nothing."""
        if self._ended is None:
            self._ended = time.monotonic()

    def values(self) -> Times:
        """Return what is known by now."""
        return {
            "upstream": self.number,
            "started_at": self._started_at,
            "duration_ms": self._since_start(self._ended),
            "ttft_ms": self._since_start(self.first_byte_at),
        }

    def _since_start(self, moment: float | None) -> int | None:
        return milliseconds(None if moment is None else moment - self._started)
