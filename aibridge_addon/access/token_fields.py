"""Finds access tokens in the header fields of a request, wherever a client may send one. Pure."""

from aibridge_addon.access.tokens import find_token, looks_like_token
from aibridge_addon.headers import Field, Fields
from aibridge_addon.providers.credentials import (
    CREDENTIAL_FIELDS,
    TOKEN_HEADER,
    login_of,
    without_scheme,
)
from aibridge_addon.providers.query_keys import keys_in

PROXY_AUTHORIZATION = "proxy-authorization"
_TOKEN_HEADER = TOKEN_HEADER.encode()
_KEY_HEADER = b"x-goog-api-key"
ACCEPTED_NAMES = CREDENTIAL_FIELDS | {_TOKEN_HEADER, PROXY_AUTHORIZATION.encode()}
"""Names of the headers that may carry an access token, in lower case."""
ACCEPTED_NAMES_OF_JWT = {_TOKEN_HEADER, b"authorization"}
"""Names of the headers that may carry a JWT."""


def tokens_in(fields: Fields) -> dict[Field, str]:
    """Return the header fields that carry an access token, with the text of each token.

    An empty `X-AIBridge-Token` is among them: the header is ours and never reaches a provider.
    """
    found = {}
    for field in fields:
        if token := _token_of(*field):
            found[field] = token
        elif field[0].lower() == _TOKEN_HEADER:
            found[field] = ""
    return found


def fields_of_query(path: str) -> Fields:
    """Return the keys in a query as fields of the header that stands for them."""
    return tuple((_KEY_HEADER, key.encode("utf-8", "replace")) for key in keys_in(path))


def _token_of(name: bytes, value: bytes) -> str:
    if b"aib_" not in value and value[:6].lower() != b"basic ":  # which is encoded
        return ""
    text = value.decode("latin-1")
    if name.lower() == _TOKEN_HEADER:
        return text.strip()
    return token_in(text) if name.lower() in ACCEPTED_NAMES else find_token(text)


def token_in(value: str) -> str:
    """Return the access token of a header value: plain, as a bearer token, or in a login.

    It is empty if the value contains no access token.
    """
    login = login_of(value)
    texts = (login[1], login[0]) if login else (without_scheme(value),)
    return next((text for text in texts if looks_like_token(text)), "") or find_token(value)
