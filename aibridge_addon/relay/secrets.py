"""What of a request's headers is shown, and what leaves for the provider.

While a flow is with us its secrets are replaced by hints, so that no hook, log, saved flow or web
page ever has them; the real values are put back into the copy that goes up. That copy also loses
the headers that are meant for this hop only (RFC 9110, 7.6.1).
"""

from itertools import count

from mitmproxy import http

from aibridge_addon.headers import Fields
from aibridge_addon.providers.credentials import CREDENTIAL_FIELDS, SECRET_FIELDS, mask

type Secrets = dict[tuple[bytes, bytes], bytes]
"""By name, in lower case, and shown value: the real value."""

_SCHEMES = frozenset({"bearer", "basic"})
"""What may stand before a secret and is shown; any other first word may be a part of it."""
_HOP_BY_HOP = frozenset({b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te"})
_CONNECTION = b"connection"
_UPGRADE = b"upgrade"
_FRAMING = frozenset({b"transfer-encoding", b"host"})
_OF_PROVIDERS = (b"content-", b"anthropic-", b"openai-")
"""What the names of headers begin with that say what a request is."""


def mask_fields(fields: Fields) -> tuple[Fields, Secrets]:
    """Replace secrets by hints; return the fields to show and what they stand for."""
    secrets: Secrets = {}
    shown = []
    for name, value in fields:
        if (lower := name.lower()) in SECRET_FIELDS:
            hint = plain = _hint(value)
            serial = count(2)
            # Two values may look the same when masked, as short cookies do.
            while secrets.setdefault((lower, hint), value) != value:
                hint = b"%b (%d)" % (plain, next(serial))
            value = hint
        shown.append((name, value))
    return tuple(shown), secrets


def _hint(value: bytes) -> bytes:
    secret = value.decode("utf-8", "replace")
    scheme, _, token = secret.partition(" ")
    if scheme.lower() in _SCHEMES:
        return f"{scheme} {mask(token)}".encode()
    return mask(secret).encode()


def mask_request(request: http.Request) -> None:
    """Replace the secrets of a request that goes nowhere, before it is shown or saved."""
    request.headers.fields, _ = mask_fields(request.headers.fields)


def outgoing_fields(fields: Fields, secrets: Secrets) -> Fields:
    """Return the fields for the provider: secrets put back, this hop's own left out."""
    names = {name.lower() for name, _ in fields}
    dropped = _HOP_BY_HOP
    if _CONNECTION in names and _UPGRADE not in names:
        dropped = _HOP_BY_HOP | {_CONNECTION, *_named_by_connection(fields)}
    return tuple(
        (name, secrets.get((lower, value), value))
        for name, value in fields
        if (lower := name.lower()) not in dropped
    )


def _named_by_connection(fields: Fields) -> set[bytes]:
    named = {
        token.strip().lower()
        for name, value in fields
        if name.lower() == _CONNECTION
        for token in value.split(b",")
    }
    # What a request is, and with whose key, has been judged by all of its headers: it stays so.
    kept = {name for name in named if name.startswith(_OF_PROVIDERS)}
    return named - _FRAMING - CREDENTIAL_FIELDS - kept
