"""Masks secrets in a request's headers, and restores them in the copy for the provider.

The flow holds hints, so that no hook, log, saved flow or web page shows a secret. The copy also
loses the hop-by-hop headers (RFC 9110, 7.6.1).
"""

from itertools import count

from mitmproxy import http

from aibridge_addon.headers import Fields
from aibridge_addon.providers.credentials import CREDENTIAL_FIELDS, SECRET_FIELDS, mask

type Secrets = dict[tuple[bytes, bytes], bytes]
"""The secrets by name, in lower case, and hint."""

_SCHEMES = frozenset({"bearer", "basic"})
"""Schemes before a secret that are shown; any other first word may be part of the secret."""
_HOP_BY_HOP = frozenset({b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te"})
_CONNECTION = b"connection"
_UPGRADE = b"upgrade"
_FRAMING = frozenset({b"transfer-encoding", b"host"})
_PROVIDER_PREFIXES = (b"content-", b"anthropic-", b"openai-")
"""Prefixes of headers that determine the meaning of a request."""


def mask_fields(fields: Fields) -> tuple[Fields, Secrets]:
    """Replace secrets by hints; return the masked fields and the secrets."""
    secrets: Secrets = {}
    shown = []
    for name, value in fields:
        if (lower := name.lower()) in SECRET_FIELDS:
            hint = plain = _hint(value)
            serial = count(2)
            # Short values, such as cookies, may have the same hint.
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
    """Mask the secrets of a request that is not sent upstream, before it is shown or saved."""
    request.headers.fields, _ = mask_fields(request.headers.fields)


def outgoing_fields(fields: Fields, secrets: Secrets) -> Fields:
    """Return the fields for the provider: with secrets, and without hop-by-hop headers."""
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
    # Policies have judged these headers, so that `Connection` must not remove them.
    judged = {name for name in named if name.startswith(_PROVIDER_PREFIXES)}
    return named - _FRAMING - CREDENTIAL_FIELDS - judged
