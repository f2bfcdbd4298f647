"""Gathers the fragments of a streamed tool call of OpenAI Chat Completions. Sans-io."""

from aibridge_addon.facts import ToolCall
from aibridge_addon.raw_json import JSON, arguments, encode, mapping, text

_OWN = frozenset({"index", "id", "type", "function", "custom"})
"""Members of a streamed call that have fields of their own."""


class StreamedCall:
    """A tool call that is being streamed; its fragments are joined once, at the end."""

    def __init__(self) -> None:
        self.call_id: str | None = None
        self.name = ""
        self.is_custom = False
        self.client_index: int | None = None
        """The client's index of the call, set by a splicer that shows it."""
        self._fragments: list[str] = []
        self._extras: dict[str, JSON] = {}
        """Further members that hosts send, such as a signature."""

    def is_followed_by(self, delta: dict[str, JSON]) -> bool:
        """Return whether a delta with this call's index begins another call."""
        call_id = text(delta.get("id"))
        if call_id and self.call_id:
            return call_id != self.call_id
        # Without index and id, only a name shows that a new call begins.
        return "index" not in delta and bool(mapping(delta.get("function")).get("name"))

    def merge(self, delta: dict[str, JSON]) -> None:
        """Add a fragment, or a complete call."""
        self.call_id = self.call_id or text(delta.get("id")) or None
        custom = delta.get("custom")
        self.is_custom = self.is_custom or custom is not None
        function = mapping(custom or delta.get("function"))
        self.name = self.name or text(function.get("name")) or ""
        fragment = function.get("input" if self.is_custom else "arguments")
        if isinstance(fragment, str):
            self._fragments.append(fragment)
        elif fragment is not None:  # some hosts send an object
            self._fragments.append(encode(fragment))
        self._extras |= {k: v for k, v in delta.items() if k not in _OWN}

    @property
    def input_text(self) -> str:
        """Input received so far."""
        return "".join(self._fragments)

    def facts(self) -> ToolCall:
        """Return the call as received so far."""
        return ToolCall(
            tool=self.name,
            call_id=self.call_id,
            input=(text(self.input_text) or "") if self.is_custom else arguments(self.input_text),
        )

    def complete(self) -> JSON:
        """Return the call in the shape of a complete message."""
        kind = "custom" if self.is_custom else "function"
        call = {"name": self.name, "input" if self.is_custom else "arguments": self.input_text}
        return {"id": self.call_id, "type": kind, kind: call, **self._extras}
