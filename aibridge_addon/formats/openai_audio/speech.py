"""Text to speech: `POST /audio/speech`. Sans-io.

The response is audio, relayed as it comes; only as events does it report usage.
"""

from collections.abc import Iterable, Mapping

from aibridge_addon.facts import RequestFacts, ResponseFacts
from aibridge_addon.formats.base import EventDecoder, RequestView, ResponseHead
from aibridge_addon.formats.content import Part
from aibridge_addon.formats.decoders.opaque import OpaqueDecoder, is_end
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.openai_audio.usage import read_audio_usage
from aibridge_addon.formats.openai_other import OpenAIFormat, PlainReader, PlainView, ReadDocument
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.formats.usage import states_tokens
from aibridge_addon.raw_json import JSON, mapping, member, text

_TEXTUAL = ("text/", "application/json")


class OpenAISpeech(OpenAIFormat):
    """Wire format of `POST /audio/speech`."""

    name = "openai_speech"

    def __init__(self) -> None:
        self.view = SpeechView(self)

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request; what is read aloud was rarely typed, and is not a prompt."""
        members = dict(request.members)
        return RequestFacts(
            model=text(member(members, "model")),
            streaming=member(members, "stream_format") == "sse",
        )

    def units(self, members: Members) -> Mapping[str, int]:
        """Return the characters that are read aloud."""
        return {"input_characters": len(text(member(members, "input")) or "")}

    def decoder(self, head: ResponseHead) -> EventDecoder | None:
        """Return a decoder for audio, which skips it."""
        is_audio = 200 <= head.status < 300 and not head.media_type.startswith(_TEXTUAL)
        return OpaqueDecoder() if is_audio else None

    def reader(self) -> "SpeechReader":
        """Return a new reader for one response."""
        return SpeechReader(self.read_response)

    def read_response(self, document: dict[str, JSON]) -> ResponseFacts | None:
        """Read a response of events, joined to one document."""
        if document.get("object") != _OBJECT:
            return None
        usage = mapping(document.get("usage"))
        return ResponseFacts(
            usage=(own := read_audio_usage(usage)),
            usage_unreadable=own is None and states_tokens(usage),
        )


_OBJECT = "audio.speech"
"""Our own name for the events of a response, joined to one document."""


class SpeechReader(PlainReader):
    """Reads one response: events, or audio, of which only the end is known."""

    def __init__(self, read_response: ReadDocument) -> None:
        super().__init__(read_response)
        self.handlers = {"speech.audio.delta": self._on_piece, "speech.audio.done": self._on_done}

    def feed(self, event: Event) -> JSON:
        """Read an event; return its data."""
        if is_end(event):
            self._has_end = True
            return None
        return super().feed(event)

    def _on_piece(self, data: dict[str, JSON]) -> None:
        self._document = {"object": _OBJECT}

    def _on_done(self, data: dict[str, JSON]) -> None:
        usage = {"usage": data["usage"]} if "usage" in data else {}
        self._document = {"object": _OBJECT, **usage}
        self._has_end = self.ended = True


class SpeechView(PlainView):
    """Reads bodies of `POST /audio/speech`; audio is not shown."""

    content_member = "object"

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return that there was audio."""
        if document.get("object") == _OBJECT:
            yield Part(kind="audio")
