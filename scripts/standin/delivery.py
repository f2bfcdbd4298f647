"""Delivery of a response by the script: its shape, content type, and pieces.

Imitates hosts that leave out a stream's content type or send a wrong one, answer a request for a
stream with one JSON body or the reverse, or write a whole stream at once.
"""

from standin.plan import Script

_MEDIA_TYPES = {
    "events": "text/event-stream",
    "plain": "text/plain; charset=utf-8",
    "octets": "application/octet-stream",
    "json": "application/json",
}

MEDIA = ("none", *_MEDIA_TYPES)
"""Content types by the word after `MEDIA:`."""

_BOM = b"\xef\xbb\xbf"


def streams(script: Script, *, asked: bool) -> bool:
    """Return whether the answer streams."""
    return asked != ("OTHER_SHAPE" in script)


def in_pieces(events: list[bytes], script: Script) -> list[bytes]:
    """Return the pieces in which the events of a stream are written."""
    stream = b"".join(events)
    match script.word("PIECES"):
        case "one" | "sized":
            events = [stream]
        case "bytes":
            events = [stream[n : n + 1] for n in range(len(stream))]
    return [_BOM, *events] if "BOM" in script else events


def is_sized(script: Script) -> bool:
    """Return whether the length of a stream is announced."""
    return script.word("PIECES") == "sized"


def with_media_type(headers: list[tuple[str, str]], script: Script) -> list[tuple[str, str]]:
    """Return the headers with the content type that the script asks for."""
    media = script.word("MEDIA")
    if media not in MEDIA:
        return headers
    rest = [pair for pair in headers if pair[0] != "content-type"]
    return rest if media == "none" else [("content-type", _MEDIA_TYPES[media]), *rest]
