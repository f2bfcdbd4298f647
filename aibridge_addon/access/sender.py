"""The sender of a request: its actor, and its access token. Pure."""

from dataclasses import dataclass

from aibridge_addon.access.jwt.issuer import JWTIdentity
from aibridge_addon.access.tokens import AccessToken, TokenError
from aibridge_addon.headers import Fields
from aibridge_addon.providers.credentials import Headers
from aibridge_addon.providers.identity import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The result of authenticating a request."""

    token: AccessToken | None = None
    jwt: JWTIdentity | None = None
    """The identity that a JWT has proved, in place of an access token."""
    refusal: TokenError | None = None
    headers: Headers
    """The request's headers, without access tokens."""
    fields: Fields = ()
    """Their fields."""
    sent_as_key: bool = False
    """True if the access token or JWT was sent instead of an API key."""
    has_login: bool = False
    """True if mitmproxy's `proxyauth` has accepted a login."""
    run: str | None = None
    """The mark of the `aibridge run` that started the client program."""

    @property
    def is_unrestricted(self) -> bool:
        """True if neither the refusal nor a limit of an access token can refuse the request."""
        token = self.token
        return self.refusal is None and not (token and (token.providers or token.models))

    @property
    def is_authenticated(self) -> bool:
        """True if an access token or JWT was accepted."""
        return self.token is not None or self.jwt is not None

    @property
    def owner(self) -> str | None:
        """The actor that owns the access token."""
        if self.refusal:
            return self.refusal.initiator_id
        return self.token.initiator_id if self.token else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """The sender of a request."""

    actor: Actor
    admission: Admission

    @property
    def headers(self) -> Headers:
        """The request's headers, without access tokens."""
        return self.admission.headers
