"""The wire formats, one module each, sans-io.

Every module is a `WireFormat`: it reads requests and responses into facts and knows the shape of an
error. To add one: write the module, add it to `WIRE_FORMATS`, and give `routing.ROUTES` a row.
"""

import re
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from aibridge_addon.facts import ProviderError, RequestFacts, ResponseFacts
from aibridge_addon.formats.anthropic_messages import reader as anthropic_messages
from aibridge_addon.formats.anthropic_messages import tools as anthropic_messages_tools
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.openai_chat import reader as openai_chat
from aibridge_addon.formats.openai_chat import tools as openai_chat_tools
from aibridge_addon.formats.openai_responses import compact as openai_responses_compact
from aibridge_addon.formats.openai_responses import reader as openai_responses
from aibridge_addon.formats.openai_responses import tools as openai_responses_tools
from aibridge_addon.formats.tool_protocol import ToolFormat
from aibridge_addon.raw_json import JSON


class ResponseReader(Protocol):
    """Reads one streamed response."""

    on_usage: Callable[[ResponseFacts], None]
    """Called at most once: when a stream that goes on has told some of its tokens."""

    @property
    def ended(self) -> bool:
        """Whether the event that ends a response of this format has come."""

    @property
    def unrecorded(self) -> re.Pattern[bytes] | None:
        """What matches runs of events that would change nothing in the facts: to be fed or not."""

    def feed(self, event: Event) -> JSON:
        """Take one event; return its decoded data, None if it has none that can be read.

        Never raises: what cannot be read is counted.
        """

    def facts(self) -> ResponseFacts:
        """Return what has been read so far."""


class WireFormat(Protocol):
    """What a module of this package answers."""

    NAME: str
    """The API's name in the records."""

    def read_request(self, body: Mapping[str, msgspec.Raw]) -> RequestFacts:
        """Read a request, given its members."""

    def response_reader(self) -> ResponseReader:
        """Return a reader for one streamed response."""

    def read_answer(self, body: bytes) -> ResponseFacts:
        """Read a response that was not streamed, or an error."""

    def error_body(self, status: int, message: str, error_type: str | None = None) -> bytes:
        """Return an error in the shape that this format's clients show to their users."""


WIRE_FORMATS: Mapping[str, WireFormat] = {
    module.NAME: module
    for module in (anthropic_messages, openai_chat, openai_responses, openai_responses_compact)
}

TOOL_FORMATS: Mapping[str, ToolFormat] = {
    anthropic_messages.NAME: anthropic_messages_tools,
    openai_chat.NAME: openai_chat_tools,
    openai_responses.NAME: openai_responses_tools,
}
"""How wire formats take part in the inner loop; no tools are offered in others."""

__all__ = ["TOOL_FORMATS", "WIRE_FORMATS", "ProviderError", "ResponseReader", "WireFormat"]
