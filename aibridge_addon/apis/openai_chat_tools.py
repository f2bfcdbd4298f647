"""Central tools in OpenAI Chat Completions. Sans-io.

What the client sees is one completion: one id, calls renumbered over the hidden ones, one finish
chunk, one usage. Where nothing was hidden, chunks go on as the bytes that they were.
"""

from collections.abc import Mapping, Sequence

from aibridge_addon.apis.openai_chat import StreamedCall
from aibridge_addon.apis.openai_errors import error_body
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

_DONE = b"[DONE]"
_CUT_OFF = frozenset({"length", "content_filter"})
"""Reasons to finish after which calls may be incomplete."""
_ENVELOPE = ("id", "created", "model")
"""What all chunks of one completion have in common."""
_APPENDED = ("content", "reasoning_content", "reasoning", "refusal")
"""Fields of a message whose texts are joined."""
_OF_CALLS = frozenset({"index", "id", "type", "function", "custom"})
"""Members of a streamed call that `StreamedCall` reads."""


RESTORES_WITHOUT_TOOLS = True


def inject(request: Members, tools: Sequence[CentralTool]) -> tuple[CentralTool, ...]:
    """Offer tools after the client's own.

    Not where the client allows no tools, or only some; nor where it asks for several answers at
    once, or by the older `functions`, which do not mix with tools.
    """
    choice = member(request, "tool_choice")
    if choice == "none" or mapping(choice).get("type") == "allowed_tools":
        return ()
    if "functions" in request or (count(member(request, "n")) or 1) > 1:
        return ()
    own = elements(request.get("tools"))
    taken = {_name(read(tool)) for tool in own}
    offered = tuple(tool for tool in tools if tool.name not in taken)
    if offered:
        request["tools"] = joined([*own, *(as_raw(_definition(tool)) for tool in offered)])
    return offered


def _definition(tool: CentralTool) -> JSON:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.input_schema),
    }
    return {"type": "function", "function": function}


