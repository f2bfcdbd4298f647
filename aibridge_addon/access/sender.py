"""The sender of a request: its actor and what its access token allows. Pure."""

from dataclasses import dataclass

from aibridge_addon.access.tokens import AccessToken, TokenError
from aibridge_addon.providers.credentials import Headers
from aibridge_addon.providers.identity import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Result of looking for an access token in a request."""

    token: AccessToken | None = None
    refusal: TokenError | None = None
    headers: Headers
    """The request's headers, without access tokens."""
    as_key: bool = False
    """Whether the access token was sent in place of an API key."""
    logged_in: bool = False
    """Whether mitmproxy's `proxyauth` has accepted a login."""
    run: str | None = None
    """The mark of the `aibridge run` that started the client program."""

    @property
    def is_free(self) -> bool:
        """Whether no policy about access tokens can refuse the request."""
        token = self.token
        return self.refusal is None and not (token and (token.providers or token.models))

    @property
    def owner(self) -> str | None:
        """The actor that the access token belongs to."""
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
