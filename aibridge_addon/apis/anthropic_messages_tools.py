"""Central tools in Anthropic Messages. Sans-io.

What the client sees is one message: blocks are renumbered over the hidden ones, the first
`message_start` and the last `message_delta` and `message_stop` are its only ones. Where nothing was
hidden, events go on as the bytes that they were.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aibridge_addon.apis.anthropic_messages import error_body
from aibridge_addon.apis.prompts import spoken
from aibridge_addon.apis.turns import (
    InjectedCall,
    Members,
    Restoration,
    Run,
    Turn,
    run_key,
)
from aibridge_addon.sse import Event
from aibridge_addon.tools.model import CentralTool, ToolResult
from aibridge_addon.wire import (
    JSON,
    appended,
    arguments,
    as_raw,
    count,
    elements,
    encode,
    joined,
    mapping,
    member,
    read,
    sequence,
    text,
)

RESTORES_WITHOUT_TOOLS = False
"""Blocks of a tool are refused where no tools are defined."""


def inject(request: Members, tools: Sequence[CentralTool]) -> tuple[CentralTool, ...]:
    """Offer tools before the client's own, so that its cache breakpoints stay valid."""
    if mapping(member(request, "tool_choice")).get("type") == "none":
        return ()
    own = elements(request.get("tools"))
    taken = {text(mapping(read(tool)).get("name")) for tool in own}
    offered = tuple(tool for tool in tools if tool.name not in taken)
    if offered:
        request["tools"] = joined([*(as_raw(_definition(tool)) for tool in offered), *own])
    return offered


def _definition(tool: CentralTool) -> JSON:
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": dict(tool.input_schema),
    }


class Splicer:
    """Makes one streamed message of several."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._first = True
        """Whether this is the first upstream answer."""
        self._shown = 0
        """How many blocks the client has seen."""
        self._index: dict[int, int | None] = {}
        """The client's index of each block of this answer; None for a hidden one."""
        self._blocks: dict[int, _Block] = {}
        self._usage: dict[str, JSON] = {}
        self._output_tokens = 0
        """Of the answers before this one."""
        self._end: list[tuple[Event, JSON]] = []
        """The events that end the message, held until it is known to end; once one of them is,
        all that come after it."""
        self._stop_reason: str | None = None

    def feed(self, event: Event, data: JSON) -> bytes:
        """Take an event; return what the client gets of it."""
        match mapping(data).get("type"):
            case "message_start":
                self._usage = _told(mapping(data.get("message")).get("usage"))
                return event.raw if self._first else b""
            case "content_block_start":
                return self._on_block_start(event, data)
            case "content_block_delta" | "content_block_stop":
                return self._on_block(event, data)
            case "message_delta":
                self._usage |= _told(data.get("usage"))
                reason = text(mapping(data.get("delta")).get("stop_reason"))
                self._stop_reason = reason or self._stop_reason
                return self._held(event, data)
            case "message_stop":
                return self._held(event, data)
            case "error":
                return event.raw
        return self._held(event, data) if self._end else event.raw

    def _held(self, event: Event, data: JSON) -> bytes:
        """Hold an event; where nothing is hidden, the message ends as it was."""
        if self._first and None not in self._index.values():
            return event.raw
        self._end.append((event, data))
        return b""

    def turn(self) -> Turn:
        """Return the turn, once an upstream answer has ended."""
        blocks = [self._blocks[index].whole() for index in sorted(self._blocks)]
        return _turn(blocks, self._stop_reason, self._names)

    def resume(self) -> None:
        """Get ready for the next upstream answer."""
        self._output_tokens += count(self._usage.get("output_tokens")) or 0
        self._first = False
        self._stop_reason = None
        self._index.clear()
        self._blocks.clear()
        self._end.clear()

    def finish(self) -> bytes:
        """Return the end of the message."""
        if self._first:
            return b"".join(event.raw for event, _ in self._end)
        usage = _summed(self._usage, self._output_tokens)
        return b"".join(
            _event({**data, "usage": usage})
            if mapping(data).get("type") == "message_delta"
            else event.raw
            for event, data in self._end
        )

    def ping(self) -> bytes:
        """Return an event that says nothing."""
        return _event({"type": "ping"})

    def error(self, message: str) -> bytes:
        """Return an error that ends the stream."""
        return b"event: error\ndata: " + error_body(500, message) + b"\n\n"

    def _on_block_start(self, event: Event, data: JSON) -> bytes:
        block = self._blocks[data["index"]] = _Block(mapping(data.get("content_block")))
        if block.calls(self._names):
            self._index[data["index"]] = None
            return b""
        self._index[data["index"]] = self._shown
        self._shown += 1
        return _renumbered(event, data, self._shown - 1)

    def _on_block(self, event: Event, data: JSON) -> bytes:
        given = data.get("index")
        if not isinstance(given, int):
            return event.raw
        if block := self._blocks.get(given):
            block.add(mapping(data.get("delta")))
        index = self._index.get(given, given)
        return b"" if index is None else _renumbered(event, data, index)


