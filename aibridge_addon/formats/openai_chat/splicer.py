"""Joins several upstream completions of OpenAI Chat Completions into the client's. Sans-io.

The client sees one completion: one id, calls renumbered to close the gaps of hidden calls, one
finish chunk, one usage. While nothing is hidden, chunks are relayed byte for byte.
"""

from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.openai_chat.streamed_message import StreamedMessage, joined
from aibridge_addon.formats.openai_chat.turn import call_name, first_choice, turn_of
from aibridge_addon.formats.openai_chat.usage import usage_of, with_summed_usage
from aibridge_addon.formats.openai_errors import error_body
from aibridge_addon.formats.text_runs import TextRuns
from aibridge_addon.formats.tool_protocol import StreamError, Turn
from aibridge_addon.formats.usage import merge_usage
from aibridge_addon.raw_json import JSON, encode, mapping, sequence, text

_DONE = b"[DONE]"
_ENVELOPE = ("id", "created", "model")
"""Members that all chunks of a completion repeat."""
_APPENDED = ("content", "reasoning_content", "reasoning", "refusal")
"""Fields of a message whose texts are joined over all responses."""


class Splicer:
    """Joins several streamed completions into one."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._first = True
        """True during the first upstream response."""
        self._envelope: dict[str, JSON] = {}
        """Members that all chunks of the client's completion repeat."""
        self._has_role = False
        """True once the client has got `role`, which a stream sends once."""
        self._message = StreamedMessage()
        """The message of this response."""
        self._text_runs = TextRuns(self._add_delta)
        self._next_index = 0
        """The client's index of its next call, once a call is hidden."""
        self.hides = False
        """True once a call was hidden; until then, chunks are relayed unchanged."""
        self._finish_reason: str | None = None
        self._usage: dict[str, JSON] = {}
        self._used: list[dict[str, JSON]] = []
        """Usage of the earlier responses."""
        self._end: list[tuple[Event, JSON]] = []
        """Events that end the completion, held until no response follows, and all events after
        them."""

    def feed(self, event: Event, data: JSON) -> bytes:
        """Read an event; return the bytes that the client gets for it."""
        if isinstance(data, dict) and data.get("error"):
            return event.raw
        if not isinstance(data, dict):
            return self._hold(event, None) if self._end or event.data == _DONE else event.raw
        self._usage = merge_usage(self._usage, usage_of(data))
        if not data.get("choices"):
            return self._without_choice(event, data)
        return self._on_choice(event, data, first_choice(data))

    def pass_text(self, run: bytes) -> bool:
        """Take a run of text deltas that the client gets unchanged; False: feed each of them."""
        if self.hides:
            return False
        self._text_runs.add(run)
        return True

    def _hold(self, event: Event, data: JSON) -> bytes:
        """Hold an event; return it at once while nothing is hidden."""
        if not self.hides:
            return event.raw
        self._end.append((event, data))
        return b""

    def turn(self) -> Turn:
        """Return the turn of an upstream response that has ended."""
        self._text_runs.read()
        return turn_of(self._message.content(), self._finish_reason, self._names)

    def resume(self) -> None:
        """Prepare for the next upstream response."""
        self._used.append(self._usage)
        self._usage = {}
        self._first = False
        self.hides = True
        self._finish_reason = None
        self._message = StreamedMessage()
        self._next_index = 0
        self._end.clear()

    def finish(self) -> bytes:
        """Return the end of the completion."""
        if self._first:
            return b"".join(event.raw for event, _ in self._end)
        has_asked = bool(self._used[0])  # for usage; otherwise no chunk may have usage only
        return b"".join(
            event.raw if data is None else self._event(self._with_usage(data))
            for event, data in self._end
            if data is None or has_asked or data.get("choices")
        )

    def ping(self) -> bytes:
        """Return a comment, which clients ignore."""
        return b": waiting for a tool\n\n"

    def error(self, error: StreamError) -> bytes:
        """Return an error that ends the stream: the provider's own, or an error of its type."""
        if mapping(error.body).get("error"):
            body = encode(error.body).encode()
        else:
            body = error_body(error.http_status or 500, error.message, error.error_type)
        return b"data: " + body + b"\n\ndata: [DONE]\n\n"

    def _without_choice(self, event: Event, data: dict[str, JSON]) -> bytes:
        if data.get("usage") or self._end:
            return self._hold(event, data)
        return event.raw if self._first else b""

    def _on_choice(self, event: Event, data: dict[str, JSON], choice: dict[str, JSON]) -> bytes:
        delta = mapping(choice.get("delta"))
        if delta:
            self._text_runs.read()  # before anything is hidden, and a text's deltas are in order
        self._note_envelope(data)
        self._message.add(delta)
        given = [mapping(call) for call in sequence(delta.get("tool_calls"))]
        calls = [call for call in map(self._on_call, given) if call is not None]
        finish = choice.get("finish_reason")
        if finish:
            self._finish_reason = str(finish)
        if not self.hides:
            self._has_role = self._has_role or "role" in delta
            return event.raw
        shown = {name: value for name, value in delta.items() if name != "tool_calls"}
        if calls:
            shown["tool_calls"] = calls
        if finish or self._end:
            return self._hold_choice(event, data, choice, delta, shown)
        if self._first and calls == given:
            self._has_role = self._has_role or "role" in delta
            return event.raw
        return self._send(data, choice, shown)

    def _hold_choice(
        self,
        event: Event,
        data: dict[str, JSON],
        choice: dict[str, JSON],
        delta: dict[str, JSON],
        shown: dict[str, JSON],
    ) -> bytes:
        """Hold the finish chunk; send the rest of its delta at once."""
        if not _has_content(delta) and "role" not in delta:
            self._end.append((event, data))
            return b""
        ending = _with_delta(data, choice, {})
        self._end.append((event._replace(raw=self._event(ending)), ending))
        rest = {name: value for name, value in data.items() if name != "usage"}
        return self._send(rest, {**choice, "finish_reason": None}, shown)

    def _send(
        self, data: dict[str, JSON], choice: dict[str, JSON], delta: dict[str, JSON]
    ) -> bytes:
        """Return a chunk with this delta; nothing if the delta is empty."""
        if self._has_role:
            delta = {name: value for name, value in delta.items() if name != "role"}
        if not _has_content(delta) and "role" not in delta:
            return b""
        self._has_role = self._has_role or "role" in delta
        return self._event(self._with_usage(_with_delta(data, choice, delta)))

    def _on_call(self, delta: dict[str, JSON]) -> dict[str, JSON] | None:
        """Read a fragment of a call; return the part that the client gets, None if it is hidden."""
        given = delta.get("index")
        index = given if isinstance(given, int) else 0
        call = self._message.add_call(delta)
        if call.name in self._names:
            self.hides = True
            return None
        if call.client_index is None:
            call.client_index = self._next_index if self.hides else index
            self._next_index = max(self._next_index, call.client_index + 1)
        number = call.client_index
        return delta if given in (None, number) else {**delta, "index": number}

    def _add_delta(self, data: JSON) -> None:
        """Read a text delta that was relayed."""
        delta = mapping(first_choice(data).get("delta"))
        self._note_envelope(data)
        self._message.add(delta)
        self._has_role = self._has_role or "role" in delta

    def _note_envelope(self, data: dict[str, JSON]) -> None:
        if not self._envelope:
            self._envelope = {k: data[k] for k in _ENVELOPE if k in data}

    def _with_usage(self, data: dict[str, JSON]) -> dict[str, JSON]:
        return data if self._first else with_summed_usage(data, self._used)

    def _event(self, data: dict[str, JSON]) -> bytes:
        return f"data: {encode({**data, **self._envelope})}\n\n".encode()


