"""Reads fields of requests that are sent as JSON or as a form, in which each is a text. Sans-io."""

from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import member, text

_YES = ("true", "1", "yes", "on")


def flag(members: Members, name: str) -> bool:
    """Return True if a field is set to true."""
    value = member(members, name)
    return value is True or (text(value) or "").strip().lower() in _YES
