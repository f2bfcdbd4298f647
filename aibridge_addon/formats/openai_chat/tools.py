"""Central tools in requests of OpenAI Chat Completions. Sans-io.

An answer is one assistant message, and each result of its calls is a message after it.
"""

from collections.abc import Iterator, Mapping, Sequence

from aibridge_addon.formats.central_tool import CentralTool, ToolResult
from aibridge_addon.formats.openai_chat.splicer import Merger, Splicer
from aibridge_addon.formats.openai_chat.turn import call_id, call_name, text_of
from aibridge_addon.formats.openai_tools import LIMITS, leaves_choice, result_text
from aibridge_addon.formats.prompts import typed_text
from aibridge_addon.formats.tool_protocol import (
    InjectedCall,
    Members,
    PastAnswer,
    Restoration,
    Transcript,
    Turn,
    has_readable_tools,
    taken_down,
)
from aibridge_addon.raw_json import (
    JSON,
    appended,
    as_raw,
    count,
    elements,
    joined,
    mapping,
    member,
    read,
    sequence,
    text,
)

RESTORES_WITHOUT_TOOLS = True

_OLDER = frozenset({"function_call", "functions"})

splicer = Splicer
merger = Merger


def inject(request: Members, tools: Sequence[CentralTool]) -> tuple[CentralTool, ...]:
    """Offer tools after the client's own.

    Not where the client forbids or forces calls, or allows some tools only; nor where it asks for
    several answers at once, or by the older `functions`, which do not mix with tools.
    """
    if not leaves_choice(request) or not has_readable_tools(request):
        return ()
    if not _OLDER.isdisjoint(request) or (count(member(request, "n")) or 1) > 1:
        return ()
    own = elements(request.get("tools"))
    offered = LIMITS.selected(tools, [call_name(read(tool)) for tool in own])
    if offered:
        request["tools"] = joined([*own, *(as_raw(_definition(tool)) for tool in offered)])
    return offered


def _definition(tool: CentralTool) -> JSON:
    function = {
        "name": tool.name,
        "description": LIMITS.described(tool),
        "parameters": dict(tool.input_schema),
    }
    return {"type": "function", "function": function}


def answer_items(turn: Turn) -> list[JSON]:
    """Return a turn as a message."""
    return list(turn.items)


def result_items(results: Sequence[tuple[InjectedCall, ToolResult]]) -> list[JSON]:
    """Return results as messages; images are told of in words, since these carry only text."""
    return [
        {"role": "tool", "tool_call_id": call.call_id, "content": result_text(result)}
        for call, result in results
    ]


def sequence_of_results(results: Sequence[JSON]) -> list[JSON]:
    """Return result items as the messages that bring them."""
    return list(results)


def continue_request(
    request: Members, turn: Turn, results: Sequence[JSON], *, last: bool
) -> Members:
    """Return the next request: with the turn, its results, and no more tools if it is the last."""
    added = [*answer_items(turn), *results]
    following = {**request, "messages": appended(request["messages"], added)}
    if last:
        following["tool_choice"] = as_raw("none")
    return following


def alias_key(response_id: str) -> str | None:
    """Answers are not named by their ids."""
    return None


def transcript(request: Members) -> Transcript:
    """Find earlier answers, each one assistant message, and what was said since the last one."""
    return taken_down(_conversation(request))


def _conversation(request: Members) -> Iterator[PastAnswer | str]:
    for index, element in enumerate(elements(request.get("messages"))):
        message = mapping(read(element))
        said = text_of(message.get("content"))
        match message.get("role"):
            case "assistant":
                calls = [call_id(call) for call in sequence(message.get("tool_calls"))]
                yield PastAnswer(start=index, end=index + 1, client_calls=calls, text=said)
            case "user":
                yield typed_text([said]) or ""
            case "tool":  # which call it answers tells it from others
                yield text(message.get("tool_call_id")) or ""


def restore(request: Members, found: Mapping[str, Restoration]) -> bool:
    """Put back what was hidden, in place; return whether anything was."""
    runs = {run.start: run for run in transcript(request).runs if run.key in found}
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
