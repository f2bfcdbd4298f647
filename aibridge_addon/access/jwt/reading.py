"""Finds JWTs in headers and queries, and reads them unverified, to find their issuer. Pure.

ChatGPT logins and many cloud credentials are JWTs too. A token in a credential header is ours only
if its issuer is configured, and its audience is not somebody else.
"""

import base64
import re
from collections.abc import Mapping
from typing import Any

from aibridge_addon.access.jwt.issuer import JWTIssuer
from aibridge_addon.headers import Field, Fields
from aibridge_addon.providers.credentials import TOKEN_HEADER, login_of, without_scheme
from aibridge_addon.raw_json import mapping, read

MOST_BYTES = 16_384
"""Size limit of a token that is verified; a larger one is recognised, to be refused."""
_JWT = re.compile(rb"(?<![\w-])eyJ[\w-]*\.eyJ[\w-]*\.[\w-]*", re.ASCII)
_TOKEN_HEADER = TOKEN_HEADER.encode()

type Issuers = Mapping[str, JWTIssuer]
"""By the claim `iss`."""


def jwts_in(fields: Fields, issuers: Issuers) -> dict[Field, str]:
    """Return the header fields that carry a JWT for this proxy, with the text of each."""
    found = {}
    for field in fields:
        if text := _jwt_of(*field, issuers):
            found[field] = text
    return found


def _jwt_of(name: bytes, value: bytes, issuers: Issuers) -> str:
    if value[:6].lower() == b"basic " and (login := login_of(value.decode("latin-1"))):
        value = " ".join(login).encode()
    if b"eyJ" not in value:
        return ""
    if name.lower() == _TOKEN_HEADER:
        return without_scheme(value.decode("latin-1"))
    for match in _JWT.finditer(value):
        if _is_ours(text := match[0].decode(), issuers):
            return text
    return ""


def looks_like_jwt(text: str) -> bool:
    """Return True if a text in our own header can only be meant as a JWT."""
    return text.startswith("eyJ")


def unverified_claims(text: str) -> dict[str, Any]:
    """Return the claims of a token as anybody may have written them; empty if it has none."""
    try:
        return mapping(read(parts_of(text)[1]))
    except (ValueError, IndexError):
        return {}


def parts_of(text: str) -> list[bytes]:
    """Return the decoded parts of a token: header, claims and signature.

    Raises:
        ValueError: a part is not Base64.
    """
    return [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in text.split(".")]


def _is_ours(text: str, issuers: Issuers) -> bool:
    claims = unverified_claims(text)
    name = claims.get("iss")
    issuer = issuers.get(name) if isinstance(name, str) else None
    return issuer is not None and issuer.is_for_us(claims)
