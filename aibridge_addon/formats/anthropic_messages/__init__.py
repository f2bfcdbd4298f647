"""The Anthropic Messages API: `POST /v1/messages`. Sans-io."""

from dataclasses import replace

from aibridge_addon.facts import RequestFacts, ResponseFacts
from aibridge_addon.formats.anthropic_messages.errors import error_body
from aibridge_addon.formats.anthropic_messages.reader import MessageReader, read_whole
from aibridge_addon.formats.anthropic_messages.request import read_request
from aibridge_addon.formats.anthropic_messages.tools import MessagesTools
from aibridge_addon.formats.anthropic_messages.view import MessagesView
from aibridge_addon.formats.base import Format, RequestView
from aibridge_addon.formats.output_limits import places
from aibridge_addon.formats.tool_protocol import Members, ToolFormat
from aibridge_addon.raw_json import count, mapping, member, text


class AnthropicMessages(Format):
    """Wire format of `POST /v1/messages`."""

    name = "anthropic_messages"
    output_limits = places("max_tokens")
    tools: ToolFormat | None = MessagesTools()
    view = MessagesView()

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request; some hosts name the model in the path."""
        facts = read_request(dict(request.members))
        return (
            facts if facts.model else replace(facts, model=text(request.path_values.get("model")))
        )

    def reader(self) -> MessageReader:
        """Return a new reader for one streamed message."""
        return MessageReader()

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read a message that was not streamed, or an error."""
        return read_whole(body)

    def error(
        self, status: int, message: str, error_type: str | None = None, code: str | None = None
    ) -> bytes:
        """Return an error in the shape of the Messages API."""
        return error_body(status, message, error_type)

    def least_output_limit(self, members: Members) -> int:
        """Return the limit above the budget for thinking."""
        return (count(mapping(member(members, "thinking")).get("budget_tokens")) or 0) + 1


FORMAT = AnthropicMessages()
