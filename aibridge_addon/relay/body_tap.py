"""The tap on a streamed body: every byte goes on, a copy is read.

mitmproxy calls it for each chunk. It never raises: after an error it stops reading, and relays the
rest. Only the terminal event, and anything after it, is held until the response is recorded;
`relay.mitm_layers` then sends it.
"""

import logging
import time
from collections.abc import Callable

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats import WireFormat
from aibridge_addon.formats.decoders.codings import UndecodableError
from aibridge_addon.formats.decoders.sse import Event, EventTooLargeError
from aibridge_addon.raw_json import JSON
from aibridge_addon.relay.response_reader import OnUsage, ResponseReader, ignore_usage

logger = logging.getLogger(__name__)

type Withhold = Callable[[Event], bool]
"""Whether an event is kept from the client."""
type Splice = Callable[[Event, JSON], bytes]
"""What the client gets of an event, given its decoded data."""


class BodyTap:
    """Reads one streamed response on its way.

    Args:
        flow_id: the flow whose body it is.
        interception_id: for the log.
        wire_format: the API of the response.
        announces_stream: whether the head announces events; otherwise, the first bytes decide.
        content_encoding: how the body is coded.
        content_length: of the body, if it was announced: its last byte is its end.
        withhold: which events the client does not get; the body then goes on decoded.
        splice: what the client gets of the others; the body then goes on decoded.
        max_bytes: decoded bytes up to which the body is read.
        on_usage: called when the stream has told some of its tokens, before its end.
    """

    def __init__(
        self,
        flow_id: str,
        interception_id: str,
        wire_format: WireFormat,
        *,
        announces_stream: bool,
        content_encoding: str,
        content_length: int | None,
        max_bytes: int,
        withhold: Withhold | None = None,
        splice: Splice | None = None,
        on_usage: OnUsage = ignore_usage,
    ) -> None:
        self.flow_id = flow_id
        self.interception_id = interception_id
        self.first_byte_at: float | None = None
        """On the monotonic clock."""
        self.held: list[bytes] = []
        """Chunks that wait for the record; not yet with the client."""
        self.is_waiting = False
        """Whether the end is held: the client's stream goes on by `release`."""
        self.read_error: str | None = None
        """Why reading stopped, if it did."""
        self._left = content_length
        self.released = False
        """Whether the end was held and has been given out."""
        self._answer: ResponseReader | None = None
        try:
            self._answer = ResponseReader(
                wire_format,
                announces_stream=announces_stream,
                content_encoding=content_encoding,
                max_bytes=max_bytes,
                on_usage=on_usage,
            )
        except UndecodableError as error:
            self._stop(error)
        self._withhold = withhold if self._answer is not None else None
        self._splice = splice if self._answer is not None else None
        self.edits_events = self._withhold is not None or self._splice is not None
        """Whether the body goes on decoded, with some events cut out or replaced."""
        self._unsent = bytearray()
        """While events are cut out: what waits for the end of its event."""
        self._is_ending = False
        """Whether the end has come."""

    def __call__(self, data: bytes) -> list[bytes]:
        """Take a chunk; return what goes on now. The empty chunk is the end of the body."""
        if not data:
            return self._end()
        if self.first_byte_at is None:
            self.first_byte_at = time.monotonic()
        passing, ending = self._read(data)
        if ending is None and self._left is None and not self._is_ending:
            return passing
        if self._left is not None:
            self._left -= len(data)
            if self._left == 0:
                self._on_all()
                if self.holds_buffered:
                    ending = [self._take_unsent()]
                elif ending is None:
                    passing, ending = _before_last_byte(passing)
        return self._hold(passing, ending)

    @property
    def is_spliced(self) -> bool:
        """Whether the client gets something other than the body as it is."""
        return self._splice is not None and self.read_error is None and not self.is_buffered

    @property
    def holds_buffered(self) -> bool:
        """Whether the body, announced as a stream to be spliced, is whole, and so held whole."""
        return self._splice is not None and self.read_error is None and self.is_buffered

    @property
    def is_buffered(self) -> bool:
        """Whether the body turned out to be no stream of events."""
        return self._answer is not None and self._answer.is_buffered

    def release(self) -> list[bytes]:
        """Give out what is held; nothing is held again after it."""
        self.released = True
        held, self.held = self.held, []
        return [chunk for chunk in held if chunk]  # an empty one would be the end of the body

    def facts(self) -> ResponseFacts:
        """Return what was read, with what a broken-off body left unfinished."""
        if self._answer is None:
            return ResponseFacts()
        try:
            for event in self._rest_events():
                self._answer.feed(event)
            return self._answer.facts()
        except Exception as error:  # noqa: BLE001 the edge: a bug of ours is not the client's
            self._stop(error)
            return ResponseFacts()

    def _hold(self, passing: list[bytes], ending: list[bytes] | None) -> list[bytes]:
        """Hold the end and all that comes after it; return what goes on now."""
        if self.released:
            return passing + (ending or [])
        if self._is_ending:
            self.held += passing + (ending or [])
            return []
        if ending is not None:
            self.held += ending
            self._is_ending = self.is_waiting = True
        return passing

    def _read(self, data: bytes) -> tuple[list[bytes], list[bytes] | None]:
        """Read a chunk; return what goes on, and the end with what follows it, if it has come."""
        answer = self._answer
        if self.read_error is not None or answer is None:
            return [data], None
        if self.edits_events:
            return self._read_and_cut(data, answer)
        try:
            position = answer.read(data)
        except Exception as error:  # noqa: BLE001 the edge: a bug of ours is not the client's
            self._stop(error)
            position = 0 if answer.ended else None
        if position is None:
            return [data], None
        return ([data[:position]] if position else []), [data[position:]]

    def _read_and_cut(
        self, data: bytes, answer: ResponseReader
    ) -> tuple[list[bytes], list[bytes] | None]:
        passing: list[bytes] = []
        ending: list[bytes] = []
        undecoded = data
        try:
            decoded, undecoded = answer.decode(data), b""
            self._unsent += decoded
            for event in answer.split(decoded):
                chunk = self._cut(event)
                (ending if answer.ended else passing).append(chunk)
                del self._unsent[: len(event.raw)]
        except Exception as error:  # noqa: BLE001 the edge: a bug of ours is not the client's
            self._stop(error)
        if self.read_error is not None or (answer.is_buffered and not self.holds_buffered):
            (ending if answer.ended else passing).extend((self._take_unsent(), undecoded))
        return list(filter(None, passing)), list(filter(None, ending)) if answer.ended else None

    def _cut(self, event: Event) -> bytes:
        """Read an event; return what the client gets of it."""
        assert self._answer is not None
        data = self._answer.feed(event)
        if self._withhold is not None and self._withhold(event):
            return b""
        return event.raw if self._splice is None else self._splice(event, data)

    def _end(self) -> list[bytes]:
        """Take the end of the body; what stands without a blank line is an event too."""
        self._on_all()
        rest = self._read_rest()
        if (self.is_spliced or self.holds_buffered) and not self.released:
            self._is_ending = self.is_waiting = True
            self.held += rest
            return []
        return rest

    def _on_all(self) -> None:
        if self._answer is not None:
            self._answer.body_complete = True

    def _read_rest(self) -> list[bytes]:
        """Read what stands without a blank line; return what the client has not got of it."""
        out: list[bytes] = []
        try:
            for event in self._rest_events():
                chunk = self._cut(event)
                del self._unsent[: len(event.raw)]
                out.append(chunk)
        except Exception as error:  # noqa: BLE001 the edge: a bug of ours is not the client's
            self._stop(error)
        out.append(self._take_unsent())
        return list(filter(None, out)) if self.edits_events else []

    def _rest_events(self) -> list[Event]:
        if self._answer is None or self.read_error is not None:
            return []
        return self._answer.take_rest()

    def _take_unsent(self) -> bytes:
        unsent = bytes(self._unsent)
        self._unsent.clear()
        return unsent

    def _stop(self, error: Exception) -> None:
        self.read_error = str(error) or type(error).__name__
        if isinstance(error, UndecodableError | EventTooLargeError):
            logger.warning(
                "aibridge: interception %s is no longer read: %s", self.interception_id, error
            )
        else:
            logger.error(
                "aibridge: interception %s is no longer read, by a bug of ours",
                self.interception_id,
                exc_info=error,
            )


def _before_last_byte(chunks: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Split the last byte off: held, it keeps the end of a body of known length from the client."""
    if not chunks:
        return [], []
    *passing, last = chunks
    return [*passing, *([last[:-1]] if len(last) > 1 else [])], [last[-1:]]
