"""Reads responses of InvokeModel: messages of Claude, and counts of other models. Sans-io."""

from dataclasses import replace

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats.anthropic_messages.reader import MessageReader
from aibridge_addon.formats.anthropic_messages.reader import read_whole as read_message
from aibridge_addon.formats.bedrock import read_error, usage_of_metrics
from aibridge_addon.formats.bedrock_invoke.other_models import METRICS, read_counts
from aibridge_addon.raw_json import JSON, expect, mapping, read


class InvokeReader(MessageReader):
    """Reads one streamed response; its first event shows whose it is."""

    def __init__(self) -> None:
        super().__init__()
        self.is_message: bool | None = None
        """True for a message of Claude; None before the first event."""
        self.metrics: dict[str, JSON] = {}

    @property
    def complete(self) -> bool:
        """True if a message has ended; the ends of other models' streams are not known."""
        return self._has_end or self.is_message is False

    def on_data(self, data: dict[str, JSON]) -> None:
        """Read the decoded data of an event."""
        kind = expect(dict, data).get("type")
        if self.is_message is None and kind not in ("error", "ping"):
            self.is_message = kind in self.handlers
        if self.is_message is not False:
            super().on_data(data)
        elif METRICS in data:
            self.metrics = mapping(data[METRICS])
            self.ended = True

    def content(self) -> ResponseFacts:
        """Return the facts of the response."""
        if self.is_message is False:
            return ResponseFacts(usage=usage_of_metrics(self.metrics))
        return _of_requested_model(super().content())


def read_whole(body: bytes) -> ResponseFacts:
    """Read a response that was not streamed, or an error."""
    document = mapping(read(body))
    if document.get("type") in ("message", "error"):
        return _of_requested_model(read_message(body))
    if not document:
        return ResponseFacts(unreadable=1)
    if error := read_error(document):
        return ResponseFacts(error=error, complete=True)
    return ResponseFacts(usage=read_counts(document), complete=True)


def _of_requested_model(facts: ResponseFacts) -> ResponseFacts:
    """Drop the model that a message names: the requested one is priced."""
    return replace(facts, model=None)
