"""Response bodies of recorded exchanges: buffered, undecided, or streamed.

Each returns the facts of the response, and when and how far it was read.
"""

from collections.abc import Callable

from mitmproxy.proxy.utils import ReceiveBuffer

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.relay.body_tap import BodyTap
from aibridge_addon.relay.stream_detection import StreamProbe

type Read = Callable[[], ResponseFacts]


class BufferedBody:
    """A body that is read when it is complete."""

    def __init__(self, read: Read) -> None:
        self._read = read

    @property
    def first_byte_at(self) -> float | None:
        """Time of the first streamed byte, on the monotonic clock."""
        return None

    @property
    def is_unread(self) -> bool:
        """True if reading stopped before the end."""
        return False

    @property
    def is_streamed(self) -> bool:
        """True if the client receives the body while it is read."""
        return False

    @property
    def is_delivered(self) -> bool:
        """True if the client has the end of a streamed body, which was committed before."""
        return False

    @property
    def has_events(self) -> bool:
        """True if the body is known to be a stream of events."""
        return False

    def shows_events(self, begun: ReceiveBuffer) -> bool:
        """Return True once the bytes received so far show a stream of events."""
        return False

    def facts(self) -> ResponseFacts:
        """Return the facts of the complete body."""
        return self._read()

    def streamed_content(self) -> bytes:
        """Return the decoded body so far of a streamed response, if it is recorded."""
        return b""

    def facts_so_far(self) -> ResponseFacts:
        """Return no facts: part of a buffered body says nothing."""
        return ResponseFacts()


class UndecidedBody(BufferedBody):
    """A body that will be edited, and whose first bytes decide whether it is streamed.

    A complete response that is edited needs its length, or the status of an error, so that it is
    buffered.
    """

    def __init__(self, read: Read, probe: StreamProbe) -> None:
        super().__init__(read)
        self._probe = probe

    @property
    def has_events(self) -> bool:
        """True if the first bytes have shown a stream of events."""
        return self._probe.found_stream

    def shows_events(self, begun: ReceiveBuffer) -> bool:
        """Return True once the bytes received so far show a stream of events."""
        return self._probe.inspect(begun)


class StreamedBody(BufferedBody):
    """A body that a tap reads while it is streamed to the client."""

    def __init__(self, tap: BodyTap) -> None:
        super().__init__(tap.facts)
        self._tap = tap

    @property
    def first_byte_at(self) -> float | None:
        """Time of the first byte, on the monotonic clock."""
        return self._tap.times.first_byte_at

    @property
    def is_unread(self) -> bool:
        """True if reading stopped before the end."""
        return self._tap.read_error is not None

    @property
    def is_streamed(self) -> bool:
        """Return True."""
        return True

    @property
    def is_delivered(self) -> bool:
        """True if the client has the end, which was committed before."""
        return self._tap.released

    @property
    def has_events(self) -> bool:
        """True unless the body turned out not to be a stream of events."""
        return not self._tap.is_buffered

    def streamed_content(self) -> bytes:
        """Return the decoded body so far, if it is recorded."""
        return self._tap.content()

    def facts_so_far(self) -> ResponseFacts:
        """Return the facts that were read so far."""
        return self.facts()