class _Block:
    """A content block on its way; fragments are joined once, at the end."""

    def __init__(self, start: dict[str, JSON]) -> None:
        self._start = dict(start)
        self._fragments: dict[str, list[str]] = {}
        self._input: list[str] = []
        self._citations: list[JSON] = []

    def calls(self, names: frozenset[str]) -> bool:
        return _is_call_of(self._start, names)

    def add(self, delta: dict[str, JSON]) -> None:
        kind = delta.get("type")
        if kind == "input_json_delta":
            self._input.append(str(delta.get("partial_json") or ""))
        elif kind == "citations_delta":
            self._citations.append(delta.get("citation"))
        else:  # others, known or not, bring what the block's field of that name gets
            for field, value in delta.items():
                if isinstance(value, str) and field != "type":
                    self._fragments.setdefault(field, []).append(value)

    def whole(self) -> JSON:
        block = dict(self._start)
        for field, fragments in self._fragments.items():
            block[field] = str(block.get(field) or "") + "".join(fragments)
        if self._input:
            block["input"] = arguments("".join(self._input))
        if self._citations:
            block["citations"] = [*sequence(block.get("citations")), *self._citations]
        return block


class Merger:
    """Makes one whole message of several."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._content: list[JSON] = []
        self._first: dict[str, JSON] | None = None
        self._last: dict[str, JSON] = {}
        self._output_tokens = 0
        self._usage: dict[str, JSON] = {}
        self.hides = False

    def add(self, answer: JSON) -> Turn:
        """Take an upstream answer; return its turn."""
        message = mapping(answer)
        self._first = self._first or message
        self._last = message
        self._output_tokens += count(self._usage.get("output_tokens")) or 0
        self._usage = mapping(message.get("usage"))
        blocks = sequence(message.get("content"))
        shown = [block for block in blocks if not _is_call_of(block, self._names)]
        self._content += shown
        self.hides = self.hides or len(shown) < len(blocks)
        return _turn(blocks, text(message.get("stop_reason")), self._names)

    def finish(self) -> bytes:
        """Return the client's message."""
        message = {
            **self._last,
            "id": mapping(self._first).get("id"),
            "content": self._content,
            "usage": _summed(self._usage, self._output_tokens),
        }
        return encode(message).encode()


def splicer(names: frozenset[str]) -> Splicer:
    """Return a splicer that hides calls of these names."""
    return Splicer(names)


def merger(names: frozenset[str]) -> Merger:
    """Return a merger that hides calls of these names."""
    return Merger(names)


def answer_items(turn: Turn) -> list[JSON]:
    """Return a turn as a message; of an empty one there is none, as the API takes none."""
    return [{"role": "assistant", "content": list(turn.items)}] if turn.items else []


def result_items(results: Sequence[tuple[InjectedCall, ToolResult]]) -> list[JSON]:
    """Return results as the blocks of a user message."""
    return [
        {
            "type": "tool_result",
            "tool_use_id": call.call_id,
            "content": [_result_part(part) for part in result.parts],
            "is_error": result.is_error,
        }
        for call, result in results
    ]


def _result_part(part: Any) -> JSON:
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


def conversation_runs(request: Members) -> list[Run]:
    """Find earlier answers: each is one assistant message."""
    return _runs(request)[0]


def said_before(request: Members) -> str:
    """Return what was said since the last answer, for the key of the answer to it."""
    return _runs(request)[1]


def _runs(request: Members) -> tuple[list[Run], str]:
    """Return earlier answers, and what was said since the last one."""
    runs = []
    said: list[str] = []
    for index, element in enumerate(elements(request.get("messages"))):
        message = mapping(read(element))
        blocks = _blocks(message.get("content"))
        if message.get("role") == "assistant":
            calls = [text(b.get("id")) or "" for b in blocks if b.get("type") == "tool_use"]
            key = run_key(calls, "\n".join(said), _text(blocks))
            runs.append(Run(start=index, end=index + 1, key=key))
            said = []
        elif message.get("role") == "user":
            said += _said(blocks)
    return runs, "\n".join(said)


