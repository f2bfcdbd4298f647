"""Secrets that JSON documents name: members such as `authorization`, and headers for MCP servers.

What their values look like does not matter, unlike with the rules.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

SECRET_MEMBERS = frozenset(
    {
        *("authorization", "proxy-authorization", "authorization_token"),
        *("api_key", "api-key", "apikey", "x-api-key", "x-goog-api-key"),
        *("access_token", "refresh_token", "id_token", "client_secret", "x-auth-token"),
        *("aws_session_token", "aws_secret_access_key", "sessiontoken", "secretaccesskey"),
        *("x-amz-security-token", "cookie", "set-cookie"),
        *("newhandle", "new_handle"),  # of a session of Gemini Live, for resuming it
    }
)
"""Names of members whose text is a secret, in lower case."""

_ANCHORS = tuple(name.encode() for name in SECRET_MEMBERS)
_RESUMED = b"resumption"
_MEMBER = re.compile(
    rb'((?:"(?:%b)"|"session_?%b"\s*+:\s*+\{[^{}"]*+(?:"transparent"[^{}"]*+)?"handle")\s*+:\s*+)'
    rb'"(?:[^"\\]++|\\.)++"' % (b"|".join(map(re.escape, sorted(_ANCHORS))), _RESUMED),
    re.DOTALL | re.IGNORECASE,
)
_MCP_ANCHORS = (b'"server_url"', b'"headers"')
_SHORTEST = 8
"""Characters of a header value; anything shorter may be a word."""


def is_secret(name: str) -> bool:
    """Return whether the text of a member is a secret, by its name."""
    return name.lower() in SECRET_MEMBERS


def without_secret_members(document: bytes, mark: str) -> bytes:
    """Replace the texts of secret members of a JSON document; the rest keeps its bytes."""
    folded = document.lower()
    if not any(anchor in folded for anchor in (*_ANCHORS, _RESUMED)):
        return document
    replacement = json.dumps(mark).encode()
    return _MEMBER.sub(lambda match: match[1] + replacement, document)


def mcp_secrets(document: bytes) -> tuple[str, ...]:
    """Return the values of the headers that the provider is to send to MCP servers."""
    if not all(anchor in document for anchor in _MCP_ANCHORS):
        return ()
    try:
        found = set(_headers_in(json.loads(document)))
    except (ValueError, RecursionError):
        return ()
    return tuple(sorted(found, key=len, reverse=True))


def _headers_in(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _headers_in(item)
    elif isinstance(value, dict):
        headers = value.get("headers")
        if isinstance(headers, dict) and "server_url" in value:
            yield from (v for v in headers.values() if isinstance(v, str) and len(v) >= _SHORTEST)
        for item in value.values():
            yield from _headers_in(item)
