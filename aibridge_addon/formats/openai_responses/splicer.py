"""Joins several upstream responses of OpenAI Responses into the client's. Sans-io.

The client sees one response: the id of the first one, items renumbered to close the gaps of hidden
items, events numbered without gaps, the first `response.created` and the last terminal event.
"""

from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.openai_errors import error_type_of
from aibridge_addon.formats.openai_responses.echo import with_choice_of, without_tools
from aibridge_addon.formats.openai_responses.turn import is_call_of, summed, turn_of
from aibridge_addon.formats.text_runs import last_delta
from aibridge_addon.formats.tool_protocol import StreamError, Turn
from aibridge_addon.raw_json import JSON, encode, mapping, sequence, text

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_ITEMS = frozenset({"response.output_item.added", "response.output_item.done"})
_BEGINNINGS = frozenset({"response.created", "response.in_progress", "response.queued"})


class Splicer:
    """Joins several streamed responses into one."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._first = True
        """True during the first upstream response."""
        self._number = 0
        """The sequence number of the client's next event."""
        self._last_run = b""
        """Text deltas that were relayed after the event that `_number` counts."""
        self._index: dict[int, int | None] = {}
        """The client's index of each item of this response; None for a hidden item."""
        self._hidden_ids: set[str] = set()
        """Ids of hidden items, for events without an index."""
        self._items: dict[int, JSON] = {}
        """Complete items of this response."""
        self._shown: list[JSON] = []
        """Complete items that the client has seen, of all responses."""
        self._shown_count = 0
        self._used: list[dict[str, JSON]] = []
        """Usage of the earlier responses."""
        self._id: JSON = None
        """The id of the client's response."""
        self._begun: dict[str, JSON] = {}
        """The first response as the provider began it."""
        self._end: tuple[Event, dict[str, JSON]] | None = None
        """The terminal event of this response."""
        self._holds_end = False
        """True while the terminal event is held back, until no response follows."""
        self.hides = False
        """True once an item was hidden; until then, events are relayed unchanged."""

    def feed(self, event: Event, data: JSON) -> bytes:
        """Read an event; return the bytes that the client gets for it."""
        if not isinstance(data, dict):
            is_relayed = event.data is None or not (self._holds_end or not self._first)
            return event.raw if is_relayed else b""
        given = data.get("response")
        if (response := without_tools(given, self._names)) is not given:
            data = {**data, "response": response}
            event = event._replace(raw=_event(data))
        kind = data.get("type")
        if self._id is None:
            self._begun = mapping(data.get("response"))
            self._id = self._begun.get("id")
        if kind in _ENDS:
            self._end = (event, data)
            self._holds_end = True
            # Nothing comes after a failure, nor is there a reason to hold what nothing hides.
            return self.finish() if kind == "response.failed" or not self.hides else b""
        if kind in _BEGINNINGS and not self._first:
            return b""
        if kind in _ITEMS:
            return self._on_item(event, data)
        index = data.get("output_index")
        if not isinstance(index, int):
            is_hidden = text(data.get("item_id")) in self._hidden_ids
            return b"" if is_hidden else self._relayed(event, data, {})
        place = self._index.get(index, index)
        return b"" if place is None else self._relayed(event, data, {"output_index": place})

    def pass_text(self, run: bytes) -> bool:
        """Take a run of text deltas that the client gets unchanged; False: feed each of them.

        Their text is not needed: an item is complete in `response.output_item.done`.
        """
        if not self.hides:
            self._last_run = run
        return not self.hides

    def turn(self) -> Turn:
        """Return the turn of an upstream response that has ended."""
        items = [self._items[index] for index in sorted(self._items)]
        is_completed = self._end is not None and self._end[1]["type"] == "response.completed"
        return turn_of(items, is_completed, self._names)

    def resume(self) -> None:
        """Prepare for the next upstream response."""
        self._used.append(self._usage())
        self._first = False
        self.hides = True
        self._index.clear()
        self._items.clear()
        self._end = None
        self._holds_end = False

    def finish(self) -> bytes:
        """Return the terminal event, if it was held back."""
        if self._end is None or not self._holds_end:
            return b""
        self._holds_end = False
        event, data = self._end
        if not self.hides:
            return self._relayed(event, data, {})
        response = with_choice_of(self._begun, mapping(data.get("response")))
        merged = {**response, "id": self._id, "output": self._shown}
        if response.get("usage"):
            merged["usage"] = summed(self._usage(), self._used)
        return self._relayed(event, data, {"response": merged})

    def ping(self) -> bytes:
        """Return a comment, which clients ignore."""
        return b": waiting for a tool\n\n"

    def error(self, error: StreamError) -> bytes:
        """Return an error that ends the stream, with the provider's own code."""
        given = mapping(mapping(error.body).get("error"))
        data = {
            "type": "error",
            "code": given.get("code") or error.error_type or _type_of(given, error.http_status),
            "message": error.message,
            "param": given.get("param"),
            "sequence_number": self._number,
        }
        return _event(data)

    def _on_item(self, event: Event, data: dict[str, JSON]) -> bytes:
        item = data.get("item")
        given = data.get("output_index")
        index = given if isinstance(given, int) else len(self._items)  # as some hosts leave it out
        if index not in self._index:  # some hosts begin with the complete item
            self._place(index, item)
        place = self._index[index]
        if data["type"] == "response.output_item.done":
            self._items[index] = item
            self._shown += [item] if place is not None else []
        if place is None:
            return b""
        return self._relayed(event, data, {"output_index": place} if given is not None else {})

    def _place(self, index: int, item: JSON) -> None:
        if is_call_of(item, self._names):
            self._index[index] = None
            self._begin_to_hide()
            if item_id := text(mapping(item).get("id")):
                self._hidden_ids.add(item_id)
            return
        place = self._index[index] = self._shown_count if self.hides else index
        self._shown_count = max(self._shown_count, place + 1)

    def _begin_to_hide(self) -> None:
        if self._last_run:
            self._note_number(mapping(last_delta(self._last_run)).get("sequence_number"))
        self.hides = True

    def _note_number(self, number: JSON) -> None:
        """Note the sequence number of an event that was relayed."""
        self._last_run = b""
        if isinstance(number, int):
            self._number = number + 1

    def _usage(self) -> dict[str, JSON]:
        return mapping(mapping(self._end[1].get("response")).get("usage")) if self._end else {}

    def _relayed(self, event: Event, data: dict[str, JSON], changes: dict[str, JSON]) -> bytes:
        number = data.get("sequence_number")
        if not self.hides:
            self._note_number(number)
            return event.raw
        if number is not None:
            changes = {**changes, "sequence_number": self._number}
            self._number += 1
        if all(data.get(name) == value for name, value in changes.items()):
            return event.raw
        return _event({**data, **changes})


