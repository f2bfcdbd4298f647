"""Anthropic Messages: `POST /v1/messages`. Sans-io.

Usage in a stream is cumulative: each `message_delta` overwrites what it names, field by field, and
nothing is ever added up ("Streaming messages" in Anthropic's documentation).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from aibridge_addon.facts import (
    ProviderError,
    RequestFacts,
    ResponseFacts,
    Thought,
    ToolCall,
)
from aibridge_addon.formats.anthropic_messages.usage import (
    read_hidden_usages,
    read_usage,
    serving_model,
)
from aibridge_addon.formats.decoders.sse import Event, typed
from aibridge_addon.formats.prompts import TrailingTurn, beginnings, trailing_turn
from aibridge_addon.formats.skippable import NUMBER, STRING, events, whole
from aibridge_addon.formats.usage import merge_usage
from aibridge_addon.raw_json import (
    JSON,
    arguments,
    decode,
    elements,
    encode,
    expect,
    mapping,
    member,
    read,
    sequence,
    text,
)

NAME = "anthropic_messages"

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}

_TEXT_DELTAS = events(
    whole(
        {
            "type": '"content_block_delta"',
            "index": NUMBER,
            "delta": whole({"type": '"text_delta"', "text": STRING}),
        }
    )
)


def read_request(body: Mapping[str, msgspec.Raw]) -> RequestFacts:
    """Read a request, given its members."""
    members = dict(body)
    turn = _read_trailing_turn(members.get("messages"))
    return RequestFacts(
        model=text(member(members, "model")),
        streaming=member(members, "stream") is True,
        said=turn.said,
        position=turn.position,
        system=beginnings(_texts(member(members, "system"))),
        correlating_tool_call_id=turn.tool_call_id,
        session_hint=_session(mapping(member(members, "metadata")).get("user_id")),
    )


def _read_trailing_turn(messages: msgspec.Raw | None) -> TrailingTurn:
    """Read the user messages after the last answer, and which tool call the last result is of."""
    turn: list[JSON] = []
    before: list[str] = []
    left = elements(messages)
    while left:
        message = mapping(read(left.pop()))
        if message.get("role") == "user":
            turn.append(message.get("content"))
        elif message.get("role") != "system":  # a system message may stand among the others
            before = _texts(message.get("content"))
            break
    said = map(_texts, turn)
    return trailing_turn(said, index=len(left), before=before, tool_call_id=_last_result(turn))


def _texts(content: JSON) -> list[str]:
    if isinstance(content, str):
        return [text(content) or ""]
    blocks = map(mapping, sequence(content))
    return [text(block.get("text")) or "" for block in blocks if block.get("type") == "text"]


def _last_result(turn: list[JSON]) -> str | None:
    """Return the tool call that the last result answers; the newest message is first."""
    for block in (mapping(block) for content in turn for block in reversed(sequence(content))):
        is_result = block.get("type") == "tool_result"
        if is_result and (tool_call_id := text(block.get("tool_use_id"))):
            return tool_call_id
    return None


def _session(user_id: JSON) -> str | None:
    """Find the session in `metadata.user_id`, in both shapes that Claude Code has used."""
    if not isinstance(user_id, str):
        return None
    if user_id.startswith("{"):
        return text(mapping(read(user_id.encode("utf-8", "replace"))).get("session_id"))
    _, _, session = user_id.partition("_session_")
    return text(session) or None


class ResponseReader:
    """Reads one streamed message."""

    unrecorded = _TEXT_DELTAS

    def __init__(self) -> None:
        self.ended = False
        self.on_usage: Callable[[ResponseFacts], None] = lambda facts: None
        self._id: str | None = None
        self._model: str | None = None
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}
        self._error: ProviderError | None = None
        self._complete = False
        self._unreadable = 0
        self._unknown: list[str] = []
        self._handlers = {
            "message_start": self._on_message_start,
            "content_block_start": self._on_block_start,
            "content_block_delta": self._on_block_delta,
            "content_block_stop": _ignore,
            "message_delta": self._on_message_delta,
            "message_stop": self._on_message_stop,
            "error": self._on_error,
            "ping": _ignore,
        }

    def feed(self, event: Event) -> JSON:
        """Take one event; return its decoded data."""
        if not event.data or event.data == b"[DONE]":  # vLLM ends a stream so
            return None
        try:
            data = typed(decode(event.data), event)
            kind = data["type"]
            handler = self._handlers.get(kind)
            if handler is None:
                self._unknown.append(text(expect(str, kind)) or "")
            else:
                handler(data)
        except (ValueError, TypeError, KeyError, AttributeError):
            self._unreadable += 1
            return None
        return data

    def facts(self) -> ResponseFacts:
        """Return what has been read so far."""
        blocks = [self._blocks[index] for index in sorted(self._blocks)]
        return _facts(
            {"id": self._id, "model": self._model, "usage": self._usage},
            blocks,
            error=self._error,
            complete=self._complete,
            unreadable=self._unreadable,
            unknown=tuple(self._unknown),
        )

    def _on_message_start(self, data: dict[str, JSON]) -> None:
        message = data["message"]
        self._id = text(message.get("id"))
        self._model = text(message.get("model"))
        self._merge_usage(message.get("usage"))
        if self._usage:
            self.on_usage(self.facts())

    def _on_block_start(self, data: dict[str, JSON]) -> None:
        self._blocks[expect(int, data["index"])] = _Block(data["content_block"])

    def _on_block_delta(self, data: dict[str, JSON]) -> None:
        delta = data["delta"]
        match delta["type"]:
            case "input_json_delta":
                self._blocks[data["index"]].fragments.append(expect(str, delta["partial_json"]))
            case "thinking_delta":
                self._blocks[data["index"]].fragments.append(expect(str, delta["thinking"]))

    def _on_message_delta(self, data: dict[str, JSON]) -> None:
        self._merge_usage(data.get("usage"))

    def _on_message_stop(self, data: dict[str, JSON]) -> None:
        self._complete = self.ended = True

    def _on_error(self, data: dict[str, JSON]) -> None:
        self._error = read_error(data)
        self.ended = True

    def _merge_usage(self, usage: JSON) -> None:
        restarts = serving_model(usage) is not None
        self._usage = merge_usage(self._usage, usage, restarts=restarts)


class _Block:
    """A content block on its way; fragments are joined once, at the end."""

    def __init__(self, start: JSON) -> None:
        self._start = mapping(start)
        self._kind = str(self._start.get("type"))
        self.fragments: list[str] = []

    def tool_call(self) -> ToolCall | None:
        if not self._kind.endswith("tool_use"):
            return None
        given = self._start.get("input")
        return ToolCall(
            tool=text(self._start.get("name")) or "",
            call_id=text(self._start.get("id")),
            input=arguments("".join(self.fragments)) if self.fragments else given or {},
            server_side=self._kind != "tool_use",
        )

    def thought(self) -> Thought | None:
        if self._kind != "thinking":
            return None
        content = text("".join([text(self._start.get("thinking")) or "", *self.fragments]))
        return Thought(content=content, source="thinking") if content else None

    def fallback_model(self) -> str | None:
        """Return the model that takes over where the block says that one declined."""
        if self._kind != "fallback":
            return None
        return text(mapping(self._start.get("to")).get("model"))


def _ignore(data: dict[str, JSON]) -> None:
    """Nothing of this event is recorded."""


def response_reader() -> ResponseReader:
    """Return a reader for one streamed response."""
    return ResponseReader()


def read_answer(body: bytes) -> ResponseFacts:
    """Read a message that was not streamed, or an error."""
    try:
        message = mapping(decode(body))
    except ValueError:
        return ResponseFacts(unreadable=1)
    if message.get("type") == "error" or isinstance(message.get("error"), dict | str):
        return ResponseFacts(error=read_error(message), complete=True)
    if message.get("type") != "message" and not isinstance(message.get("content"), list):
        return ResponseFacts(unreadable=1)
    blocks = [_Block(block) for block in sequence(message.get("content"))]
    return _facts(message, blocks, complete=True)


def _facts(
    message: dict[str, JSON],
    blocks: Sequence[_Block],
    *,
    error: ProviderError | None = None,
    complete: bool,
    unreadable: int = 0,
    unknown: tuple[str, ...] = (),
) -> ResponseFacts:
    usage = mapping(message.get("usage"))
    handed_to = [found for block in blocks if (found := block.fallback_model())]
    last = handed_to[-1] if handed_to else text(message.get("model"))
    model = serving_model(usage) or last
    return ResponseFacts(
        response_id=text(message.get("id")),
        model=model,
        usage=read_usage(usage),
        hidden_usages=read_hidden_usages(usage, model),
        tool_calls=tuple(call for block in blocks if (call := block.tool_call())),
        thoughts=tuple(thought for block in blocks if (thought := block.thought())),
        error=error,
        complete=complete,
        unreadable=unreadable,
        unknown=unknown,
    )


def read_error(data: JSON) -> ProviderError:
    """Read an error body or an `error` event."""
    told = mapping(data).get("error")
    error = mapping(told)
    message = told if isinstance(told, str) else error.get("message")
    return ProviderError(type=text(error.get("type")), message=text(message))


def error_body(status: int, message: str, error_type: str | None = None) -> bytes:
    """Return an error as the Messages API shapes it."""
    kind = error_type or _ERROR_TYPES.get(status, "api_error")
    return encode({"type": "error", "error": {"type": kind, "message": message}}).encode()