class Splicer:
    """Makes one streamed completion of several."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._first = True
        """Whether this is the first upstream answer."""
        self._envelope: dict[str, JSON] = {}
        """What all chunks of the client's completion have in common."""
        self._has_role = False
        """Whether the client was told whose message it is, which is told once."""
        self._texts: dict[str, list[str]] = {}
        """Fragments of the message's texts, by field."""
        self._lists: dict[str, list[JSON]] = {}
        """What its other fields hold, such as signed reasoning."""
        self._calls: list[StreamedCall] = []
        self._extras: list[dict[str, JSON]] = []
        """What hosts say of each call besides, such as a signature."""
        self._calls_by_index: dict[int, StreamedCall] = {}
        self._client_index: dict[int, int] = {}
        """The client's index of its own calls, by place in `_calls`."""
        self._finish_reason: str | None = None
        self._usage: dict[str, JSON] = {}
        self._used: list[dict[str, JSON]] = []
        """Usage of the answers before this one."""
        self._end: list[tuple[Event, JSON]] = []
        """What ends the completion, held until it is known to end; once something is, all that
        comes after it."""

    @property
    def _hides(self) -> bool:
        """Whether anything was hidden so far; until then, chunks go on as they are."""
        return not self._first or any(call.name in self._names for call in self._calls)

    def feed(self, event: Event, data: JSON) -> bytes:
        """Take an event; return what the client gets of it."""
        if isinstance(data, dict) and data.get("error"):
            return event.raw
        if not isinstance(data, dict):
            return self._held(event, None) if self._end or event.data == _DONE else event.raw
        self._usage = _used(data) or self._usage
        if not data.get("choices"):
            return self._without_choice(event, data)
        if not self._envelope:
            self._envelope = {k: data[k] for k in _ENVELOPE if k in data}
        return self._on_choice(event, data, _first_choice(data))

    def _held(self, event: Event, data: JSON) -> bytes:
        """Hold an event; where nothing is hidden, the completion ends as it was."""
        if not self._hides:
            return event.raw
        self._end.append((event, data))
        return b""

    def turn(self) -> Turn:
        """Return the turn, once an upstream answer has ended."""
        message: dict[str, JSON] = {"role": "assistant", "content": None}
        message |= self._lists
        message |= {field: "".join(texts) for field, texts in self._texts.items()}
        if self._calls:
            message["tool_calls"] = list(map(_whole, self._calls, self._extras))
        return _turn(message, self._finish_reason, self._names)

    def resume(self) -> None:
        """Get ready for the next upstream answer."""
        self._used.append(self._usage)
        self._usage = {}
        self._first = False
        self._finish_reason = None
        self._texts.clear()
        self._lists = {}
        self._calls_by_index.clear()
        self._client_index.clear()
        self._calls.clear()
        self._extras.clear()
        self._end.clear()

    def finish(self) -> bytes:
        """Return the end of the completion."""
        if self._first:
            return b"".join(event.raw for event, _ in self._end)
        has_asked = bool(self._used[0])  # for usage; else no chunk is there only to tell it
        return b"".join(
            event.raw if data is None else self._event(self._with_usage(data))
            for event, data in self._end
            if data is None or has_asked or data.get("choices")
        )

    def ping(self) -> bytes:
        """Return a comment, which says nothing."""
        return b": waiting for a tool\n\n"

    def error(self, message: str) -> bytes:
        """Return an error that ends the stream."""
        return b"data: " + error_body(500, message) + b"\n\ndata: [DONE]\n\n"

    def _without_choice(self, event: Event, data: dict[str, JSON]) -> bytes:
        if data.get("usage") or self._end:
            return self._held(event, data)
        return event.raw if self._first else b""

    def _on_choice(self, event: Event, data: dict[str, JSON], choice: dict[str, JSON]) -> bytes:
        delta = mapping(choice.get("delta"))
        self._gather(delta)
        given = [mapping(call) for call in sequence(delta.get("tool_calls"))]
        shown = [call for call in map(self._on_call, given) if call is not None]
        finish = choice.get("finish_reason")
        if finish:
            self._finish_reason = str(finish)
        if not self._hides:
            self._has_role = self._has_role or "role" in delta
            return event.raw
        said = {name: value for name, value in delta.items() if name != "tool_calls"}
        if shown:
            said["tool_calls"] = shown
        if finish or self._end:
            return self._hold(event, data, choice, delta, said)
        if self._first and shown == given:
            self._has_role = self._has_role or "role" in delta
            return event.raw
        return self._tell(data, choice, said)

    def _gather(self, delta: dict[str, JSON]) -> None:
        """Append what a delta says to the fields of the message."""
        for name, value in delta.items():
            if isinstance(value, str) and name != "role":
                self._texts.setdefault(name, []).append(value)
            elif isinstance(value, list) and name != "tool_calls":
                self._lists.setdefault(name, []).extend(value)

    def _hold(
        self,
        event: Event,
        data: dict[str, JSON],
        choice: dict[str, JSON],
        delta: dict[str, JSON],
        said: dict[str, JSON],
    ) -> bytes:
        """Hold the finish chunk; what it says besides goes on at once."""
        if not _says_something(delta) and "role" not in delta:
            self._end.append((event, data))
            return b""
        ending = _with_delta(data, choice, {})
        self._end.append((event._replace(raw=self._event(ending)), ending))
        saying = {name: value for name, value in data.items() if name != "usage"}
        return self._tell(saying, {**choice, "finish_reason": None}, said)

    def _tell(self, data: dict[str, JSON], choice: dict[str, JSON], said: dict[str, JSON]) -> bytes:
        """Give the client what a delta says, if anything."""
        if self._has_role:
            said = {name: value for name, value in said.items() if name != "role"}
        if not _says_something(said) and "role" not in said:
            return b""
        self._has_role = self._has_role or "role" in said
        return self._event(self._with_usage(_with_delta(data, choice, said)))

    def _on_call(self, delta: dict[str, JSON]) -> dict[str, JSON] | None:
        """Take a fragment of a call; return what the client gets of it."""
        given = delta.get("index")
        index = given if isinstance(given, int) else 0
        call = self._calls_by_index.get(index)
        if call is None or call.is_followed_by(delta):
            call = self._calls_by_index[index] = StreamedCall()
            self._calls.append(call)
            self._extras.append({})
        call.merge(delta)
        place = self._calls.index(call)
        self._extras[place] |= {k: v for k, v in delta.items() if k not in _OF_CALLS}
        if call.name in self._names:
            return None
        number = self._client_index.setdefault(place, self._next_index(index))
        return delta if given in (None, number) else {**delta, "index": number}

    def _next_index(self, index: int) -> int:
        """Number the client's calls without gaps where some are hidden; else leave them."""
        return max(self._client_index.values(), default=-1) + 1 if self._hides else index

    def _with_usage(self, data: dict[str, JSON]) -> dict[str, JSON]:
        return data if self._first else _with_sum(data, self._used)

    def _event(self, data: dict[str, JSON]) -> bytes:
        return f"data: {encode({**data, **self._envelope})}\n\n".encode()


