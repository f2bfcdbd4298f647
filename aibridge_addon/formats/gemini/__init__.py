"""The Gemini API: `generateContent` and `streamGenerateContent`, also of Vertex AI. Sans-io."""

from collections.abc import Mapping

from aibridge_addon.facts import RequestFacts, ResponseFacts, SpokenInput
from aibridge_addon.formats.base import Format, RequestView, ResponseHead
from aibridge_addon.formats.gemini.audio import read_spoken_input
from aibridge_addon.formats.gemini.decoder import StreamParser
from aibridge_addon.formats.gemini.errors import error_body
from aibridge_addon.formats.gemini.limits import ENVELOPED_LIMITS, candidates
from aibridge_addon.formats.gemini.model import with_model
from aibridge_addon.formats.gemini.reader import GenerationReader, read_whole
from aibridge_addon.formats.gemini.request import read_request
from aibridge_addon.formats.gemini.tools import GeminiTools
from aibridge_addon.formats.gemini.view import GeminiView
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON

_EVENTS = "text/event-stream"


class Gemini(Format):
    """Wire format of Google's models: the Gemini API, Vertex AI and Code Assist."""

    name = "gemini"
    output_limits = ENVELOPED_LIMITS
    tools = GeminiTools()
    view = GeminiView()

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request."""
        return read_request(request)

    def reader(self) -> GenerationReader:
        """Return a new reader for one streamed response."""
        return GenerationReader()

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read a response that was not streamed, or an error."""
        return read_whole(body)

    def decoder(self, head: ResponseHead) -> StreamParser | None:
        """Return a decoder for server-sent events and for a JSON array."""
        is_stream = head.answers_stream and 200 <= head.status < 300
        return StreamParser() if is_stream or head.media_type == _EVENTS else None

    def error(
        self, status: int, message: str, error_type: str | None = None, code: str | None = None
    ) -> bytes:
        """Return an error in the shape of Google's APIs."""
        return error_body(status, message, error_type, code)

    def choices(self, members: Members) -> int:
        """Return the number of candidates."""
        return candidates(members)

    def spoken_input(self, members: Members) -> SpokenInput:
        """Return the audio of a request."""
        return read_spoken_input(members)

    def with_model(self, members: Members, model: str) -> Mapping[str, JSON]:
        """Return the members that repeat the model of the path, with another model."""
        return with_model(members, model)


FORMAT = Gemini()
