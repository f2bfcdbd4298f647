"""Reads bodies of OpenAI Chat Completions into the content model. Sans-io."""

from collections.abc import Iterable, Iterator

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats.content import Message, Part, ToolDefinition
from aibridge_addon.formats.openai_chat.assembler import CompletionAssembler
from aibridge_addon.formats.openai_chat.reader import read_whole
from aibridge_addon.formats.openai_chat.thoughts import thought_of
from aibridge_addon.formats.openai_chat.turn import first_choice
from aibridge_addon.formats.openai_parts import read_content, read_tools
from aibridge_addon.formats.parts import file_part, joined_texts, json_text, result_text
from aibridge_addon.formats.view import View
from aibridge_addon.raw_json import JSON, mapping, sequence, text


class ChatView(View):
    """Reads bodies of `POST /chat/completions`."""

    tool_members = ("tools", "functions")
    content_member = "choices"

    def read_message(self, given: JSON, role: str) -> Message:
        """Read a message."""
        message = mapping(given)
        own = text(message.get("role")) or role
        if own in ("tool", "function"):
            return Message(role="tool", parts=(_read_result(message),))
        return Message(role=own, parts=tuple(_read_parts(message)))

    def read_tool(self, given: JSON) -> Iterable[ToolDefinition]:
        """Read the definition of a tool; the older API has the function itself."""
        return read_tools(given)

    def role_of(self, role: str | None, kind: str | None) -> str:
        """Return the role of a message."""
        return "tool" if role == "function" else role or "user"

    def assembler(self) -> CompletionAssembler:
        """Return a new assembler for one streamed completion."""
        return CompletionAssembler()

    def is_event(self, document: dict[str, JSON]) -> bool:
        """Return whether a document is a chunk."""
        return document.get("object") == "chat.completion.chunk"

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read the facts of a completion that was not streamed, or of an error."""
        return read_whole(body)

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the content of a completion, of all its choices."""
        for choice in sequence(document.get("choices")):
            yield from _read_parts(mapping(mapping(choice).get("message")))

    def stop_reason(self, document: dict[str, JSON]) -> str | None:
        """Return the reason for which the first choice ended."""
        return text(first_choice(document).get("finish_reason"))


def _read_parts(message: dict[str, JSON]) -> Iterator[Part]:
    if thought := thought_of(message):
        yield Part(kind="thinking", text=text(thought) or "")
    yield from joined_texts(read_content(message.get("content")))
    if refusal := text(message.get("refusal")):
        yield Part(kind="text", name="refusal", text=refusal)
    yield from read_content(message.get("images"))
    if audio := mapping(message.get("audio")):
        yield file_part("audio", data=audio.get("data"), text=audio.get("transcript"))
    for call in sequence(message.get("tool_calls")):
        yield _read_call(mapping(call))
    if legacy := message.get("function_call"):
        yield _read_call({"function": legacy})


def _read_call(call: dict[str, JSON]) -> Part:
    function = mapping(call.get("custom") or call.get("function"))
    given = function.get("input" if call.get("custom") else "arguments")
    return Part(
        kind="tool_call",
        name=text(function.get("name")),
        call_id=text(call.get("id")),
        text=json_text(given),
    )


def _read_result(message: dict[str, JSON]) -> Part:
    return Part(
        kind="tool_result",
        name=text(message.get("name")),
        call_id=text(message.get("tool_call_id")),
        text=result_text(joined_texts(read_content(message.get("content")))),
    )
