"""Assembles a streamed response of the Gemini API into one document. Sans-io."""

from aibridge_addon.formats.gemini.calls import CallStream
from aibridge_addon.formats.gemini.names import named, spelling
from aibridge_addon.formats.gemini.reader import GenerationReader, index_of, parts_of
from aibridge_addon.raw_json import JSON, mapping, sequence

_OWN = frozenset({"candidates", "usageMetadata", "usage_metadata", "error", "response"})
"""Members of a chunk that are not copied to the response."""
_TEXT_ONLY = frozenset({"text", "thought"})


class StreamedCandidate:
    """A candidate that is being streamed; its texts are joined once, at the end."""

    def __init__(self) -> None:
        self._members: dict[str, JSON] = {}
        self._parts: list[dict[str, JSON]] = []
        self._fragments: list[list[str]] = []
        """Texts of each part."""
        self._call_stream = CallStream()

    def add(self, candidate: dict[str, JSON]) -> None:
        """Append the parts of a chunk, and take its other members over."""
        self._members |= {name: value for name, value in candidate.items() if name != "content"}
        for part in parts_of(candidate):
            if isinstance(part, dict):
                self._append(part)

    def _append(self, part: dict[str, JSON]) -> None:
        name = spelling(part, "functionCall")
        if isinstance(call := part.get(name), dict):
            if (begun := self._call_stream.add(call)) is None:
                return
            part = {**part, name: begun}
        said = part.get("text")
        fragment = [said] if isinstance(said, str) else []
        if self._parts and _continues(self._parts[-1], part):
            self._parts[-1] |= {name: value for name, value in part.items() if name != "text"}
            self._fragments[-1] += fragment
        else:
            self._parts.append(dict(part))
            self._fragments.append(fragment)

    def content(self) -> dict[str, JSON]:
        """Return the candidate as a response without streaming has it."""
        parts = [
            {**part, "text": "".join(fragments)} if fragments else part
            for part, fragments in zip(self._parts, self._fragments, strict=True)
        ]
        return {"content": {"parts": parts, "role": "model"}, **self._members}


def _continues(before: dict[str, JSON], part: dict[str, JSON]) -> bool:
    """Return True if a part continues the text before it; a signature may end it."""
    if not (isinstance(before.get("text"), str) and isinstance(part.get("text"), str)):
        return False
    same = bool(before.get("thought")) == bool(part.get("thought"))
    return before.keys() <= _TEXT_ONLY and (same or not part["text"])


class ResponseAssembler(GenerationReader):
    """Assembles one streamed response."""

    def __init__(self) -> None:
        super().__init__()
        self._members: dict[str, JSON] = {}
        self._streamed: dict[int, StreamedCandidate] = {}
        self._error_data: JSON = None

    def on_chunk(self, chunk: dict[str, JSON]) -> None:
        """Read a chunk without its envelope."""
        super().on_chunk(chunk)
        self._members |= {k: v for k, v in chunk.items() if k not in _OWN and v is not None}
        self._error_data = self._error_data or chunk.get("error")
        for candidate in map(mapping, sequence(named(chunk, "candidates"))):
            self._streamed.setdefault(index_of(candidate), StreamedCandidate()).add(candidate)

    def document(self) -> dict[str, JSON]:
        """Return the response so far."""
        document: dict[str, JSON] = {}
        if self._streamed:
            candidates = [self._streamed[index].content() for index in sorted(self._streamed)]
            document["candidates"] = candidates
        document |= self._members
        if self._usage:
            document["usageMetadata"] = self._usage
        if self._error:
            document["error"] = self._error_data
        return document
