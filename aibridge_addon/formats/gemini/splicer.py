"""Joins several upstream responses of the Gemini API into the client's. Sans-io.

The client sees one response: one id, no hidden calls, one finish reason, one usage. While nothing
is hidden, chunks are relayed byte for byte.
"""

from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.gemini.envelope import inner_response, with_inner
from aibridge_addon.formats.gemini.errors import error_body, read_error
from aibridge_addon.formats.gemini.names import named, spelling
from aibridge_addon.formats.gemini.reader import index_of, parts_of
from aibridge_addon.formats.gemini.turn import is_call_of, turn_of
from aibridge_addon.formats.gemini.usage import merge, summed_usage
from aibridge_addon.formats.tool_protocol import StreamError, Turn
from aibridge_addon.raw_json import JSON, encode, mapping, sequence, text

_CANDIDATES, _USAGE = "candidates", "usageMetadata"


class Framing:
    """Writes chunks as the provider does: as server-sent events, or as elements of an array."""

    def __init__(self) -> None:
        self._is_array = False
        self._has_begun = False
        """True once the client has got an element of the array."""

    def note(self, event: Event, *, relayed: bool) -> None:
        """Note an event of the provider, and whether the client gets it unchanged."""
        if event.data is not None and not self._has_begun:
            self._is_array = self._is_array or event.raw.lstrip()[:1] == b"["
        self._has_begun = self._has_begun or (relayed and event.data is not None)

    def chunk(self, data: JSON) -> bytes:
        """Return a chunk for the client."""
        return self.written(encode(data).encode())

    def written(self, written: bytes) -> bytes:
        """Return encoded JSON as a chunk."""
        if not self._is_array:
            return b"data: " + written + b"\n\n"
        start = b",\r\n" if self._has_begun else b"["
        self._has_begun = True
        return start + written

    def end(self) -> bytes:
        """Return the end of the stream."""
        return b"]" if self._is_array else b""


class Splicer:
    """Joins several streamed responses into one."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._framing = Framing()
        self._id: JSON = None
        self._parts: list[JSON] = []
        """Parts of this response."""
        self._finish_reason: str | None = None
        self._usage: dict[str, JSON] = {}
        self._used: list[dict[str, JSON]] = []
        """Usage of the earlier responses."""
        self.hides = False
        """True once a call was hidden; until then, chunks are relayed unchanged."""
        self._end: list[JSON] = []
        """Chunks from the finish reason on, held until no response follows."""

    def feed(self, event: Event, data: JSON) -> bytes:
        """Read an event; return the bytes that the client gets for it."""
        chunk = inner_response(data)
        if isinstance(data, list) or read_error(chunk):
            return self._failed(event, data)
        if not chunk:  # such as the end of an array
            return b"" if self.hides else self._relayed(event)
        candidate = _first_candidate(chunk)
        self._usage = merge(self._usage, named(chunk, _USAGE))
        self._id = self._id or named(chunk, "responseId")
        parts = parts_of(candidate)
        self._parts += parts
        reason = text(named(candidate, "finishReason"))
        self._finish_reason = reason or self._finish_reason
        self.hides = self.hides or any(is_call_of(part, self._names) for part in parts)
        if not self.hides:
            return self._relayed(event)
        self._framing.note(event, relayed=False)
        shown = self._shown(parts)
        if reason or self._end:
            return self._hold(data, chunk, shown)
        if not shown and (parts or not candidate):
            return b""
        return self._framing.chunk(with_inner(data, self._client_chunk(chunk, shown)))

    def pass_text(self, run: bytes) -> bool:
        """Return False: readers of this format skip nothing."""
        return False

    def turn(self) -> Turn:
        """Return the turn of an upstream response that has ended."""
        return turn_of(self._parts, self._finish_reason, self._names)

    def resume(self) -> None:
        """Prepare for the next upstream response."""
        self._used.append(self._usage)
        self._usage = {}
        self.hides = True
        self._finish_reason = None
        self._parts = []
        self._end.clear()

    def finish(self) -> bytes:
        """Return the end of the response."""
        if not self.hides:
            return b""
        chunks = [
            with_inner(data, self._client_chunk(inner_response(data), parts_of_first(data)))
            for data in self._end
        ]
        return b"".join(map(self._framing.chunk, chunks)) + self._framing.end()

    def ping(self) -> bytes:
        """Return a blank line: Google's SDKs take a comment for broken JSON."""
        return b"\n"

    def error(self, error: StreamError) -> bytes:
        """Return an error that ends the stream: the provider's own, or an error of its type."""
        body = error.body[0] if isinstance(error.body, list) and error.body else error.body
        if not mapping(body).get("error"):
            given = error_body(error.http_status or 500, error.message, error.error_type)
            return self._framing.written(given) + self._framing.end()
        return self._framing.chunk(body) + self._framing.end()

    def _failed(self, event: Event, data: JSON) -> bytes:
        """Return an error, which ends the client's stream."""
        if not self.hides:
            return self._relayed(event)
        chunks = data if isinstance(data, list) else [data]
        return b"".join(map(self._framing.chunk, chunks)) + self._framing.end()

    def _relayed(self, event: Event) -> bytes:
        self._framing.note(event, relayed=True)
        return event.raw

    def _hold(self, data: JSON, chunk: dict[str, JSON], shown: list[JSON]) -> bytes:
        """Hold a chunk with the finish reason, or after it; send its parts at once."""
        self._end.append(with_inner(mapping(data), _with_parts(chunk, [{"text": ""}])))
        if not shown:
            return b""
        open_chunk = _without_reason(self._client_chunk(chunk, shown))
        return self._framing.chunk(with_inner(data, open_chunk))

    def _shown(self, parts: list[JSON]) -> list[JSON]:
        """Return the parts that the client gets; an empty text only carries a signature."""
        return [
            part
            for part in parts
            if not is_call_of(part, self._names) and named(part, "text") != ""
        ]

    def _client_chunk(self, chunk: dict[str, JSON], parts: list[JSON]) -> dict[str, JSON]:
        """Return a chunk with these parts, the client's id, and the usage of all responses."""
        shown = _with_parts(chunk, parts)
        if self._id is not None and named(chunk, "responseId") is not None:
            shown[spelling(shown, "responseId")] = self._id
        return _with_usage(shown, self._used)


