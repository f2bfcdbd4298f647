"""Gathers the deltas of a streamed message of OpenAI Chat Completions. Sans-io."""

from aibridge_addon.formats.openai_chat.streamed_call import StreamedCall
from aibridge_addon.raw_json import JSON

_CALLS = frozenset({"role", "tool_calls", "function_call"})
"""Members of a delta that are not appended to the message's field of the same name."""


class StreamedMessage:
    """A message that is being streamed; its fragments are joined once, at the end."""

    def __init__(self) -> None:
        self._fields: dict[str, list[str | list[JSON]]] = {}
        """Fragments by field: texts, or arrays such as signed reasoning."""
        self._objects: dict[str, StreamedObject] = {}
        self._calls: list[StreamedCall] = []
        self._calls_by_index: dict[int, StreamedCall] = {}
        self._legacy_call: StreamedCall | None = None

    def add(self, delta: dict[str, JSON]) -> None:
        """Append a delta, except its tool calls."""
        for name, value in delta.items():
            if name in _CALLS:
                continue
            if isinstance(value, str | list):
                self._fields.setdefault(name, []).append(value)
            elif isinstance(value, dict):
                self._objects.setdefault(name, StreamedObject()).add(value)
        if legacy := delta.get("function_call"):
            self._legacy_call = self._legacy_call or StreamedCall()
            self._legacy_call.merge({"function": legacy})

    def add_call(self, delta: dict[str, JSON]) -> StreamedCall:
        """Append a fragment of a call, or a complete call; return the call."""
        given = delta.get("index")
        index = given if isinstance(given, int) else 0
        call = self._calls_by_index.get(index)
        if call is None or call.is_followed_by(delta):
            call = self._calls_by_index[index] = StreamedCall()
            self._calls.append(call)
        call.merge(delta)
        return call

    def content(self) -> dict[str, JSON]:
        """Return the message's texts, arrays and calls."""
        message: dict[str, JSON] = {"role": "assistant", "content": None}
        message |= {name: joined(fragments) for name, fragments in self._fields.items()}
        if self._calls:
            message["tool_calls"] = [call.complete() for call in self._calls]
        return message

    def complete(self) -> dict[str, JSON]:
        """Return the message as a completion without streaming has it."""
        objects = {name: found.content() for name, found in self._objects.items()}
        message = objects | self.content()
        if self._legacy_call:
            message["function_call"] = self._legacy_call.complete()["function"]
        return message


class StreamedObject:
    """An object that is being streamed member by member, such as audio and its transcript."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._rest: dict[str, JSON] = {}

    def add(self, delta: dict[str, JSON]) -> None:
        """Append the texts that grow; replace all other members."""
        for name, value in delta.items():
            if isinstance(value, str) and name in ("data", "transcript"):
                self._texts.setdefault(name, []).append(value)
            else:
                self._rest[name] = value

    def content(self) -> dict[str, JSON]:
        """Return the object."""
        return {**self._rest, **{name: "".join(texts) for name, texts in self._texts.items()}}


def joined(contents: list[str | list[JSON]]) -> JSON:
    """Join fragments to a text; to an array of parts if some host sent parts instead."""
    texts = [content for content in contents if isinstance(content, str)]
    if len(texts) == len(contents):
        return "".join(texts)
    parts: list[JSON] = []
    for content in contents:
        parts += (
            content
            if isinstance(content, list)
            else [{"type": "text", "text": content}] * bool(content)
        )
    return parts
