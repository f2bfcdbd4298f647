"""Reads responses of the Gemini API. Sans-io.

Each chunk of a stream is a complete response with the next parts of its candidates; a response
without streaming is read as a single chunk. A stream ends with its body: no event marks the end.
"""

from dataclasses import replace

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.gemini.calls import KNOWN_PARTS, GatheredParts
from aibridge_addon.formats.gemini.envelope import inner_response
from aibridge_addon.formats.gemini.errors import read_error
from aibridge_addon.formats.gemini.names import named, snake
from aibridge_addon.formats.gemini.usage import grounding_counts, merge, read_usage, states_tokens
from aibridge_addon.formats.reader import Reader
from aibridge_addon.formats.usage import Extra
from aibridge_addon.raw_json import JSON, count, decode, expect, mapping, sequence, text

_KNOWN = KNOWN_PARTS | {snake(name) for name in KNOWN_PARTS}
_OF_RESPONSES = ("candidates", "promptFeedback", "usageMetadata")


class GenerationReader(Reader):
    """Reads one streamed response."""

    def __init__(self) -> None:
        super().__init__()
        self._id: str | None = None
        self._model: str | None = None
        self._usage: dict[str, JSON] = {}
        self._candidates: dict[int, GatheredParts] = {}
        self._grounding: Extra = {}

    @property
    def complete(self) -> bool:
        """True if a candidate has finished or the prompt was blocked, and no error."""
        return self._has_end and self._error is None

    def content(self) -> ResponseFacts:
        """Return the facts of the response."""
        candidates = [self._candidates[index] for index in sorted(self._candidates)]
        usage = read_usage(self._usage, self._grounding, is_whole=self.complete)
        return ResponseFacts(
            response_id=self._id,
            model=self._model,
            usage=usage,
            usage_unreadable=usage is None and states_tokens(self._usage),
            tool_calls=tuple(call for found in candidates for call in found.calls),
            thoughts=tuple(thought for found in candidates for thought in found.thoughts),
        )

    def decoded(self, data: bytes, event: Event) -> JSON:
        """Decode a chunk, which has no type."""
        return decode(data)

    def on_data(self, data: JSON) -> None:
        """Read a chunk; some errors come as an array of one."""
        if isinstance(data, list) and data:
            for chunk in data:
                self.on_chunk(inner_response(expect(dict, chunk)))
        else:
            self.on_chunk(inner_response(expect(dict, data)))

    def on_chunk(self, chunk: dict[str, JSON]) -> None:
        """Read a chunk without its envelope."""
        if error := read_error(chunk):
            self._error = error
            self.ended = True
        self._id = self._id or text(named(chunk, "responseId"))
        self._model = self._model or text(named(chunk, "modelVersion"))
        self._usage = merge(self._usage, named(chunk, "usageMetadata"))
        for candidate in map(mapping, sequence(named(chunk, "candidates"))):
            self._on_candidate(candidate)
        if named(mapping(named(chunk, "promptFeedback")), "blockReason"):
            self._has_end = True
        if self._usage and not self._has_end and read_usage(self._usage):
            self.report_usage()

    def on_body_end(self) -> None:
        """Note that the body has ended as its head announced: nothing is missing from it."""
        self._has_end = True

    def _on_candidate(self, candidate: dict[str, JSON]) -> None:
        if named(candidate, "finishReason"):
            self._has_end = True
        self._grounding = grounding_counts(candidate) or self._grounding
        gathered = self._candidates.setdefault(index_of(candidate), GatheredParts())
        for part in map(mapping, parts_of(candidate)):
            gathered.add(part)
            self._unknown += [text(name) or "" for name in part if name not in _KNOWN]


def index_of(candidate: JSON) -> int:
    """Return the index of a candidate; the first has none."""
    return count(named(candidate, "index")) or 0


def parts_of(candidate: JSON) -> list[JSON]:
    """Return the parts of a candidate, or of an element of `contents`."""
    given = mapping(candidate)
    content = mapping(given.get("content")) if "content" in given else given
    return sequence(content.get("parts"))


def read_whole(body: bytes) -> ResponseFacts:
    """Read a response that was not streamed, or an error."""
    try:
        document = decode(body)
    except ValueError:
        return ResponseFacts(unreadable=1)
    chunks = [inner_response(chunk) for chunk in (sequence(document) or [document])]
    reader = GenerationReader()
    for chunk in chunks:
        reader.on_chunk(chunk)
    reader.on_body_end()
    facts = reader.facts()
    if facts.error:
        return ResponseFacts(error=facts.error, complete=True)
    if not any(is_response(chunk) for chunk in chunks):
        return ResponseFacts(unreadable=1)
    return replace(facts, complete=True)


def is_response(document: dict[str, JSON]) -> bool:
    """Return True if a document is a response or a chunk."""
    shapes = {"candidates": list, "promptFeedback": dict, "usageMetadata": dict}
    return any(isinstance(named(document, name), shapes[name]) for name in _OF_RESPONSES)
