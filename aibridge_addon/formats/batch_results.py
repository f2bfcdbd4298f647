"""Base of the formats of batch results: JSON lines, a response in each. Sans-io.

A file may have many thousands of lines, so that usage is reported while it is read.
"""

from abc import abstractmethod
from dataclasses import replace
from typing import Any

from aibridge_addon.facts import RequestFacts, ResponseFacts, Usage
from aibridge_addon.formats.base import EventDecoder, Format, RequestView, ResponseHead
from aibridge_addon.formats.decoders.json_lines import END, JSONLines
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.reader import Reader
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, member, members, text

BATCH = "batch"
"""The tier of all calls of a batch, and their kind."""
_REPORTED_TOGETHER = 100
"""Number of lines."""


class BatchResults(Format):
    """The results of a batch: each line has the response to a request of it."""

    key_member = "custom_id"
    """Member of a line that identifies its request."""

    @abstractmethod
    def read_line(self, line: Members) -> ResponseFacts | None:
        """Read the response in a line; None if the request failed, or the line is unreadable."""

    def read_request(self, request: RequestView) -> RequestFacts:
        """Return no facts: the request only names the batch."""
        return RequestFacts()

    def decoder(self, head: ResponseHead) -> EventDecoder | None:
        """Return a decoder of lines, unless the response is an error."""
        return JSONLines() if 200 <= head.status < 300 else None

    def reader(self) -> "ResultsReader":
        """Return a new reader for the results of one batch."""
        return ResultsReader(self)


class ResultsReader(Reader):
    """Reads results, and reports their usage in portions to `on_usage`."""

    def __init__(self, wire_format: BatchResults) -> None:
        super().__init__()
        self._format = wire_format
        self._usages: list[Usage] = []
        self._lines = 0
        """Number of lines read."""

    def feed(self, event: Event) -> JSON:
        """Read a line."""
        if event.data:
            self._read(event.data)
        if event.name == END:
            self._has_end = True
        if self._usages and (self._has_end or len(self._usages) >= _REPORTED_TOGETHER):
            usages, self._usages = tuple(self._usages), []
            self.on_usage(ResponseFacts(hidden_usages=usages))
        return None

    def content(self) -> ResponseFacts:
        """Return no facts: all usage has been reported."""
        return ResponseFacts()

    def _read(self, data: bytes) -> None:
        line = members(data)
        self._lines += 1
        if line is None:
            self._unreadable += 1
            return
        facts = self._format.read_line(line)
        if facts is None:
            return
        self._unreadable += facts.unreadable + facts.usage_unreadable
        key = text(member(line, self._format.key_member)) or ""
        self._usages += usages_of_line(facts, key or f"line {self._lines}", key)


def usages_of_line(facts: ResponseFacts, key: str, custom_id: str) -> list[Usage]:
    """Return the usages in the response to a request of a batch.

    `key` identifies the request, and `custom_id` is the client's name for it.
    """
    labels: dict[str, Any] = {"service_tier": BATCH, "custom_id": custom_id}
    return [
        replace(
            usage,
            call=usage.call or BATCH,
            model=usage.model or facts.model,
            response_id=facts.response_id,
            key=f"{key}/{number}",
            extra={**usage.extra, **labels},
        )
        for number, usage in enumerate((facts.usage, *facts.hidden_usages))
        if usage is not None
    ]
