"""Creates the start of an interception: who sends what to which model, and for which purpose."""

from dataclasses import dataclass
from typing import Any

from aibridge_addon.access.runs import METADATA_KEY
from aibridge_addon.access.sender import Sender
from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.facts import Interception, RequestFacts, new_id, now
from aibridge_addon.formats.billing_labels import location_label
from aibridge_addon.providers import identity
from aibridge_addon.providers.clients import ClientProgram
from aibridge_addon.providers.request_kind import Purpose, purpose_of
from aibridge_addon.providers.routing import Route
from aibridge_addon.providers.types import MODEL

_MAX_LABEL = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class InterceptionStart:
    """The start of an interception, and what decides whether its prompt is new."""

    interception: Interception
    purpose: Purpose
    position: str | None
    """The position of the prompt in its conversation."""
    is_retry: bool
    """True if the client states that this is a retry, or sends the beginning of the response."""


def start_interception(
    request: ClientRequest, wire_format: str, facts: RequestFacts, sender: Sender
) -> InterceptionStart:
    """Return the start of the interception of a request."""
    headers = sender.headers
    client = identity.recognise(headers, facts.system)
    purpose = purpose_of(client.name, headers, facts)
    return InterceptionStart(
        interception=_interception(request, wire_format, facts, sender, client, purpose),
        purpose=purpose,
        position=facts.position,
        is_retry=facts.prefilled or headers.get("x-stainless-retry-count", "0") != "0",
    )


def _interception(
    request: ClientRequest,
    wire_format: str,
    facts: RequestFacts,
    sender: Sender,
    client: ClientProgram,
    purpose: Purpose,
) -> Interception:
    route, credential = request.route, request.credential
    headers, actor = sender.headers, sender.actor
    location = route.path_values.get("location")
    metadata: dict[str, Any] = {**actor.metadata, **identity.client_metadata(headers)}
    if sender.admission.run:
        metadata[METADATA_KEY] = sender.admission.run
    return Interception(
        id=new_id(),
        initiator_id=actor.id,
        metadata=metadata,
        provider=route.provider.type,
        provider_name=route.provider.name,
        api=wire_format,
        route=route.label,
        method=request.flow.request.method,
        model=_label(_model(request.route, facts)),
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
        billing_labels={**facts.billing_labels, **location_label(location)},
        access_token_id=sender.admission.token.id if sender.admission.token else None,
    )


def _model(route: Route, facts: RequestFacts) -> str | None:
    """Return the model that a request names; a path wins over the body, as at Azure."""
    name = route.path_values.get(MODEL) or facts.model
    return name and route.provider.model_of(name)


def _label(name: str | None) -> str | None:
    """Return a name that a client chose, bounded and without control characters.

    People read it on terminals, which would execute some control characters as commands.
    """
    if name is None or (len(name) <= _MAX_LABEL and name.isprintable()):
        return name
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name[:_MAX_LABEL])
