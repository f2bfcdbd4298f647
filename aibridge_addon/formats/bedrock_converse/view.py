"""Reads bodies of Converse into the content model. Sans-io."""

from collections.abc import Iterable, Iterator

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats.bedrock import FramedView
from aibridge_addon.formats.bedrock_converse.reader import ConverseReader, blocks_of, read_whole
from aibridge_addon.formats.content import Message, Part, PartKind, ToolDefinition
from aibridge_addon.formats.parts import (
    file_part,
    hidden_part,
    json_text,
    other_part,
    result_text,
    text_part,
)
from aibridge_addon.formats.view import ReadPart
from aibridge_addon.raw_json import JSON, encode, mapping, read, sequence, text

_FILES: dict[str, PartKind] = {
    "image": "image",
    "document": "document",
    "video": "document",
    "audio": "audio",
}


class ConverseView(FramedView):
    """Reads bodies of `POST /model/{model}/converse` and `…/converse-stream`."""

    system_member = "system"
    tool_members = ("toolConfig",)
    content_member = "output"

    def read_part(self, kind: str, content: bytes) -> ReadPart:
        """Read a slice of a request; tools are below a member beside the tool choice."""
        if kind != "tools":
            return super().read_part(kind, content)
        tools = sequence(mapping(read(content)).get("tools"))
        return tuple(tool for given in tools for tool in self.read_tool(given))

    def read_message(self, given: JSON, role: str) -> Message:
        """Read a message, or a block of the system prompt."""
        message = mapping(given)
        blocks = message.get("content") if "content" in message else [given]
        return Message(role=text(message.get("role")) or role, parts=tuple(read_blocks(blocks)))

    def read_tool(self, given: JSON) -> Iterable[ToolDefinition]:
        """Read the definition of a tool; cache points between tools are skipped."""
        tool = mapping(given)
        if "cachePoint" in tool:
            return
        spec = mapping(tool.get("toolSpec")) or mapping(tool.get("systemTool"))
        schema = mapping(spec.get("inputSchema")).get("json")
        yield ToolDefinition(
            name=text(spec.get("name")) or "",
            description=text(spec.get("description")) or "",
            schema=encode(given if schema is None else schema),
        )

    def role_of(self, role: str | None, kind: str | None) -> str:
        """Return the role of a message."""
        return role or "user"

    def assembler(self) -> "ConverseAssembler":
        """Return a new assembler for one streamed message."""
        return ConverseAssembler()

    def is_event(self, document: dict[str, JSON]) -> bool:
        """Return False: events have their type outside of their JSON."""
        return False

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read the facts of a message that was not streamed, or of an error."""
        return read_whole(body)

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the content of a message."""
        return read_blocks(blocks_of(document))

    def stop_reason(self, document: dict[str, JSON]) -> str | None:
        """Return the reason for which a message ended."""
        return text(document.get("stopReason"))


class ConverseAssembler(ConverseReader):
    """Assembles one streamed message into the document of a response without streaming."""

    def document(self) -> dict[str, JSON]:
        """Return the message so far."""
        error = self._error and {"__type": self._error.type, "message": self._error.message}
        if not self._blocks and not self._metadata:
            return error or {}
        return self.message() | ({"error": error} if error else {})


def read_blocks(content: JSON) -> Iterator[Part]:
    """Read content blocks, each an object whose only member names its kind."""
    for block in map(mapping, sequence(content)):
        for kind, value in block.items():
            yield _read_block(kind, value)


def _read_block(kind: str, value: JSON) -> Part:
    given = mapping(value)
    match kind:
        case "text":
            return text_part(value)
        case "reasoningContent" if "reasoningText" in given:
            return text_part(mapping(given["reasoningText"]).get("text"), "thinking")
        case "reasoningContent":
            return hidden_part("thinking", given.get("redactedContent"))
        case "toolUse":
            return _read_call(given)
        case "toolResult":
            return _read_result(given)
        case "citationsContent":
            return text_part(result_text(read_blocks(given.get("content"))))
        case "json":
            return text_part(json_text(value))
    if kind in _FILES:
        return _read_file(kind, given)
    return other_part({"type": kind, **given})


def _read_call(call: dict[str, JSON]) -> Part:
    return Part(
        kind="tool_call",
        name=text(call.get("name")),
        call_id=text(call.get("toolUseId")),
        text=json_text(call.get("input")),
        server_side=call.get("type") == "server_tool_use",
    )


def _read_result(result: dict[str, JSON]) -> Part:
    return Part(
        kind="tool_result",
        call_id=text(result.get("toolUseId")),
        text=result_text(read_blocks(result.get("content"))),
        is_error=result.get("status") == "error",
    )


def _read_file(kind: str, file: dict[str, JSON]) -> Part:
    source = mapping(file.get("source"))
    return file_part(
        _FILES[kind],
        data=source.get("bytes"),
        url=mapping(source.get("s3Location")).get("uri"),
        media_type=file.get("format"),
        name=file.get("name"),
        text=source.get("text"),
    )
