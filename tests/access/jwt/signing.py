"""Keys and tokens of an issuer, for tests."""

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from aibridge_addon.access.jwt.issuer import ALGORITHMS, JWTIssuer

ISSUER = "https://login.example.com"
AUDIENCE = "aibridge"

PRIVATE: dict[str, Any] = {
    "RSA": rsa.generate_private_key(65537, 2048),
    "EC": ec.generate_private_key(ec.SECP256R1()),
    "OKP": ed25519.Ed25519PrivateKey.generate(),
}
KTY_OF = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}


def public_key(kty: str, kid: str | None = None, **changes: object) -> dict[str, object]:
    """Return the JSON Web Key of a private key, as an issuer publishes it."""
    algorithm = jwt.get_algorithm_by_name(
        next(name for name, kind in KTY_OF.items() if kind == kty)
    )
    key: dict[str, object] = json.loads(algorithm.to_jwk(PRIVATE[kty].public_key()))
    key.pop("key_ops", None)
    return key | {"kid": kid or kty} | changes


KEYS = [public_key(kty) for kty in PRIVATE]


def claims(**changes: object) -> dict[str, object]:
    """Return the claims of a valid token; None removes a claim."""
    now = int(time.time())
    found = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 600}
    return {name: value for name, value in (found | changes).items() if value is not None}


def token(algorithm: str = "RS256", *, key: Any = None, kid: str = "", **changes: object) -> str:
    """Return a signed token."""
    kty = KTY_OF.get(algorithm, "RSA")
    headers = {"kid": kid or kty}
    return jwt.encode(claims(**changes), key or PRIVATE[kty], algorithm, headers)


def issuer(**changes: Any) -> JWTIssuer:
    """Return the configuration of the issuer."""
    given = {
        "issuer": ISSUER,
        "audiences": (AUDIENCE,),
        "jwks_url": "https://login.example.com/keys",
        "algorithms": ALGORITHMS,
    }
    return JWTIssuer(**given | changes)
