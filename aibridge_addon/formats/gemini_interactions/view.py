"""Reads bodies of the Interactions API into the content model. Sans-io."""

from collections.abc import Iterable, Iterator

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats.content import Message, Part, PartKind, ToolDefinition
from aibridge_addon.formats.gemini_interactions.reader import (
    InteractionAssembler,
    read_interaction,
)
from aibridge_addon.formats.gemini_interactions.request import texts_of
from aibridge_addon.formats.openai_other import read_document
from aibridge_addon.formats.parts import file_part, json_text, other_part, text_part
from aibridge_addon.formats.view import View
from aibridge_addon.raw_json import JSON, encode, mapping, sequence, text

_FILES: dict[str, PartKind] = {
    "image": "image",
    "audio": "audio",
    "video": "document",
    "document": "document",
    "file": "document",
}
_ROLES = {"model_output": "assistant", "thought": "assistant", "function_result": "tool"}


class InteractionsView(View):
    """Reads bodies of `POST /interactions`."""

    system_member = "system_instruction"
    history_member = "input"
    content_member = "status"

    def read_message(self, given: JSON, role: str) -> Message:
        """Read a step, a content, or a text in place of one."""
        if isinstance(given, str):
            return Message(role=role, parts=(text_part(given),))
        kind = text(mapping(given).get("type"))
        return Message(role=self.role_of(role, kind), parts=tuple(_read_step(mapping(given))))

    def read_tool(self, given: JSON) -> Iterable[ToolDefinition]:
        """Read a function, or a tool of the provider."""
        tool = mapping(given)
        schema = tool.get("parameters")
        yield ToolDefinition(
            name=text(tool.get("name")) or text(tool.get("type")) or "",
            description=text(tool.get("description")) or "",
            schema=encode(tool if schema is None else schema),
        )

    def role_of(self, role: str | None, kind: str | None) -> str:
        """Return the role of a step."""
        is_call = (kind or "").endswith("_call")
        return "assistant" if is_call else _ROLES.get(kind or "", role or "user")

    def assembler(self) -> InteractionAssembler:
        """Return a new assembler for one streamed interaction."""
        return InteractionAssembler()

    def is_event(self, document: dict[str, JSON]) -> bool:
        """Return whether a document is an event of a stream."""
        return isinstance(document.get("event_type"), str)

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read the facts of an interaction that was not streamed, or of an error."""
        return read_document(body, read_interaction)

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the content of all steps."""
        for step in map(mapping, sequence(document.get("steps"))):
            yield from _read_step(step)

    def stop_reason(self, document: dict[str, JSON]) -> str | None:
        """Return the status of an interaction."""
        return text(document.get("status"))


def _read_step(step: dict[str, JSON]) -> Iterator[Part]:
    """Read a step, or a content that stands in the place of one."""
    kind = text(step.get("type")) or ""
    if kind in ("model_output", "user_input"):
        given = step.get("content")
        contents = [given] if isinstance(given, dict) else sequence(given)
        for content in map(mapping, contents):
            yield from _read_step(content)
    elif kind == "thought":
        if summary := "".join(texts_of(step.get("summary"))):
            yield text_part(summary, "thinking")
    elif kind.endswith("_call"):
        yield _read_call(kind, step)
    elif kind.endswith("_result"):
        yield _read_result(kind, step)
    elif kind == "text":
        yield text_part(text(step.get("text")) or "")
    elif kind in _FILES:
        yield _read_file(_FILES[kind], step)
    elif step:
        yield other_part(step)


def _read_call(kind: str, step: dict[str, JSON]) -> Part:
    return Part(
        kind="tool_call",
        name=text(step.get("name")) or kind.removesuffix("_call"),
        call_id=text(step.get("id")) or None,
        text=json_text(step.get("arguments")),
        server_side=kind != "function_call",
    )


def _read_result(kind: str, step: dict[str, JSON]) -> Part:
    given = step.get("result")
    shown = "\n".join(texts_of(given)) or json_text(given)
    return Part(
        kind="tool_result",
        name=text(step.get("name")),
        call_id=text(step.get("call_id")) or None,
        text=shown,
        is_error=step.get("is_error") is True,
        server_side=kind != "function_result",
    )


def _read_file(kind: PartKind, content: dict[str, JSON]) -> Part:
    return file_part(
        kind,
        data=content.get("data"),
        url=content.get("uri"),
        media_type=text(content.get("mime_type")),
    )
