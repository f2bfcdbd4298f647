"""Reads responses of Ollama's API. Sans-io.

Each line of a stream has the next piece of the message; tool calls come whole, and have no id in
most versions. The last line has `done` and the counts; a response without streaming is such a line.
"""

from abc import abstractmethod
from dataclasses import replace

from aibridge_addon.facts import ResponseFacts, Thought, ToolCall
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.ollama.errors import read_error
from aibridge_addon.formats.ollama.usage import read_usage, states_tokens, usage_members
from aibridge_addon.formats.reader import Reader
from aibridge_addon.raw_json import JSON, decode, expect, mapping, sequence, text


class OllamaReader(Reader):
    """Reads one streamed response."""

    def __init__(self) -> None:
        super().__init__()
        self._model: str | None = None
        self._usage: dict[str, JSON] = {}
        self._thoughts: list[str] = []
        self._calls: list[ToolCall] = []

    @property
    def complete(self) -> bool:
        """True if the last line has come, and no error."""
        return self._has_end and self._error is None

    def content(self) -> ResponseFacts:
        """Return the facts of the response."""
        usage = read_usage(self._usage)
        thought = text("".join(self._thoughts))
        return ResponseFacts(
            model=self._model,
            usage=usage,
            usage_unreadable=usage is None and states_tokens(self._usage),
            tool_calls=tuple(self._calls),
            thoughts=(Thought(content=thought, source="thinking"),) if thought else (),
        )

    def decoded(self, data: bytes, event: Event) -> JSON:
        """Decode a line, which has no type."""
        return decode(data)

    def on_data(self, data: JSON) -> None:
        """Read a line."""
        self.on_line(expect(dict, data))

    def on_line(self, line: dict[str, JSON]) -> None:
        """Read a line that is an object."""
        if error := read_error(line):
            self._error = error
            self.ended = True
        self._model = self._model or text(line.get("model"))
        self._usage |= usage_members(line)
        self.on_piece(line)
        if line.get("done") is True:
            self._has_end = self.ended = True

    @abstractmethod
    def on_piece(self, line: dict[str, JSON]) -> None:
        """Read the piece of the message in a line."""


class ChatReader(OllamaReader):
    """Reads one streamed response of `POST /api/chat`."""

    def on_piece(self, line: dict[str, JSON]) -> None:
        """Read a piece of the message."""
        message = mapping(line.get("message"))
        self._thoughts.append(text(message.get("thinking")) or "")
        self._calls += map(_read_call, sequence(message.get("tool_calls")))


class GenerationReader(OllamaReader):
    """Reads one streamed response of `POST /api/generate`."""

    def on_piece(self, line: dict[str, JSON]) -> None:
        """Read a piece of the text."""
        self._thoughts.append(text(line.get("thinking")) or "")


def _read_call(given: JSON) -> ToolCall:
    call = mapping(given)
    function = mapping(call.get("function"))
    return ToolCall(
        tool=text(function.get("name")) or "",
        call_id=text(call.get("id")) or None,
        input=function.get("arguments"),
    )


def read_chat(body: bytes) -> ResponseFacts:
    """Read a response of `POST /api/chat` that was not streamed, or an error."""
    return _read_whole(body, ChatReader(), "message")


def read_generation(body: bytes) -> ResponseFacts:
    """Read a response of `POST /api/generate` that was not streamed, or an error."""
    return _read_whole(body, GenerationReader(), "response")


def _read_whole(body: bytes, reader: OllamaReader, content: str) -> ResponseFacts:
    try:
        document = mapping(decode(body))
    except ValueError:
        return ResponseFacts(unreadable=1)
    reader.on_line(document)
    facts = reader.facts()
    if facts.error:
        return ResponseFacts(error=facts.error, complete=True)
    if content not in document and "done" not in document:
        return ResponseFacts(unreadable=1)
    return replace(facts, complete=True)
