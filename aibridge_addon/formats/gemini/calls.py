"""Gathers the calls and thoughts of a candidate of the Gemini API, part by part. Sans-io.

A call comes whole in one part; only Vertex AI may stream its arguments, as values at JSON paths.
"""

import re
from itertools import islice
from typing import Any

from aibridge_addon.facts import Thought, ToolCall
from aibridge_addon.formats.gemini.names import named
from aibridge_addon.raw_json import JSON, mapping, sequence, text

KNOWN_PARTS = frozenset(
    {
        *("text", "thought", "thoughtSignature", "inlineData", "fileData", "functionCall"),
        *("functionResponse", "executableCode", "codeExecutionResult", "toolCall", "toolResponse"),
        *("partMetadata", "videoMetadata", "mediaResolution", "mediaProcessing"),
        *("audioTranscription", "speechMetadata", "documentMetadata", "spreadsheetMetadata"),
        "audioMetadata",
    }
)
"""Members of a part that are read, or that hold nothing to record."""

_STEPS = re.compile(r"\.([^.\[\]]+)|\[(\d{1,4})\]|\['([^']*)'\]")
_VALUES = ("stringValue", "numberValue", "boolValue")
_MOST_STEPS = 64
_OF_STREAMS = frozenset({"partialArgs", "partial_args", "willContinue", "will_continue"})
"""Members that a call has only while it is streamed."""


class CallStream:
    """Joins the parts in which a call may be streamed; a call that comes whole stays as it is."""

    def __init__(self) -> None:
        self._open: dict[str, JSON] | None = None
        """The call that is being streamed."""

    def add(self, call: dict[str, JSON]) -> dict[str, JSON] | None:
        """Add a `functionCall`; return it if it begins a call, None if it continues the last.

        The arguments of the returned call grow with the parts that follow.
        """
        begun = None
        if self._open is None or text(call.get("name")):
            begun = self._open = {k: v for k, v in call.items() if k not in _OF_STREAMS}
        partial = sequence(named(call, "partialArgs"))
        continues = named(call, "willContinue") is True
        if partial or continues:
            given = self._open.get("args")
            self._open["args"] = dict(given) if isinstance(given, dict) else {}
        for entry in partial:
            _put(self._open["args"], mapping(entry))
        self._open = self._open if continues else None
        return begun


class GatheredParts:
    """The calls and thoughts in the parts of one candidate."""

    def __init__(self) -> None:
        self._calls: list[tuple[str, dict[str, JSON]]] = []
        """The kind of each call's part, and the call."""
        self._call_stream = CallStream()
        self._thoughts: list[list[str]] = []
        """Fragments of each run of thoughts."""
        self._thinks = False
        """True if the last part with content was a thought."""

    @property
    def thoughts(self) -> tuple[Thought, ...]:
        """The thoughts, each run of them joined."""
        joined = (text("".join(fragments)) for fragments in self._thoughts)
        return tuple(Thought(content=found, source="thinking") for found in joined if found)

    @property
    def calls(self) -> list[ToolCall]:
        """The calls, in order."""
        return [_call_facts(kind, call) for kind, call in self._calls]

    def add(self, part: dict[str, JSON]) -> None:
        """Add a part."""
        said = named(part, "text")
        if isinstance(said, str) and said and named(part, "thought") is True:
            if not self._thinks:
                self._thoughts.append([])
            self._thoughts[-1].append(said)
            self._thinks = True
        elif said != "":  # an empty text only carries a signature
            self._thinks = False
            self._add_call(part)

    def _add_call(self, part: dict[str, JSON]) -> None:
        if isinstance(call := named(part, "functionCall"), dict):
            if (begun := self._call_stream.add(call)) is not None:
                self._calls.append(("functionCall", begun))
            return
        for kind in ("executableCode", "toolCall"):
            if isinstance(call := named(part, kind), dict):
                self._calls.append((kind, call))


def tool_of(kind: str, call: dict[str, JSON]) -> str:
    """Return the name of the tool that a part calls."""
    if kind == "executableCode":
        return "code_execution"
    own = named(call, "toolType") if kind == "toolCall" else call.get("name")
    return (text(own) or "").lower() if kind == "toolCall" else text(own) or ""


def _call_facts(kind: str, call: dict[str, JSON]) -> ToolCall:
    given = named(call, "args")
    if kind == "executableCode":
        given = {name: call[name] for name in ("language", "code") if name in call}
    return ToolCall(
        tool=tool_of(kind, call),
        call_id=text(call.get("id")) or None,
        input={} if given is None else given,
        server_side=kind != "functionCall",
    )


def _put(arguments: JSON, entry: dict[str, JSON]) -> None:
    """Put a streamed value at its JSON path; a text is appended to the text that is there."""
    path = text(named(entry, "jsonPath")) or ""
    found = islice(_STEPS.finditer(path), _MOST_STEPS)
    steps = [int(m[2]) if m[2] else m[1] or m[3] or "" for m in found]
    value = next((found for name in _VALUES if (found := named(entry, name)) is not None), None)
    place: Any = arguments
    for step, following in zip(steps, [*steps[1:], None], strict=False):
        if not _has_room(place, step):
            return
        if following is None:
            before = place[step]
            appends = isinstance(before, str) and isinstance(value, str)
            place[step] = before + value if appends else value
        elif place[step] is None:
            place[step] = [] if isinstance(following, int) else {}
        place = place[step]


def _has_room(place: JSON, step: str | int) -> bool:
    """Return True if a place can hold a value at a step, which exists then."""
    if isinstance(place, dict) and isinstance(step, str):
        place.setdefault(step, None)
        return True
    if isinstance(place, list) and isinstance(step, int) and step <= len(place):
        place.extend([None] * (step == len(place)))
        return True
    return False
