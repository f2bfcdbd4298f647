"""Reads turns of the Live API. Sans-io.

A message of the server is read as a chunk of the Gemini API. Each usage object in it is of a call
of its own, which is billed with the whole context of the session; they are not cumulative. Its
total leaves out thoughts.
"""

from dataclasses import replace

from aibridge_addon.facts import ResponseFacts, Usage
from aibridge_addon.formats.gemini.assembler import ResponseAssembler
from aibridge_addon.formats.gemini.names import named, spelling
from aibridge_addon.formats.gemini.reader import GenerationReader
from aibridge_addon.formats.gemini.reader import read_whole as read_generated
from aibridge_addon.formats.gemini.usage import (
    answered_tokens,
    grounding_counts,
    read_usage,
    states_tokens,
)
from aibridge_addon.formats.usage import Extra
from aibridge_addon.raw_json import JSON, count, decode, expect, mapping, sequence

FURTHER = "turn"
"""Kind of the calls of a turn after its first."""
INTERRUPTED = "interrupted"
"""Member of a chunk after which the turn ends early."""
_PARTS_OF_TOTALS = ("promptTokenCount", "toolUsePromptTokenCount")


class LiveReader(GenerationReader):
    """Reads one turn."""

    def __init__(self) -> None:
        super().__init__()
        self._usages: list[dict[str, JSON]] = []
        self.searches: Extra = {}
        """Number of searches that the turn reports."""
        self.was_interrupted = False
        """True if a person spoke before the turn was complete."""

    @property
    def has_usage(self) -> bool:
        """True if a message had a usage object."""
        return bool(self._usages)

    @property
    def has_calls(self) -> bool:
        """True if the model has called tools, for whose results it waits."""
        return any(found.calls for found in self._candidates.values())

    @property
    def is_complete(self) -> bool:
        """True if the turn is complete, perhaps without its usage."""
        return self._has_end

    def on_data(self, data: JSON) -> None:
        """Read a message."""
        message = expect(dict, data)
        self.searches = grounding_counts(named(message, "serverContent")) or self.searches
        if usage := mapping(named(message, "usageMetadata")):
            self._usages.append(usage)
        chunk = chunk_of(message)
        self.was_interrupted |= INTERRUPTED in chunk and not self._has_end
        self.on_chunk(chunk)

    def content(self) -> ResponseFacts:
        """Return the facts of the turn."""
        found = [usage for given in self._usages if (usage := read_live_usage(given))]
        own = found[0] if found else None
        if own and self.searches:
            own = replace(own, extra={**own.extra, **self.searches})
        return replace(
            super().content(),
            usage=own,
            hidden_usages=tuple(replace(usage, call=FURTHER) for usage in found[1:]),
            usage_unreadable=len(found) < sum(map(states_tokens, self._usages)),
            cancelled=self.was_interrupted,
        )


class LiveAssembler(LiveReader, ResponseAssembler):
    """Assembles one turn into the document of a response of the Gemini API."""

    def document(self) -> dict[str, JSON]:
        """Return the turn so far; its usage objects stay apart."""
        document = super().document()
        document |= {"usages": list(self._usages)} if self._usages else {}
        return document | ({"searches": self.searches} if self.searches else {})


def chunk_of(message: dict[str, JSON]) -> dict[str, JSON]:
    """Return a message of the server as a chunk of the Gemini API, without its usage."""
    content = mapping(named(message, "serverContent"))
    parts = [
        part
        for part in sequence(mapping(named(content, "modelTurn")).get("parts"))
        if "audio" not in str(named(named(part, "inlineData"), "mimeType"))
    ]
    said = mapping(named(content, "outputTranscription")).get("text")
    parts += [{"text": said}] if isinstance(said, str) else []
    calls = sequence(named(mapping(named(message, "toolCall")), "functionCalls"))
    parts += [{"functionCall": call} for call in calls]
    ended = named(content, "turnComplete") is True
    candidate: dict[str, JSON] = {"content": {"parts": parts}} if parts else {}
    candidate |= {"finishReason": "STOP"} if ended else {}
    chunk: dict[str, JSON] = {"candidates": [candidate]} if candidate else {}
    chunk |= {INTERRUPTED: True} if named(content, INTERRUPTED) is True else {}
    return chunk | ({"error": message["error"]} if "error" in message else {})


def read_live_usage(usage: dict[str, JSON]) -> Usage | None:
    """Read a usage object, whose total leaves out the thoughts."""
    thoughts = count(named(usage, "thoughtsTokenCount")) or 0
    total = count(named(usage, "totalTokenCount"))
    given = sum(count(named(usage, name)) or 0 for name in _PARTS_OF_TOTALS)
    counted = given + (answered_tokens(usage) or 0)
    whole = usage
    if thoughts and total == counted:
        whole = {**usage, spelling(usage, "totalTokenCount"): total + thoughts}
    found = read_usage(whole)
    return found and replace(found, raw=usage)


def read_whole(body: bytes) -> ResponseFacts:
    """Read a turn as `LiveAssembler` assembles it, or an error."""
    facts = read_generated(body)
    if facts.error or facts.unreadable:
        return facts
    document = mapping(decode(body))
    reader = LiveReader()
    reader.searches = {
        name: number
        for name, given in mapping(document.get("searches")).items()
        if (number := count(given))
    }
    for usage in sequence(document.get("usages")):
        reader.on_data({"usageMetadata": usage})
    own = reader.content()
    return replace(
        facts,
        usage=own.usage,
        hidden_usages=own.hidden_usages,
        usage_unreadable=own.usage_unreadable,
        cancelled=INTERRUPTED in document,
    )
