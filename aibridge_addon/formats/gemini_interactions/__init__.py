"""Google's Interactions API: `POST /interactions`, streamed or not, and its polls. Sans-io."""

from aibridge_addon.facts import RequestFacts, ResponseFacts
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.gemini.other import GoogleFormat
from aibridge_addon.formats.gemini_interactions.reader import InteractionReader, read_interaction
from aibridge_addon.formats.gemini_interactions.request import read_request
from aibridge_addon.formats.gemini_interactions.view import InteractionsView
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, count, mapping, member


class GeminiInteractions(GoogleFormat):
    """Wire format of interactions."""

    name = "gemini_interactions"
    view = InteractionsView()

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request."""
        return read_request(dict(request.members))

    def reader(self) -> InteractionReader:
        """Return a new reader for one streamed interaction."""
        return InteractionReader()

    def read_response(self, document: dict[str, JSON]) -> ResponseFacts | None:
        """Read an interaction that was not streamed."""
        return read_interaction(document)

    def output_limit(self, members: Members) -> int | None:
        """Return the most output tokens that a request allows; None if it states no limit."""
        return count(mapping(member(members, "generation_config")).get("max_output_tokens"))


FORMAT = GeminiInteractions()