class Merger:
    """Joins several complete completions into one."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._first: dict[str, JSON] = {}
        self._last: dict[str, JSON] = {}
        self._texts: dict[str, list[str | list[JSON]]] = {}
        """Texts by field; some hosts send parts instead."""
        self._used: list[dict[str, JSON]] = []
        self.hides = False

    def add(self, response: JSON) -> Turn:
        """Add an upstream completion; return its turn."""
        if self._last:
            self._used.append(usage_of(self._last))
        self._last = mapping(response)
        self._first = self._first or self._last
        choice, message = _choice(self._last)
        for field in _APPENDED:
            if isinstance(fragment := message.get(field), str | list):
                self._texts.setdefault(field, []).append(fragment)
        calls = sequence(message.get("tool_calls"))
        self.hides = self.hides or any(call_name(call) in self._names for call in calls)
        return turn_of(message, text(choice.get("finish_reason")), self._names)

    def finish(self) -> bytes:
        """Return the client's completion."""
        choice, message = _choice(self._last)
        calls = sequence(message.get("tool_calls"))
        shown = [call for call in calls if call_name(call) not in self._names]
        merged = {name: value for name, value in message.items() if name != "tool_calls"}
        merged |= {field: joined(texts) for field, texts in self._texts.items()}
        if shown:
            merged["tool_calls"] = shown
        completion = self._last | {k: self._first[k] for k in _ENVELOPE if k in self._first}
        completion["choices"] = [{**choice, "message": merged}]
        return encode(with_summed_usage(completion, self._used)).encode()


def _choice(completion: dict[str, JSON]) -> tuple[dict[str, JSON], dict[str, JSON]]:
    choice = first_choice(completion)
    return choice, mapping(choice.get("message"))


def _has_content(delta: dict[str, JSON]) -> bool:
    return any(value not in (None, "", []) for name, value in delta.items() if name != "role")


def _with_delta(
    data: dict[str, JSON], choice: dict[str, JSON], delta: dict[str, JSON]
) -> dict[str, JSON]:
    return {**data, "choices": [{**choice, "delta": delta}]}
