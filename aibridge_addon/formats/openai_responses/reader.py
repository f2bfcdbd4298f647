"""OpenAI Responses: `POST /responses`. Sans-io.

Items are read when they are whole (`response.output_item.done`); usage from the one event that ends
a response, be it completed, incomplete or failed.
"""

from collections.abc import Callable, Mapping

import msgspec

from aibridge_addon.facts import (
    ProviderError,
    RequestFacts,
    RequestKind,
    ResponseFacts,
)
from aibridge_addon.formats.decoders.sse import Event, typed
from aibridge_addon.formats.openai_errors import error_body, error_facts, read_error
from aibridge_addon.formats.openai_responses.items import (
    answered_call_id,
    input_field,
    is_answer,
    read_calls,
    read_thoughts,
)
from aibridge_addon.formats.openai_responses.usage import read_response_usage, read_tool_usages
from aibridge_addon.formats.prompts import TrailingTurn, beginnings, trailing_turn
from aibridge_addon.formats.skippable import events, scalars, whole
from aibridge_addon.raw_json import (
    JSON,
    decode,
    elements,
    expect,
    mapping,
    member,
    read,
    sequence,
    text,
)

__all__ = ["NAME", "error_body", "read_answer", "read_request", "response_reader"]

NAME = "openai_responses"

_ANSWERS = ("response", "response.compaction")
"""What the `object` of a whole answer says; some hosts leave it out."""

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
"""Events of which nothing is recorded, besides those of the provider's own tools."""

_TEXT_DELTAS = events(
    whole(
        {"type": r'"response\.(?:output_text|reasoning_summary_text|reasoning_text)\.delta"'},
        beside=scalars("type"),
    )
)


def read_request(body: Mapping[str, msgspec.Raw]) -> RequestFacts:
    """Read a request, given its members."""
    members = dict(body)
    follows = text(member(members, "previous_response_id")) or ""
    turn = _read_trailing_turn(members.get("input"), follows)
    return RequestFacts(
        model=text(member(members, "model")),
        streaming=member(members, "stream") is True,
        background=member(members, "background") is True,
        said=turn.said,
        # Only the server knows where a message stands in a conversation that it keeps.
        position=None if "conversation" in members else turn.position,
        system=beginnings(_texts(member(members, "instructions"))),
        request_kind=_declared_kind(members),
        correlating_tool_call_id=turn.tool_call_id,
        session_hint=text(member(members, "prompt_cache_key")),
        client_metadata=_client_metadata(member(members, "client_metadata")),
    )


def _client_metadata(given: JSON) -> dict[str, str]:
    return {name: said for name, value in mapping(given).items() if (said := text(value))}


def _declared_kind(members: dict[str, msgspec.Raw]) -> RequestKind | None:
    if member(members, "generate") is False:  # Codex warms up and asks for nothing
        return "warmup"
    last = elements(members.get("input"))[-1:]
    is_trigger = any(mapping(read(item)).get("type") == "compaction_trigger" for item in last)
    return "compaction" if is_trigger else None


def _read_trailing_turn(given: msgspec.Raw | None, follows: str) -> TrailingTurn:
    """Read the user messages after the last answer, and which tool call the last result is of."""
    if given is not None and bytes(memoryview(given)[:1]) == b'"':
        return trailing_turn([[text(read(given)) or ""]], index=0, follows=follows)
    said: list[list[str]] = []
    before: list[str] = []
    tool_call_id = None
    left = elements(given)
    while left:
        item = mapping(read(left.pop()))
        if is_answer(item):
            tool_call_id = answered_call_id(item)
            break
        if item.get("type") not in (None, "message") or item.get("role") == "assistant":
            before = _texts(item.get("content"), "output_text")
            break
        if item.get("role") == "user":
            said.append(_texts(item.get("content")))
    return trailing_turn(
        said, index=len(left), before=before, follows=follows, tool_call_id=tool_call_id
    )


def _texts(content: JSON, kind: str = "input_text") -> list[str]:
    if isinstance(content, str):
        return [text(content) or ""]
    parts = map(mapping, sequence(content))
    return [text(part.get("text")) or "" for part in parts if part.get("type") == kind]


