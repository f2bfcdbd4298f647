"""Reads bodies of Anthropic Messages into the content model. Sans-io."""

from collections.abc import Iterable, Iterator

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats.anthropic_messages.assembler import MessageAssembler
from aibridge_addon.formats.anthropic_messages.reader import read_whole
from aibridge_addon.formats.content import Message, Part, ToolDefinition
from aibridge_addon.formats.parts import (
    file_part,
    hidden_part,
    json_text,
    other_part,
    result_text,
    text_part,
)
from aibridge_addon.formats.view import View
from aibridge_addon.raw_json import JSON, encode, mapping, sequence, text


class MessagesView(View):
    """Reads bodies of `POST /v1/messages`."""

    system_member = "system"
    content_member = "content"

    def read_message(self, given: JSON, role: str) -> Message:
        """Read a message, or a block or text of the system prompt."""
        message = mapping(given)
        is_message = "role" in message or ("content" in message and "type" not in message)
        content = message.get("content") if is_message else given
        return Message(role=text(message.get("role")) or role, parts=tuple(read_blocks(content)))

    def read_tool(self, given: JSON) -> Iterable[ToolDefinition]:
        """Read the definition of a tool."""
        tool = mapping(given)
        schema = tool.get("input_schema")
        yield ToolDefinition(
            name=text(tool.get("name")) or text(tool.get("type")) or "",
            description=text(tool.get("description")) or "",
            schema=encode(given if schema is None else schema),
        )

    def role_of(self, role: str | None, kind: str | None) -> str:
        """Return the role of a message."""
        return role or "user"

    def assembler(self) -> MessageAssembler:
        """Return a new assembler for one streamed message."""
        return MessageAssembler()

    def is_event(self, document: dict[str, JSON]) -> bool:
        """Return whether a document is an event; an error looks the same in both."""
        kind = text(document.get("type")) or ""
        return kind.startswith(("message_", "content_block_"))

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read the facts of a message that was not streamed, or of an error."""
        return read_whole(body)

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the content of a message."""
        return read_blocks(sequence(document.get("content")))

    def stop_reason(self, document: dict[str, JSON]) -> str | None:
        """Return the reason for which a message ended."""
        return text(document.get("stop_reason"))


def read_blocks(content: JSON) -> Iterator[Part]:
    """Read content: a text, one block or several."""
    if isinstance(content, str):
        yield text_part(content)
        return
    for block in content if isinstance(content, list) else [content]:
        if isinstance(block, dict):
            yield _read_block(block)


def _read_block(block: dict[str, JSON]) -> Part:
    kind = text(block.get("type")) or ""
    match kind:
        case "text":
            return text_part(block.get("text"))
        case "thinking":
            return text_part(block.get("thinking"), "thinking")
        case "redacted_thinking":
            return hidden_part("thinking", block.get("data"))
        case "image" | "document":
            return _read_file(kind, block)
        case "web_search_result":
            found = "\n".join(text(block.get(name)) or "" for name in ("title", "url"))
            return Part(kind="document", name=text(block.get("title")), text=found.strip())
        case "search_result":
            found = result_text(read_blocks(sequence(block.get("content"))))
            return Part(kind="document", name=text(block.get("title")), text=found)
    if kind.endswith("tool_use"):
        return _read_call(block, server_side=kind != "tool_use")
    if kind.endswith("tool_result"):
        return _read_result(block, server_side=kind != "tool_result")
    return other_part(block)


def _read_call(block: dict[str, JSON], *, server_side: bool) -> Part:
    return Part(
        kind="tool_call",
        name=text(block.get("name")),
        call_id=text(block.get("id")),
        text=json_text(block.get("input")),
        server_side=server_side,
    )


def _read_result(block: dict[str, JSON], *, server_side: bool) -> Part:
    content = block.get("content")
    failed = (text(mapping(content).get("type")) or "").endswith("_error")
    return Part(
        kind="tool_result",
        call_id=text(block.get("tool_use_id")),
        text=result_text(read_blocks(content)),
        is_error=failed or block.get("is_error") is True,
        server_side=server_side,
    )


def _read_file(kind: str, block: dict[str, JSON]) -> Part:
    source = mapping(block.get("source"))
    is_text = source.get("type") in ("text", "content")
    return file_part(
        "image" if kind == "image" else "document",
        data=None if is_text else source.get("data"),
        url=source.get("url") or source.get("file_id"),
        media_type=source.get("media_type"),
        name=block.get("title"),
        text=_text_of(source) if is_text else None,
    )


def _text_of(source: dict[str, JSON]) -> str:
    """Return the text of a document that is given as text or as blocks."""
    return text(source.get("data")) or result_text(read_blocks(source.get("content")))
