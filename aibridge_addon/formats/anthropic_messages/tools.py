"""Central tools in requests of Anthropic Messages. Sans-io.

An answer is one assistant message, its calls are blocks of it, and their results are blocks of the
user message after it.
"""

from collections.abc import Iterator, Mapping, Sequence

from aibridge_addon.formats.anthropic_messages.splicer import Merger, Splicer
from aibridge_addon.formats.anthropic_messages.turn import text_of
from aibridge_addon.formats.central_tool import CentralTool, ResultPart, ToolResult
from aibridge_addon.formats.images import ImageLimits, described
from aibridge_addon.formats.offer_limits import OfferLimits
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
    elements,
    joined,
    mapping,
    member,
    read,
    sequence,
    text,
)

RESTORES_WITHOUT_TOOLS = False
"""Blocks of a tool are refused where no tools are defined."""

LIMITS = OfferLimits()
IMAGES = ImageLimits(characters=5 * 1024 * 1024, pixels=8000)

splicer = Splicer
merger = Merger


def inject(request: Members, tools: Sequence[CentralTool]) -> tuple[CentralTool, ...]:
    """Offer tools before the client's own, so that its cache breakpoints stay valid.

    Not where the client forbids calls, or forces one: that would be forced again in each request of
    the inner loop.
    """
    choice = member(request, "tool_choice")
    if choice is not None and mapping(choice).get("type") != "auto":
        return ()
    if not has_readable_tools(request):
        return ()
    own = elements(request.get("tools"))
    offered = LIMITS.selected(tools, [text(mapping(read(tool)).get("name")) for tool in own])
    if offered:
        request["tools"] = joined([*(as_raw(_definition(tool)) for tool in offered), *own])
    return offered


def _definition(tool: CentralTool) -> JSON:
    return {
        "name": tool.name,
        "description": LIMITS.described(tool),
        "input_schema": dict(tool.input_schema),
    }


def answer_items(turn: Turn) -> list[JSON]:
    """Return a turn as a message; of an empty one there is none, as the API takes none."""
    blocks = _legal_blocks(turn.items)
    return [{"role": "assistant", "content": blocks}] if blocks else []


def _legal_blocks(blocks: Sequence[JSON]) -> list[JSON]:
    """Return blocks as the API takes them: models write blank texts, and it refuses them."""
    return [
        _legal_result(block) if mapping(block).get("type") == "tool_result" else block
        for block in blocks
        if mapping(block).get("type") != "text" or (text(block.get("text")) or "").strip()
    ]


def _legal_result(result: dict[str, JSON]) -> JSON:
    """Return a result that was stored, perhaps by an older version, as the API takes it."""
    content = result.get("content")
    if not isinstance(content, list):
        return result
    is_error = result.get("is_error") is True
    legal = [_legal_part(mapping(part), is_error) for part in content]
    parts = [part for part in legal if part.get("type") != "text" or part["text"].strip()]
    return {**result, "content": parts or [{"type": "text", "text": "(no output)"}]}


def _legal_part(part: dict[str, JSON], is_error: bool) -> dict[str, JSON]:
    if part.get("type") == "text":
        return {**part, "text": text(part.get("text")) or ""}
    source = mapping(part.get("source"))
    if source.get("type") != "base64" or part.get("type") != "image":
        return part
    data, media_type = text(source.get("data")) or "", text(source.get("media_type")) or ""
    return _result_part(ResultPart(kind="image", data=data, media_type=media_type), is_error)


def result_items(results: Sequence[tuple[InjectedCall, ToolResult]]) -> list[JSON]:
    """Return results as the blocks of a user message."""
    return [
        {
            "type": "tool_result",
            "tool_use_id": call.call_id,
            "content": [_result_part(part, result.is_error) for part in result.parts],
            "is_error": result.is_error,
        }
        for call, result in results
    ]


def _result_part(part: ResultPart, is_error: bool) -> dict[str, JSON]:
    """Return a part of a result; errors can hold text only."""
    if part.kind == "image":
        part = described(part, "the result is an error") if is_error else IMAGES.applied(part)
    if part.kind != "image":
        return {"type": "text", "text": part.text}
    source = {"type": "base64", "media_type": part.media_type, "data": part.data}
    return {"type": "image", "source": source}


def sequence_of_results(results: Sequence[JSON]) -> list[JSON]:
    """Return result items as the message that brings them."""
    return [{"role": "user", "content": list(results)}]


def continue_request(
    request: Members, turn: Turn, results: Sequence[JSON], *, last: bool
) -> Members:
    """Return the next request: with the turn, its results, and no more tools if it is the last."""
    added = [*answer_items(turn), *sequence_of_results(results)]
    following = {**request, "messages": appended(request["messages"], added)}
    if last:
        following["tool_choice"] = as_raw({"type": "none"})
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
        blocks = _blocks(message.get("content"))
        if message.get("role") == "assistant":
            calls = [text(b.get("id")) or "" for b in blocks if b.get("type") == "tool_use"]
            yield PastAnswer(start=index, end=index + 1, client_calls=calls, text=text_of(blocks))
        elif message.get("role") == "user":
            yield from _said(blocks)


def _said(blocks: Sequence[dict[str, JSON]]) -> list[str]:
    """Return what tells a message from others: the person's words, and the calls it answers."""
    words = typed_text([text(b.get("text")) or "" for b in blocks if b.get("type") == "text"])
    answered = [text(b.get("tool_use_id")) for b in blocks if b.get("type") == "tool_result"]
    return [part for part in (words, *answered) if part]


def restore(request: Members, found: Mapping[str, Restoration]) -> bool:
    """Put back what was hidden, in place; return whether anything was."""
    messages = elements(request.get("messages"))
    runs = {run.start: run for run in transcript(request).runs if run.key in found}
    if not runs:
        return False
    restored = []
    results: tuple[JSON, ...] = ()
    for index, element in enumerate(messages):
        if run := runs.get(index):
            entry = found[run.key]
            *before, own = entry.sequence
            own = _with_cache_breakpoint(own, mapping(read(element)))
            restored += [as_raw(_legal_message(message)) for message in (*before, own)]
            results = tuple(_legal_blocks(entry.results))
        elif results and (message := mapping(read(element))).get("role") == "user":
            content = [*results, *_blocks(message.get("content"))]
            restored.append(as_raw({**message, "content": content}))
            results = ()
        else:
            restored.append(element)
    request["messages"] = joined(restored)
    return True


def _legal_message(message: JSON) -> JSON:
    content = mapping(message).get("content")
    if not isinstance(content, list):
        return message
    return {**message, "content": _legal_blocks(content) or content}


def _with_cache_breakpoint(own: JSON, shown: dict[str, JSON]) -> JSON:
    """Keep the breakpoint that the client set on the last block of what it saw."""
    blocks = _blocks(shown.get("content"))
    if not blocks or not (breakpoint_ := blocks[-1].get("cache_control")):
        return own
    *before, last = own["content"]
    return {**own, "content": [*before, {**last, "cache_control": breakpoint_}]}


def _blocks(content: JSON) -> list[dict[str, JSON]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [mapping(block) for block in sequence(content)]
