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
    decode,
    elements,
    encode,
    joined,
    mapping,
    member,
    sequence,
    text,
)

_DONE = b"[DONE]"
_CUT_OFF = frozenset({"length", "content_filter"})
"""Reasons to finish after which calls may be incomplete."""
_ENVELOPE = ("id", "created", "model")
"""What all chunks of one completion have in common."""
_APPENDED = ("content", "reasoning_content", "reasoning", "refusal")
"""Fields of a delta whose texts are appended."""


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
    taken = {mapping(mapping(decode(tool)).get("function")).get("name") for tool in own}
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
        self._texts: dict[str, list[str]] = {}
        self._calls: list[StreamedCall] = []
        self._calls_by_index: dict[int, StreamedCall] = {}
        self._client_index: dict[int, int] = {}
        """The client's index of its own calls, by place in `_calls`."""
        self._finish_reason: str | None = None
        self._usage: dict[str, JSON] = {}
        self._used: list[dict[str, JSON]] = []
        """Usage of the answers before this one."""
        self._end: list[tuple[Event, JSON]] = []
        """What ends the completion, held until it is known to end."""

    def feed(self, event: Event, data: JSON) -> bytes:
        """Take an event; return what the client gets of it."""
        if event.data == _DONE:
            self._end.append((event, None))
            return b""
        if not isinstance(data, dict) or data.get("error"):
            return event.raw
        if self._first and not self._envelope:
            self._envelope = {k: data[k] for k in _ENVELOPE if k in data}
        if usage := data.get("usage"):
            self._usage = mapping(usage)
        if not data.get("choices"):
            return self._without_choice(event, data)
        return self._on_choice(event, data, mapping(data["choices"][0]))

    def turn(self) -> Turn:
        """Return the turn, once an upstream answer has ended."""
        message: dict[str, JSON] = {"role": "assistant", "content": None}
        message |= {field: "".join(texts) for field, texts in self._texts.items()}
        if self._calls:
            message["tool_calls"] = [_whole(call) for call in self._calls]
        return _turn(message, self._finish_reason, self._names)

    def resume(self) -> None:
        """Get ready for the next upstream answer."""
        self._used.append(self._usage)
        self._usage = {}
        self._first = False
        self._finish_reason = None
        for gathered in (self._texts, self._calls_by_index, self._client_index):
            gathered.clear()
        self._calls.clear()
        self._end.clear()

    def finish(self) -> bytes:
        """Return the end of the completion."""
        if self._first:
            return b"".join(event.raw for event, _ in self._end)
        return b"".join(
            event.raw if data is None else self._event(self._with_usage(data))
            for event, data in self._end
        )

    def ping(self) -> bytes:
        """Return a comment, which says nothing."""
        return b": waiting for a tool\n\n"

    def error(self, message: str) -> bytes:
        """Return an error that ends the stream."""
        return b"data: " + error_body(500, message) + b"\n\ndata: [DONE]\n\n"

    def _without_choice(self, event: Event, data: dict[str, JSON]) -> bytes:
        if data.get("usage"):
            self._end.append((event, data))
            return b""
        return event.raw if self._first else b""

    def _on_choice(self, event: Event, data: dict[str, JSON], choice: dict[str, JSON]) -> bytes:
        delta = mapping(choice.get("delta"))
        for field in _APPENDED:
            if isinstance(fragment := delta.get(field), str):
                self._texts.setdefault(field, []).append(fragment)
        given = [mapping(call) for call in sequence(delta.get("tool_calls"))]
        shown = [call for call in map(self._on_call, given) if call is not None]
        said = {name: value for name, value in delta.items() if name != "tool_calls"}
        if shown:
            said["tool_calls"] = shown
        finish = choice.get("finish_reason")
        if finish:
            self._finish_reason = str(finish)
            return self._hold(event, data, choice, delta, said)
        if self._first and shown == given:
            return event.raw
        return self._event(_with_delta(data, choice, said)) if _says_something(said) else b""

    def _hold(
        self,
        event: Event,
        data: dict[str, JSON],
        choice: dict[str, JSON],
        delta: dict[str, JSON],
        said: dict[str, JSON],
    ) -> bytes:
        """Hold the finish chunk; what it says besides goes on at once."""
        if not _says_something(delta):
            self._end.append((event, data))
            return b""
        ending = _with_delta(data, choice, {})
        self._end.append((event._replace(raw=self._event(ending)), ending))
        if not _says_something(said):
            return b""
        saying = {name: value for name, value in data.items() if name != "usage"}
        return self._event(_with_delta(saying, {**choice, "finish_reason": None}, said))

    def _on_call(self, delta: dict[str, JSON]) -> dict[str, JSON] | None:
        """Take a fragment of a call; return what the client gets of it."""
        given = delta.get("index")
        index = given if isinstance(given, int) else 0
        call = self._calls_by_index.get(index)
        if call is None or call.is_followed_by(delta):
            call = self._calls_by_index[index] = StreamedCall()
            self._calls.append(call)
        call.merge(delta)
        if call.name in self._names:
            return None
        place = self._calls.index(call)
        number = self._client_index.setdefault(place, self._next_index(index))
        return delta if given in (None, number) else {**delta, "index": number}

    def _next_index(self, index: int) -> int:
        """Number the client's calls without gaps where some are hidden; else leave them."""
        hidden = any(call.name in self._names for call in self._calls)
        return len(self._client_index) if hidden or not self._first else index

    def _with_usage(self, data: dict[str, JSON]) -> dict[str, JSON]:
        if not data.get("usage"):
            return data
        return {**data, "usage": _summed(mapping(data["usage"]), self._used)}

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

    def add(self, answer: JSON) -> Turn:
        """Take an upstream answer; return its turn."""
        if self._last:
            self._used.append(mapping(self._last.get("usage")))
        self._last = mapping(answer)
        self._first = self._first or self._last
        choice, message = _choice(self._last)
        for field in _APPENDED:
            if isinstance(fragment := message.get(field), str):
                self._texts.setdefault(field, []).append(fragment)
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
        if self._last.get("usage"):
            completion["usage"] = _summed(mapping(self._last["usage"]), self._used)
        return encode(completion).encode()


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
    runs = []
    said = ""
    for index, element in enumerate(elements(request.get("messages"))):
        message = mapping(decode(element))
        if message.get("role") == "assistant":
            calls = [str(mapping(c).get("id")) for c in sequence(message.get("tool_calls"))]
            key = run_key(calls, said, _said(message.get("content")))
            runs.append(Run(start=index, end=index + 1, key=key))
        elif message.get("role") == "user":
            said = spoken([_said(message.get("content"))]) or ""
    return runs


