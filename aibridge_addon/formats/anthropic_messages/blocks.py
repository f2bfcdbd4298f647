"""Gathers the deltas of a streamed content block of Anthropic Messages. Sans-io."""

from aibridge_addon.formats.anthropic_messages.turn import is_call_of
from aibridge_addon.raw_json import JSON, arguments, sequence


class StreamedBlock:
    """A content block that is being streamed; its fragments are joined once, at the end."""

    def __init__(self, start: dict[str, JSON]) -> None:
        self._start = dict(start)
        self._fragments: dict[str, list[str]] = {}
        self._input: list[str] = []
        self._citations: list[JSON] = []

    def calls(self, names: frozenset[str]) -> bool:
        """Return whether the block calls a tool of one of these names."""
        return is_call_of(self._start, names)

    def add(self, delta: dict[str, JSON]) -> None:
        """Append a delta."""
        kind = delta.get("type")
        if kind == "input_json_delta":
            self._input.append(str(delta.get("partial_json") or ""))
        elif kind == "citations_delta":
            self._citations.append(delta.get("citation"))
        else:  # all other deltas append to the block's field of the same name
            for field, value in delta.items():
                if isinstance(value, str) and field != "type":
                    self._fragments.setdefault(field, []).append(value)

    def content(self) -> JSON:
        """Return the block as a message without streaming has it."""
        block = dict(self._start)
        for field, fragments in self._fragments.items():
            block[field] = str(block.get(field) or "") + "".join(fragments)
        if self._input:
            block["input"] = arguments("".join(self._input))
        if self._citations:
            block["citations"] = [*sequence(block.get("citations")), *self._citations]
        return block
