"""Central tools in OpenAI Responses. Sans-io.

What the client sees is one response: one id, items renumbered over the hidden ones, events numbered
without gaps, the first `response.created` and the last event that ends a response. Its id is that
of the first upstream response; the one whose stored state is complete is the last, so a client that
goes on by `previous_response_id` is led to that one.
"""

from collections.abc import Mapping, Sequence

from aibridge_addon.apis.openai_responses import CLIENT_CALLS
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
from aibridge_addon.tools.model import CentralTool, ResultPart, ToolResult
from aibridge_addon.wire import (
    JSON,
    appended,
    arguments,
    as_raw,
    count,
    decode,
    elements,
    encode,
    joined,
    mapping,
    member,
    sequence,
    text,
)

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_BEGINNINGS = frozenset({"response.created", "response.in_progress", "response.queued"})


RESTORES_WITHOUT_TOOLS = True


def inject(request: Members, tools: Sequence[CentralTool]) -> tuple[CentralTool, ...]:
    """Offer tools after the client's own.

    Not where the client allows no tools, or only some; nor for an answer in the background, which
    nobody waits for.
    """
    choice = member(request, "tool_choice")
    if choice == "none" or mapping(choice).get("type") == "allowed_tools":
        return ()
    if member(request, "background") is True or member(request, "generate") is False:
        return ()
    own = elements(request.get("tools"))
    taken = {mapping(decode(tool)).get("name") for tool in own}
    offered = tuple(tool for tool in tools if tool.name not in taken)
    if offered:
        request["tools"] = joined([*own, *(as_raw(_definition(tool)) for tool in offered)])
    return offered


def _definition(tool: CentralTool) -> JSON:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.input_schema),
        "strict": False,
    }


class Splicer:
    """Makes one streamed response of several."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._first = True
        """Whether this is the first upstream answer."""
        self._number = 0
        """The sequence number of the client's next event."""
        self._index: dict[int, int | None] = {}
        """The client's index of each item of this answer; None for a hidden one."""
        self._items: dict[int, JSON] = {}
        """The whole items of this answer."""
        self._shown: list[JSON] = []
        """The whole items that the client has seen, of all answers."""
        self._shown_count = 0
        self._used: list[dict[str, JSON]] = []
        """Usage of the answers before this one."""
        self._id: JSON = None
        """The id of the client's response."""
        self._end: tuple[Event, dict[str, JSON]] | None = None
        """The event that ends the response, held until it is known to end."""

    def feed(self, event: Event, data: JSON) -> bytes:
        """Take an event; return what the client gets of it."""
        if not isinstance(data, dict):
            return event.raw if event.data is None or self._first else b""
        kind = data.get("type")
        if self._id is None:
            self._id = mapping(data.get("response")).get("id")
        if kind in _ENDS:
            self._end = (event, data)
            return b""
        if kind in _BEGINNINGS and not self._first:
            return b""
        if kind == "response.output_item.added":
            self._place(data)
        elif kind == "response.output_item.done":
            self._on_item(data)
        index = data.get("output_index")
        if not isinstance(index, int):
            return self._relayed(event, data, {})
        place = self._index.get(index, index)
        return b"" if place is None else self._relayed(event, data, {"output_index": place})

    def turn(self) -> Turn:
        """Return the turn, once an upstream answer has ended."""
        items = [self._items[index] for index in sorted(self._items)]
        status = mapping(self._end[1].get("response")).get("status") if self._end else None
        return _turn(items, text(status), self._names)

    def resume(self) -> None:
        """Get ready for the next upstream answer."""
        self._used.append(self._usage())
        self._first = False
        self._index.clear()
        self._items.clear()
        self._end = None

    def finish(self) -> bytes:
        """Return the end of the response."""
        if self._end is None:
            return b""
        event, data = self._end
        if self._first and None not in self._index.values():
            return self._relayed(event, data, {})
        response = mapping(data.get("response"))
        merged = {**response, "id": self._id, "output": self._shown}
        if response.get("usage"):
            merged["usage"] = _summed(self._usage(), self._used)
        return self._relayed(event, data, {"response": merged})

    def ping(self) -> bytes:
        """Return a comment, which says nothing."""
        return b": waiting for a tool\n\n"

    def error(self, message: str) -> bytes:
        """Return an error that ends the stream."""
        data = {
            "type": "error",
            "code": "server_error",
            "message": message,
            "param": None,
            "sequence_number": self._number,
        }
        return _event(data)

    def _place(self, data: dict[str, JSON]) -> None:
        if _is_call_of(data.get("item"), self._names):
            self._index[data["output_index"]] = None
        else:
            self._index[data["output_index"]] = self._shown_count
            self._shown_count += 1

    def _on_item(self, data: dict[str, JSON]) -> None:
        if data["output_index"] not in self._index:  # some hosts begin with the whole item
            self._place(data)
        self._items[data["output_index"]] = data.get("item")
        if self._index[data["output_index"]] is not None:
            self._shown.append(data.get("item"))

    def _usage(self) -> dict[str, JSON]:
        return mapping(mapping(self._end[1].get("response")).get("usage")) if self._end else {}

    def _relayed(self, event: Event, data: dict[str, JSON], changes: dict[str, JSON]) -> bytes:
        if "sequence_number" in data:
            changes = {**changes, "sequence_number": self._number}
            self._number += 1
        if all(data.get(name) == value for name, value in changes.items()):
            return event.raw
        return _event({**data, **changes})


