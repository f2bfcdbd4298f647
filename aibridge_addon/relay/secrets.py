"""Masks secrets in headers and queries, and restores them in the copy that is sent.

The flow holds hints, so that no hook, log, saved flow or web page shows a secret. The copy for the
provider also loses the hop-by-hop headers (RFC 9110, 7.6.1).
"""

import re
from itertools import count

from mitmproxy import http

from aibridge_addon.headers import Fields
from aibridge_addon.providers.credentials import CREDENTIAL_FIELDS, SECRET_FIELDS, mask
from aibridge_addon.providers.protocol_keys import PROTOCOL_HEADER, with_protocol_key
from aibridge_addon.providers.query_keys import in_urls, with_secrets
from aibridge_addon.providers.secret_names import is_secret_header

type Secrets = dict[tuple[bytes, bytes], bytes]
"""The secrets by name, in lower case, and hint; names of query parameters begin with `?`."""

_PROTOCOL = PROTOCOL_HEADER.encode()
_SCHEMES = frozenset({"bearer", "basic"})
"""Schemes before a secret that are shown; any other first word may be part of the secret."""
_HOP_BY_HOP = frozenset({b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te"})
_SIGN_OF_URL = re.compile(rb"[?#]|://")
_ELLIPSIS = mask("").encode()
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
        if (lower := name.lower()) in SECRET_FIELDS or is_secret_header(lower):
            value = _keep(secrets, lower, value, _hint(value), b"%b (%d)")
        elif lower == _PROTOCOL and (masked := _masked_protocols(value)) != value:
            value = _keep(secrets, lower, value, masked, b"%b-%d")
        shown.append((name, value))
    return tuple(shown), secrets


def mask_response_fields(fields: Fields) -> tuple[Fields, Secrets]:
    """Replace secrets of a response by hints, also those in URLs; return both as `mask_fields`."""
    shown, secrets = mask_fields(fields)
    return tuple((name, _masked_urls(name, value, secrets)) for name, value in shown), secrets


def _masked_urls(name: bytes, value: bytes, secrets: Secrets) -> bytes:
    if not _SIGN_OF_URL.search(value):
        return value
    masked = in_urls(value.decode("latin-1"), mask).encode("latin-1")
    if masked == value and _ELLIPSIS not in value:  # which no hint can equal
        return value
    return _keep(secrets, name.lower(), value, masked, b"%b#%d")


def restored_fields(fields: Fields, secrets: Secrets) -> Fields:
    """Return fields with their secrets."""
    return tuple((name, secrets.get((name.lower(), value), value)) for name, value in fields)


def mask_query(path: str, secrets: Secrets) -> str:
    """Return a path with hints in place of the secrets of its query, which are added."""

    def masked(name: str, value: str) -> str:
        key, secret = _of_query(name), value.encode("utf-8", "surrogateescape")
        return _keep(
            secrets, key, secret, mask(value).encode("utf-8", "replace"), b"%b-%d"
        ).decode()

    return with_secrets(path, masked)


def outgoing_path(path: str, secrets: Secrets) -> str:
    """Return a path for the provider: with the secrets of its query."""

    def restored(name: str, hint: str) -> str:
        given = hint.encode("utf-8", "surrogateescape")
        return secrets.get((_of_query(name), given), given).decode("utf-8", "surrogateescape")

    has_any = any(name.startswith(b"?") for name, _ in secrets)
    return with_secrets(path, restored) if has_any else path


def _of_query(name: str) -> bytes:
    return b"?" + name.encode()


def _keep(secrets: Secrets, name: bytes, secret: bytes, plain: bytes, numbered: bytes) -> bytes:
    """Add a secret; return its hint. Short values, such as cookies, may have the same hint."""
    hint = plain
    serial = count(2)
    while secrets.setdefault((name, hint), secret) != secret:
        hint = numbered % (plain, next(serial))
    return hint


def _masked_protocols(value: bytes) -> bytes:
    return with_protocol_key(value.decode("latin-1"), mask).encode("latin-1")


def _hint(value: bytes) -> bytes:
    secret = value.decode("utf-8", "replace")
    scheme, _, token = secret.partition(" ")
    if scheme.lower() in _SCHEMES:
        return f"{scheme} {mask(token)}".encode()
    return mask(secret).encode()


def mask_request(request: http.Request) -> None:
    """Mask the secrets of a request that is not sent upstream, before it is shown or saved."""
    request.headers.fields, _ = mask_fields(request.headers.fields)
    if b"?" in request.data.path:
        request.path = mask_query(request.path, {})


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
