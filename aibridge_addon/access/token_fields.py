"""Finds access tokens in the header fields of a request, wherever a client may send one. Pure."""

from collections.abc import Container
from itertools import chain

from aibridge_addon.access.tokens import find_token, looks_like_token
from aibridge_addon.headers import Field, Fields
from aibridge_addon.providers.credentials import (
    CREDENTIAL_FIELDS,
    TOKEN_HEADER,
    login_of,
    without_scheme,
)
from aibridge_addon.providers.protocol_keys import (
    PROTOCOL_HEADER,
    protocol_key,
    without_protocol_key,
)
from aibridge_addon.providers.query_keys import keys_in

PROXY_AUTHORIZATION = "proxy-authorization"
_TOKEN_HEADER = TOKEN_HEADER.encode()
_KEY_HEADER = b"x-goog-api-key"
_PROTOCOL = PROTOCOL_HEADER.encode()
_SIGNS_OF_TOKENS = (b"aib_", b"\nbasic ", _TOKEN_HEADER)
"""A head without any of them has no access token; logins are encoded."""
ACCEPTED_NAMES = CREDENTIAL_FIELDS | {_TOKEN_HEADER, PROXY_AUTHORIZATION.encode(), _PROTOCOL}
"""Names of the headers that may carry an access token, in lower case."""
ACCEPTED_NAMES_OF_JWT = {_TOKEN_HEADER, b"authorization"}
"""Names of the headers that may carry a JWT."""


def tokens_in(fields: Fields) -> dict[Field, str]:
    """Return the header fields that carry an access token, with the text of each token.

    An empty `X-AIBridge-Token` is among them: the header is ours and never reaches a provider.
    """
    head = b"\n".join(chain.from_iterable(fields)).lower()
    if not any(sign in head for sign in _SIGNS_OF_TOKENS):
        return {}
    found = {}
    for field in fields:
        if token := _token_of(*field):
            found[field] = token
        elif field[0].lower() == _TOKEN_HEADER:
            found[field] = ""
    return found


def carries_key(name: bytes) -> bool:
    """Return True if a header, named in lower case, carries a provider's key."""
    return name in CREDENTIAL_FIELDS or name == _PROTOCOL


def fields_of_query(path: str) -> Fields:
    """Return the keys in a query as fields of the header that stands for them."""
    return tuple((_KEY_HEADER, key.encode("utf-8", "replace")) for key in keys_in(path))


def _token_of(name: bytes, value: bytes) -> str:
    if b"aib_" not in value and value[:6].lower() != b"basic ":  # which is encoded
        return ""
    text = value.decode("latin-1")
    if name.lower() == _TOKEN_HEADER:
        return text.strip()
    if name.lower() == _PROTOCOL:
        return find_token(protocol_key(text)) or find_token(text)
    return token_in(text) if name.lower() in ACCEPTED_NAMES else find_token(text)


def without_tokens(fields: Fields, sent: Container[Field]) -> Fields:
    """Return header fields without those that carry an access token, and protocols without it."""
    kept = []
    for field in fields:
        if field not in sent:
            kept.append(field)
        elif field[0].lower() == _PROTOCOL:
            rest = without_protocol_key(field[1].decode("latin-1")).encode("latin-1")
            kept += [(field[0], rest)] if rest else []
    return tuple(kept)


def token_in(value: str) -> str:
    """Return the access token of a header value: plain, as a bearer token, or in a login.

    It is empty if the value contains no access token.
    """
    login = login_of(value)
    texts = (login[1], login[0]) if login else (without_scheme(value),)
    return next((text for text in texts if looks_like_token(text)), "") or find_token(value)
