"""One completion of several, in OpenAI Chat Completions. Sans-io.

What the client sees is one completion: one id, calls renumbered over the hidden ones, one finish
chunk, one usage. Where nothing was hidden, chunks go on as the bytes that they were.
"""

from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.openai_chat.reader import StreamedCall
from aibridge_addon.formats.openai_chat.turn import call_name, first_choice, turn_of
from aibridge_addon.formats.openai_chat.usage import usage_of, with_summed_usage
from aibridge_addon.formats.openai_errors import error_body
from aibridge_addon.formats.tool_protocol import StreamError, Turn
from aibridge_addon.formats.usage import merge_usage
from aibridge_addon.raw_json import JSON, encode, mapping, sequence, text

_DONE = b"[DONE]"
_ENVELOPE = ("id", "created", "model")
"""What all chunks of one completion have in common."""
_APPENDED = ("content", "reasoning_content", "reasoning", "refusal")
"""Fields of a message whose texts are joined."""
_OF_CALLS = frozenset({"index", "id", "type", "function", "custom"})
"""Members of a streamed call that `StreamedCall` reads."""


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
        self._calls: list[_Call] = []
        self._calls_by_index: dict[int, _Call] = {}
        self._next_index = 0
        """The client's index of its next own call, where some are hidden."""
        self._hides = False
        """Whether anything was hidden so far; until then, chunks go on as they are."""
        self._finish_reason: str | None = None
        self._usage: dict[str, JSON] = {}
        self._used: list[dict[str, JSON]] = []
        """Usage of the answers before this one."""
        self._end: list[tuple[Event, JSON]] = []
        """What ends the completion, held until it is known to end; once something is, all that
        comes after it."""

    def feed(self, event: Event, data: JSON) -> bytes:
        """Take an event; return what the client gets of it."""
        if isinstance(data, dict) and data.get("error"):
            return event.raw
        if not isinstance(data, dict):
            return self._held(event, None) if self._end or event.data == _DONE else event.raw
        self._usage = merge_usage(self._usage, usage_of(data))
        if not data.get("choices"):
            return self._without_choice(event, data)
        if not self._envelope:
            self._envelope = {k: data[k] for k in _ENVELOPE if k in data}
        return self._on_choice(event, data, first_choice(data))

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
            message["tool_calls"] = [call.whole() for call in self._calls]
        return turn_of(message, self._finish_reason, self._names)

    def resume(self) -> None:
        """Get ready for the next upstream answer."""
        self._used.append(self._usage)
        self._usage = {}
        self._first = False
        self._hides = True
        self._finish_reason = None
        self._texts.clear()
        self._lists = {}
        self._calls_by_index.clear()
        self._next_index = 0
        self._calls.clear()
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

    def error(self, error: StreamError) -> bytes:
        """Return an error that ends the stream: the provider's own, or one of its type."""
        if mapping(error.body).get("error"):
            body = encode(error.body).encode()
        else:
            body = error_body(error.http_status or 500, error.message, error.error_type)
        return b"data: " + body + b"\n\ndata: [DONE]\n\n"

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
            call = self._calls_by_index[index] = _Call()
            self._calls.append(call)
        call.merge(delta)
        if call.name in self._names:
            self._hides = True
            return None
        if call.client_index is None:
            call.client_index = self._next_index if self._hides else index
            self._next_index = max(self._next_index, call.client_index + 1)
        number = call.client_index
        return delta if given in (None, number) else {**delta, "index": number}

    def _with_usage(self, data: dict[str, JSON]) -> dict[str, JSON]:
        return data if self._first else with_summed_usage(data, self._used)

    def _event(self, data: dict[str, JSON]) -> bytes:
        return f"data: {encode({**data, **self._envelope})}\n\n".encode()


class _Call(StreamedCall):
    """A tool call on its way, and its place in the client's completion."""

    def __init__(self) -> None:
        super().__init__()
        self.client_index: int | None = None
        """The client's index of it; None while it is not shown."""
        self._extras: dict[str, JSON] = {}
        """What hosts say of it besides, such as a signature."""

    def merge(self, delta: dict[str, JSON]) -> None:
        """Add a fragment, or a whole call."""
        super().merge(delta)
        self._extras |= {k: v for k, v in delta.items() if k not in _OF_CALLS}

    def whole(self) -> JSON:
        """Return it as a message takes it."""
        kind = "custom" if self.is_custom else "function"
        said = {"name": self.name, "input" if self.is_custom else "arguments": self.input_text}
        return {"id": self.call_id, "type": kind, kind: said, **self._extras}


class Merger:
    """Makes one whole completion of several."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._first: dict[str, JSON] = {}
        self._last: dict[str, JSON] = {}
        self._said: dict[str, list[str | list[JSON]]] = {}
        """Texts; some hosts give parts instead."""
        self._used: list[dict[str, JSON]] = []
        self.hides = False

    def add(self, answer: JSON) -> Turn:
        """Take an upstream answer; return its turn."""
        if self._last:
            self._used.append(usage_of(self._last))
        self._last = mapping(answer)
        self._first = self._first or self._last
        choice, message = _choice(self._last)
        for field in _APPENDED:
            if isinstance(fragment := message.get(field), str | list):
                self._said.setdefault(field, []).append(fragment)
        calls = sequence(message.get("tool_calls"))
        self.hides = self.hides or any(call_name(call) in self._names for call in calls)
        return turn_of(message, text(choice.get("finish_reason")), self._names)

    def finish(self) -> bytes:
        """Return the client's completion."""
        choice, message = _choice(self._last)
        calls = sequence(message.get("tool_calls"))
        shown = [call for call in calls if call_name(call) not in self._names]
        merged = {name: value for name, value in message.items() if name != "tool_calls"}
        merged |= {field: _joined(said) for field, said in self._said.items()}
        if shown:
            merged["tool_calls"] = shown
        completion = self._last | {k: self._first[k] for k in _ENVELOPE if k in self._first}
        completion["choices"] = [{**choice, "message": merged}]
        return encode(with_summed_usage(completion, self._used)).encode()


def _joined(said: list[str | list[JSON]]) -> JSON:
    texts = [one for one in said if isinstance(one, str)]
    if len(texts) == len(said):
        return "".join(texts)
    parts: list[JSON] = []
    for one in said:
        parts += one if isinstance(one, list) else [{"type": "text", "text": one}] * bool(one)
    return parts


def _choice(completion: dict[str, JSON]) -> tuple[dict[str, JSON], dict[str, JSON]]:
    choice = first_choice(completion)
    return choice, mapping(choice.get("message"))


def _says_something(delta: dict[str, JSON]) -> bool:
    return any(value not in (None, "", []) for name, value in delta.items() if name != "role")


def _with_delta(
    data: dict[str, JSON], choice: dict[str, JSON], delta: dict[str, JSON]
) -> dict[str, JSON]:
    return {**data, "choices": [{**choice, "delta": delta}]}
