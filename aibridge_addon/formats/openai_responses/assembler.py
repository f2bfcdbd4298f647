"""Assembles a streamed response of OpenAI Responses into one document. Sans-io."""

from collections.abc import Mapping
from typing import NamedTuple

from aibridge_addon.formats.openai_responses.reader import ResponseReader
from aibridge_addon.raw_json import JSON, expect, mapping, sequence


class _Place(NamedTuple):
    """The place of a streamed text in its item."""

    member: str
    counter: str
    """Member of the event that counts the parts."""
    part: str
    """Type of the part."""
    text: str
    """Member of the part that holds the text."""
    item: str
    """Type of the item, should the stream not name it."""


_TEXTS: Mapping[str, _Place] = {
    "response.output_text.delta": _Place(
        "content", "content_index", "output_text", "text", "message"
    ),
    "response.refusal.delta": _Place("content", "content_index", "refusal", "refusal", "message"),
    "response.reasoning_text.delta": _Place(
        "content", "content_index", "reasoning_text", "text", "reasoning"
    ),
    "response.reasoning_summary_text.delta": _Place(
        "summary", "summary_index", "summary_text", "text", "reasoning"
    ),
}


class ResponseAssembler(ResponseReader):
    """Assembles one streamed response."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: dict[int, dict[tuple[_Place, int], list[str]]] = {}
        """Fragments of the texts of incomplete items, by output index."""
        self._error_data: JSON = None

    def on_data(self, data: dict[str, JSON]) -> None:
        """Read the decoded data of an event."""
        super().on_data(data)
        kind = data["type"]
        if place := _TEXTS.get(kind):
            self._on_text(data, place)
        elif kind == "response.output_item.done":
            self._texts.pop(data.get("output_index", len(self._items) - 1), None)
        elif kind == "error":
            given = data.get("error") or {"code": data.get("code"), "message": data.get("message")}
            self._error_data = given if isinstance(given, dict) else {"message": given}

    def _on_text(self, data: dict[str, JSON], place: _Place) -> None:
        index = expect(int, data["output_index"])
        key = (place, expect(int, data.get(place.counter) or 0))
        fragment = expect(str, data["delta"])
        self._items.setdefault(index, {"type": place.item})
        self._texts.setdefault(index, {}).setdefault(key, []).append(fragment)

    def _item(self, index: int) -> dict[str, JSON]:
        """Return an item; an incomplete item has the texts received so far."""
        item = dict(super()._item(index))
        for (place, _), fragments in sorted(self._texts.get(index, {}).items()):
            part = {"type": place.part, place.text: "".join(fragments)}
            item[place.member] = [*sequence(item.get(place.member)), part]
        return item

    def document(self) -> dict[str, JSON]:
        """Return the response so far."""
        if not self._response and not self._items:
            return {"error": self._error_data or {}} if self._error else {}
        response: dict[str, JSON] = {"object": "response", **self.response()}
        if self._error:
            response["status"] = "failed"
            response["error"] = self._error_data or mapping(response.get("error"))
        return response
