"""Central tools in OpenAI Chat Completions. Sans-io.

A response is one assistant message, and each result of its calls is a message after it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

from aibridge_addon.formats.central_tool import CentralTool, ToolResult
from aibridge_addon.formats.openai_chat.splicer import Merger, Splicer
from aibridge_addon.formats.openai_chat.turn import call_id, call_name, text_of
from aibridge_addon.formats.openai_tools import LIMITS, leaves_choice, result_text
from aibridge_addon.formats.prompts import typed_text
from aibridge_addon.formats.tool_protocol import (
    InjectedCall,
    Members,
    PastResponse,
    Restoration,
    ToolFormat,
    Transcript,
    build_transcript,
)
from aibridge_addon.raw_json import (
    JSON,
    array_reader,
    as_raw,
    count,
    elements,
    joined,
    mapping,
    member,
    sequence,
    text,
)

_OLDER = frozenset({"function_call", "functions"})


class ChatTools(ToolFormat):
    """Offers central tools in Chat Completions, and joins its messages."""

    limits = LIMITS

    def may_offer(self, request: Members) -> bool:
        """Return whether the client lets the model choose among all tools.

        Not if it asks for several choices at once, or uses the older `functions`, which do not mix
        with tools.
        """
        if not leaves_choice(request):
            return False
        return _OLDER.isdisjoint(request) and (count(member(request, "n")) or 1) <= 1

    def tool_name(self, tool: JSON) -> str:
        """Return the name of a tool that a client defines."""
        return call_name(tool)

    def definition(self, tool: CentralTool) -> JSON:
        """Return the definition of a central tool."""
        return {"type": "function", "function": self.limits.function(tool)}

    def splicer(self, names: frozenset[str]) -> Splicer:
        """Return a splicer that hides calls of these names."""
        return Splicer(names)

    def merger(self, names: frozenset[str]) -> Merger:
        """Return a merger that hides calls of these names."""
        return Merger(names)

    def result_items(self, results: Sequence[tuple[InjectedCall, ToolResult]]) -> list[JSON]:
        """Return results as messages; images as their description: the API accepts only text."""
        return [
            {"role": "tool", "tool_call_id": call.call_id, "content": result_text(result)}
            for call, result in results
        ]

    def transcript(self, request: Members) -> Transcript:
        """Find earlier responses, each an assistant message, and the text since the last one."""
        return build_transcript(_conversation(request))

    def restore(self, request: Members, found: Mapping[str, Restoration]) -> bool:
        """Put hidden turns back, in place; return whether anything changed."""
        runs = {run.start: run for run in self.transcript(request).runs if run.key in found}
        if not runs:
            return False
        restored = []
        for index, element in enumerate(elements(request.get("messages"))):
            if run := runs.get(index):
                entry = found[run.key]
                restored += [as_raw(message) for message in (*entry.sequence, *entry.results)]
            else:
                restored.append(element)
        request["messages"] = joined(restored)
        return True


class _Part(TypedDict, total=False):
    type: JSON
    text: JSON


class _Call(TypedDict, total=False):
    id: JSON


class _Message(TypedDict, total=False):
    """The members of a message that distinguish it: images and arguments may be large."""

    role: JSON
    content: str | list[_Part] | None
    tool_calls: list[_Call] | None
    tool_call_id: JSON


_read_messages = array_reader(_Message)


def _conversation(request: Members) -> Iterator[PastResponse | str]:
    for index, element in enumerate(_read_messages(request.get("messages"))):
        message = mapping(element)
        shown = text_of(message.get("content"))
        match message.get("role"):
            case "assistant":
                calls = [call_id(call) for call in sequence(message.get("tool_calls"))]
                yield PastResponse(start=index, end=index + 1, client_calls=calls, text=shown)
            case "user":
                yield typed_text([shown]) or ""
            case "tool":  # the id of its call distinguishes it
                yield text(message.get("tool_call_id")) or ""