class Merger:
    """Makes one whole completion of several."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._first: dict[str, JSON] = {}
        self._last: dict[str, JSON] = {}
        self._texts: dict[str, list[str]] = {}
        self._used: list[dict[str, JSON]] = []
        self.hides = False

    def add(self, answer: JSON) -> Turn:
        """Take an upstream answer; return its turn."""
        if self._last:
            self._used.append(_used(self._last))
        self._last = mapping(answer)
        self._first = self._first or self._last
        choice, message = _choice(self._last)
        for field in _APPENDED:
            if isinstance(fragment := message.get(field), str):
                self._texts.setdefault(field, []).append(fragment)
        calls = sequence(message.get("tool_calls"))
        self.hides = self.hides or any(_name(call) in self._names for call in calls)
        return _turn(message, text(choice.get("finish_reason")), self._names)

    def finish(self) -> bytes:
        """Return the client's completion."""
        choice, message = _choice(self._last)
        shown = [
            call for call in sequence(message.get("tool_calls")) if _name(call) not in self._names
        ]
        merged = {name: value for name, value in message.items() if name != "tool_calls"}
        merged |= {field: "".join(texts) for field, texts in self._texts.items()}
        if shown:
            merged["tool_calls"] = shown
        completion = self._last | {k: self._first[k] for k in _ENVELOPE if k in self._first}
        completion["choices"] = [{**choice, "message": merged}]
        return encode(_with_sum(completion, self._used)).encode()


def splicer(names: frozenset[str]) -> Splicer:
    """Return a splicer that hides calls of these names."""
    return Splicer(names)


def merger(names: frozenset[str]) -> Merger:
    """Return a merger that hides calls of these names."""
    return Merger(names)


def answer_items(turn: Turn) -> list[JSON]:
    """Return a turn as a message."""
    return list(turn.items)


def result_items(results: Sequence[tuple[InjectedCall, ToolResult]]) -> list[JSON]:
    """Return results as messages; images are told of in words, since these carry only text."""
    return [
        {"role": "tool", "tool_call_id": call.call_id, "content": _result_text(result)}
        for call, result in results
    ]


def sequence_of_results(results: Sequence[JSON]) -> list[JSON]:
    """Return result items as the messages that bring them."""
    return list(results)


def _result_text(result: ToolResult) -> str:
    return f"Error: {result.as_text}" if result.is_error else result.as_text


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
        match message.get("role"):
            case "assistant":
                calls = [_id(call) for call in sequence(message.get("tool_calls"))]
                key = run_key(calls, "\n".join(said), _said(message.get("content")))
                runs.append(Run(start=index, end=index + 1, key=key))
                said = []
            case "user":
                said.append(spoken([_said(message.get("content"))]) or "")
            case "tool":  # which call it answers tells it from others
                said.append(text(message.get("tool_call_id")) or "")
    return runs, "\n".join(said)


def restore(request: Members, found: Mapping[str, Restoration]) -> bool:
    """Put back what was hidden, in place; return whether anything was."""
    runs = {run.start: run for run in conversation_runs(request) if run.key in found}
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


