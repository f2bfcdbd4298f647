"""Verifies the JWTs of all configured issuers."""

import time
from collections.abc import Iterable

from aibridge_addon.access.jwt.issuer import JWTIdentity, JWTIssuer, expired, invalid
from aibridge_addon.access.jwt.key_set import Fetch, KeySet, OnFetch
from aibridge_addon.access.jwt.reading import jwts_in, unverified_claims
from aibridge_addon.access.tokens import TokenError
from aibridge_addon.headers import Field, Fields

_LATEST = 1e12
"""Latest end of a token: an integer of JSON may be larger than any time."""


class JWTVerifier:
    """Finds and verifies JWTs. Without issuers it accepts none, and costs nothing."""

    def __init__(self, fetch: Fetch | None = None, on_fetch: OnFetch = lambda *_: None) -> None:
        """Fetch keys by a function; None: directly from their addresses."""
        self._fetch = fetch
        self._on_fetch = on_fetch
        self._issuers: dict[str, JWTIssuer] = {}
        self._key_sets: dict[str, KeySet] = {}
        """By the address of the keys."""

    def apply(self, issuers: Iterable[JWTIssuer], trusted: str | None = None) -> None:
        """Use these issuers; keys that are known already stay.

        Args:
            issuers: All issuers.
            trusted: File of the CAs that certify their servers; None: those of the system.
        """
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        wanted = {issuer.jwks_url for issuer in self._issuers.values()}
        for gone in self._key_sets.keys() - wanted:
            self._key_sets.pop(gone).close()
        for added in wanted - self._key_sets.keys():
            fetch = self._fetch or _download(trusted)
            self._key_sets[added] = KeySet(added, fetch, time.monotonic, self._on_fetch)
            self._key_sets[added].refresh_soon()

    def close(self) -> None:
        """Stop fetching keys."""
        for key_set in self._key_sets.values():
            key_set.close()

    def find_in(self, fields: Fields) -> dict[Field, str]:
        """Return the header fields that carry a JWT for this proxy, with the text of each."""
        return jwts_in(fields, self._issuers) if self._issuers else {}

    async def verify(self, text: str) -> JWTIdentity:
        """Return the identity that a JWT proves.

        Raises:
            TokenError: it is not accepted.
        """
        # Only here: cryptography costs memory.
        from aibridge_addon.access.jwt.signature import header_of, verified_claims

        header = header_of(text)
        issuer = self._issuers.get(str(unverified_claims(text).get("iss")))
        if issuer is None:
            raise invalid("its issuer is not configured")
        if header.get("alg") not in issuer.algorithms:  # before it costs a fetch
            raise invalid("its algorithm is not allowed")
        key_set = self._key_sets[issuer.jwks_url]
        key = await key_set.find(header.get("kid"))
        if key is None and not key_set.has_keys:
            raise TokenError(
                "jwt_keys_unavailable",
                "the keys of the login service cannot be read at the moment; try again.",
                retry_after=max(1.0, key_set.next_fetch_seconds),
            )
        if key is None:
            raise invalid("its key is not known")
        claims = verified_claims(text, key, issuer, time.time())
        return JWTIdentity(
            issuer=issuer.issuer, actor=issuer.actor(claims), expires_at=min(claims["exp"], _LATEST)
        )

    def check(self, identity: JWTIdentity) -> None:
        """Check that an identity that was verified before still holds.

        Raises:
            TokenError: it does not.
        """
        if identity.issuer not in self._issuers:
            raise invalid("its issuer is not configured")
        if identity.expires_at <= time.time():
            raise expired()


def _download(trusted: str | None) -> Fetch:
    # Only here: httpx2 costs memory.
    from aibridge_addon.access.jwt.download import Download

    return Download(trusted)
