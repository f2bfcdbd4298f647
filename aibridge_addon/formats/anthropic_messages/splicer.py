"""Joins several upstream messages of Anthropic Messages into the client's. Sans-io.

The client sees one message: blocks are renumbered to close the gaps of hidden blocks, and only the
first `message_start` and the last `message_delta` and `message_stop` are relayed. While nothing is
hidden, events are relayed byte for byte.
"""

from collections.abc import Callable

from aibridge_addon.formats.anthropic_messages.blocks import StreamedBlock
from aibridge_addon.formats.anthropic_messages.errors import error_body
from aibridge_addon.formats.anthropic_messages.turn import is_call_of, turn_of
from aibridge_addon.formats.anthropic_messages.usage import serving_model, summed_usage
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.text_runs import TextRuns
from aibridge_addon.formats.tool_protocol import StreamError, Turn
from aibridge_addon.formats.usage import merge_usage
from aibridge_addon.raw_json import JSON, encode, mapping, read, sequence, text

type Encode = Callable[[dict[str, JSON]], bytes]
"""Encodes an event, given its data, in the framing of the stream."""


def server_sent(data: dict[str, JSON]) -> bytes:
    """Encode an event as a server-sent one."""
    return f"event: {data['type']}\ndata: {encode(data)}\n\n".encode()


class Splicer:
    """Joins several streamed messages into one."""

    def __init__(self, names: frozenset[str], encode_event: Encode = server_sent) -> None:
        self._names = names
        self._event = encode_event
        self._first = True
        """True during the first upstream response."""
        self._next_index = 0
        """The client's index of its next block, once a block is hidden."""
        self._index: dict[int, int | None] = {}
        """The client's index of each block of this response; None for a hidden block."""
        self._blocks: dict[int, StreamedBlock] = {}
        self._text_runs = TextRuns(self._add_delta)
        self._usage: dict[str, JSON] = {}
        self._used: list[dict[str, JSON]] = []
        """Usage of the earlier responses."""
        self._end: list[tuple[Event, JSON]] = []
        """Events that end the message, held until no response follows, and all later events."""
        self._stop_reason: str | None = None
        self.hides = False
        """True once a block was hidden; until then, events are relayed unchanged."""

    def feed(self, event: Event, data: JSON) -> bytes:
        """Read an event; return the bytes that the client gets for it."""
        match mapping(data).get("type"):
            case "message_start":
                self._usage = merge_usage({}, mapping(data.get("message")).get("usage"))
                return event.raw if self._first else b""
            case "content_block_start":
                return self._on_block_start(event, data)
            case "content_block_delta" | "content_block_stop":
                return self._on_block(event, data)
            case "message_delta":
                usage = data.get("usage")
                restarts = serving_model(usage) is not None
                self._usage = merge_usage(self._usage, usage, restarts=restarts)
                reason = text(mapping(data.get("delta")).get("stop_reason"))
                self._stop_reason = reason or self._stop_reason
                return self._hold(event, data)
            case "message_stop":
                return self._hold(event, data)
            case "error":
                return event.raw
        return self._hold(event, data) if self._end else event.raw

    def pass_text(self, run: bytes) -> bool:
        """Take a run of text deltas that the client gets unchanged; False: feed each of them."""
        if self.hides:
            return False
        self._text_runs.add(run)
        return True

    def _hold(self, event: Event, data: JSON) -> bytes:
        """Hold an event; return it at once while nothing is hidden."""
        if not self.hides:
            return event.raw
        self._end.append((event, data))
        return b""

    def turn(self) -> Turn:
        """Return the turn of an upstream response that has ended."""
        self._text_runs.read()
        blocks = [self._blocks[index].content() for index in sorted(self._blocks)]
        return turn_of(blocks, self._stop_reason, self._names)

    def resume(self) -> None:
        """Prepare for the next upstream response."""
        self._used.append(self._usage)
        self._first = False
        self.hides = True
        self._stop_reason = None
        self._index.clear()
        self._blocks.clear()
        self._end.clear()

    def finish(self) -> bytes:
        """Return the end of the message."""
        if self._first:
            return b"".join(event.raw for event, _ in self._end)
        usage = summed_usage(self._usage, self._used)
        return b"".join(
            self._event({**data, "usage": usage})
            if mapping(data).get("type") == "message_delta"
            else event.raw
            for event, data in self._end
        )

    def ping(self) -> bytes:
        """Return a `ping` event, which clients ignore."""
        return self._event({"type": "ping"})

    def error(self, error: StreamError) -> bytes:
        """Return an error that ends the stream: the provider's own, or an error of its type."""
        if mapping(mapping(error.body).get("error")).get("type"):
            return self._event({**error.body, "type": "error"})
        body = error_body(error.http_status or 500, error.message, error.error_type)
        return self._event(read(body))

    def _on_block_start(self, event: Event, data: JSON) -> bytes:
        block = self._blocks[data["index"]] = StreamedBlock(mapping(data.get("content_block")))
        if block.calls(self._names):
            self._index[data["index"]] = None
            self.hides = True
            return b""
        index = self._index[data["index"]] = self._next_index if self.hides else data["index"]
        self._next_index = max(self._next_index, index + 1)
        return self._renumbered(event, data, index)

    def _on_block(self, event: Event, data: JSON) -> bytes:
        given = data.get("index")
        if not isinstance(given, int):
            return event.raw
        if data["type"] == "content_block_delta":
            self._text_runs.read()  # a block's deltas are in order
            self._add_delta(data)
        index = self._index.get(given, given)
        return b"" if index is None else self._renumbered(event, data, index)

    def _add_delta(self, data: JSON) -> None:
        if block := self._blocks.get(data["index"]):
            block.add(mapping(data.get("delta")))

    def _renumbered(self, event: Event, data: JSON, index: int) -> bytes:
        return event.raw if data["index"] == index else self._event({**data, "index": index})


class Merger:
    """Joins several complete messages into one."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._content: list[JSON] = []
        self._first: dict[str, JSON] | None = None
        self._last: dict[str, JSON] = {}
        self._used: list[dict[str, JSON]] = []
        self._usage: dict[str, JSON] = {}
        self.hides = False

    def add(self, response: JSON) -> Turn:
        """Add an upstream message; return its turn."""
        message = mapping(response)
        if self._first is not None:
            self._used.append(self._usage)
        self._first = self._first or message
        self._last = message
        self._usage = mapping(message.get("usage"))
        blocks = sequence(message.get("content"))
        shown = [block for block in blocks if not is_call_of(block, self._names)]
        self._content += shown
        self.hides = self.hides or len(shown) < len(blocks)
        return turn_of(blocks, text(message.get("stop_reason")), self._names)

    def finish(self) -> bytes:
        """Return the client's message."""
        message = {
            **self._last,
            "id": mapping(self._first).get("id"),
            "content": self._content,
            "usage": summed_usage(self._usage, self._used),
        }
        return encode(message).encode()
