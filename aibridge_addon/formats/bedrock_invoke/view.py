"""Reads bodies of InvokeModel into the content model; those of other models as JSON. Sans-io."""

from collections.abc import Iterable

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats.anthropic_messages.assembler import MessageAssembler
from aibridge_addon.formats.anthropic_messages.view import MessagesView
from aibridge_addon.formats.bedrock import FramedView, read_error
from aibridge_addon.formats.bedrock_invoke.other_models import METRICS
from aibridge_addon.formats.bedrock_invoke.reader import InvokeReader, read_whole
from aibridge_addon.formats.content import Part
from aibridge_addon.formats.parts import other_part
from aibridge_addon.raw_json import JSON

_EVENTS = "aibridge_events"
"""Member of an assembled document that holds the events of another model's stream."""


class InvokeView(FramedView, MessagesView):
    """Reads bodies of `POST /model/{model}/invoke` and `…/invoke-with-response-stream`."""

    def assembler(self) -> "InvokeAssembler":
        """Return a new assembler for one streamed response."""
        return InvokeAssembler()

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read the facts of a response that was not streamed, or of an error."""
        return read_whole(body)

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the content of a message; of another model, its body as JSON."""
        if document.get("type") in ("message", "error") or read_error(document):
            return super().response_parts(document)
        events = document.get(_EVENTS) or ([document] if document else [])
        return [other_part(event) for event in events]


class InvokeAssembler(MessageAssembler, InvokeReader):
    """Assembles one streamed response."""

    def __init__(self) -> None:
        super().__init__()
        self._others: list[JSON] = []

    def gather(self, data: dict[str, JSON]) -> None:
        """Add an event to the document."""
        if self.is_message is False:
            self._others.append(data)
        else:
            super().gather(data)

    def document(self) -> dict[str, JSON]:
        """Return the message so far, or the events of another model and its metrics."""
        if self.is_message is False:
            return {_EVENTS: self._others, METRICS: self.metrics}
        return super().document()