class Merger:
    """Makes one whole response of several."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._shown: list[JSON] = []
        self._id: JSON = None
        self._last: dict[str, JSON] = {}
        self._used: list[dict[str, JSON]] = []

    def add(self, answer: JSON) -> Turn:
        """Take an upstream answer; return its turn."""
        if self._last:
            self._used.append(mapping(self._last.get("usage")))
        self._last = mapping(answer)
        self._id = self._id or self._last.get("id")
        items = sequence(self._last.get("output"))
        self._shown += [item for item in items if not _is_call_of(item, self._names)]
        return _turn(items, text(self._last.get("status")), self._names)

    def finish(self) -> bytes:
        """Return the client's response."""
        response = {**self._last, "id": self._id, "output": self._shown}
        if self._last.get("usage"):
            response["usage"] = _summed(mapping(self._last["usage"]), self._used)
        return encode(response).encode()


def splicer(names: frozenset[str]) -> Splicer:
    """Return a splicer that hides calls of these names."""
    return Splicer(names)


def merger(names: frozenset[str]) -> Merger:
    """Return a merger that hides calls of these names."""
    return Merger(names)


def answer_items(turn: Turn) -> list[JSON]:
    """Return a turn as items."""
    return list(turn.items)


def result_items(results: Sequence[tuple[InjectedCall, ToolResult]]) -> list[JSON]:
    """Return results as items."""
    return [
        {"type": "function_call_output", "call_id": call.call_id, "output": _output(result)}
        for call, result in results
    ]


def _output(result: ToolResult) -> JSON:
    if not any(part.kind == "image" for part in result.parts):
        return f"Error: {result.as_text}" if result.is_error else result.as_text
    return [_output_part(part) for part in result.parts]


def _output_part(part: ResultPart) -> JSON:
    if part.kind != "image":
        return {"type": "input_text", "text": part.text}
    return {"type": "input_image", "image_url": f"data:{part.media_type};base64,{part.data}"}


def sequence_of_results(results: Sequence[JSON]) -> list[JSON]:
    """Return result items as the items that bring them."""
    return list(results)


def continue_request(
    request: Members, turn: Turn, results: Sequence[JSON], *, last: bool
) -> Members:
    """Return the next request: with the turn, its results, and no more tools if it is the last.

    A stored conversation has the turn already.
    """
    known_upstream = member(request, "conversation") is not None
    turn_items = [] if known_upstream else _acceptable(request, answer_items(turn))
    following = {**request, "input": appended(_input(request), [*turn_items, *results])}
    if known_upstream:
        following["input"] = as_raw(list(results))
    if last:
        following["tool_choice"] = as_raw("none")
    return following


def _input(request: Members) -> bytes:
    given = member(request, "input")
    if isinstance(given, str):
        return encode([{"role": "user", "content": given}]).encode()
    return bytes(request.get("input", b"[]"))


def _acceptable(request: Members, items: list[JSON]) -> list[JSON]:
    """Return items as the API takes them back.

    What is not stored cannot be named: without its encrypted content a reasoning item would be, and
    an id would be taken for that of one.
    """
    if member(request, "store") is not False:
        return items
    kept = (
        mapping(item)
        for item in items
        if mapping(item).get("type") != "reasoning" or mapping(item).get("encrypted_content")
    )
    return [
        item
        if item.get("type") == "reasoning"
        else {name: value for name, value in item.items() if name != "id"}
        for item in kept
    ]


def alias_key(response_id: str) -> str | None:
    """Return the key of an answer that `previous_response_id` names."""
    return f"response:{response_id}"


