"""Google's Live API: turns in a WebSocket, of text and audio. Sans-io.

The first message of a client sets up the model; each turn of the model is a response.
"""

import re
from dataclasses import replace

from aibridge_addon.facts import RequestFacts, ResponseFacts, SpokenInput
from aibridge_addon.formats.audio import GOOGLE_TOKENS
from aibridge_addon.formats.base import SESSION, Format, RequestView
from aibridge_addon.formats.billing_labels import location_label
from aibridge_addon.formats.gemini.audio import asks_for_audio
from aibridge_addon.formats.gemini.errors import error_body
from aibridge_addon.formats.gemini.limits import LIMITS
from aibridge_addon.formats.gemini.request import read_request
from aibridge_addon.formats.gemini_live.reader import LiveReader, read_whole
from aibridge_addon.formats.gemini_live.view import LiveView
from aibridge_addon.formats.output_limits import Places, in_members
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import count, mapping, member, text

_FRAME_TOKENS = 258
_SETUP_LIMITS: Places = {**LIMITS, **in_members(["setup"], LIMITS)}
_LOCATION = re.compile(r"projects/[^/]+/locations/([^/]+)/")


class GeminiLive(Format):
    """Wire format of the WebSocket `BidiGenerateContent`."""

    name = "gemini_live"
    view = LiveView()
    output_limits = _SETUP_LIMITS

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request: the set-up, with the contents that the client has sent since."""
        found = _LOCATION.match(text(member(dict(request.members), "model")) or "")
        facts = read_request(replace(request, path="", path_values={}))
        labels = {**facts.billing_labels, **location_label(found and found[1])}
        return replace(facts, streaming=True, billing_labels=labels)

    def spoken_input(self, members: Members) -> SpokenInput:
        """Return what a turn will hear and see, and the tokens of the session before."""
        session = mapping(member(members, SESSION))
        return SpokenInput(
            audio_tokens=(count(session.get("audio_seconds")) or 0) * GOOGLE_TOKENS,
            video_tokens=(count(session.get("frames")) or 0) * _FRAME_TOKENS,
            context_tokens=count(session.get("context_tokens")) or 0,
            is_answered_in_audio=asks_for_audio(members),
        )

    def reader(self) -> LiveReader:
        """Return a new reader for one turn."""
        return LiveReader()

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read a turn as one document, or an error."""
        return read_whole(body)

    def error(
        self, status: int, message: str, error_type: str | None = None, code: str | None = None
    ) -> bytes:
        """Return an error in the shape of Google's APIs."""
        return error_body(status, message, error_type, code)


FORMAT = GeminiLive()
