"""Assembles a streamed message of Anthropic Messages into one document. Sans-io."""

from aibridge_addon.formats.anthropic_messages.blocks import StreamedBlock
from aibridge_addon.formats.anthropic_messages.reader import MessageReader
from aibridge_addon.raw_json import JSON, mapping

_OF_EVENTS = frozenset({"type", "delta", "usage"})
"""Members of `message_delta` that are not members of the message."""


class MessageAssembler(MessageReader):
    """Assembles one streamed message."""

    def __init__(self) -> None:
        super().__init__()
        self._message: dict[str, JSON] = {}
        self._content: dict[int, StreamedBlock] = {}
        self._error_data: dict[str, JSON] = {}

    def on_data(self, data: dict[str, JSON]) -> None:
        """Read the decoded data of an event."""
        super().on_data(data)
        self.gather(data)

    def gather(self, data: dict[str, JSON]) -> None:
        """Add an event to the document."""
        match data["type"]:
            case "message_start":
                self._message = data["message"]
            case "content_block_start":
                self._content[data["index"]] = StreamedBlock(mapping(data["content_block"]))
            case "content_block_delta":
                self._content[data["index"]].add(mapping(data["delta"]))
            case "message_delta":
                self._message |= mapping(data.get("delta"))
                self._message |= {k: v for k, v in data.items() if k not in _OF_EVENTS}
            case "error":
                self._error_data = data

    def document(self) -> dict[str, JSON]:
        """Return the message so far."""
        if not self._message and not self._content:
            return {"type": "error"} | self._error_data if self._error else {}
        message: dict[str, JSON] = {"type": "message", "role": "assistant", **self._message}
        message["content"] = [self._content[index].content() for index in sorted(self._content)]
        if self._usage:
            message["usage"] = self._usage
        if self._error:
            message["error"] = self._error_data.get("error") or {}
        return message