class Merger:
    """Joins several complete responses into one."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._shown: list[JSON] = []
        self._id: JSON = None
        self._first: dict[str, JSON] = {}
        self._last: dict[str, JSON] = {}
        self._used: list[dict[str, JSON]] = []
        self.hides = False

    def add(self, response: JSON) -> Turn:
        """Add an upstream response; return its turn."""
        if self._last:
            self._used.append(mapping(self._last.get("usage")))
        cut = without_tools(response, self._names)
        self.hides = self.hides or cut is not response
        self._last = mapping(cut)
        self._id = self._id or self._last.get("id")
        self._first = self._first or self._last
        items = sequence(self._last.get("output"))
        shown = [item for item in items if not is_call_of(item, self._names)]
        self._shown += shown
        self.hides = self.hides or len(shown) < len(items)
        return turn_of(items, self._last.get("status") == "completed", self._names)

    def finish(self) -> bytes:
        """Return the client's response."""
        last = with_choice_of(self._first, self._last)
        response = {**last, "id": self._id, "output": self._shown}
        if self._last.get("usage"):
            response["usage"] = summed(mapping(self._last["usage"]), self._used)
        return encode(response).encode()


def _type_of(given: dict[str, JSON], http_status: int | None) -> JSON:
    return given.get("type") or error_type_of(http_status)


def _event(data: dict[str, JSON]) -> bytes:
    return f"event: {text(data['type'])}\ndata: {encode(data)}\n\n".encode()
