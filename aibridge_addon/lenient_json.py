"""Splits JSON that only lenient parsers accept (NaN, lone surrogates) into parts as written. Pure.

Python's parser accepts it, and so do providers that are built on it.
"""

import json
import re
from collections.abc import Iterator

_OPENING = re.compile(r"\s*([\[{])\s*")
_NAME = re.compile(r'\s*(?=")')
_COLON = re.compile(r"\s*:\s*")
_VALUE = re.compile(r"\s*")
_MARK = re.compile(r"\s*([,}\]])")
_END = re.compile(r"\s*\Z")
_CLOSING = {"{": "}", "[": "]"}

_scan = json.JSONDecoder().raw_decode
"""Decodes the value at a position; returns it and its end."""


def split_object(data: bytes) -> list[tuple[str, bytes]] | None:
    """Split an object into its members, also several of one name; None if it is broken."""
    return _split(data, "{")


def split_array(data: bytes) -> list[bytes]:
    """Split an array into its elements; empty if it is broken."""
    return [element for _, element in _split(data, "[") or ()]


def _split(data: bytes, opening: str) -> list[tuple[str, bytes]] | None:
    try:
        text = data.decode(json.detect_encoding(data), "surrogatepass")
        start = _found(_OPENING, text, 0)
        if start[1] != opening:
            return None
        if text.startswith(_CLOSING[opening], start.end()):
            _found(_END, text, start.end() + 1)
            return []
        return list(_parts(text, start.end(), opening))
    except (ValueError, RecursionError):  # also UnicodeDecodeError
        return None


def _parts(text: str, position: int, opening: str) -> Iterator[tuple[str, bytes]]:
    """Yield each name and value; elements of an array have no name."""
    mark = ","
    while mark == ",":
        name = ""
        if opening == "{":
            name, end = _scan(text, _found(_NAME, text, position).end())
            position = _found(_COLON, text, end).end()
        start = _found(_VALUE, text, position).end()
        _, end = _scan(text, start)
        yield name, text[start:end].encode(errors="surrogatepass")
        found = _found(_MARK, text, end)
        mark, position = found[1], found.end()
    if mark != _CLOSING[opening]:
        raise ValueError("the JSON is broken")
    _found(_END, text, position)


def _found(pattern: re.Pattern[str], text: str, position: int) -> re.Match[str]:
    match = pattern.match(text, position)
    if match is None:
        raise ValueError("the JSON is broken")
    return match