def _turn(message: dict[str, JSON], finish_reason: str | None, names: frozenset[str]) -> Turn:
    given = [mapping(call) for call in sequence(message.get("tool_calls"))]
    # Some hosts give no ids; results need them.
    calls = [{**call, "id": _id(call) or f"call_{n}"} for n, call in enumerate(given)]
    waits = finish_reason not in _CUT_OFF
    kept = [call for call in calls if waits or _name(call) not in names]
    said = {name: value for name, value in message.items() if name != "tool_calls"}
    return Turn(
        items=({**said, "tool_calls": kept} if kept else said,),
        calls=tuple(
            InjectedCall(
                call_id=call["id"],
                name=_name(call),
                arguments=_arguments(mapping(call.get("function")).get("arguments")),
            )
            for call in calls
            if waits and _name(call) in names
        ),
        client_calls=tuple(_id(call) for call in given if _name(call) not in names),
        text=_said(message.get("content")),
    )


def _first_choice(data: dict[str, JSON]) -> dict[str, JSON]:
    return mapping((sequence(data.get("choices")) or [None])[0])


def _choice(completion: dict[str, JSON]) -> tuple[dict[str, JSON], dict[str, JSON]]:
    choice = _first_choice(completion)
    return choice, mapping(choice.get("message"))


def _arguments(given: JSON) -> JSON:
    """Return what a call is given; some hosts give an object, not the text of one."""
    return given if isinstance(given, dict) else arguments(text(given) or "")


def _id(call: JSON) -> str:
    return text(mapping(call).get("id")) or ""


def _name(call: JSON) -> str:
    whole = mapping(call)
    return text(mapping(whole.get("function") or whole.get("custom")).get("name")) or ""


def _whole(call: StreamedCall, extras: dict[str, JSON]) -> JSON:
    """Return a streamed call as a message takes it."""
    kind = "custom" if call.is_custom else "function"
    said = {"name": call.name, "input" if call.is_custom else "arguments": call.input_text}
    return {"id": call.call_id, "type": kind, kind: said, **extras}


def _said(content: JSON) -> str:
    if isinstance(content, str):
        return content
    parts = [mapping(part) for part in sequence(content)]
    return "\n".join(text(p.get("text")) or "" for p in parts if p.get("type") == "text")


def _says_something(delta: dict[str, JSON]) -> bool:
    return any(value not in (None, "", []) for name, value in delta.items() if name != "role")


def _with_delta(
    data: dict[str, JSON], choice: dict[str, JSON], delta: dict[str, JSON]
) -> dict[str, JSON]:
    return {**data, "choices": [{**choice, "delta": delta}]}


def _summed(usage: dict[str, JSON], before: Sequence[dict[str, JSON]]) -> dict[str, JSON]:
    """Return the last answer's usage with the output of all: what the client's context holds."""
    output = count(usage.get("completion_tokens")) or 0
    output += sum(count(used.get("completion_tokens")) or 0 for used in before)
    summed = {**usage, "completion_tokens": output}
    if "total_tokens" in usage:
        summed["total_tokens"] = output + (count(usage.get("prompt_tokens")) or 0)
    return summed


def _used(data: dict[str, JSON]) -> dict[str, JSON]:
    """Find the usage, in each of the places where hosts put it."""
    places = (data, mapping(data.get("x_groq")), _first_choice(data))
    return next((usage for place in places if (usage := mapping(place.get("usage")))), {})


def _with_sum(data: dict[str, JSON], before: Sequence[dict[str, JSON]]) -> dict[str, JSON]:
    """Return a chunk or a completion with its usage summed, wherever it stands."""
    summed = dict(data)
    if usage := mapping(data.get("usage")):
        summed["usage"] = _summed(usage, before)
    x_groq, choice = mapping(data.get("x_groq")), _first_choice(data)
    if usage := mapping(x_groq.get("usage")):
        summed["x_groq"] = {**x_groq, "usage": _summed(usage, before)}
    if usage := mapping(choice.get("usage")):
        summed["choices"] = [{**choice, "usage": _summed(usage, before)}]
    return summed