def said_before(request: Members) -> str:
    """Return what the person said last, for the key of the answer to it."""
    for element in reversed(elements(request.get("messages"))):
        message = mapping(decode(element))
        if message.get("role") == "user":
            return spoken([_said(message.get("content"))]) or ""
    return ""


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
    calls = [mapping(call) for call in sequence(message.get("tool_calls"))]
    waits = finish_reason not in _CUT_OFF
    return Turn(
        items=(message,),
        calls=tuple(
            InjectedCall(
                call_id=str(call.get("id")),
                name=_name(call),
                arguments=arguments(text(mapping(call.get("function")).get("arguments")) or ""),
            )
            for call in calls
            if waits and _name(call) in names
        ),
        client_calls=tuple(str(call.get("id")) for call in calls if _name(call) not in names),
        text=_said(message.get("content")),
    )


def _choice(completion: dict[str, JSON]) -> tuple[dict[str, JSON], dict[str, JSON]]:
    choice = mapping((sequence(completion.get("choices")) or [None])[0])
    return choice, mapping(choice.get("message"))


def _name(call: JSON) -> str:
    whole = mapping(call)
    return text(mapping(whole.get("function") or whole.get("custom")).get("name")) or ""


def _whole(call: StreamedCall) -> JSON:
    """Return a streamed call as a message takes it."""
    kind = "custom" if call.is_custom else "function"
    field = "input" if call.is_custom else "arguments"
    return {"id": call.call_id, "type": kind, kind: {"name": call.name, field: call.input_text}}


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
