"""Reads requests and turns of the Live API into the content model. Sans-io."""

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats.gemini.names import named
from aibridge_addon.formats.gemini.view import GeminiView
from aibridge_addon.formats.gemini_live.reader import LiveAssembler, read_whole
from aibridge_addon.raw_json import JSON

_MESSAGES = ("serverContent", "toolCall", "usageMetadata", "setupComplete")


class LiveView(GeminiView):
    """Reads requests as those of the Gemini API, and the messages of a turn; audio is not shown."""

    reads_arrays = False

    def assembler(self) -> LiveAssembler:
        """Return a new assembler for one turn."""
        return LiveAssembler()

    def is_event(self, document: dict[str, JSON]) -> bool:
        """Return whether a document is a message of the server."""
        return any(named(document, name) is not None for name in _MESSAGES) and (
            "candidates" not in document
        )

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read the facts of an assembled turn, or of an error."""
        return read_whole(body)
