"""Issuers of JWTs, `[[identity.jwt]]`, and the actor that the claims of a token name. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from aibridge_addon.access.tokens import TokenError
from aibridge_addon.providers.identity import ANONYMOUS, Actor

type Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
"""Signatures with a key pair. With a shared key, as in HS256, anybody could sign who can verify."""
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm.__value__)
DEFAULT_ALGORITHMS: tuple[Algorithm, ...] = ("RS256", "PS256", "ES256", "EdDSA")

type Claims = Mapping[str, Any]

_MOST_ACTOR_CHARACTERS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class JWTIssuer:
    """A service that signs JWTs, and how their claims are read."""

    issuer: str
    """The claim `iss`, exactly."""
    audiences: tuple[str, ...]
    """Accepted values of the claim `aud`."""
    jwks_url: str
    """Address of its public keys."""
    algorithms: tuple[Algorithm, ...] = DEFAULT_ALGORITHMS
    actor_claim: str = "sub"
    teams_claim: str | None = None
    teams: Mapping[str, str] = field(default_factory=dict)
    """The team for each value of the claim; other values are ignored."""

    def is_for_us(self, claims: Claims) -> bool:
        """Return False if the audience of a token is somebody else, such as a provider."""
        audience = claims.get("aud")
        named = audience if isinstance(audience, list) else [audience]
        return audience is None or any(name in self.audiences for name in named)

    def actor(self, claims: Claims) -> Actor:
        """Return the actor of a verified token.

        Raises:
            TokenError: its claims name nobody.
        """
        name = _find(claims, self.actor_claim)
        if not isinstance(name, str) or not name.strip() or len(name) > _MOST_ACTOR_CHARACTERS:
            raise invalid(f"its claim {self.actor_claim!r} names no actor")
        if not name.isprintable() or name.strip() == ANONYMOUS:
            raise invalid(f"its claim {self.actor_claim!r} is not the name of an actor")
        if self.actor_claim == "email" and claims.get("email_verified", True) not in (True, "true"):
            raise invalid("the login service has not verified its e-mail address")
        teams = self._teams(claims)
        return Actor(id=name.strip(), metadata={"teams": teams} if teams else {})

    def _teams(self, claims: Claims) -> list[str]:
        given = _find(claims, self.teams_claim) if self.teams_claim else None
        values = given if isinstance(given, list) else [given]
        named = (self.teams.get(value) for value in values if isinstance(value, str))
        return list(dict.fromkeys(filter(None, named)))


@dataclass(frozen=True, slots=True, kw_only=True)
class JWTIdentity:
    """The result of verifying a JWT."""

    issuer: str
    actor: Actor
    expires_at: float
    """Seconds since 1970."""


def invalid(reason: str) -> TokenError:
    """Return the error of a token that is not accepted."""
    return TokenError("invalid_jwt", f"this JSON Web Token is not accepted: {reason}.")


def expired() -> TokenError:
    """Return the error of a token whose time is over."""
    return TokenError("expired_jwt", "this JSON Web Token has expired; sign in again.")


def _find(claims: Claims, name: str) -> Any:
    """Return a claim by its name, or by a path with dots such as `realm_access.roles`."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
