"""Central tools in `POST /api/chat` of Ollama. Sans-io.

A response is one assistant message, and each result of its calls is a message after it. The API
has no tool choice; the last request of a loop offers no tools.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from aibridge_addon.formats.central_tool import CentralTool, ToolResult
from aibridge_addon.formats.ollama.splicer import Merger, Splicer
from aibridge_addon.formats.ollama.turn import call_id, call_name, provided_id, shown_text
from aibridge_addon.formats.openai_tools import result_text
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
    as_raw,
    elements,
    joined,
    mapping,
    member,
    read,
    sequence,
    text,
)


class OllamaTools(ToolFormat):
    """Offers central tools in Ollama's API, and joins its responses."""

    def may_offer(self, request: Members) -> bool:
        """Return whether the model may call tools: not in a required shape of the answer."""
        return not member(request, "format")

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
        """Return results as messages; images as their description: not every model reads them."""
        return [
            {
                "role": "tool",
                "tool_name": call.name,
                **({"tool_call_id": own} if (own := provided_id(call.call_id)) else {}),
                "content": result_text(result),
            }
            for call, result in results
        ]

    def without_calls(self, request: Members, last: bool) -> Members:
        """Offer no tools in the last request of a loop, in place; return the request."""
        if last:
            request.pop("tools", None)
        return request

    def transcript(self, request: Members) -> Transcript:
        """Find earlier responses: by the ids of their calls, and by their texts and calls.

        Clients may add ids where the server gave none.
        """
        messages = [mapping(read(message)) for message in elements(request.get("messages"))]
        runs, since = build_transcript(_conversation(messages, with_ids=True))
        known = {(run.start, run.key) for run in runs}
        others = build_transcript(_conversation(messages, with_ids=False)).runs
        return Transcript([*runs, *(r for r in others if (r.start, r.key) not in known)], since)

    def restore(self, request: Members, found: Mapping[str, Restoration]) -> bool:
        """Put hidden turns back, in place; return whether anything changed."""
        runs = {run.start: run for run in self.transcript(request).runs if run.key in found}
        if not runs:
            return False
        restored: list[msgspec.Raw] = []
        end = 0
        for index, element in enumerate(elements(request.get("messages"))):
            if run := runs.get(index):
                entry, end = found[run.key], run.end
                restored += map(as_raw, (*entry.sequence, *entry.results))
            elif index >= end:
                restored.append(element)
        request["messages"] = joined(restored)
        return True


def _conversation(
    messages: Sequence[dict[str, JSON]], *, with_ids: bool
) -> Iterator[PastResponse | str]:
    """Yield responses and the texts between them; clients may keep a response in pieces."""
    start = 0
    while start < len(messages):
        end = start
        while end < len(messages) and messages[end].get("role") == "assistant":
            end += 1
        if end == start:
            yield _text_of(messages[start])
            start += 1
            continue
        run = messages[start:end]
        calls = [call for message in run for call in sequence(message.get("tool_calls"))]
        said = "".join(map(shown_text, run))
        ids = [call_id(call) if with_ids else "" for call in calls]
        yield PastResponse(start=start, end=end, client_calls=ids, text=said)
        start = end


def _text_of(message: dict[str, JSON]) -> str:
    """Return what distinguishes a message: the typed text, or the call that it answers."""
    match message.get("role"):
        case "user":
            return typed_text([text(message.get("content")) or ""]) or ""
        case "tool":
            return text(message.get("tool_call_id")) or text(message.get("tool_name")) or ""
    return ""
