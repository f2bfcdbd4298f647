"""OpenAI Realtime: responses in a WebSocket, of text and audio. Sans-io.

A session has one model, which the handshake names; the provider may begin responses by itself, when
a person stops speaking. A transcript of what was said comes from another model.
"""

from urllib.parse import parse_qs

from aibridge_addon.facts import RequestFacts, ResponseFacts, Usage
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.openai_audio.usage import read_audio_usage
from aibridge_addon.formats.openai_other import OpenAIFormat
from aibridge_addon.formats.openai_realtime.reader import RealtimeReader, read_response
from aibridge_addon.formats.openai_realtime.view import RealtimeView
from aibridge_addon.formats.prompts import trailing_turn
from aibridge_addon.raw_json import JSON, elements, mapping, member, read, sequence, text

_RESULT = "function_call_output"


class OpenAIRealtime(OpenAIFormat):
    """Wire format of the WebSocket at `/realtime`."""

    name = "openai_realtime"
    view = RealtimeView()

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request: `response.create`, with the items before it as its `input`.

        The model is chosen in a message or in the query; else the provider states it.
        """
        members = dict(request.members)
        items = [mapping(read(item)) for item in elements(members.get("input"))]
        typed = [texts for item in items if (texts := _typed(item))]
        results = [text(item.get("call_id")) for item in items if item.get("type") == _RESULT]
        in_query = parse_qs(request.query).get("model", [None])[0]
        chosen = text(member(members, "model")) or in_query
        return RequestFacts(
            model=chosen or text(member(members, "session_model")),
            streaming=True,
            user_texts=trailing_turn(reversed(typed), index=0).user_texts,
            correlating_tool_call_id=results[-1] if results else None,
        )

    def reader(self) -> RealtimeReader:
        """Return a new reader for one response."""
        return RealtimeReader()

    def read_response(self, document: dict[str, JSON]) -> ResponseFacts | None:
        """Read a complete response."""
        return read_response(document)


def _typed(item: dict[str, JSON]) -> list[str]:
    if item.get("role") != "user":
        return []
    parts = map(mapping, sequence(item.get("content")))
    return [text(part.get("text")) or "" for part in parts if part.get("type") == "input_text"]


def read_transcription_usage(event: dict[str, JSON]) -> Usage | None:
    """Read the usage of a transcript, which another model made."""
    return read_audio_usage(mapping(event.get("usage")))


FORMAT = OpenAIRealtime()