def _said(blocks: Sequence[dict[str, JSON]]) -> list[str]:
    """Return what tells a message from others: the person's words, and the calls it answers."""
    words = spoken([text(b.get("text")) or "" for b in blocks if b.get("type") == "text"])
    answered = [text(b.get("tool_use_id")) for b in blocks if b.get("type") == "tool_result"]
    return [part for part in (words, *answered) if part]


def restore(request: Members, found: Mapping[str, Restoration]) -> bool:
    """Put back what was hidden, in place; return whether anything was."""
    messages = elements(request.get("messages"))
    runs = {run.start: run for run in conversation_runs(request) if run.key in found}
    if not runs:
        return False
    restored = []
    results: tuple[JSON, ...] = ()
    for index, element in enumerate(messages):
        if run := runs.get(index):
            entry = found[run.key]
            *before, own = entry.sequence
            own = _with_cache_breakpoint(own, mapping(read(element)))
            restored += [as_raw(message) for message in (*before, own)]
            results = entry.results
        elif results and (message := mapping(read(element))).get("role") == "user":
            content = [*results, *_blocks(message.get("content"))]
            restored.append(as_raw({**message, "content": content}))
            results = ()
        else:
            restored.append(element)
    request["messages"] = joined(restored)
    return True


def _with_cache_breakpoint(own: JSON, shown: dict[str, JSON]) -> JSON:
    """Keep the breakpoint that the client set on the last block of what it saw."""
    blocks = _blocks(shown.get("content"))
    if not blocks or not (breakpoint_ := blocks[-1].get("cache_control")):
        return own
    *before, last = own["content"]
    return {**own, "content": [*before, {**last, "cache_control": breakpoint_}]}


def _turn(blocks: Sequence[JSON], stop_reason: str | None, names: frozenset[str]) -> Turn:
    calls = [mapping(block) for block in blocks if mapping(block).get("type") == "tool_use"]
    waits = stop_reason == "tool_use"
    return Turn(
        items=tuple(
            _acceptable(mapping(block))
            for block in blocks
            if not _is_blank(block) and (waits or not _is_call_of(block, names))
        ),
        calls=tuple(
            InjectedCall(
                call_id=str(call.get("id")),
                name=str(call.get("name")),
                arguments=call.get("input"),
            )
            for call in calls
            if waits and _is_call_of(call, names)
        ),
        client_calls=tuple(
            text(call.get("id")) or "" for call in calls if not _is_call_of(call, names)
        ),
        text=_text([mapping(block) for block in blocks]),
    )


def _is_blank(block: JSON) -> bool:
    """Whether it is a text block without words, which the API gives but does not take back."""
    whole = mapping(block)
    return whole.get("type") == "text" and not (text(whole.get("text")) or "").strip()


def _acceptable(block: dict[str, JSON]) -> JSON:
    """Return a block as the API takes it back: arguments that are no JSON are no object."""
    if block.get("type") == "tool_use" and not isinstance(block.get("input"), dict):
        return {**block, "input": {}}
    return block


def _is_call_of(block: JSON, names: frozenset[str]) -> bool:
    whole = mapping(block)
    return whole.get("type") == "tool_use" and text(whole.get("name")) in names


def _blocks(content: JSON) -> list[dict[str, JSON]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [mapping(block) for block in sequence(content)]


def _text(blocks: Sequence[dict[str, JSON]]) -> str:
    return "".join(text(b.get("text")) or "" for b in blocks if b.get("type") == "text")


def _told(usage: JSON) -> dict[str, JSON]:
    return {name: value for name, value in mapping(usage).items() if value is not None}


def _summed(usage: dict[str, JSON], output_tokens: int) -> dict[str, JSON]:
    """Return the last answer's usage with the output of all: what the client's context holds."""
    return {**usage, "output_tokens": output_tokens + (count(usage.get("output_tokens")) or 0)}


def _renumbered(event: Event, data: JSON, index: int) -> bytes:
    return event.raw if data["index"] == index else _event({**data, "index": index})


def _event(data: dict[str, JSON]) -> bytes:
    return f"event: {data['type']}\ndata: {encode(data)}\n\n".encode()
