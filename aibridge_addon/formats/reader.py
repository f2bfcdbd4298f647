"""Base of the readers of streamed responses. Sans-io.

A reader never raises on what a provider sends: an event that cannot be read is counted.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace

from aibridge_addon.facts import ProviderError, ResponseFacts
from aibridge_addon.formats.decoders.sse import Event, typed
from aibridge_addon.formats.usage import so_far
from aibridge_addon.raw_json import JSON, decode, expect, text

type Handler = Callable[[dict[str, JSON]], None]

DONE = b"[DONE]"
"""Data of the event that ends a stream of OpenAI Chat Completions, and of hosts that imitate it."""


def ignore_usage(facts: ResponseFacts) -> None:
    """Ignore usage that is reported before the end of a stream."""


def ignore_event(data: dict[str, JSON]) -> None:
    """Ignore an event: nothing in it is recorded."""


class Reader(ABC):
    """Reads one streamed response: dispatches its events by type, and counts unreadable ones.

    A subclass fills `handlers` and implements `content`.
    """

    handlers: Mapping[str, Handler]
    """Handler of each known event, by the event's `type`."""

    def __init__(self) -> None:
        self.ended = False
        """True once the event that ends a response of this format has been read."""
        self.on_usage: Callable[[ResponseFacts], None] = ignore_usage
        """Called at most once: when a stream that continues has reported some of its tokens."""
        self._error: ProviderError | None = None
        self._has_end = False
        self._unreadable = 0
        self._unknown: list[str] = []
        self._has_reported_usage = False

    @property
    def skippable(self) -> re.Pattern[bytes] | None:
        """Pattern of runs of events that change nothing in the facts: need not be read."""
        return None

    @property
    def complete(self) -> bool:
        """True if the response has ended as its format demands."""
        return self._has_end

    def feed(self, event: Event) -> JSON:
        """Read an event; return its decoded data, None if it has none that can be read."""
        if not event.data:
            return None
        if event.data == DONE:
            self.on_done()
            return None
        try:
            data = self.decoded(event.data, event)
            self.on_data(data)
        except (ValueError, TypeError, KeyError, AttributeError):
            self._unreadable += 1
            return None
        return data

    def decoded(self, data: bytes, event: Event) -> JSON:
        """Decode the data of an event, with the type that some hosts give by its name only."""
        return typed(decode(data), event)

    def facts(self) -> ResponseFacts:
        """Return the facts of the events read so far."""
        found = self.content()
        return replace(
            found,
            usage=found.usage if self.complete else so_far(found.usage),
            error=self._error,
            complete=self.complete,
            unreadable=self._unreadable,
            unknown=tuple(self._unknown),
        )

    @abstractmethod
    def content(self) -> ResponseFacts:
        """Return the facts of the response itself; `facts` adds its end, errors and counts."""

    def on_data(self, data: dict[str, JSON]) -> None:
        """Read the decoded data of an event."""
        kind = data["type"]
        if handler := self.handlers.get(kind):
            handler(data)
        elif not self.is_ignored(kind):
            self._unknown.append(text(expect(str, kind)) or "")

    def is_ignored(self, kind: str) -> bool:
        """Return whether an event without a handler is known to have nothing to record."""
        return False

    def on_done(self) -> None:  # noqa: B027 optional to override
        """Handle `[DONE]`, which some hosts send in formats that do not have it."""

    def report_usage(self) -> None:
        """Report the usage read so far to `on_usage`, once."""
        if not self._has_reported_usage:
            self._has_reported_usage = True
            self.on_usage(self.facts())
