"""Reads bodies of Ollama's API into the content model. Sans-io."""

from collections.abc import Iterable, Iterator

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats.content import Message, Part, ToolDefinition
from aibridge_addon.formats.ollama.assembler import ChatAssembler, GenerationAssembler
from aibridge_addon.formats.ollama.reader import read_chat, read_generation
from aibridge_addon.formats.openai_parts import read_tools
from aibridge_addon.formats.parts import file_part, json_text, text_part
from aibridge_addon.formats.view import View
from aibridge_addon.raw_json import JSON, mapping, sequence, text


class _OllamaView(View):
    def read_tool(self, given: JSON) -> Iterable[ToolDefinition]:
        """Read the definition of a tool, which has OpenAI's shape."""
        return read_tools(given)

    def role_of(self, role: str | None, kind: str | None) -> str:
        """Return the role of a message."""
        return role or "user"

    def is_event(self, document: dict[str, JSON]) -> bool:
        """Return whether a document is a line of a stream that goes on."""
        return document.get("done") is False

    def stop_reason(self, document: dict[str, JSON]) -> str | None:
        """Return the reason for which a response ended."""
        return text(document.get("done_reason"))


class ChatView(_OllamaView):
    """Reads bodies of `POST /api/chat`."""

    content_member = "message"

    def read_message(self, given: JSON, role: str) -> Message:
        """Read a message."""
        message = mapping(given)
        own = text(message.get("role")) or role
        return Message(role=own, parts=tuple(_read_parts(message, own)))

    def assembler(self) -> ChatAssembler:
        """Return a new assembler for one streamed response."""
        return ChatAssembler()

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read the facts of a response that was not streamed, or of an error."""
        return read_chat(body)

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the content of a response."""
        return _read_parts(mapping(document.get("message")), "assistant")


class GenerationView(_OllamaView):
    """Reads bodies of `POST /api/generate`."""

    system_member = "system"
    history_member = "prompt"
    content_member = "response"

    def read_message(self, given: JSON, role: str) -> Message:
        """Read a prompt."""
        return Message(role=role, parts=(text_part(given),) if text(given) else ())

    def assembler(self) -> GenerationAssembler:
        """Return a new assembler for one streamed response."""
        return GenerationAssembler()

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read the facts of a response that was not streamed, or of an error."""
        return read_generation(body)

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the content of a response."""
        if thought := text(document.get("thinking")):
            yield Part(kind="thinking", text=thought)
        if said := text(document.get("response")):
            yield Part(kind="text", text=said)


def _read_parts(message: dict[str, JSON], role: str) -> Iterator[Part]:
    said = text(message.get("content")) or ""
    if role == "tool":
        name = text(message.get("tool_name")) or text(message.get("name"))
        yield Part(kind="tool_result", name=name, text=said)
        return
    if thought := text(message.get("thinking")):
        yield Part(kind="thinking", text=thought)
    if said:
        yield Part(kind="text", text=said)
    for image in sequence(message.get("images")):
        yield file_part("image", data=image)
    for call in map(mapping, sequence(message.get("tool_calls"))):
        function = mapping(call.get("function"))
        yield Part(
            kind="tool_call",
            name=text(function.get("name")) or "",
            call_id=text(call.get("id")) or None,
            text=json_text(function.get("arguments")),
        )
