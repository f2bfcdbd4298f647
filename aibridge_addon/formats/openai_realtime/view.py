"""Reads requests and responses of OpenAI Realtime into the content model. Sans-io."""

from collections.abc import Iterable

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats.content import Part
from aibridge_addon.formats.openai_other import read_document
from aibridge_addon.formats.openai_realtime.reader import RealtimeReader, read_response
from aibridge_addon.formats.openai_responses.view import ResponsesView
from aibridge_addon.formats.parts import file_part, text_part
from aibridge_addon.formats.view import Assembler
from aibridge_addon.raw_json import JSON, mapping, sequence, text

_AUDIO = ("audio", "output_audio")


class RealtimeView(ResponsesView):
    """Reads requests with their items, and the events of a response; audio is not shown."""

    system_member = None

    def assembler(self) -> Assembler:
        """Return a new assembler for one response."""
        return RealtimeReader()

    def is_event(self, document: dict[str, JSON]) -> bool:
        """Return whether a document is an event."""
        return isinstance(document.get("type"), str) and "object" not in document

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read the facts of a complete response, or of an error."""
        return read_document(body, read_response)

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the content of all items of a response; of audio its transcript."""
        for item in map(mapping, sequence(document.get("output"))):
            if item.get("type") != "message":
                yield from self.read_message(item, "assistant").parts
                continue
            for part in map(mapping, sequence(item.get("content"))):
                if part.get("type") in _AUDIO:
                    yield file_part("audio", text=part.get("transcript"))
                else:
                    yield text_part(part.get("text"))

    def stop_reason(self, document: dict[str, JSON]) -> str | None:
        """Return the status of a response."""
        return text(document.get("status"))
