"""Arguments of tool calls as text: a line for each member, texts as they are. Pure."""

import json

from aibridge_addon.raw_json import JSON, encode

MAX_CHARACTERS = 1_000_000
"""Longest JSON that is read; longer stays as it is."""


def readable(text: str) -> str:
    """Return the members of a JSON object in lines; any other text as it is.

    >>> readable('{"path": "/x", "limit": 3}')
    'path: /x\\nlimit: 3'
    """
    if not text.startswith("{") or len(text) > MAX_CHARACTERS:
        return text
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return "\n".join(f"{name}: {_value(value)}" for name, value in members.items())


def _value(value: JSON) -> str:
    if not isinstance(value, str):
        return encode(value)
    lines = value.split("\n")
    return value if len(lines) == 1 else "\n".join(["", *(f"  {line}" for line in lines)])
