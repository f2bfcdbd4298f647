"""Keys among the protocols that a WebSocket offers, where browsers send them for Realtime. Pure."""

import re
from collections.abc import Callable

PROTOCOL_HEADER = "sec-websocket-protocol"
_PREFIX = "openai-insecure-api-key."
_KEY = re.compile(rf"{re.escape(_PREFIX)}([^\s,]+)")
_ITEM = re.compile(rf"(?:^|,)[ \t]*{re.escape(_PREFIX)}[^\s,]+[ \t]*(?=,|$)")


def protocol_key(value: str) -> str:
    """Return the key among offered protocols; empty without one."""
    found = _KEY.search(value)
    return found[1] if found else ""


def with_protocol_key(value: str, replace: Callable[[str], str]) -> str:
    """Return offered protocols with another text in place of the key."""
    return _KEY.sub(lambda found: _PREFIX + replace(found[1]), value)


def without_protocol_key(value: str) -> str:
    """Return offered protocols without the key."""
    return _ITEM.sub("", value).strip(", \t")