class ResponseReader:
    """Reads one streamed response."""

    unrecorded = _TEXT_DELTAS

    def __init__(self) -> None:
        self.ended = False
        self.on_usage: Callable[[ResponseFacts], None] = lambda facts: None
        self._usage_is_told = False
        self._response: dict[str, JSON] = {}
        self._items: dict[int, dict[str, JSON]] = {}
        self._fragments: dict[int, list[str]] = {}
        """Input of calls that are not whole yet, by output index."""
        self._error: ProviderError | None = None
        self._complete = False
        self._unreadable = 0
        self._unknown: list[str] = []
        self._handlers = {
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

    def feed(self, event: Event) -> JSON:
        """Take one event; return its decoded data."""
        if not event.data or event.data == b"[DONE]":
            return None
        try:
            data = typed(decode(event.data), event)
            kind = data["type"]
            if handler := self._handlers.get(kind):
                handler(data)
            elif kind not in _KNOWN_EVENTS and "_call" not in kind:
                self._unknown.append(text(kind) or "")
        except (ValueError, TypeError, KeyError, AttributeError):
            self._unreadable += 1
            return None
        return data

    def facts(self) -> ResponseFacts:
        """Return what has been read so far."""
        items = [self._item(index) for index in sorted(self._items)]
        # A stream that was taken up again has only the last items, its last event has them all.
        output = max(items, sequence(self._response.get("output")), key=len)
        return _facts(
            {**self._response, "output": output},
            error=self._error,
            complete=self._complete,
            unreadable=self._unreadable,
            unknown=tuple(self._unknown),
        )

    def _item(self, index: int) -> dict[str, JSON]:
        """Return an item; of a call that a stream broke off, as much of its input as came."""
        item = self._items[index]
        field = input_field(item)
        if field is None or index not in self._fragments:
            return item
        return {**item, field: "".join(self._fragments[index])}

    def _on_begin(self, data: dict[str, JSON]) -> None:
        self._on_response(data)
        if self._response.get("usage") and not self._usage_is_told:
            self._usage_is_told = True
            self.on_usage(self.facts())

    def _on_response(self, data: dict[str, JSON]) -> None:
        self._response |= data["response"]

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
        self._complete = self.ended = True

    def _on_error(self, data: dict[str, JSON]) -> None:
        # Its own `type` says only that it is an error.
        self._error = read_error(data) or error_facts({**data, "type": None})
        self.ended = True


def response_reader() -> ResponseReader:
    """Return a reader for one streamed response."""
    return ResponseReader()


def read_answer(body: bytes) -> ResponseFacts:
    """Read a response that was not streamed, or an error."""
    try:
        response = mapping(decode(body))
    except ValueError:
        return ResponseFacts(unreadable=1)
    if response.get("object") in _ANSWERS or isinstance(response.get("output"), list):
        return _facts(response, error=_failure(response), complete=True)
    if error := read_error(response):
        return ResponseFacts(error=error, complete=True)
    return ResponseFacts(unreadable=1)


def _failure(response: dict[str, JSON]) -> ProviderError | None:
    if response.get("status") != "failed":
        return None
    return error_facts(mapping(response.get("error")))


def _facts(
    response: dict[str, JSON],
    *,
    error: ProviderError | None,
    complete: bool,
    unreadable: int = 0,
    unknown: tuple[str, ...] = (),
) -> ResponseFacts:
    items = [mapping(item) for item in sequence(response.get("output"))]
    return ResponseFacts(
        response_id=text(response.get("id")),
        model=text(response.get("model")),
        usage=read_response_usage(response),
        hidden_usages=read_tool_usages(items),
        tool_calls=read_calls(items),
        thoughts=read_thoughts(items),
        error=error,
        complete=complete,
        pending=error is None and response.get("status") in ("queued", "in_progress"),
        cancelled=response.get("status") == "cancelled",
        unreadable=unreadable,
        unknown=unknown,
    )
