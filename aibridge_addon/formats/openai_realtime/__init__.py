"""OpenAI Realtime: responses in a WebSocket, of text and audio. Sans-io.

A session has one model, which the handshake names; the provider may begin responses by itself, when
a person stops speaking. A transcript of what was said comes from another model.
"""

from collections.abc import Mapping
from urllib.parse import parse_qs

from aibridge_addon.facts import RequestFacts, ResponseFacts, SpokenInput, Usage
from aibridge_addon.formats.audio import OPENAI_TOKENS
from aibridge_addon.formats.base import SESSION, RequestView
from aibridge_addon.formats.openai_audio.usage import read_audio_usage
from aibridge_addon.formats.openai_other import OpenAIFormat
from aibridge_addon.formats.openai_realtime.reader import RealtimeReader, read_response
from aibridge_addon.formats.openai_realtime.view import RealtimeView
from aibridge_addon.formats.output_limits import Places, in_members, largest_limit, places
from aibridge_addon.formats.prompts import trailing_turn
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import (
    JSON,
    count,
    elements,
    mapping,
    member,
    read,
    sequence,
    text,
)

_RESULT = "function_call_output"
_LIMITS = places("max_output_tokens", "max_response_output_tokens")
_RESPONSE = in_members(["response"], _LIMITS)
_ALL_LIMITS: Places = {**_RESPONSE, **in_members(["session", SESSION], _LIMITS)}
"""With those in the messages that set up a session."""


class OpenAIRealtime(OpenAIFormat):
    """Wire format of the WebSocket at `/realtime`."""

    name = "openai_realtime"
    view = RealtimeView()
    output_limits = _ALL_LIMITS

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

    def output_limit(self, members: Members) -> int | None:
        """Return the limit of a response, or else of its session; a transcript is a short text."""
        if mapping(member(members, SESSION)).get("is_transcript") is True:
            return OPENAI_TOKENS + self.spoken_input(members).audio_tokens
        own = largest_limit(members, _RESPONSE)
        return super().output_limit(members) if own is None else own

    def units(self, members: Members) -> Mapping[str, int]:
        """Return the length of the audio, which models for transcripts are billed by."""
        seconds = count(mapping(member(members, SESSION)).get("audio_seconds"))
        return {"input_audio_seconds": seconds or 0}

    def spoken_input(self, members: Members) -> SpokenInput:
        """Return the audio that a response will read, and the tokens of the session before."""
        session = mapping(member(members, SESSION))
        response = mapping(member(members, "response"))
        answers = (
            response if "output_modalities" in response or "modalities" in response else session
        )
        modalities = answers.get("output_modalities", answers.get("modalities", ["audio"]))
        return SpokenInput(
            audio_tokens=(count(session.get("audio_seconds")) or 0) * OPENAI_TOKENS,
            blobs=count(session.get("blobs")) or 0,
            context_tokens=count(session.get("context_tokens")) or 0,
            is_answered_in_audio="audio" in sequence(modalities),
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
