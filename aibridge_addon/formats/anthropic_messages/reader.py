"""Reads responses of Anthropic Messages. Sans-io.

Usage in a stream is cumulative: each `message_delta` overwrites what it names, field by field, and
counts are never added up ("Streaming messages" in Anthropic's documentation).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aibridge_addon.facts import ResponseFacts, Thought, ToolCall
from aibridge_addon.formats.anthropic_messages.errors import read_error
from aibridge_addon.formats.anthropic_messages.usage import (
    read_hidden_usages,
    read_usage,
    serving_model,
)
from aibridge_addon.formats.reader import Reader, ignore_event
from aibridge_addon.formats.skippable import NUMBER, STRING, events, whole
from aibridge_addon.formats.usage import merge_usage, states_tokens
from aibridge_addon.raw_json import JSON, arguments, decode, expect, mapping, sequence, text

_TEXT_DELTAS = events(
    whole(
        {
            "type": '"content_block_delta"',
            "index": NUMBER,
            "delta": whole({"type": '"text_delta"', "text": STRING}),
        }
    )
)


class MessageReader(Reader):
    """Reads one streamed message."""

    skippable = _TEXT_DELTAS

    def __init__(self) -> None:
        super().__init__()
        self._id: str | None = None
        self._model: str | None = None
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}
        self.handlers = {
            "message_start": self._on_message_start,
            "content_block_start": self._on_block_start,
            "content_block_delta": self._on_block_delta,
            "content_block_stop": ignore_event,
            "message_delta": self._on_message_delta,
            "message_stop": self._on_message_stop,
            "error": self._on_error,
            "ping": ignore_event,
        }

    def content(self) -> ResponseFacts:
        """Return the facts of the message."""
        blocks = [self._blocks[index] for index in sorted(self._blocks)]
        return _facts({"id": self._id, "model": self._model, "usage": self._usage}, blocks)

    def _on_message_start(self, data: dict[str, JSON]) -> None:
        message = data["message"]
        self._id = text(message.get("id"))
        self._model = text(message.get("model"))
        self._merge_usage(message.get("usage"))
        if self._usage:
            self.report_usage()

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
        self._has_end = self.ended = True

    def _on_error(self, data: dict[str, JSON]) -> None:
        self._error = read_error(data)
        self.ended = True

    def _merge_usage(self, usage: JSON) -> None:
        restarts = serving_model(usage) is not None
        self._usage = merge_usage(self._usage, usage, restarts=restarts)


class _Block:
    """A content block that is being streamed; its fragments are joined once, at the end."""

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
        """Return the model that takes over, if the block reports that a model declined."""
        if self._kind != "fallback":
            return None
        return text(mapping(self._start.get("to")).get("model"))


def read_whole(body: bytes) -> ResponseFacts:
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
    return replace(_facts(message, blocks), complete=True)


def _facts(message: dict[str, JSON], blocks: Sequence[_Block]) -> ResponseFacts:
    usage = mapping(message.get("usage"))
    handed_to = [found for block in blocks if (found := block.fallback_model())]
    last = handed_to[-1] if handed_to else text(message.get("model"))
    model = serving_model(usage) or last
    return ResponseFacts(
        response_id=text(message.get("id")),
        model=model,
        usage=(own := read_usage(usage)),
        usage_unreadable=own is None and states_tokens(usage),
        hidden_usages=read_hidden_usages(usage, model),
        tool_calls=tuple(call for block in blocks if (call := block.tool_call())),
        thoughts=tuple(thought for block in blocks if (thought := block.thought())),
    )