class Merger:
    """Joins several complete responses into one."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._id: JSON = None
        self._shown: list[JSON] = []
        self._last: JSON = {}
        self._used: list[dict[str, JSON]] = []
        self.hides = False

    def add(self, response: JSON) -> Turn:
        """Add an upstream response; return its turn."""
        if self._last:
            self._used.append(mapping(named(inner_response(self._last), _USAGE)))
        self._last = mapping(response)
        chunk = inner_response(self._last)
        self._id = self._id or named(chunk, "responseId")
        candidate = _first_candidate(chunk)
        parts = parts_of(candidate)
        shown = [part for part in parts if not is_call_of(part, self._names)]
        self._shown += shown
        self.hides = self.hides or len(shown) < len(parts)
        return turn_of(parts, text(named(candidate, "finishReason")), self._names)

    def finish(self) -> bytes:
        """Return the client's response."""
        response = _with_parts(inner_response(self._last), self._shown)
        if self._id is not None:
            response[spelling(response, "responseId")] = self._id
        return encode(with_inner(self._last, _with_usage(response, self._used))).encode()


def parts_of_first(data: JSON) -> list[JSON]:
    """Return the parts of the first candidate of a document."""
    return parts_of(_first_candidate(inner_response(data)))


def _first_candidate(chunk: dict[str, JSON]) -> dict[str, JSON]:
    """Return the first candidate; empty if the chunk has none."""
    found = (mapping(c) for c in sequence(named(chunk, _CANDIDATES)) if index_of(c) == 0)
    return next(found, {})


def _with_parts(chunk: dict[str, JSON], parts: list[JSON]) -> dict[str, JSON]:
    """Return a chunk whose first candidate has these parts."""
    candidates = sequence(named(chunk, _CANDIDATES))
    if not candidates:
        return dict(chunk)
    first = mapping(candidates[0])
    content = {**mapping(first.get("content")), "parts": parts}
    name = spelling(chunk, _CANDIDATES)
    return {**chunk, name: [{**first, "content": content}, *candidates[1:]]}


def _without_reason(chunk: dict[str, JSON]) -> dict[str, JSON]:
    """Return a chunk whose candidates have not finished."""
    reason = ("finishReason", "finish_reason", "finishMessage", "finish_message")
    candidates = [
        {name: value for name, value in mapping(candidate).items() if name not in reason}
        for candidate in sequence(named(chunk, _CANDIDATES))
    ]
    return {**chunk, spelling(chunk, _CANDIDATES): candidates}


def _with_usage(chunk: dict[str, JSON], used: list[dict[str, JSON]]) -> dict[str, JSON]:
    usage = mapping(named(chunk, _USAGE))
    if not usage or not used:
        return chunk
    return {**chunk, spelling(chunk, _USAGE): summed_usage(usage, used)}
