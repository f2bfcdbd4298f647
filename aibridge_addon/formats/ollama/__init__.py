"""Ollama's own API: `POST /api/chat` and `POST /api/generate`. Sans-io.

Both stream lines of JSON, unless the request says that they must not.
"""

from aibridge_addon.facts import RequestFacts, ResponseFacts
from aibridge_addon.formats.base import Format, RequestView, ResponseHead
from aibridge_addon.formats.decoders.ndjson import LineParser
from aibridge_addon.formats.ollama.errors import error_body
from aibridge_addon.formats.ollama.reader import (
    ChatReader,
    GenerationReader,
    OllamaReader,
    read_chat,
    read_generation,
)
from aibridge_addon.formats.ollama.request import (
    read_chat_request,
    read_generation_request,
)
from aibridge_addon.formats.ollama.tools import OllamaTools
from aibridge_addon.formats.ollama.view import ChatView, GenerationView
from aibridge_addon.formats.output_limits import places


class OllamaFormat(Format):
    """The parts that both wire formats share."""

    output_limits = places("num_predict", within=("options",))

    def decoder(self, head: ResponseHead) -> LineParser | None:
        """Return a decoder of lines; None for a response that is one document."""
        return None if head.media_type == "application/json" else LineParser()

    def error(
        self, status: int, message: str, error_type: str | None = None, code: str | None = None
    ) -> bytes:
        """Return an error in the shape of Ollama's API."""
        return error_body(message, error_type, code)


class OllamaChat(OllamaFormat):
    """Wire format of `POST /api/chat`."""

    name = "ollama_chat"
    tools = OllamaTools()
    view = ChatView()

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request."""
        return read_chat_request(dict(request.members))

    def reader(self) -> OllamaReader:
        """Return a new reader for one streamed response."""
        return ChatReader()

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read a response that was not streamed, or an error."""
        return read_chat(body)


class OllamaGenerate(OllamaFormat):
    """Wire format of `POST /api/generate`."""

    name = "ollama_generate"
    view = GenerationView()

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request."""
        return read_generation_request(dict(request.members))

    def reader(self) -> OllamaReader:
        """Return a new reader for one streamed response."""
        return GenerationReader()

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read a response that was not streamed, or an error."""
        return read_generation(body)


CHAT = OllamaChat()
GENERATE = OllamaGenerate()
