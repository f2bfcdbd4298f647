"""The tap on a streamed body: relays every byte, and reads a copy.

mitmproxy calls it for each chunk. It never raises: after an error it stops reading, and relays the
rest. Only the terminal event, and anything after it, is held until the response is recorded;
`relay.mitm_layers` then sends it.
"""

import logging
from collections.abc import Callable

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats.decoders.codings import UndecodableError
from aibridge_addon.formats.decoders.sse import Event, EventTooLargeError, SSEParser
from aibridge_addon.raw_json import JSON
from aibridge_addon.relay.response_reader import ReaderOptions, ResponseReader
from aibridge_addon.upstream_times import UpstreamTimes

logger = logging.getLogger(__name__)

type Withhold = Callable[[Event], bool]
"""Returns True for an event that the client must not receive."""
type Splice = Callable[[Event, JSON], bytes]
"""Returns the bytes that the client receives for an event, given its decoded data."""
type PassText = Callable[[bytes], bool]
"""Takes a run of text deltas that the client receives unchanged; False: each must be spliced."""


def pass_no_text(run: bytes) -> bool:
    """Pass no text delta unread: each is spliced."""
    return False


class BodyTap:
    """Reads one streamed response while it is relayed.

    Args:
        flow_id: the flow whose body it is.
        interception_id: for the log.
        options: how the body is read.
        content_length: the announced length, if any; the last byte then ends the body.
        withhold: selects events that the client does not receive; the body is relayed decoded.
            It is not asked about runs of text deltas.
        splice: replaces the other events; the body is relayed decoded.
        pass_text: is asked before a run of text deltas is relayed without `splice`.
        times: of the upstream request.
    """

    def __init__(
        self,
        flow_id: str,
        interception_id: str,
        options: ReaderOptions,
        *,
        content_length: int | None = None,
        withhold: Withhold | None = None,
        splice: Splice | None = None,
        pass_text: PassText = pass_no_text,
        times: UpstreamTimes | None = None,
    ) -> None:
        self.flow_id = flow_id
        self.interception_id = interception_id
        self.times = times or UpstreamTimes()
        self.held: list[bytes] = []
        """Chunks that the client receives once the response is recorded."""
        self.is_waiting = False
        """True if chunks are held that `relay.mitm_layers` has to ask for, by `release`."""
        self.released = False
        """True if the end was held and has been released."""
        self.read_error: str | None = None
        """The reason why reading stopped, if it did."""
        self._remaining = content_length
        self._unsent = bytearray()
        """While events are edited: the bytes of an event that has not ended."""
        self._is_ending = False
        self._ahead = 0
        """Bytes that were read by `read_ahead`, and follow once more."""
        self._ahead_passing: list[bytes] = []
        """The part of them that is relayed then."""
        self._has_read_ahead = False
        """True if the last chunk was read ahead and relayed, and nothing ended or failed."""
        self._reader = self._open(options)
        self._withhold = withhold if self._reader else None
        self._splice = splice if self._reader else None
        self._pass_text = pass_text
        self.edits_events = self._withhold is not None or self._splice is not None
        """True if the body is relayed decoded, with some events removed or replaced."""

    def _open(self, options: ReaderOptions) -> ResponseReader | None:
        try:
            return ResponseReader(options)
        except UndecodableError as error:
            self._stop_reading(error)
            return None

    def __call__(self, data: bytes) -> list[bytes]:
        """Read a chunk; return the bytes to relay now. The empty chunk is the end of the body."""
        self._has_read_ahead = False
        if not data:
            return self._end()
        if self._ahead:
            return self._read_again(data)
        self.times.note_first_byte()
        passing, ending = self._read(data)
        if ending is None and self._remaining is None and not self._is_ending:
            return passing
        if self._remaining is not None:
            self._remaining -= len(data)
            if self._remaining == 0:
                self._mark_complete()
                if self.holds_buffered:
                    ending = [self._take_unsent()]
                elif ending is None:
                    passing, ending = _before_last_byte(passing)
        return self._hold(passing, ending)

    def read_ahead(self, data: bytes) -> list[bytes] | None:
        """Read the next bytes of the body; return what to relay now.

        None: the same bytes follow by calls, which do not read them again, since some are held.
        """
        if self._has_read_ahead and self._skip(data):
            return [data]
        if self._ahead or self._is_ending or self._remaining is not None:
            return None
        passing = self(data)
        if not self.is_waiting:
            self._has_read_ahead = self.read_error is None
            return passing
        self._ahead, self._ahead_passing = len(data), passing
        return None

    @property
    def is_spliced(self) -> bool:
        """True if the client receives a spliced stream."""
        return self._splice is not None and self.read_error is None and not self.is_buffered

    @property
    def holds_buffered(self) -> bool:
        """True if a body was to be spliced, but is a single one, and is held completely."""
        return self._splice is not None and self.read_error is None and self.is_buffered

    @property
    def is_buffered(self) -> bool:
        """True if the body is a single one, not a stream of events."""
        return self._reader is not None and self._reader.is_buffered

    def release(self) -> list[bytes]:
        """Return the held chunks; nothing is held again afterwards."""
        self.released = True
        held, self.held = self.held, []
        return [chunk for chunk in held if chunk]  # an empty one would be the end of the body

    def facts(self) -> ResponseFacts:
        """Return the facts read, including the unterminated last event of a truncated body."""
        if self._reader is None:
            return ResponseFacts()
        try:
            for event in self._unterminated():
                self._reader.feed(event)
            return self._reader.facts()
        except Exception as error:  # noqa: BLE001 the edge: a bug of ours is not the client's
            self._stop_reading(error)
            return ResponseFacts()

    def content(self) -> bytes:
        """Return the decoded body as far as it was read, if the options ask for it."""
        return self._reader.content() if self._reader else b""

    def _read_again(self, data: bytes) -> list[bytes]:
        """Return what to relay of bytes that begin with those that were read ahead."""
        passing, self._ahead_passing = self._ahead_passing, []
        rest = data[self._ahead :]
        self._ahead = max(0, self._ahead - len(data))
        return passing + (self(rest) if rest else [])

    def _skip(self, data: bytes) -> bool:
        """Take a run of text deltas, the usual chunk, in the shortest way; False: it is another.

        A paced stream has one chunk at a time, and each function that it passes is cold by then.
        """
        reader = self._reader
        if reader is None or not reader.is_skippable(data):
            return False
        try:
            if self._splice is not None and not self._pass_text(data):
                return False
        except Exception as error:  # noqa: BLE001 the edge: a bug of ours is not the client's
            self._stop_reading(error)
            return False
        reader.skip_chunk(data)
        return True

    def _hold(self, passing: list[bytes], ending: list[bytes] | None) -> list[bytes]:
        """Hold the end and everything after it; return the bytes to relay now."""
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
        """Read a chunk; return the bytes to relay, and the end once it has arrived."""
        reader = self._reader
        if self.read_error is not None or reader is None:
            return [data], None
        if self.edits_events:
            return self._read_and_edit(data, reader)
        try:
            position = reader.read(data)
        except Exception as error:  # noqa: BLE001 the edge: a bug of ours is not the client's
            self._stop_reading(error)
            position = 0 if reader.ended else None
        if position is None:
            return [data], None
        return ([data[:position]] if position else []), [data[position:]]

    def _read_and_edit(
        self, data: bytes, reader: ResponseReader
    ) -> tuple[list[bytes], list[bytes] | None]:
        passing: list[bytes] = []
        ending: list[bytes] = []
        undecoded = data
        try:
            decoded, undecoded = reader.decode(data), b""
            self._unsent += decoded
            if len(self._unsent) == len(decoded) and reader.skip(decoded):
                passing.append(self._edit_run(decoded, reader))
                self._unsent.clear()
                return _as_one(passing), None
            for event in reader.split(decoded, reader.skippable):
                chunk = (
                    self._edit_run(event.raw, reader) if event.is_run else self._edit(event, reader)
                )
                (ending if reader.ended else passing).append(chunk)
                del self._unsent[: len(event.raw)]
        except Exception as error:  # noqa: BLE001 the edge: a bug of ours is not the client's
            self._stop_reading(error)
        if self.read_error is not None or (reader.is_buffered and not self.holds_buffered):
            (ending if reader.ended else passing).extend((self._take_unsent(), undecoded))
        return _as_one(passing), _as_one(ending) if reader.ended else None

    def _edit(self, event: Event, reader: ResponseReader) -> bytes:
        """Read an event; return the bytes that the client receives for it."""
        data = reader.feed(event)
        if self._withhold is not None and self._withhold(event):
            return b""
        return event.raw if self._splice is None else self._splice(event, data)

    def _edit_run(self, run: bytes, reader: ResponseReader) -> bytes:
        """Relay a run of text deltas unread, if nothing in it must be edited."""
        if self._splice is None or self._pass_text(run):
            return run
        return b"".join(self._edit(event, reader) for event in SSEParser().feed(run))

    def _end(self) -> list[bytes]:
        """Read the end of the body, and an event before it that no blank line has ended."""
        self._mark_complete()
        rest = self._read_rest()
        if (self.is_spliced or self.holds_buffered) and not self.released:
            self._is_ending = self.is_waiting = True
            self.held += rest
            return []
        return rest

    def _mark_complete(self) -> None:
        if self._reader is not None:
            self._reader.is_complete = True

    def _read_rest(self) -> list[bytes]:
        """Read an unterminated last event; return the bytes that the client has not received."""
        out: list[bytes] = []
        try:
            for event in self._unterminated():
                assert self._reader is not None
                chunk = self._edit(event, self._reader)
                del self._unsent[: len(event.raw)]
                out.append(chunk)
        except Exception as error:  # noqa: BLE001 the edge: a bug of ours is not the client's
            self._stop_reading(error)
        out.append(self._take_unsent())
        return list(filter(None, out)) if self.edits_events else []

    def _unterminated(self) -> list[Event]:
        if self._reader is None or self.read_error is not None:
            return []
        return self._reader.unterminated()

    def _take_unsent(self) -> bytes:
        unsent = bytes(self._unsent)
        self._unsent.clear()
        return unsent

    def _stop_reading(self, error: Exception) -> None:
        self.read_error = str(error) or type(error).__name__
        if isinstance(error, UndecodableError | EventTooLargeError):
            logger.warning(
                "aibridge: interception %s: the rest of the response is relayed unread: %s",
                self.interception_id,
                error,
            )
        else:
            logger.error(
                "aibridge: interception %s: the rest of the response is relayed unread,"
                " because of a bug in aibridge_addon",
                self.interception_id,
                exc_info=error,
            )


def _as_one(chunks: list[bytes]) -> list[bytes]:
    """Join chunks: each that is relayed passes all layers."""
    joined = b"".join(chunks)
    return [joined] if joined else []  # an empty one would be the end of the body


def _before_last_byte(chunks: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Split off the last byte: a client with the announced length waits for it."""
    if not chunks:
        return [], []
    *passing, last = chunks
    return [*passing, *([last[:-1]] if len(last) > 1 else [])], [last[-1:]]
