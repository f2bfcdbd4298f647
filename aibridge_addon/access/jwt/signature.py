"""Verifies signature and registered claims of a JWT with the public keys of its issuer.

Algorithms and keys come from the configuration only: headers that name keys (`jku`, `x5u`, `jwk`)
are ignored.
"""

import json
from collections.abc import Mapping
from typing import Any

import jwt

from aibridge_addon.access.jwt.issuer import Claims, JWTIssuer, expired, invalid
from aibridge_addon.access.jwt.keys import PublicKey
from aibridge_addon.access.jwt.reading import MOST_BYTES, parts_of

_LEEWAY_SECONDS = 60
"""For clocks that differ; not for the end of a token."""
_BROKEN = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
"""Exceptions of PyJWT over hostile texts."""


def header_of(text: str) -> Mapping[str, Any]:
    """Return the header of a token, unverified.

    Raises:
        TokenError: it is too large, or no JWT.
    """
    if len(text) > MOST_BYTES:
        raise invalid(f"it is larger than {MOST_BYTES} bytes")
    try:
        return jwt.get_unverified_header(text)
    except _BROKEN as error:
        raise invalid("it is broken") from error


def verified_claims(text: str, key: PublicKey, issuer: JWTIssuer, now: float) -> Claims:
    """Return the claims of a token that an issuer signed for this proxy with a key.

    Raises:
        TokenError: it is not accepted.
    """
    algorithm = header_of(text).get("alg")
    if algorithm not in issuer.algorithms or key.get("alg", algorithm) != algorithm:
        raise invalid("its algorithm is not allowed")
    try:
        claims: dict[str, Any] = jwt.decode(
            text,
            jwt.PyJWK(dict(key), algorithm),
            algorithms=[algorithm],
            audience=issuer.audiences,
            issuer=issuer.issuer,
            leeway=_LEEWAY_SECONDS,
            options={
                "require": ["exp", "iss", "aud"],
                "enforce_minimum_key_length": True,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
    except jwt.ExpiredSignatureError as error:
        raise expired() from error
    except _BROKEN as error:
        raise invalid(_REASONS.get(type(error), "its signature or a claim is wrong")) from error
    _check_names(text)
    if not isinstance(claims["exp"], int | float):
        raise invalid("its claim exp is not a number")
    if claims["exp"] <= now:
        raise expired()
    return claims


def _check_names(text: str) -> None:
    """Refuse equal names in the header or the claims: parsers choose differently between them."""
    header, payload, _ = parts_of(text)
    for part in (header, payload):
        json.loads(part, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise invalid("it has two members of one name")
    return members


_REASONS: Mapping[type[BaseException], str] = {
    jwt.InvalidSignatureError: "its signature is wrong",
    jwt.InvalidAudienceError: "its audience is somebody else",
    jwt.InvalidIssuerError: "its issuer is somebody else",
    jwt.ImmatureSignatureError: "it is not valid yet",
    jwt.MissingRequiredClaimError: "it needs the claims exp, iss and aud",
}
