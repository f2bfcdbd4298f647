"""Signed requests (AWS Signature Version 4), which must arrive as they were sent. Pure."""

import re
from urllib.parse import parse_qsl, urlsplit

from aibridge_addon.providers.credentials import Headers

_SCHEME = "aws4-"
"""Beginning of the schemes AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256, in lower case."""
_IN_QUERY = "x-amz-signature"
_SIGNED_HEADERS = re.compile(r"SignedHeaders=([^,\s]+)", re.IGNORECASE)


def is_signed(headers: Headers, path: str) -> bool:
    """Return True if a request is signed, in a header or in the query of its path."""
    if headers.get("authorization", "").lstrip().lower().startswith(_SCHEME):
        return True
    if "?" not in path:
        return False
    query = urlsplit(path).query
    return any(name.lower() == _IN_QUERY for name, _ in parse_qsl(query, keep_blank_values=True))


def signed_names(headers: Headers) -> frozenset[bytes]:
    """Return the names of the headers that a signature in a header covers, in lower case."""
    named = _SIGNED_HEADERS.search(headers.get("authorization", ""))
    return frozenset(named[1].lower().encode().split(b";")) if named else frozenset()
