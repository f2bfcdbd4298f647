"""Central tools in OpenAI Responses. Sans-io.

What the client sees is one response: one id, items renumbered over the hidden ones, events numbered
without gaps, the first `response.created` and the last event that ends a response. Its id is that
of the first upstream response; the one whose stored state is complete is the last, so a client that
goes on by `previous_response_id` is led to that one.
"""

from collections.abc import Mapping, Sequence

import msgspec

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
    elements,
    encode,
    joined,
    mapping,
    member,
    read,
    sequence,
    text,
)

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_ITEMS = frozenset({"response.output_item.added", "response.output_item.done"})
_BEGINNINGS = frozenset({"response.created", "response.in_progress", "response.queued"})


_OF_MODELS = frozenset(
    {
        "reasoning",
        "compaction",
        "additional_tools",
        "mcp_list_tools",
        "mcp_approval_request",
        "program",
        "program_output",
    }
)
"""Items of an answer, besides messages and calls."""

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
    taken = {text(mapping(read(tool)).get("name")) for tool in own}
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
        self._hidden_ids: set[str | None] = set()
        """Ids of hidden items, for the events of hosts that give no index."""
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
        """The event that ends this answer."""
        self._is_end_owed = False
        """Whether the client has not got the end, held until the response is known to end."""

    @property
    def _hides(self) -> bool:
        """Whether anything was hidden so far; until then, events go on as they are."""
        return not self._first or None in self._index.values()

    def feed(self, event: Event, data: JSON) -> bytes:
        """Take an event; return what the client gets of it."""
        if not isinstance(data, dict):
            is_kept = event.data is None or not (self._is_end_owed or not self._first)
            return event.raw if is_kept else b""
        kind = data.get("type")
        if self._id is None:
            self._id = mapping(data.get("response")).get("id")
        if kind in _ENDS:
            self._end = (event, data)
            self._is_end_owed = True
            # Nothing comes after a failure, nor is there a reason to hold what nothing hides.
            return self.finish() if kind == "response.failed" or not self._hides else b""
        if kind in _BEGINNINGS and not self._first:
            return b""
        if kind in _ITEMS:
            return self._on_item(event, data)
        index = data.get("output_index")
        if not isinstance(index, int):
            is_hidden = text(data.get("item_id")) in self._hidden_ids
            return b"" if is_hidden else self._relayed(event, data, {})
        place = self._index.get(index, index)
        return b"" if place is None else self._relayed(event, data, {"output_index": place})

    def turn(self) -> Turn:
        """Return the turn, once an upstream answer has ended."""
        items = [self._items[index] for index in sorted(self._items)]
        is_completed = self._end is not None and self._end[1]["type"] == "response.completed"
        return _turn(items, is_completed, self._names)

    def resume(self) -> None:
        """Get ready for the next upstream answer."""
        self._used.append(self._usage())
        self._first = False
        self._index.clear()
        self._items.clear()
        self._end = None
        self._is_end_owed = False

    def finish(self) -> bytes:
        """Return the end of the response, if the client has not got it."""
        if self._end is None or not self._is_end_owed:
            return b""
        self._is_end_owed = False
        event, data = self._end
        if not self._hides:
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

    def _on_item(self, event: Event, data: dict[str, JSON]) -> bytes:
        item = data.get("item")
        given = data.get("output_index")
        index = given if isinstance(given, int) else len(self._items)  # as some hosts leave it out
        if index not in self._index:  # some begin with the whole item
            self._place(index, item)
        place = self._index[index]
        if data["type"] == "response.output_item.done":
            self._items[index] = item
            self._shown += [item] if place is not None else []
        if place is None:
            return b""
        return self._relayed(event, data, {"output_index": place} if given is not None else {})

    def _place(self, index: int, item: JSON) -> None:
        if _is_call_of(item, self._names):
            self._index[index] = None
            if item_id := text(mapping(item).get("id")):
                self._hidden_ids.add(item_id)
            return
        self._index[index] = self._shown_count if self._hides else index
        self._shown_count = (self._index[index] or 0) + 1

    def _usage(self) -> dict[str, JSON]:
        return mapping(mapping(self._end[1].get("response")).get("usage")) if self._end else {}

    def _relayed(self, event: Event, data: dict[str, JSON], changes: dict[str, JSON]) -> bytes:
        number = data.get("sequence_number")
        if not self._hides:
            self._number = number + 1 if isinstance(number, int) else self._number
            return event.raw
        if number is not None:
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
        self.hides = False

    def add(self, answer: JSON) -> Turn:
        """Take an upstream answer; return its turn."""
        if self._last:
            self._used.append(mapping(self._last.get("usage")))
        self._last = mapping(answer)
        self._id = self._id or self._last.get("id")
        items = sequence(self._last.get("output"))
        shown = [item for item in items if not _is_call_of(item, self._names)]
        self._shown += shown
        self.hides = self.hides or len(shown) < len(items)
        return _turn(items, self._last.get("status") == "completed", self._names)

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
    return _runs(request)[0]


