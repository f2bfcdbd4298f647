"""Access tokens: format, validity and limits. Pure.

A token is `aib_<id>_<secret>`. The id is public: lists and hints show it. Only the SHA-256 of the
token is stored: it has 256 random bits, so that a slow hash would add nothing.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, Self

from aibridge_addon.facts import now
from aibridge_addon.patterns import matches_any

_PREFIX = "aib_"
_TOKEN = re.compile(_PREFIX + r"([a-z2-7]{10})_[A-Za-z0-9_-]{43}")
_ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """An access token as it is stored. Times are UTC, ISO 8601 with microseconds."""

    id: str
    initiator_id: str
    """The actor that owns the token."""
    digest: str
    """The SHA-256 of the complete token, in hexadecimal."""
    providers: tuple[str, ...] = ()
    """Provider limits: names or shell patterns of provider instances; empty: all."""
    models: tuple[str, ...] = ()
    """Model limits: names or shell patterns of models; empty: all."""
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None
    admin: bool = False
    """True if its owner sees the records of all actors on the web page."""

    @classmethod
    def make(
        cls,
        initiator_id: str,
        *,
        expires_at: str | None = None,
        providers: tuple[str, ...] = (),
        models: tuple[str, ...] = (),
        admin: bool = False,
    ) -> tuple[str, Self]:
        """Create a token; return its text, which is not stored, and the token."""
        token_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(10))
        text = f"aib_{token_id}_{secrets.token_urlsafe(32)}"
        token = cls(
            id=token_id,
            initiator_id=initiator_id,
            digest=_digest(text),
            providers=providers,
            models=models,
            created_at=now(),
            expires_at=expires_at,
            admin=admin,
        )
        return text, token

    def has_text(self, text: str) -> bool:
        """Return True if this is the token of a text; compares in constant time."""
        return hmac.compare_digest(self.digest, _digest(text))

    def check_limits(self, *, provider: str, model: str | None, any_model: bool = False) -> None:
        """Check the provider and model limits.

        Args:
            provider: Name of the provider instance.
            model: Name of the model; None if it is unknown, which no model limit allows.
            any_model: Skip the model limits.

        Raises:
            TokenError: the limits exclude the provider or the model.
        """
        if not matches_any(provider, self.providers):
            raise self.limit_error(f"is not for the provider {provider}")
        if not (any_model or matches_any(model, self.models)):
            raise self.limit_error(
                f"is not for the model {model}" if model else "is for some models only; name one"
            )

    def check_tunnel(self, providers: Iterable[str]) -> None:
        """Check the limits for a tunnel to these provider instances, whose requests are not read.

        Raises:
            TokenError: the limits exclude a provider, or there are model limits.
        """
        for provider in providers:
            self.check_limits(provider=provider, model=None, any_model=True)
            if self.models:
                raise self.limit_error(
                    "is for some models only, which cannot be checked inside a tunnel"
                )

    def limit_error(self, reason: str) -> "TokenError":
        """Return the error of a request that the limits exclude."""
        message = f"the access token {self.id} {reason}."
        return TokenError("token_scope", message, initiator_id=self.initiator_id)


class TokenSource(Protocol):
    """Reads access tokens; the store implements it."""

    def access_tokens(self) -> Mapping[str, AccessToken]:
        """Return all access tokens by id, revoked and expired ones too.

        It blocks, and is called on threads. It may raise anything; the tokens that were read before
        then stay valid.
        """


class TokenError(Exception):
    """An access token or JWT is not accepted; the message gives the reason to the client."""

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        initiator_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        """For records and metrics."""
        self.initiator_id = initiator_id
        """The owner of the token; None if the token is unknown."""
        self.retry_after = retry_after
        """Seconds after which the same token may be accepted; None: never."""

    @property
    def status(self) -> int:
        """The status of the response."""
        return 400 if self.retry_after is None else 503


def looks_like_token(text: str) -> bool:
    """Return True if a text starts like an access token, so that it must not reach a provider."""
    return text.startswith(_PREFIX)


def find_token(text: str) -> str:
    """Return the first access token inside a text, or an empty string."""
    found = _TOKEN.search(text)
    return found[0] if found else ""


def authenticate(text: str, tokens: Mapping[str, AccessToken]) -> AccessToken:
    """Return the valid token of a text.

    Args:
        text: A complete access token, as a client sends it.
        tokens: All access tokens by id.

    Raises:
        TokenError: the token is unknown, revoked or expired.
    """
    match = _TOKEN.fullmatch(text)
    token = tokens.get(match[1]) if match else None
    if token is None or not token.has_text(text):
        raise TokenError("unknown_token", "this access token is not known, or not complete.")
    check_valid(token)
    return token


def check_valid(token: AccessToken) -> None:
    """Check that a token is neither revoked nor expired.

    Raises:
        TokenError: the token is revoked or expired.
    """
    if token.revoked_at is not None:
        message = f"the access token {token.id} was revoked."
        raise TokenError("revoked_token", message, initiator_id=token.initiator_id)
    if token.expires_at is not None and token.expires_at <= now():
        message = f"the access token {token.id} expired at {token.expires_at[:16]} UTC."
        raise TokenError("expired_token", message, initiator_id=token.initiator_id)


def is_valid(token: AccessToken) -> bool:
    """Return True if a token is neither revoked nor expired."""
    try:
        check_valid(token)
    except TokenError:
        return False
    return True


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
