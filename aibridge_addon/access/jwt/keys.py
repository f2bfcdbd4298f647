"""Public keys as an issuer publishes them: JSON Web Keys. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

type PublicKey = Mapping[str, Any]
"""A JSON Web Key."""


def usable_keys(keys: Iterable[PublicKey]) -> tuple[PublicKey, ...]:
    """Return the public keys of key pairs that are for signatures."""
    return tuple(
        key
        for key in keys
        if key.get("kty") in ("RSA", "EC", "OKP")
        and key.get("use", "sig") == "sig"
        and "d" not in key  # a private key that was published by mistake
    )


def find_key(keys: Sequence[PublicKey], kid: str | None) -> PublicKey | None:
    """Return the key with an id; without an id, the only key."""
    if kid is None:
        return keys[0] if len(keys) == 1 else None
    return next((key for key in keys if key.get("kid") == kid), None)
