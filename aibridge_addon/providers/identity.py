"""Identifies the sender of a request: actor, client program, session. Pure.

Header names are in lower case.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aibridge_addon.providers.clients import CLIENTS, UNKNOWN, ClientProgram
from aibridge_addon.providers.credentials import Credential, Headers

ANONYMOUS = "anonymous"
_MAX_ACTOR_LENGTH = 256


def recognise(headers: Headers, system: tuple[str, ...] = ()) -> ClientProgram:
    """Return the client program by its headers, or by its system prompt if others send them too.

    `system` has the first characters of each text of the system prompt.
    """
    found = _by_headers(headers)
    if not system:
        return found
    for client in CLIENTS:
        is_possible = client.system and (found.is_library or found.name in client.imitates)
        if is_possible and any(text.startswith(client.system) for text in system):
            return client
    return found


def _by_headers(headers: Headers) -> ClientProgram:
    user_agent = headers.get("user-agent", "").lower()
    originator = headers.get("originator", "").lower()
    for client in CLIENTS:
        if (
            user_agent.startswith(client.user_agents)
            or (originator and originator.startswith(client.originators))
            or (client.header and client.header in headers)
        ):
            return client
    return UNKNOWN


def session_of(client: ClientProgram, headers: Headers, body_hint: str | None) -> str | None:
    """Return the client's session, from its headers or from the body."""
    for name in client.session_headers:
        if session := headers.get(name, "").strip():
            return session
    if client.session_in_body and body_hint:
        return body_hint.strip() or None
    return None


def client_metadata(headers: Headers) -> dict[str, Any]:
    """Return further metadata that a client sends: the id of its sub-agent."""
    agent_id = headers.get("x-claude-code-agent-id", "").strip()
    return {"claude_code_agent_id": agent_id} if agent_id else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The person or system that uses the model."""

    id: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def teams(self) -> tuple[str, ...]:
        """The teams in the metadata: `team`, a text, or `teams`, a list of texts."""
        teams = self.metadata.get("teams")
        named = [self.metadata.get("team"), *(teams if isinstance(teams, list) else [])]
        return tuple(dict.fromkeys(team for team in named if isinstance(team, str) and team))


def actor_of(
    *,
    proxy_user: str | None,
    token_owner: str | None,
    asserted: Actor | None = None,
    header_value: str | None,
    credential: Credential | None,
    known_actors: Mapping[str, Actor],
) -> Actor:
    """Return the actor by the first of: login, access token, assertion, header, credential.

    Without any of them it is anonymous. A JWT or a front proxy asserts an actor with its teams.
    `known_actors` maps a fingerprint or a name to an actor.
    """
    asserted_id = asserted.id if asserted else None
    for given in (proxy_user, token_owner, asserted_id, header_value):
        if given and _clean(given):
            found = actor_named(given, known_actors)
            if given is not asserted_id or asserted is None:
                return found
            return _with_team(Actor(id=found.id, metadata={**found.metadata, **asserted.metadata}))
    if credential and known_actors and (known := known_actors.get(credential.fingerprint)):
        return known
    return Actor(id=ANONYMOUS)


def _with_team(actor: Actor) -> Actor:
    """Return an actor with its only team as `team`, which reports group by."""
    if "team" in actor.metadata or len(actor.teams) != 1:
        return actor
    return Actor(id=actor.id, metadata={**actor.metadata, "team": actor.teams[0]})


def actor_named(name: str, known_actors: Mapping[str, Actor]) -> Actor:
    """Return the actor that a login, the owner of an access token or a header names."""
    name = _clean(name)
    return known_actors.get(name) or Actor(id=name)


def _clean(name: str) -> str:
    return "".join(c for c in name if c.isprintable()).strip()[:_MAX_ACTOR_LENGTH]
