"""The tap on a streamed body: every byte goes on, a copy is read.

mitmproxy calls it for each chunk. It never raises: on trouble it stops reading and says so, and the
bytes go on all the same. Only the chunk with the end of the response is held, until the response is
recorded; `proxy.stream` then sends it.
"""

import logging
import time
from collections.abc import Callable

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats import ResponseReader
from aibridge_addon.formats.decoders.codings import ContentDecoder, UndecodableError
from aibridge_addon.formats.decoders.sse import Event, EventTooLargeError, SSEParser
from aibridge_addon.raw_json import JSON

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
        reader: takes the events.
        content_encoding: how the body is coded.
        content_length: of the body, if it was announced: its last byte is its end.
        withhold: which events the client does not get; only for bodies that are not coded.
        splice: what the client gets of the others; the body then goes on decoded.
        max_bytes: decoded bytes up to which the body is read.
    """

    def __init__(
        self,
        flow_id: str,
        interception_id: str,
        reader: ResponseReader,
        *,
        content_encoding: str,
        content_length: int | None,
        max_bytes: int,
        withhold: Withhold | None = None,
        splice: Splice | None = None,
    ) -> None:
        self.flow_id = flow_id
        self.interception_id = interception_id
        self.first_byte_at: float | None = None
        """On the monotonic clock."""
        self.held: list[bytes] = []
        """Chunks that wait for the record; not yet with the client."""
        self.waiting = False
        """Whether the end is held: the client's stream goes on by `release`."""
        self.trouble: str | None = None
        """Why reading stopped, if it did."""
        self._reader = reader
        self._parser = SSEParser()
        self._left = content_length
        self.released = False
        """Whether the end was held and has been given out."""
        self._decoder: ContentDecoder | None = None
        try:
            self._decoder = ContentDecoder(content_encoding, max_bytes=max_bytes)
        except UndecodableError as error:
            self._stop(error)
        can_withhold = self._decoder is not None and self._decoder.is_identity
        self._withhold = withhold if can_withhold else None
        self._splice = splice if self._decoder is not None else None
        self._unsent = bytearray()
        """While events are cut out: what waits for the end of its event."""

    def __call__(self, data: bytes) -> list[bytes]:
        """Take a chunk; return what goes on now. The empty chunk is the end of the body."""
        if not data:
            return self._end()
        if self.first_byte_at is None:
            self.first_byte_at = time.monotonic()
        if self._left is not None:
            self._left -= len(data)
        out = self._read(data)
        if not self.released and (self._reader.ended or self._left == 0):
            self.held.extend(out)
            self.waiting = True
            return []
        return out

    @property
    def is_spliced(self) -> bool:
        """Whether the client gets something other than the body as it is."""
        return self._splice is not None and self.trouble is None

    def release(self) -> list[bytes]:
        """Give out what is held; nothing is held again after it."""
        self.released = True
        held, self.held = self.held, []
        return [chunk for chunk in held if chunk]  # an empty one would be the end of the body

    def facts(self) -> ResponseFacts:
        """Return what was read, with what a broken-off body left unfinished."""
        self._finish()
        try:
            return self._reader.facts()
        except Exception as error:  # noqa: BLE001 the edge: a bug of ours is not the client's
            self._stop(error)
            return ResponseFacts()

    def _read(self, data: bytes) -> list[bytes]:
        if self.trouble is not None or self._decoder is None:
            return [data]
        if self._withhold is not None or self._splice is not None:
            return self._read_and_cut(data, self._decoder)
        try:
            decoded = self._decoder.feed(data)
            for event in self._parser.feed(decoded, self._reader.unrecorded):
                self._reader.feed(event)
        except Exception as error:  # noqa: BLE001 the edge: a bug of ours is not the client's
            self._stop(error)
        return [data]

    def _read_and_cut(self, data: bytes, decoder: ContentDecoder) -> list[bytes]:
        try:
            decoded = decoder.feed(data)
        except Exception as error:  # noqa: BLE001 the edge: a bug of ours is not the client's
            self._stop(error)
            return [*self._rest(), data]
        out = []
        self._unsent += decoded
        try:
            for event in self._parser.feed(decoded):
                if chunk := self._cut(event):
                    out.append(chunk)
                del self._unsent[: len(event.raw)]
        except Exception as error:  # noqa: BLE001 the edge: a bug of ours is not the client's
            self._stop(error)
            out += self._rest()
        return out

    def _cut(self, event: Event) -> bytes:
        """Read an event; return what the client gets of it."""
        data = self._reader.feed(event)
        if self._withhold is not None and self._withhold(event):
            return b""
        return event.raw if self._splice is None else self._splice(event, data)

    def _end(self) -> list[bytes]:
        """Take the end of the body: what stands without a blank line goes on as it is."""
        self._finish()
        if self.is_spliced and not self.released:
            self.waiting = True
            self.held += self._rest()
            return []
        return self._rest()

    def _rest(self) -> list[bytes]:
        rest = bytes(self._unsent)
        self._unsent.clear()
        return [rest] if rest else []

    def _finish(self) -> None:
        """Read what stands without a blank line."""
        rest = self._parser.close()
        if rest is None or self.trouble is not None:
            return
        try:
            self._reader.feed(rest)
        except Exception as error:  # noqa: BLE001 the edge: a bug of ours is not the client's
            self._stop(error)

    def _stop(self, error: Exception) -> None:
        self.trouble = str(error) or type(error).__name__
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
