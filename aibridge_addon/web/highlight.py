"""Snippets of a search as HTML, with the found words marked."""

from markupsafe import Markup, escape

_BEGIN, _END = "\x02", "\x03"
"""Marks of `SearchHit.snippet`."""


def highlighted(snippet: str) -> Markup:
    """Return a snippet as HTML; the recorded text in it is escaped."""
    escaped = str(escape(snippet))
    return Markup(escaped.replace(_BEGIN, "<mark>").replace(_END, "</mark>"))  # noqa: S704 escaped
