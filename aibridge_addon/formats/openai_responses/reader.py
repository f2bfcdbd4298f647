"""Reads responses of OpenAI Responses. Sans-io.

Items are read when they are complete (`response.output_item.done`); usage from the terminal event,
be the response completed, incomplete or failed.
"""

from dataclasses import replace

from aibridge_addon.facts import ProviderError, ResponseFacts
from aibridge_addon.formats.openai_errors import error_facts, read_error
from aibridge_addon.formats.openai_responses.items import input_field, read_calls, read_thoughts
from aibridge_addon.formats.openai_responses.usage import read_response_usage, read_tool_usages
from aibridge_addon.formats.reader import Reader
from aibridge_addon.formats.skippable import events, scalars, whole
from aibridge_addon.formats.usage import states_tokens
from aibridge_addon.raw_json import JSON, decode, expect, mapping, sequence, text

_OBJECTS = ("response", "response.compaction")
"""Values of `object` in a complete response; some hosts leave it out."""

_KNOWN_EVENTS = frozenset(
    {
        "response.content_part.added",
        "response.content_part.done",
        "response.output_text.delta",
        "response.output_text.done",
        "response.output_text.annotation.added",
        "response.refusal.delta",
        "response.refusal.done",
        "response.function_call_arguments.done",
        "response.custom_tool_call_input.done",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_part.done",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
        "response.audio.delta",
        "response.audio.done",
        "response.audio.transcript.delta",
        "response.audio.transcript.done",
        "response.compaction.compacting",
        "response.mcp_list_tools.in_progress",
        "response.mcp_list_tools.completed",
        "response.mcp_list_tools.failed",
        "response.steer.accepted",
        "response.steer.pending",
        "response.steer.failed",
        "response.metadata",
        "codex.rate_limits",
        "keepalive",
    }
)
"""Events without facts, besides the events of the provider's own tools."""

_TEXT_DELTAS = events(
    whole(
        {"type": r'"response\.(?:output_text|reasoning_summary_text|reasoning_text)\.delta"'},
        beside=scalars("type"),
    )
)


class ResponseReader(Reader):
    """Reads one streamed response."""

    skippable = _TEXT_DELTAS

    def __init__(self) -> None:
        super().__init__()
        self._response: dict[str, JSON] = {}
        self._items: dict[int, dict[str, JSON]] = {}
        self._fragments: dict[int, list[str]] = {}
        """Input of incomplete calls, by output index."""
        self.handlers = {
            "response.created": self._on_begin,
            "response.queued": self._on_begin,
            "response.in_progress": self._on_begin,
            "response.output_item.added": self._on_item,
            "response.output_item.done": self._on_item,
            "response.function_call_arguments.delta": self._on_fragment,
            "response.custom_tool_call_input.delta": self._on_fragment,
            "response.completed": self._on_end,
            "response.cancelled": self._on_end,
            "response.incomplete": self._on_end,
            "response.failed": self._on_end,
            "error": self._on_error,
        }

    def is_ignored(self, kind: str) -> bool:
        """Return whether nothing of an event is recorded."""
        return kind in _KNOWN_EVENTS or "_call" in kind

    def content(self) -> ResponseFacts:
        """Return the facts of the response."""
        return _facts(self.response(), self._error)

    def response(self) -> dict[str, JSON]:
        """Return the response so far, with its items."""
        items = [self._item(index) for index in sorted(self._items)]
        # A stream that was resumed has only the last items; its last event has them all.
        output = max(items, sequence(self._response.get("output")), key=len)
        return {**self._response, "output": output}

    def _item(self, index: int) -> dict[str, JSON]:
        """Return an item; an incomplete call has the input received so far."""
        item = self._items[index]
        field = input_field(item)
        if field is None or index not in self._fragments:
            return item
        return {**item, field: "".join(self._fragments[index])}

    def _on_begin(self, data: dict[str, JSON]) -> None:
        self._on_response(data)
        if self._response.get("usage"):
            self.report_usage()

    def _on_response(self, data: dict[str, JSON]) -> None:
        self._response |= expect(dict, data["response"])

    def _on_item(self, data: dict[str, JSON]) -> None:
        index = expect(int, data.get("output_index", len(self._items)))
        self._items[index] = mapping(data["item"])
        self._fragments.pop(index, None)

    def _on_fragment(self, data: dict[str, JSON]) -> None:
        fragment = expect(str, data["delta"])
        self._fragments.setdefault(data["output_index"], []).append(fragment)

    def _on_end(self, data: dict[str, JSON]) -> None:
        self._on_response(data)
        if data["type"] == "response.failed":
            self._error = error_facts(mapping(self._response.get("error")))
        self._has_end = self.ended = True

    def _on_error(self, data: dict[str, JSON]) -> None:
        # The event's `type` is just `error`.
        self._error = read_error(data) or error_facts({**data, "type": None})
        self.ended = True


def read_whole(body: bytes) -> ResponseFacts:
    """Read a response that was not streamed, or an error."""
    try:
        response = mapping(decode(body))
    except ValueError:
        return ResponseFacts(unreadable=1)
    if response.get("object") in _OBJECTS or isinstance(response.get("output"), list):
        return replace(_facts(response, _failure(response)), complete=True)
    if error := read_error(response):
        return ResponseFacts(error=error, complete=True)
    return ResponseFacts(unreadable=1)


def _failure(response: dict[str, JSON]) -> ProviderError | None:
    if response.get("status") != "failed":
        return None
    return error_facts(mapping(response.get("error")))


def _facts(response: dict[str, JSON], error: ProviderError | None) -> ResponseFacts:
    items = [mapping(item) for item in sequence(response.get("output"))]
    return ResponseFacts(
        response_id=text(response.get("id")),
        model=text(response.get("model")),
        usage=(own := read_response_usage(response)),
        usage_unreadable=own is None and states_tokens(mapping(response.get("usage"))),
        hidden_usages=read_tool_usages(items),
        tool_calls=read_calls(items),
        thoughts=read_thoughts(items),
        error=error,
        pending=error is None and response.get("status") in ("queued", "in_progress"),
        cancelled=response.get("status") == "cancelled",
    )
