"""Joins several upstream responses of Ollama's API into the client's. Sans-io.

The client sees one response: no hidden calls, and one last line, with the output of all responses.
Lines that do not change are relayed byte for byte.
"""

from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.ollama.assembler import Pieces
from aibridge_addon.formats.ollama.errors import error_body, read_error
from aibridge_addon.formats.ollama.turn import turn_of, without_calls_of
from aibridge_addon.formats.ollama.usage import with_summed_usage
from aibridge_addon.formats.tool_protocol import StreamError, Turn
from aibridge_addon.raw_json import JSON, encode, mapping, text

_HEAD = ("model", "created_at")
"""Members that all lines of a response have."""


class Splicer:
    """Joins several streamed responses into one."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._head: dict[str, JSON] = {}
        self._message = Pieces()
        """The message of this response."""
        self._end: dict[str, JSON] = {}
        """The last line, once it has come."""
        self._used: list[dict[str, JSON]] = []
        """Last lines of the earlier responses."""
        self.hides = False
        """True once a call was hidden; until then, lines are relayed unchanged."""

    def feed(self, event: Event, data: JSON) -> bytes:
        """Read a line; return the bytes that the client gets for it."""
        line = mapping(data)
        if not line or read_error(line):
            return event.raw
        self._head = {name: line[name] for name in _HEAD if name in line}
        message = mapping(line.get("message"))
        self._message.add(message)
        shown = without_calls_of(message, self._names)
        self.hides = self.hides or shown is not message
        if line.get("done") is True:
            self._end = line
            return self._last_piece(shown) if self.hides else event.raw
        if shown is message:
            return event.raw
        return _line({**line, "message": shown}) if _has_content(shown) else b""

    def pass_text(self, run: bytes) -> bool:
        """Return False: readers of this format skip nothing."""
        return False

    def turn(self) -> Turn:
        """Return the turn of an upstream response that has ended."""
        return turn_of(self._message.joined(), text(self._end.get("done_reason")), self._names)

    def resume(self) -> None:
        """Prepare for the next upstream response."""
        self._used.append(self._end)
        self.hides = True
        self._end = {}
        self._message = Pieces()

    def finish(self) -> bytes:
        """Return the last line."""
        if not self.hides or not self._end:
            return b""
        message = {"role": "assistant", "content": ""}
        return _line(with_summed_usage({**self._end, "message": message}, self._used))

    def ping(self) -> bytes:
        """Return a line with an empty piece: the clients read every line, and a blank one fails."""
        return _line({**self._head, "message": {"role": "assistant", "content": ""}, "done": False})

    def error(self, error: StreamError) -> bytes:
        """Return an error that ends the stream: the provider's own, or an error of its type."""
        if mapping(error.body).get("error"):
            return _line(error.body)
        return error_body(error.message, error.error_type, None) + b"\n"

    def _last_piece(self, shown: dict[str, JSON]) -> bytes:
        """Return the content of the last line, which itself is held until no response follows."""
        if not _has_content(shown):
            return b""
        return _line({**self._head, "message": shown, "done": False})


class Merger:
    """Joins several complete responses into one."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._shown = Pieces()
        self._last: dict[str, JSON] = {}
        self._used: list[dict[str, JSON]] = []
        """The earlier responses."""
        self.hides = False

    def add(self, response: JSON) -> Turn:
        """Add an upstream response; return its turn."""
        if self._last:
            self._used.append(self._last)
        self._last = mapping(response)
        message = mapping(self._last.get("message"))
        shown = without_calls_of(message, self._names)
        self._shown.add(shown)
        self.hides = self.hides or shown is not message
        return turn_of(message, text(self._last.get("done_reason")), self._names)

    def finish(self) -> bytes:
        """Return the client's response."""
        merged = {**self._last, "message": self._shown.joined()}
        return encode(with_summed_usage(merged, self._used)).encode()


def _has_content(message: dict[str, JSON]) -> bool:
    return any(value not in (None, "", []) for name, value in message.items() if name != "role")


def _line(data: JSON) -> bytes:
    return encode(data).encode() + b"\n"
