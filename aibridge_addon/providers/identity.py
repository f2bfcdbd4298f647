"""Who sends a request: actor, client program, session, credential. Pure.

Header names are given in lower case. Nothing that this module returns, but `Credential.secret`,
holds a secret.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aibridge_addon.facts import CredentialKind
from aibridge_addon.providers.clients import CLIENTS, UNKNOWN, ClientProgram

ANONYMOUS = "anonymous"
_MAX_ACTOR_LENGTH = 256

type Headers = Mapping[str, str]


def recognise(headers: Headers, system: tuple[str, ...] = ()) -> ClientProgram:
    """Return the client program, by its headers; where they are a library's, by its system prompt.

    `system` are the beginnings of the texts of the system prompt.
    """
    found = _by_headers(headers)
    if not (found.is_library and system):
        return found
    for client in CLIENTS:
        if client.system and any(text.startswith(client.system) for text in system):
            return client
    return found


def _by_headers(headers: Headers) -> ClientProgram:
    user_agent = headers.get("user-agent", "").lower()
    originator = headers.get("originator", "").lower()
    for client in CLIENTS:
        if (
            user_agent.startswith(client.user_agents)
            or (originator and originator.startswith(client.originators))
            or (client.header in headers)
        ):
            return client
    return UNKNOWN


def session_of(client: ClientProgram, headers: Headers, body_hint: str | None) -> str | None:
    """Return the client's session: from its headers, else as the body names it."""
    for name in client.session_headers:
        if session := headers.get(name, "").strip():
            return session
    if client.session_in_body and body_hint:
        return body_hint.strip() or None
    return None


def client_metadata(headers: Headers) -> dict[str, Any]:
    """Return what else a client tells of itself: which sub-agent of it asks."""
    agent_id = headers.get("x-claude-code-agent-id", "").strip()
    return {"claude_code_agent_id": agent_id} if agent_id else {}


CREDENTIAL_HEADERS = ("x-api-key", "authorization", "api-key", "x-goog-api-key")
"""Where a client may put its own key, in the order in which they are looked at."""

PLACEHOLDER_KEY = "aibridge"
"""What a client gives as its key that must give one, but is to be given the central one."""

TOKEN_HEADER = "x-aibridge-token"  # noqa: S105 a name
"""Where a client may put an access token besides a key of its own."""

SECRET_HEADERS = frozenset({*CREDENTIAL_HEADERS, TOKEN_HEADER, "proxy-authorization", "cookie"})
"""Headers whose values are shown to nobody but the provider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A key or token, and how it may be spoken of."""

    kind: CredentialKind
    secret: str = field(repr=False)

    @property
    def hint(self) -> str:
        """The secret, masked."""
        return mask(self.secret)

    @property
    def fingerprint(self) -> str:
        """What an entry of `[[actors]]` names it by."""
        return "sha256:" + hashlib.sha256(self.secret.encode()).hexdigest()


def own_credential(headers: Headers) -> Credential | None:
    """Return the credential that the client brings."""
    for name in CREDENTIAL_HEADERS:
        if secret := without_scheme(headers.get(name, "")):
            return Credential(kind="byok", secret=secret)
    return None


def without_scheme(value: str) -> str:
    """Return what a header that holds a secret says, without `Bearer` before it."""
    value = value.strip()
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else value


def login_of(value: str) -> tuple[str, str] | None:
    """Return user and password of a header that holds a login (RFC 7617); None if it holds none."""
    scheme, _, encoded = value.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return None
    return (user, password) if colon else None


def mask(secret: str) -> str:
    """Return a hint at a secret: a few characters of each end, the fewer the shorter it is."""
    length = len(secret)
    shown = 4 if length >= 20 else 2 if length >= 10 else 1 if length >= 5 else 0
    return f"{secret[:shown]}...{secret[length - shown :]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who uses the model."""

    id: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


def actor_of(
    *,
    proxy_user: str | None,
    token_owner: str | None,
    header_value: str | None,
    credential: Credential | None,
    known_actors: Mapping[str, Actor],
) -> Actor:
    """Return the actor, by the first that applies: login, token, header, credential, anonymous.

    `known_actors` maps a fingerprint or a name to an actor.
    """
    for said in (proxy_user, token_owner, header_value):
        if said and (name := _clean(said)):
            return known_actors.get(name) or Actor(id=name)
    if credential and known_actors and (known := known_actors.get(credential.fingerprint)):
        return known
    return Actor(id=ANONYMOUS)


def _clean(name: str) -> str:
    return "".join(c for c in name if c.isprintable()).strip()[:_MAX_ACTOR_LENGTH]
