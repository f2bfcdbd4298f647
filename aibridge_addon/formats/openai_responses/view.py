"""Reads bodies of OpenAI Responses, and of its compaction, into the content model. Sans-io."""

from collections.abc import Iterable, Iterator, Sequence

from aibridge_addon.facts import ResponseFacts, ToolCall
from aibridge_addon.formats.content import Message, Part, ToolDefinition
from aibridge_addon.formats.openai_parts import read_content, read_tools
from aibridge_addon.formats.openai_responses.assembler import ResponseAssembler
from aibridge_addon.formats.openai_responses.items import (
    answered_call_id,
    answered_calls,
    is_result,
    read_call,
    read_thoughts,
)
from aibridge_addon.formats.openai_responses.reader import read_whole
from aibridge_addon.formats.openai_responses.turn import is_of_model
from aibridge_addon.formats.parts import (
    file_part,
    hidden_part,
    json_text,
    other_part,
    result_text,
)
from aibridge_addon.formats.view import Assembler, View
from aibridge_addon.raw_json import JSON, mapping, sequence, text


class ResponsesView(View):
    """Reads bodies of `POST /responses`, and messages of its WebSocket."""

    system_member: str | None = "instructions"
    history_member = "input"
    content_member = "output"

    def read_message(self, given: JSON, role: str) -> Message:
        """Read an item of the input, or a text."""
        if not isinstance(given, dict):
            return Message(role=role, parts=tuple(read_content(given)))
        own = text(given.get("role")), text(given.get("type"))
        return Message(role=self.role_of(*own), parts=tuple(_read_item(given)))

    def read_tool(self, given: JSON) -> Iterable[ToolDefinition]:
        """Read the definition of a tool, or of a namespace of tools."""
        return read_tools(given)

    def role_of(self, role: str | None, kind: str | None) -> str:
        """Return the role of an item."""
        item = {"role": role, "type": kind}
        if is_result(item):
            return "tool"
        return "assistant" if is_of_model(item) else role or "user"

    def assembler(self) -> Assembler:
        """Return a new assembler for one streamed response."""
        return ResponseAssembler()

    def is_event(self, document: dict[str, JSON]) -> bool:
        """Return whether a document is an event."""
        kind = text(document.get("type")) or ""
        return kind == "error" or kind.startswith("response.")

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read the facts of a response that was not streamed, or of an error."""
        return read_whole(body)

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the content of all items of a response."""
        items = [mapping(item) for item in sequence(document.get("output"))]
        answered = answered_calls(items)
        for n, item in enumerate(items):
            yield from _read_item(item, is_answered=n in answered)

    def stop_reason(self, document: dict[str, JSON]) -> str | None:
        """Return the status of a response, or the reason for which it is incomplete."""
        details = mapping(document.get("incomplete_details"))
        return text(details.get("reason")) or text(document.get("status"))


def _read_item(item: dict[str, JSON], *, is_answered: bool = False) -> Iterator[Part]:
    kind = text(item.get("type"))
    if is_result(item):
        yield _read_result(item)
    elif kind in (None, "message", "reasoning"):
        yield from _read_message(item)
    elif kind == "compaction":
        yield hidden_part("other", item.get("encrypted_content"), kind)
    elif call := read_call(item, is_answered=is_answered):
        yield _as_part(call)
        yield from _inline_result(item, call)
    else:
        yield other_part(item)


def _read_message(item: dict[str, JSON]) -> Iterator[Part]:
    """Read a message or reasoning; a comment on the work is both a text and a thought."""
    thoughts = [thought for thought in read_thoughts([item]) if thought.source != "commentary"]
    yield from (Part(kind="thinking", text=text(thought.content) or "") for thought in thoughts)
    if item.get("type") != "reasoning":
        yield from read_content(item.get("content"))
    elif not thoughts:
        yield hidden_part("thinking", item.get("encrypted_content"))


def _as_part(call: ToolCall) -> Part:
    return Part(
        kind="tool_call",
        name=call.tool,
        call_id=call.call_id,
        text=json_text(call.input),
        server_side=call.server_side,
    )


def _inline_result(item: dict[str, JSON], call: ToolCall) -> Iterator[Part]:
    """Return the result of a call that the provider ran, which is in the call itself."""
    if item.get("type") == "image_generation_call" and (image := item.get("result")):
        yield file_part("image", data=image, media_type="image/png")
    error = item.get("error")
    found = next((item[m] for m in ("output", "outputs", "results") if item.get(m)), error)
    if found:
        yield Part(
            kind="tool_result",
            name=call.tool,
            call_id=call.call_id,
            text=_text_of(found),
            is_error=bool(error),
            server_side=True,
        )


def _read_result(item: dict[str, JSON]) -> Part:
    kind = text(item.get("type")) or ""
    if kind == "mcp_approval_response":
        answer = "approved" if item.get("approve") is True else "refused"
        return Part(kind="tool_result", call_id=answered_call_id(item), text=answer)
    return Part(
        kind="tool_result",
        name=text(item.get("name")),
        call_id=answered_call_id(item),
        text=_text_of(item.get("output")),
    )


def _text_of(output: JSON) -> str:
    """Return the output of a tool as text: a text, parts, or any JSON."""
    if isinstance(output, list) and _are_parts(output):
        return result_text(read_content(output))
    return json_text(output)


def _are_parts(values: Sequence[JSON]) -> bool:
    kinds = [text(mapping(value).get("type")) or "" for value in values]
    return all(kind.startswith(("input_", "output_", "text")) for kind in kinds)
