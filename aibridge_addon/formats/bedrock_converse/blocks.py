"""Gathers the deltas of a streamed content block of Converse. Sans-io."""

from base64 import b64decode, b64encode

from aibridge_addon.facts import Thought, ToolCall
from aibridge_addon.raw_json import JSON, arguments, expect, mapping, text

_REASONING = "reasoningContent"


class StreamedBlock:
    """A content block that is being streamed; its fragments are joined once, at the end.

    Only blocks of tools have a start; all others begin with their first delta.
    """

    def __init__(self) -> None:
        self._start: dict[str, JSON] = {}
        self._fragments: dict[tuple[str, str], list[str]] = {}
        self._results: list[JSON] = []
        self._citations: list[JSON] = []

    def begin(self, start: dict[str, JSON]) -> None:
        """Read the start of a block."""
        self._start = start

    def add(self, delta: dict[str, JSON]) -> None:
        """Append a delta."""
        for kind, value in delta.items():
            if kind == "text":
                self._append(kind, "", value)
            elif kind == "citation":
                self._citations.append(value)
            elif kind == "toolResult":
                self._results += expect(list, value)
            else:
                for field, fragment in mapping(value).items():
                    self._append(kind, field, fragment)

    def content(self) -> dict[str, JSON]:
        """Return the block as a message without streaming has it."""
        if tool := mapping(self._start.get("toolUse")):
            given = arguments(self._text("toolUse", "input"))
            return {"toolUse": {**tool, "input": given}}
        if result := mapping(self._start.get("toolResult")):
            return {"toolResult": {**result, "content": self._results}}
        if any(kind == _REASONING for kind, _ in self._fragments):
            return {_REASONING: self._reasoning()}
        own = self._text("text", "")
        if self._citations:
            return {"citationsContent": {"content": [{"text": own}], "citations": self._citations}}
        if any(kind == "text" for kind, _ in self._fragments):
            return {"text": own}
        return self._start

    def _append(self, kind: str, field: str, value: JSON) -> None:
        if isinstance(value, str):
            self._fragments.setdefault((kind, field), []).append(value)

    def _text(self, kind: str, field: str) -> str:
        return "".join(self._fragments.get((kind, field), ()))

    def _reasoning(self) -> dict[str, JSON]:
        if redacted := self._fragments.get((_REASONING, "redactedContent")):
            return {"redactedContent": _joined_base64(redacted)}
        reasoning: dict[str, JSON] = {"text": self._text(_REASONING, "text")}
        if signature := self._text(_REASONING, "signature"):
            reasoning["signature"] = signature
        return {"reasoningText": reasoning}


def _joined_base64(pieces: list[str]) -> str:
    """Join pieces that are encoded one by one; broken ones stay as they are."""
    if len(pieces) == 1:
        return pieces[0]
    try:
        return b64encode(b"".join(b64decode(piece, validate=True) for piece in pieces)).decode()
    except ValueError:
        return "".join(pieces)


def tool_call_of(block: dict[str, JSON]) -> ToolCall | None:
    """Return the call of a block; None if it is not a call."""
    call = mapping(block.get("toolUse"))
    if not call:
        return None
    return ToolCall(
        tool=text(call.get("name")) or "",
        call_id=text(call.get("toolUseId")),
        input={} if call.get("input") is None else call["input"],
        server_side=call.get("type") == "server_tool_use",
    )


def thought_of(block: dict[str, JSON]) -> Thought | None:
    """Return the readable thought of a block; None if it has none."""
    reasoning = mapping(mapping(block.get(_REASONING)).get("reasoningText"))
    content = text(reasoning.get("text"))
    return Thought(content=content, source="thinking") if content else None
