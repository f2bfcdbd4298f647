"""Joins several upstream messages of Converse into the client's. Sans-io.

The client sees one message: blocks are renumbered to close the gaps of hidden blocks, and only the
first `messageStart` and the last `messageStop` and `metadata` are relayed. While nothing is hidden,
frames are relayed byte for byte; a frame that changes is encoded anew, with both checksums.
"""

from aibridge_addon.formats.bedrock_converse.blocks import StreamedBlock
from aibridge_addon.formats.bedrock_converse.reader import blocks_of
from aibridge_addon.formats.bedrock_converse.turn import is_call_of, turn_of
from aibridge_addon.formats.bedrock_converse.usage import summed_usage
from aibridge_addon.formats.decoders.aws_frames import event_frame, exception_frame
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.tool_protocol import StreamError, Turn
from aibridge_addon.raw_json import JSON, encode, mapping, text

_INDEX = "contentBlockIndex"
_EXCEPTIONS = {
    "internalServerException",
    "modelStreamErrorException",
    "serviceUnavailableException",
    "throttlingException",
    "validationException",
}
"""Exceptions that the AWS SDKs know in a stream; of others they show neither type nor message."""


class Splicer:
    """Joins several streamed messages into one."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._first = True
        """True during the first upstream response."""
        self.hides = False
        """True once a block was hidden; until then, frames are relayed unchanged."""
        self._next_index = 0
        """The client's index of its next block, once a block is hidden."""
        self._index: dict[int, int | None] = {}
        """The client's index of each block of this response; None for a hidden block."""
        self._blocks: dict[int, StreamedBlock] = {}
        self._stop_reason: str | None = None
        self._usage: dict[str, JSON] = {}
        self._used: list[dict[str, JSON]] = []
        """Usage of the earlier responses."""
        self._end: list[tuple[Event, dict[str, JSON]]] = []
        """Frames that end the message, held until no response follows, and all later frames."""

    def feed(self, event: Event, data: JSON) -> bytes:
        """Read an event; return the bytes that the client gets for it."""
        given = mapping(data)
        match given.get("type"):
            case "messageStart":
                return event.raw if self._first else b""
            case "contentBlockStart" | "contentBlockDelta" | "contentBlockStop" as kind:
                return self._on_block(event, given, kind)
            case "messageStop":
                self._stop_reason = text(given.get("stopReason"))
                return self._hold(event, given)
            case "metadata":
                self._usage = mapping(given.get("usage"))
                return self._hold(event, given)
            case "error":
                return event.raw
        return self._hold(event, given) if self._end else event.raw

    def pass_text(self, run: bytes) -> bool:
        """Return False: readers of this format skip nothing."""
        return False

    def turn(self) -> Turn:
        """Return the turn of an upstream response that has ended."""
        blocks = [self._blocks[index].content() for index in sorted(self._blocks)]
        return turn_of(blocks, self._stop_reason, self._names)

    def resume(self) -> None:
        """Prepare for the next upstream response."""
        self._used.append(self._usage)
        self._usage = {}
        self._first = False
        self.hides = True
        self._stop_reason = None
        self._index.clear()
        self._blocks.clear()
        self._end.clear()

    def finish(self) -> bytes:
        """Return the end of the message."""
        return b"".join(
            _frame({**data, "usage": summed_usage(self._usage, self._used)})
            if self._used and data.get("type") == "metadata"
            else event.raw
            for event, data in self._end
        )

    def ping(self) -> bytes:
        """Return an event of an unknown type: the AWS SDKs skip it, and the API has no other."""
        return event_frame("ping", b"{}")

    def error(self, error: StreamError) -> bytes:
        """Return an exception, which ends the stream, of a type that the AWS SDKs know."""
        return exception_frame(_exception(error), error.message)

    def _hold(self, event: Event, data: dict[str, JSON]) -> bytes:
        """Hold a frame; return it at once while nothing is hidden."""
        if not self.hides:
            return event.raw
        self._end.append((event, data))
        return b""

    def _on_block(self, event: Event, data: dict[str, JSON], kind: str) -> bytes:
        given = data.get(_INDEX)
        if not isinstance(given, int):
            return event.raw
        block = self._blocks.setdefault(given, StreamedBlock())
        if kind == "contentBlockStart":
            block.begin(mapping(data.get("start")))
        elif kind == "contentBlockDelta":
            block.add(mapping(data.get("delta")))
        if given not in self._index:
            self._index[given] = self._placed(given, mapping(data.get("start")))
        index = self._index[given]
        if index is None:
            return b""
        return event.raw if index == given else _frame({**data, _INDEX: index})

    def _placed(self, given: int, start: dict[str, JSON]) -> int | None:
        """Return the client's index of a block that begins; None if it is hidden."""
        if is_call_of(start, self._names):
            self.hides = True
            return None
        index = self._next_index if self.hides else given
        self._next_index = max(self._next_index, index + 1)
        return index


class Merger:
    """Joins several complete messages into one."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._content: list[JSON] = []
        self._last: dict[str, JSON] = {}
        self._used: list[dict[str, JSON]] = []
        self.hides = False

    def add(self, response: JSON) -> Turn:
        """Add an upstream message; return its turn."""
        if self._last:
            self._used.append(mapping(self._last.get("usage")))
        self._last = mapping(response)
        blocks = blocks_of(self._last)
        shown = [block for block in blocks if not is_call_of(block, self._names)]
        self._content += shown
        self.hides = self.hides or len(shown) < len(blocks)
        return turn_of(blocks, text(self._last.get("stopReason")), self._names)

    def finish(self) -> bytes:
        """Return the client's message."""
        output = mapping(self._last.get("output"))
        message = {**mapping(output.get("message")), "content": self._content}
        usage = summed_usage(mapping(self._last.get("usage")), self._used)
        merged = {**self._last, "output": {**output, "message": message}, "usage": usage}
        return encode(merged).encode()


def _frame(data: dict[str, JSON]) -> bytes:
    """Encode an event of Converse, whose type is outside of its JSON."""
    payload = {name: value for name, value in data.items() if name != "type"}
    return event_frame(data["type"], encode(payload).encode())


def _exception(error: StreamError) -> str:
    """Return the type of an exception: the provider's own if SDKs know it, else by the status."""
    own = error.error_type or ""
    own = own[:1].lower() + own[1:]
    if own in _EXCEPTIONS:
        return own
    status = error.http_status or 500
    if status == 429:
        return "throttlingException"
    if status in (503, 529):
        return "serviceUnavailableException"
    return "validationException" if 400 <= status < 500 else "internalServerException"
