"""Request paths: collapses doubled slashes and finds segments that step up. Pure."""

import re
from urllib.parse import unquote

_MAX_DECODED = 8
"""Layers of percent-encoding that are decoded; clients use a single layer."""

_DOUBLED_SLASHES = re.compile("//+")


def collapse_slashes(path: str) -> str:
    """Return a path with each run of slashes collapsed; its query is unchanged."""
    bare, mark, query = path.partition("?")
    return _DOUBLED_SLASHES.sub("/", bare) + mark + query


def has_dot_segment(path: str) -> bool:
    """Return whether some server could resolve a segment of a path to a parent directory.

    Java servlet containers ignore text after a semicolon; some chains of servers decode twice.
    """
    if "." not in path and "%" not in path:
        return False
    for _ in range(_MAX_DECODED):
        segments = path.replace("\\", "/").split("/")
        if any(segment.partition(";")[0] in (".", "..") for segment in segments):
            return True
        quoted, path = path, unquote(path)
        if path == quoted:
            return False
    return True
