"""The OpenAI Responses API: `POST /responses`, over HTTP and WebSocket. Sans-io."""

from aibridge_addon.facts import RequestFacts, ResponseFacts
from aibridge_addon.formats.base import Format, RequestView
from aibridge_addon.formats.openai_errors import error_body
from aibridge_addon.formats.openai_responses.reader import ResponseReader, read_whole
from aibridge_addon.formats.openai_responses.request import read_request
from aibridge_addon.formats.openai_responses.tools import ResponsesTools
from aibridge_addon.formats.openai_responses.view import ResponsesView
from aibridge_addon.formats.output_limits import places
from aibridge_addon.formats.tool_protocol import ToolFormat


class OpenAIResponses(Format):
    """Wire format of `POST /responses`."""

    name = "openai_responses"
    output_limits = places("max_output_tokens")
    tools: ToolFormat | None = ResponsesTools()
    view = ResponsesView()

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request."""
        return read_request(dict(request.members))

    def reader(self) -> ResponseReader:
        """Return a new reader for one streamed response."""
        return ResponseReader()

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read a response that was not streamed, or an error."""
        return read_whole(body)

    def error(
        self, status: int, message: str, error_type: str | None = None, code: str | None = None
    ) -> bytes:
        """Return an error in the shape of OpenAI's APIs."""
        return error_body(status, message, error_type, code)


FORMAT = OpenAIResponses()
