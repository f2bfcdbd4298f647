"""Request paths: collapses doubled slashes and finds segments that step up. Pure."""

import re
from urllib.parse import unquote

_MOST_QUOTED = 8
"""How often a path may be percent-encoded on top of itself, as no client does even once."""

_DOUBLED_SLASHES = re.compile("//+")


def collapse_slashes(path: str) -> str:
    """Return a path with each run of slashes made one; its query stays as it is."""
    bare, mark, query = path.partition("?")
    return _DOUBLED_SLASHES.sub("/", bare) + mark + query


def has_dot_segment(path: str) -> bool:
    """Whether a path has a segment that some server, after whatever decoding, takes for a step up.

    Servers of Java servlets leave out what follows a semicolon; several decode twice on the way.
    """
    for _ in range(_MOST_QUOTED):
        segments = path.replace("\\", "/").split("/")
        if any(segment.partition(";")[0] in (".", "..") for segment in segments):
            return True
        quoted, path = path, unquote(path)
        if path == quoted:
            return False
    return True
