"""Central tools in Anthropic Messages. Sans-io.

A response is one assistant message, its calls are blocks of it, and their results are blocks of the
user message after it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, TypedDict

from aibridge_addon.formats.anthropic_messages.splicer import Merger, Splicer
from aibridge_addon.formats.anthropic_messages.turn import text_of
from aibridge_addon.formats.central_tool import CentralTool, ResultPart, ToolResult
from aibridge_addon.formats.images import ImageLimits, described
from aibridge_addon.formats.prompts import typed_text
from aibridge_addon.formats.tool_protocol import (
    InjectedCall,
    Members,
    PastResponse,
    Restoration,
    ToolFormat,
    Transcript,
    Turn,
    build_transcript,
)
from aibridge_addon.raw_json import (
    JSON,
    array_reader,
    as_raw,
    elements,
    joined,
    mapping,
    member,
    read,
    sequence,
    text,
)

_IMAGES = ImageLimits(characters=5 * 1024 * 1024, pixels=8000)


class MessagesTools(ToolFormat):
    """Offers central tools in Anthropic Messages, and joins its messages."""

    restores_without_tools = False  # tool blocks are refused where no tools are defined
    offers_first = True  # so that the client's cache breakpoints stay valid
    no_calls: ClassVar[JSON] = {"type": "none"}

    def may_offer(self, request: Members) -> bool:
        """Return whether the client lets the model choose.

        A forced choice would be forced again in each request of the inner loop.
        """
        choice = member(request, "tool_choice")
        return choice is None or mapping(choice).get("type") == "auto"

    def tool_name(self, tool: JSON) -> str | None:
        """Return the name of a tool that a client defines."""
        return text(mapping(tool).get("name"))

    def definition(self, tool: CentralTool) -> JSON:
        """Return the definition of a central tool."""
        return {
            "name": tool.name,
            "description": self.limits.described(tool),
            "input_schema": dict(tool.input_schema),
        }

    def splicer(self, names: frozenset[str]) -> Splicer:
        """Return a splicer that hides calls of these names."""
        return Splicer(names)

    def merger(self, names: frozenset[str]) -> Merger:
        """Return a merger that hides calls of these names."""
        return Merger(names)

    def turn_items(self, turn: Turn) -> list[JSON]:
        """Return a turn as a message; nothing for an empty turn, which the API refuses."""
        blocks = _legal_blocks(turn.items)
        return [{"role": "assistant", "content": blocks}] if blocks else []

    def result_items(self, results: Sequence[tuple[InjectedCall, ToolResult]]) -> list[JSON]:
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

    def result_messages(self, results: Sequence[JSON]) -> list[JSON]:
        """Return result items as one user message."""
        return [{"role": "user", "content": list(results)}]

    def transcript(self, request: Members) -> Transcript:
        """Find earlier responses, each an assistant message, and the text since the last one."""
        return build_transcript(_conversation(request))

    def restore(self, request: Members, found: Mapping[str, Restoration]) -> bool:
        """Put hidden turns back, in place; return whether anything changed."""
        messages = elements(request.get("messages"))
        runs = {run.start: run for run in self.transcript(request).runs if run.key in found}
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


def _legal_blocks(blocks: Sequence[JSON]) -> list[JSON]:
    """Return blocks that the API accepts: models write blank texts, and it refuses them."""
    return [
        _legal_result(block) if mapping(block).get("type") == "tool_result" else block
        for block in blocks
        if mapping(block).get("type") != "text" or (text(block.get("text")) or "").strip()
    ]


def _legal_result(result: dict[str, JSON]) -> JSON:
    """Return a stored result, perhaps of an older version, in the shape that the API accepts."""
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


def _result_part(part: ResultPart, is_error: bool) -> dict[str, JSON]:
    """Return a part of a result; errors can hold text only."""
    if part.kind == "image":
        part = described(part, "the result is an error") if is_error else _IMAGES.applied(part)
    if part.kind != "image":
        return {"type": "text", "text": part.text}
    source = {"type": "base64", "media_type": part.media_type, "data": part.data}
    return {"type": "image", "source": source}


class _Block(TypedDict, total=False):
    type: JSON
    id: JSON
    tool_use_id: JSON
    text: JSON


class _Message(TypedDict, total=False):
    """The members of a message that distinguish it: results of calls may be large."""

    role: JSON
    content: str | list[_Block]


_read_messages = array_reader(_Message)


def _conversation(request: Members) -> Iterator[PastResponse | str]:
    for index, element in enumerate(_read_messages(request.get("messages"))):
        message = mapping(element)
        blocks = _blocks(message.get("content"))
        if message.get("role") == "assistant":
            calls = [text(b.get("id")) or "" for b in blocks if b.get("type") == "tool_use"]
            yield PastResponse(start=index, end=index + 1, client_calls=calls, text=text_of(blocks))
        elif message.get("role") == "user":
            yield from _texts_of(blocks)


def _texts_of(blocks: Sequence[dict[str, JSON]]) -> list[str]:
    """Return what distinguishes a message: the typed text, and the ids of the calls it answers."""
    parts = [text(b.get("text")) or "" for b in blocks if b.get("type") == "text"]
    words = [typed] if parts and (typed := typed_text(parts)) else []
    answered = (text(b.get("tool_use_id")) for b in blocks if b.get("type") == "tool_result")
    return [*words, *filter(None, answered)]


def _legal_message(message: JSON) -> JSON:
    content = mapping(message).get("content")
    if not isinstance(content, list):
        return message
    return {**message, "content": _legal_blocks(content) or content}


def _with_cache_breakpoint(own: JSON, shown: dict[str, JSON]) -> JSON:
    """Keep the cache breakpoint that the client set on the last block of its message."""
    blocks = _blocks(shown.get("content"))
    if not blocks or not (breakpoint_ := blocks[-1].get("cache_control")):
        return own
    *before, last = own["content"]
    return {**own, "content": [*before, {**last, "cache_control": breakpoint_}]}


def _blocks(content: JSON) -> list[dict[str, JSON]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [mapping(block) for block in sequence(content)]
