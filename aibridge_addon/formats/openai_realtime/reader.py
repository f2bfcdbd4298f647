"""Reads responses of OpenAI Realtime. Sans-io. The last event has everything but the audio."""

from aibridge_addon.facts import ProviderError, ResponseFacts
from aibridge_addon.formats.openai_errors import error_facts, read_error
from aibridge_addon.formats.openai_responses.items import read_calls
from aibridge_addon.formats.openai_usage import AUDIO_NAMES, read_usage
from aibridge_addon.formats.reader import Reader
from aibridge_addon.formats.usage import states_tokens
from aibridge_addon.raw_json import JSON, expect, mapping, sequence, text

_GROUPS = (
    "response.",
    "conversation.",
    "session.",
    "input_audio_buffer.",
    "output_audio_buffer.",
    "mcp_list_tools.",
    "rate_limits.",
)
"""Beginnings of the types of events without facts."""


class RealtimeReader(Reader):
    """Reads one response."""

    def __init__(self) -> None:
        super().__init__()
        self._response: dict[str, JSON] = {}
        self._error_data: JSON = None
        self.handlers = {
            "response.created": self._on_response,
            "response.done": self._on_done,
            "error": self._on_error,
        }

    def is_ignored(self, kind: str) -> bool:
        """Return whether nothing of an event is recorded."""
        return kind.startswith(_GROUPS)

    def content(self) -> ResponseFacts:
        """Return the facts of the response."""
        return read_response(self._response) or ResponseFacts()

    def document(self) -> dict[str, JSON]:
        """Return the response so far."""
        failed = {"error": self._error_data} if self._error else {}
        return {**self._response, **failed}

    def _on_response(self, data: dict[str, JSON]) -> None:
        self._response |= expect(dict, data["response"])

    def _on_done(self, data: dict[str, JSON]) -> None:
        self._on_response(data)
        if error := _failure(self._response):
            self._error = error
            self._error_data = {"type": error.type, "message": error.message}
        self._has_end = self.ended = True

    def _on_error(self, data: dict[str, JSON]) -> None:
        self._error_data = data.get("error")
        self._error = read_error(data) or error_facts({**data, "type": None})
        self.ended = True


def read_response(response: dict[str, JSON]) -> ResponseFacts | None:
    """Read a response; None if it has another shape."""
    if response.get("object") != "realtime.response":
        return None
    usage = mapping(response.get("usage"))
    items = [mapping(item) for item in sequence(response.get("output"))]
    return ResponseFacts(
        response_id=text(response.get("id")),
        usage=(own := read_usage(usage, AUDIO_NAMES)),
        usage_unreadable=own is None and states_tokens(usage),
        tool_calls=read_calls(items),
        cancelled=response.get("status") == "cancelled",
    )


def _failure(response: dict[str, JSON]) -> ProviderError | None:
    if response.get("status") != "failed":
        return None
    return error_facts(mapping(mapping(response.get("status_details")).get("error")))