def conversation_runs(request: Members) -> list[Run]:
    """Find earlier answers: what stands between two sayings of the client.

    Where the provider has stored an answer, only the client's results of its calls are there; they
    make an empty run before the first of them.
    """
    runs: list[Run] = []
    if previous := text(member(request, "previous_response_id")):
        runs.append(Run(start=0, end=0, key=f"response:{previous}"))
    answer: list[dict[str, JSON]] = []
    start = 0
    said = ""
    called: set[str] = set()
    items = [mapping(decode(element)) for element in elements(request.get("input"))]
    for index, item in enumerate([*items, {}]):
        if _is_models(item):
            start = start if answer else index
            answer.append(item)
            continue
        if answer:
            calls = [call for i in answer if (call := _client_call(i))]
            called.update(calls)
            runs.append(Run(start=start, end=index, key=run_key(calls, said, _text(answer))))
            answer = []
        if item.get("role") == "user":
            said = spoken(_said(item.get("content"))) or ""
        elif (call_id := text(item.get("call_id"))) and call_id not in called:
            runs.append(Run(start=index, end=index, key=f"call:{call_id}"))
    return runs


def said_before(request: Members) -> str:
    """Return what the person said last, for the key of the answer to it."""
    given = member(request, "input")
    if isinstance(given, str):
        return spoken([given]) or ""
    for item in reversed([mapping(item) for item in sequence(given)]):
        if item.get("role") == "user":
            return spoken(_said(item.get("content"))) or ""
    return ""


def restore(request: Members, found: Mapping[str, Restoration]) -> bool:
    """Put back what was hidden, in place; return whether anything was."""
    runs = [run for run in conversation_runs(request) if run.key in found]
    if not runs:
        return False
    if runs[0].key.startswith("response:"):
        request["previous_response_id"] = as_raw(found[runs.pop(0).key].sequence[0])
    given = elements(request.get("input"))
    restored = []
    position = 0
    for run in runs:
        entry = found[run.key]
        restored += given[position : run.start]
        if run.end > run.start:
            restored += [as_raw(item) for item in _acceptable(request, list(entry.sequence))]
        restored += [as_raw(item) for item in entry.results]
        position = run.end
    if runs:
        request["input"] = joined([*restored, *given[position:]])
    return True


def _turn(items: Sequence[JSON], status: str | None, names: frozenset[str]) -> Turn:
    whole = [mapping(item) for item in items]
    return Turn(
        items=tuple(whole),
        calls=tuple(
            InjectedCall(
                call_id=str(item.get("call_id")),
                name=str(item.get("name")),
                arguments=arguments(text(item.get("arguments")) or ""),
            )
            for item in whole
            if status == "completed" and _is_call_of(item, names)
        ),
        client_calls=tuple(
            call for item in whole if not _is_call_of(item, names) and (call := _client_call(item))
        ),
        text=_text(whole),
    )


def _is_call_of(item: JSON, names: frozenset[str]) -> bool:
    return mapping(item).get("type") == "function_call" and mapping(item).get("name") in names


def _client_call(item: dict[str, JSON]) -> str | None:
    return text(item.get("call_id")) if item.get("type") in CLIENT_CALLS else None


def _is_models(item: dict[str, JSON]) -> bool:
    kind = str(item.get("type"))
    return item.get("role") == "assistant" or kind == "reasoning" or kind.endswith("_call")


def _text(items: Sequence[dict[str, JSON]]) -> str:
    return "".join(
        said
        for item in items
        if item.get("role") == "assistant"
        for said in _said(item.get("content"))
    )


def _said(content: JSON) -> list[str]:
    if isinstance(content, str):
        return [content]
    kinds = ("input_text", "output_text")
    parts = [mapping(part) for part in sequence(content)]
    return [text(part.get("text")) or "" for part in parts if part.get("type") in kinds]


def _summed(usage: dict[str, JSON], before: Sequence[dict[str, JSON]]) -> dict[str, JSON]:
    """Return the last answer's usage with the output of all: what the client's context holds."""
    output = count(usage.get("output_tokens")) or 0
    output += sum(count(used.get("output_tokens")) or 0 for used in before)
    summed = {**usage, "output_tokens": output}
    if "total_tokens" in usage:
        summed["total_tokens"] = output + (count(usage.get("input_tokens")) or 0)
    if "output_tokens_details" in usage:
        summed["output_tokens_details"] = _summed_details(usage, before)
    return summed


def _summed_details(usage: dict[str, JSON], before: Sequence[dict[str, JSON]]) -> JSON:
    details = mapping(usage.get("output_tokens_details"))
    earlier = [mapping(used.get("output_tokens_details")) for used in before]
    return {
        name: value + sum(count(used.get(name)) or 0 for used in earlier)
        if isinstance(value, int)
        else value
        for name, value in details.items()
    }


def _event(data: dict[str, JSON]) -> bytes:
    return f"event: {data['type']}\ndata: {encode(data)}\n\n".encode()
