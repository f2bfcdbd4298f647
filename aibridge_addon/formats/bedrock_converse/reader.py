"""Reads responses of Converse. Sans-io.

The last event of a stream is `metadata`, with the usage; the framing itself has no end.
"""

from dataclasses import replace

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats.anthropic_messages.errors import read_error as read_error_event
from aibridge_addon.formats.bedrock import labels_in, read_error
from aibridge_addon.formats.bedrock_converse.blocks import (
    StreamedBlock,
    thought_of,
    tool_call_of,
)
from aibridge_addon.formats.bedrock_converse.usage import read_usage, states_tokens
from aibridge_addon.formats.reader import Reader, ignore_event
from aibridge_addon.formats.usage import Extra
from aibridge_addon.raw_json import JSON, expect, mapping, read, sequence


class ConverseReader(Reader):
    """Reads one streamed message."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[int, StreamedBlock] = {}
        self._stop: dict[str, JSON] = {}
        self._metadata: dict[str, JSON] = {}
        self.handlers = {
            "messageStart": ignore_event,
            "contentBlockStart": self._on_block_start,
            "contentBlockDelta": self._on_block_delta,
            "contentBlockStop": ignore_event,
            "messageStop": self._on_message_stop,
            "metadata": self._on_metadata,
            "error": self._on_error,
        }

    def content(self) -> ResponseFacts:
        """Return the facts of the message."""
        return _facts(self.message())

    def message(self) -> dict[str, JSON]:
        """Return the response so far as one without streaming has it."""
        blocks = [self._blocks[index].content() for index in sorted(self._blocks)]
        message = {"role": "assistant", "content": blocks}
        return {"output": {"message": message}, **self._stop, **self._metadata}

    def _block(self, data: dict[str, JSON]) -> StreamedBlock:
        return self._blocks.setdefault(expect(int, data["contentBlockIndex"]), StreamedBlock())

    def _on_block_start(self, data: dict[str, JSON]) -> None:
        self._block(data).begin(expect(dict, data["start"]))

    def _on_block_delta(self, data: dict[str, JSON]) -> None:
        self._block(data).add(expect(dict, data["delta"]))

    def _on_message_stop(self, data: dict[str, JSON]) -> None:
        self._stop = _without_type(data)

    def _on_metadata(self, data: dict[str, JSON]) -> None:
        self._metadata = _without_type(data)
        self._has_end = self.ended = True

    def _on_error(self, data: dict[str, JSON]) -> None:
        self._error = read_error_event(data)
        self.ended = True


def read_whole(body: bytes) -> ResponseFacts:
    """Read a message that was not streamed, or an error."""
    response = mapping(read(body))
    if error := read_error(mapping(response.get("error")) or response):
        return ResponseFacts(error=error, complete=True)
    if not isinstance(response.get("output"), dict):
        return ResponseFacts(unreadable=1)
    return replace(_facts(response), complete=True)


def blocks_of(response: dict[str, JSON]) -> list[dict[str, JSON]]:
    """Return the content blocks of a response."""
    message = mapping(mapping(response.get("output")).get("message"))
    return [mapping(block) for block in sequence(message.get("content"))]


def _facts(response: dict[str, JSON]) -> ResponseFacts:
    usage = mapping(response.get("usage"))
    blocks = blocks_of(response)
    return ResponseFacts(
        usage=(own := read_usage(usage, labels_in(response) | _server_tools(blocks))),
        usage_unreadable=own is None and states_tokens(usage),
        tool_calls=tuple(call for block in blocks if (call := tool_call_of(block))),
        thoughts=tuple(thought for block in blocks if (thought := thought_of(block))),
    )


def _server_tools(blocks: list[dict[str, JSON]]) -> Extra:
    """Count the calls of tools that the model's provider runs, and bills apart."""
    calls = (mapping(block.get("toolUse")) for block in blocks)
    found = sum(call.get("type") == "server_tool_use" for call in calls)
    return {"server_tool_requests": found} if found else {}


def _without_type(data: dict[str, JSON]) -> dict[str, JSON]:
    return {name: value for name, value in data.items() if name != "type"}
