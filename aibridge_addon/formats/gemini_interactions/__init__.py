"""Google's Interactions API: `POST /interactions`, streamed or not, and its polls. Sans-io."""

from aibridge_addon.facts import RequestFacts, ResponseFacts
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.gemini.limits import LIMITS
from aibridge_addon.formats.gemini.other import GoogleFormat
from aibridge_addon.formats.gemini_interactions.reader import InteractionReader, read_interaction
from aibridge_addon.formats.gemini_interactions.request import read_request
from aibridge_addon.formats.gemini_interactions.view import InteractionsView
from aibridge_addon.raw_json import JSON


class GeminiInteractions(GoogleFormat):
    """Wire format of interactions."""

    name = "gemini_interactions"
    output_limits = LIMITS
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


FORMAT = GeminiInteractions()
