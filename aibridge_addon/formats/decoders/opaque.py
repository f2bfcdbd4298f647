"""Decoder of bodies without any text to read, such as audio: counts nothing, keeps nothing."""

import re

from aibridge_addon.formats.decoders.sse import Event

_END = Event(b"end of the body", None, b"")


class OpaqueDecoder:
    """Skips a body; its only event is the end."""

    pending = 0

    def feed(self, chunk: bytes, unwanted: re.Pattern[bytes] | None = None) -> list[Event]:
        """Return no event."""
        return []

    def close(self) -> Event | None:
        """Return the event of the end."""
        return _END


def is_end(event: Event) -> bool:
    """Return True for the event of the end of an opaque body."""
    return event is _END
