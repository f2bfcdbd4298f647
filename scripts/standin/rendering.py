"""Bytes that the wire formats share, and the ids in them.

Rendering is pure and cached: what is rendered holds `ID` where the number of the response goes, so
a benchmark that asks the same again costs the stand-in next to nothing.
"""

import re
from typing import Any, NamedTuple

import msgspec

ID = "idididididididididid"
"""Stands for the response's number; as long as what replaces it."""

CREATED = 1_790_000_000
"""Creation time of everything, in seconds since 1970."""

encode = msgspec.json.encode


class Rendered(NamedTuple):
    """A response before it has its number."""

    events: tuple[bytes, ...]
    """Events of a stream; the body alone for a response that does not stream."""

    def numbered(self, number: int) -> list[bytes]:
        """Return the events with the response's number in place."""
        number_text = f"{number:020}".encode()
        return [event.replace(_ID, number_text) for event in self.events]


_ID = ID.encode()


def named_event(data: dict[str, Any]) -> bytes:
    """Render an event whose name is its data's type."""
    return b"event: %b\ndata: %b\n\n" % (data["type"].encode(), encode(data))


def bare_event(data: dict[str, Any]) -> bytes:
    """Render an event without a name."""
    return b"data: %b\n\n" % encode(data)


def fragments(text: str, size: int = 8) -> list[str]:
    """Cut a text into pieces."""
    return [text[start : start + size] for start in range(0, len(text), size)]


def words(text: str) -> list[str]:
    """Cut a text into words, each with the spaces after it: as a model says it."""
    return re.findall(r"\S+\s*", text)


def mapping(value: Any) -> dict[str, Any]:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def text_of(content: Any) -> str:
    """Return the text of a message's or a tool result's content, in any API's shape."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
