"""Cuts long texts into windows, so that no regular expression holds the interpreter for long."""

import re
from collections.abc import Iterator

WINDOW = 4096
"""Characters of a window."""

_BINARY = re.compile(r"[A-Za-z0-9+/_=-]*+")


def windows(text: str) -> Iterator[str]:
    """Yield the text in pieces, cut where no secret can stand if there is such a place."""
    start = 0
    while len(text) - start > WINDOW:
        end = start + WINDOW
        cut = max(text.rfind(separator, start, end) for separator in (" ", "\n", ",", ";"))
        end = cut + 1 if cut > start else end
        yield text[start:end]
        start = end
    yield text[start:]


def is_binary(text: str) -> bool:
    """Return True for a long text that can only be data in base64, such as an image."""
    return len(text) > WINDOW and _BINARY.fullmatch(text) is not None
