"""Access tokens: who may use the proxy, until when, and for what. Pure.

A token is `aib_<id>_<secret>`. The id is public: lists and hints show it. Of the secret only the
SHA-256 is kept. It is 256 random bits, which nobody can guess, so that no slow hash is needed.
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
    """What is kept of a token. Times are UTC, ISO 8601 with microseconds."""

    id: str
    initiator_id: str
    """The actor whose token it is."""
    digest: str
    """The SHA-256 of the whole token, in hexadecimal."""
    providers: tuple[str, ...] = ()
    """Names or shell patterns of the instances that it may be used for; empty: all."""
    models: tuple[str, ...] = ()
    """Likewise, of models."""
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None

    @classmethod
    def make(
        cls,
        initiator_id: str,
        *,
        expires_at: str | None = None,
        providers: tuple[str, ...] = (),
        models: tuple[str, ...] = (),
    ) -> tuple[str, Self]:
        """Make a token: the text for its owner, which is not kept, and what is."""
        token_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(10))
        text = f"aib_{token_id}_{secrets.token_urlsafe(32)}"
        made = cls(
            id=token_id,
            initiator_id=initiator_id,
            digest=_digest(text),
            providers=providers,
            models=models,
            created_at=now(),
            expires_at=expires_at,
        )
        return text, made

    def is_of(self, text: str) -> bool:
        """Whether this is the token of a text; how long that takes says nothing of how it is."""
        return hmac.compare_digest(self.digest, _digest(text))

    def check_limits(self, *, provider: str, model: str | None, any_model: bool = False) -> None:
        """Check that it may be used for a model of an instance.

        Raises:
            TokenError: it may not; a model that is not known fits no list, unless `any_model`.
        """
        if not matches_any(provider, self.providers):
            raise self.limit_error(f"is not for the provider {provider}")
        if not (any_model or matches_any(model, self.models)):
            raise self.limit_error(
                f"is not for the model {model}" if model else "is for some models only; name one"
            )

    def check_tunnel(self, providers: Iterable[str]) -> None:
        """Check that it may be used where nobody sees which of these instances is asked for what.

        Raises:
            TokenError: it may not.
        """
        for provider in providers:
            self.check_limits(provider=provider, model=None, any_model=True)
            if self.models:
                raise self.limit_error("is for some models only, and in a tunnel none is seen")

    def limit_error(self, what: str) -> "TokenError":
        """Return the refusal of what it is not for."""
        message = f"the access token {self.id} {what}."
        return TokenError("token_scope", message, initiator_id=self.initiator_id)


class TokenSource(Protocol):
    """Reads access tokens; the store implements it."""

    def access_tokens(self) -> Mapping[str, AccessToken]:
        """Return all access tokens by id, revoked and expired ones too.

        It blocks, and is called on threads. It may raise anything; the tokens that were read before
        then stay valid.
        """


class TokenError(Exception):
    """A token is not accepted; the message tells the client why."""

    def __init__(self, reason: str, message: str, *, initiator_id: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        """For records and metrics."""
        self.initiator_id = initiator_id
        """Whose token it is, where that is known."""


def looks_like_token(text: str) -> bool:
    """Whether a text is, or was to be, a token, which must never reach a provider."""
    return text.startswith(_PREFIX)


def find_token(text: str) -> str:
    """Return the first token that stands somewhere in a text; empty if there is none."""
    found = _TOKEN.search(text)
    return found[0] if found else ""


def authenticate(text: str, tokens: Mapping[str, AccessToken]) -> AccessToken:
    """Return the token that a text is, of those that are known by id.

    Raises:
        TokenError: it is none, or no longer good.
    """
    match = _TOKEN.fullmatch(text)
    token = tokens.get(match[1]) if match else None
    if token is None or not token.is_of(text):
        raise TokenError("unknown_token", "this access token is not known, or not complete.")
    return checked_valid(token)


def checked_valid(token: AccessToken) -> AccessToken:
    """Return a token that is neither revoked nor expired.

    Raises:
        TokenError: it is.
    """
    if token.revoked_at is not None:
        message = f"the access token {token.id} was revoked."
        raise TokenError("revoked_token", message, initiator_id=token.initiator_id)
    if token.expires_at is not None and token.expires_at <= now():
        message = f"the access token {token.id} expired at {token.expires_at[:16]} UTC."
        raise TokenError("expired_token", message, initiator_id=token.initiator_id)
    return token


def is_valid(token: AccessToken) -> bool:
    """Whether a token is neither revoked nor expired."""
    try:
        checked_valid(token)
    except TokenError:
        return False
    return True


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
