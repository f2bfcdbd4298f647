"""The OpenAI Chat Completions API: `POST /chat/completions`. Sans-io."""

from aibridge_addon.facts import RequestFacts, ResponseFacts, SpokenInput
from aibridge_addon.formats.base import Format, RequestView
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.openai_chat.audio import read_spoken_input
from aibridge_addon.formats.openai_chat.reader import CompletionReader, is_usage_only, read_whole
from aibridge_addon.formats.openai_chat.request import ask_for_usage, read_request
from aibridge_addon.formats.openai_chat.tools import ChatTools
from aibridge_addon.formats.openai_chat.view import ChatView
from aibridge_addon.formats.openai_errors import error_body
from aibridge_addon.formats.output_limits import choices_in, places
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import member


class OpenAIChat(Format):
    """Wire format of `POST /chat/completions`, of OpenAI and of the hosts that imitate it."""

    name = "openai_chat"
    output_limits = places("max_tokens", "max_completion_tokens")
    tools = ChatTools()
    view = ChatView()

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request."""
        return read_request(dict(request.members))

    def reader(self) -> CompletionReader:
        """Return a new reader for one streamed completion."""
        return CompletionReader()

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read a completion that was not streamed, or an error."""
        return read_whole(body)

    def error(
        self, status: int, message: str, error_type: str | None = None, code: str | None = None
    ) -> bytes:
        """Return an error in the shape of OpenAI's APIs."""
        return error_body(status, message, error_type, code)

    def choices(self, members: Members) -> int:
        """Return the number of choices."""
        return choices_in(member(members, "n"))

    def spoken_input(self, members: Members) -> SpokenInput:
        """Return the audio of a request."""
        return read_spoken_input(members)

    def ask_for_usage(self, members: Members) -> Members | None:
        """Return the request with `include_usage` set; None if the client has set it itself."""
        return ask_for_usage(members)

    def is_usage_only(self, event: Event) -> bool:
        """Return whether an event is the chunk that only `include_usage` brings."""
        return is_usage_only(event)


FORMAT = OpenAIChat()
