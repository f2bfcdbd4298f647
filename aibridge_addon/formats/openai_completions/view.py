"""Reads bodies of OpenAI's legacy completions into the content model. Sans-io."""

from collections.abc import Iterable

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats.content import Message, Part, ToolDefinition
from aibridge_addon.formats.openai_chat.reader import CompletionReader, read_whole
from aibridge_addon.formats.openai_chat.turn import first_choice
from aibridge_addon.formats.openai_parts import read_content
from aibridge_addon.formats.parts import json_text, text_part
from aibridge_addon.formats.view import View
from aibridge_addon.raw_json import JSON, mapping, sequence, text


class CompletionsView(View):
    """Reads bodies of `POST /completions`: prompts are shown as messages of the user."""

    history_member = "prompt"
    tool_members = ()
    content_member = "choices"

    def read_message(self, given: JSON, role: str) -> Message:
        """Read a prompt: a text, or tokens."""
        if isinstance(given, str):
            return Message(role=role, parts=tuple(read_content(given)))
        return Message(role=role, parts=(text_part(json_text(given)),))

    def read_tool(self, given: JSON) -> Iterable[ToolDefinition]:
        """Return no definition: this API has no tools."""
        return ()

    def role_of(self, role: str | None, kind: str | None) -> str:
        """Return the role of a prompt."""
        return "user"

    def assembler(self) -> "TextAssembler":
        """Return a new assembler for one streamed completion."""
        return TextAssembler()

    def is_event(self, document: dict[str, JSON]) -> bool:
        """Return False: a chunk has the shape of a completion."""
        return False

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read the facts of a completion that was not streamed, or of an error."""
        return read_whole(body)

    def stop_reason(self, document: dict[str, JSON]) -> str | None:
        """Return the reason for which the first choice ended."""
        return text(first_choice(document).get("finish_reason"))

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the texts of a completion, of all its choices."""
        for choice in sequence(document.get("choices")):
            yield text_part(mapping(choice).get("text"))


class TextAssembler(CompletionReader):
    """Assembles one streamed completion."""

    def __init__(self) -> None:
        super().__init__()
        self._envelope: dict[str, JSON] = {}
        self._choices: dict[int, dict[str, JSON]] = {}
        self._error_data: JSON = None

    def on_data(self, chunk: dict[str, JSON]) -> None:
        """Read a chunk."""
        super().on_data(chunk)
        own = ("choices", "usage", "error")
        self._envelope |= {k: v for k, v in chunk.items() if k not in own and v is not None}
        self._error_data = self._error_data or chunk.get("error")
        for choice in map(mapping, chunk.get("choices") or ()):
            index = choice.get("index") or 0
            found = self._choices.setdefault(index, {"index": index, "text": ""})
            found["text"] += text(choice.get("text")) or ""
            if reason := choice.get("finish_reason"):
                found["finish_reason"] = reason

    def document(self) -> dict[str, JSON]:
        """Return the completion so far."""
        if not self._choices and not self._usage:
            return {"error": self._error_data} if self._error else {}
        completion = {**self._envelope, "choices": list(self._choices.values())}
        if self._usage:
            completion["usage"] = self._usage
        if self._error:
            completion["error"] = self._error_data
        return completion