def said_before(request: Members) -> str:
    """Return what was said since the last answer, for the key of the answer to it."""
    return _runs(request)[1]


def _runs(request: Members) -> tuple[list[Run], str]:
    """Return earlier answers, and what was said since the last one."""
    given = member(request, "input")
    if isinstance(given, str):
        return _runs_of_stored(request), spoken([given]) or ""
    runs = _runs_of_stored(request)
    answer: list[dict[str, JSON]] = []
    start = 0
    said: list[str] = []
    called: set[str] = set()
    items = [mapping(read(element)) for element in elements(request.get("input"))]
    for index, item in enumerate([*items, {}]):
        if _is_models(item):
            start = start if answer else index
            answer.append(item)
            continue
        if answer:
            calls = [text(i.get("call_id")) or "" for i in answer if _is_client_call(i)]
            called.update(calls)
            key = run_key(calls, "\n".join(said), _text(answer))
            runs.append(Run(start=start, end=index, key=key))
            answer, said = [], []
        if item.get("role") == "user":
            said.append(spoken(_said(item.get("content"))) or "")
        elif call_id := text(item.get("call_id")):
            said.append(call_id)  # which call it answers tells it from others
            if call_id not in called:
                runs.append(Run(start=index, end=index, key=f"call:{call_id}"))
    return runs, "\n".join(said)


def _runs_of_stored(request: Members) -> list[Run]:
    previous = text(member(request, "previous_response_id"))
    return [Run(start=0, end=0, key=f"response:{previous}")] if previous else []


def restore(request: Members, found: Mapping[str, Restoration]) -> bool:
    """Put back what was hidden, in place; return whether anything was."""
    runs = [run for run in conversation_runs(request) if run.key in found]
    if not runs:
        return False
    if runs[0].key.startswith("response:"):
        request["previous_response_id"] = as_raw(found[runs.pop(0).key].sequence[0])
    given = elements(request.get("input"))
    is_stored = any(member(request, m) for m in ("previous_response_id", "conversation"))
    calls = {
        call for run in runs if run.end > run.start for call in _calls(found[run.key].sequence)
    }
    restored = []
    position = 0
    for run in runs:
        entry = found[run.key]
        restored += _without(given[position : run.start], calls)
        put_back: list[JSON] = []
        if run.end > run.start:
            put_back += entry.sequence
        elif not is_stored:  # the client's own calls are there as references; the hidden are not
            answered = _calls(entry.results)
            put_back += [item for item in entry.sequence if _calls([item]) & answered]
        restored += [as_raw(item) for item in (*_acceptable(request, put_back), *entry.results)]
        position = run.end
    if runs:
        request["input"] = joined([*restored, *_without(given[position:], calls)])
    return True


def _calls(items: Sequence[JSON]) -> set[str]:
    """Return the ids of calls in items."""
    return {call for item in items if (call := text(mapping(item).get("call_id")))}


def _without(given: Sequence[msgspec.Raw], calls: set[str]) -> list[msgspec.Raw]:
    """Leave out calls that are put back elsewhere: clients may keep each with its result."""
    if not calls:
        return list(given)
    return [
        element
        for element in given
        if not (_is_models(item := mapping(read(element))) and _calls([item]) & calls)
    ]


def _turn(items: Sequence[JSON], is_completed: bool, names: frozenset[str]) -> Turn:
    whole = [mapping(item) for item in items]
    return Turn(
        items=tuple(item for item in whole if is_completed or not _is_call_of(item, names)),
        calls=tuple(
            InjectedCall(
                call_id=str(item.get("call_id")),
                name=str(item.get("name")),
                arguments=arguments(text(item.get("arguments")) or ""),
            )
            for item in whole
            if is_completed and _is_call_of(item, names)
        ),
        client_calls=tuple(
            text(item.get("call_id")) or ""
            for item in whole
            if _is_client_call(item) and not _is_call_of(item, names)
        ),
        text=_text(whole),
    )


def _is_call_of(item: JSON, names: frozenset[str]) -> bool:
    whole = mapping(item)
    return whole.get("type") == "function_call" and text(whole.get("name")) in names


def _is_client_call(item: dict[str, JSON]) -> bool:
    return str(item.get("type")) in CLIENT_CALLS and item.get("execution") != "server"


def _is_models(item: dict[str, JSON]) -> bool:
    kind = str(item.get("type"))
    return item.get("role") == "assistant" or kind in _OF_MODELS or kind.endswith("_call")


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
    return f"event: {text(data['type'])}\ndata: {encode(data)}\n\n".encode()
