"""Makes the start of an interception: who asks for what, and for which purpose."""

from dataclasses import dataclass
from typing import Any

from aibridge_addon.access.runs import METADATA_KEY
from aibridge_addon.access.sender import Sender
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.facts import Interception, RequestFacts, new_id, now
from aibridge_addon.providers import identity
from aibridge_addon.providers.clients import ClientProgram
from aibridge_addon.providers.request_kind import Purpose, purpose_of

_MAX_LABEL = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """The start of an interception, and what decides whether its prompt is new."""

    interception: Interception
    purpose: Purpose
    position: str | None
    """Where the prompt stands in its conversation."""
    is_retry: bool
    """Whether the client says that this is a retry."""


def asking_of(exchange: Exchange, api: str, facts: RequestFacts, sender: Sender) -> Asking:
    """Return the start of the interception of a request."""
    headers = sender.headers
    client = identity.recognise(headers, facts.system)
    purpose = purpose_of(client.name, headers, facts)
    return Asking(
        interception=_interception(exchange, api, facts, sender, client, purpose),
        purpose=purpose,
        position=facts.position,
        is_retry=headers.get("x-stainless-retry-count", "0") != "0",
    )


def _interception(
    exchange: Exchange,
    api: str,
    facts: RequestFacts,
    sender: Sender,
    client: ClientProgram,
    purpose: Purpose,
) -> Interception:
    route, credential = exchange.route, exchange.credential
    headers, actor = sender.headers, sender.actor
    metadata: dict[str, Any] = {**actor.metadata, **identity.client_metadata(headers)}
    if sender.admission.run:
        metadata[METADATA_KEY] = sender.admission.run
    return Interception(
        id=new_id(),
        initiator_id=actor.id,
        metadata=metadata,
        provider=route.provider.type,
        provider_name=route.provider.name,
        api=api,
        route=route.label,
        method=exchange.flow.request.method,
        model=_label(facts.model),
        client=client.name,
        user_agent=_label(headers.get("user-agent")),
        client_session_id=_label(identity.session_of(client, headers, facts.session_hint)),
        request_kind=purpose.kind,
        prompt_id=_label(purpose.prompt_id),
        agent_id=_label(purpose.agent_id),
        correlating_tool_call_id=_label(facts.correlating_tool_call_id),
        credential_kind=credential.kind if credential else None,
        credential_hint=credential.hint if credential else None,
        streaming=facts.streaming,
        started_at=now(),
    )


def _label(said: str | None) -> str | None:
    """Return a name that a client made up as it may be kept and shown: bounded, without controls.

    People read it on terminals, which would take some of what can be written for commands.
    """
    if said is None or (len(said) <= _MAX_LABEL and said.isprintable()):
        return said
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in said[:_MAX_LABEL])
