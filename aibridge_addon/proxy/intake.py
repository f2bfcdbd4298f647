"""What becomes of a request: routed, its secrets sealed, its actor found, read, or refused.

Only the head of a request is changed, and only as the route says: where it goes, the central key,
our own headers. Its body goes on as it came (but see the option `aibridge_ask_chat_usage`).
"""

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mitmproxy import http
from mitmproxy.proxy.mode_specs import ReverseMode

from aibridge_addon import identity
from aibridge_addon.apis import WIRE_FORMATS, WireFormat, anthropic_messages, openai_chat
from aibridge_addon.apis.turns import Members
from aibridge_addon.codings import UndecodableError, decode_body
from aibridge_addon.facts import (
    Interception,
    ProviderError,
    RequestFacts,
    Status,
    new_id,
    now,
)
from aibridge_addon.identity import ANONYMOUS, Actor, Credential, Headers
from aibridge_addon.interception import InterceptionRecord, Publish
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.proxy.conversation import Conversation, RefusedError
from aibridge_addon.proxy.exchange import Exchange
from aibridge_addon.proxy.headers import hide_secrets, lowered, sealed
from aibridge_addon.routing import Provider, Route, Router
from aibridge_addon.settings import Settings
from aibridge_addon.wire import body as encoded_body
from aibridge_addon.wire import members

logger = logging.getLogger(__name__)

_NO_SUCH_ROUTE = "no_such_route"
_NO_ACTOR = "no_actor"
_NOT_RECORDED = "not_recorded"
_CANNOT_RECORD = "aibridge: requests cannot be recorded at this moment; try again later."


class Intake:
    """Takes requests in."""

    def __init__(
        self,
        settings: Settings,
        *,
        publish: Publish,
        metrics: Metrics,
        can_record: Callable[[], bool],
    ) -> None:
        self.router = Router(settings.providers)
        self._settings = settings
        self._publish = publish
        self._metrics = metrics
        self._can_record = can_record

    def take(self, flow: http.HTTPFlow) -> Exchange | None:
        """Prepare a request for the way up. None: it is to no provider, and not our business."""
        proxy_user = take_proxy_user(flow)
        headers = lowered(flow.request.headers.fields)
        route = self._route(flow, headers)
        if route is None:
            return None
        credential = self._credential(flow, route.provider, headers)
        flow.request.headers.fields, secrets = sealed(self._without_our_headers(flow))
        _direct(flow.request, route)
        exchange = Exchange(
            flow=flow,
            route=route,
            secrets=secrets,
            credential=credential,
            max_bytes=self._settings.max_body_bytes,
        )
        try:
            self._look_into(exchange, headers, proxy_user)
        except Exception:
            # The request goes on as it is; without its exchange, it would go without its secrets.
            logger.exception(
                "aibridge: a request is not read, by a bug of ours; interception %s",
                flow.metadata.get("aibridge_interception_id", "none"),
            )
        return exchange

    def _look_into(self, exchange: Exchange, headers: Headers, proxy_user: str | None) -> None:
        """Read a request, and begin its record if it is bridged."""
        flow, route = exchange.flow, exchange.route
        actor = identity.actor_of(
            proxy_user=proxy_user,
            header_value=headers.get(self._settings.actor_header),
            credential=exchange.credential,
            known_actors=self._settings.actors,
        )
        if route.socket and headers.get("upgrade", "").lower() == "websocket":
            self._open_conversation(exchange, route.socket, headers, actor)
            return
        api = route.api or route.counts_for
        if api is not None:
            exchange.members = self._read_body(flow.request, exchange)
        if route.api is None or exchange.members is None:
            self._metrics.count_passthrough(route.provider.name, route.label, flow.request.method)
        if api is None or exchange.members is None:
            return
        exchange.wire_format = WIRE_FORMATS[api]
        facts = exchange.wire_format.read_request(exchange.members)
        exchange.interception = _interception(exchange, api, facts, headers, actor)
        if route.api is not None:
            self._begin_record(exchange, facts, actor)

    def _begin_record(self, exchange: Exchange, facts: RequestFacts, actor: Actor) -> None:
        assert exchange.interception
        exchange.flow.metadata["aibridge_interception_id"] = exchange.interception.id
        exchange.record = self._record(exchange.interception)
        exchange.record.begin(facts.prompt)
        self._apply_policy(exchange, actor)
        if self._settings.ask_chat_usage and facts.streaming and not exchange.record.ended:
            _ask_chat_usage(exchange)

    def _record(self, interception: Interception) -> InterceptionRecord:
        return InterceptionRecord(
            interception, publish=self._publish, capture=self._settings.capture
        )

    def _open_conversation(
        self, exchange: Exchange, api: str, headers: Headers, actor: Actor
    ) -> None:
        """Get ready for a WebSocket, each of whose requests will be an interception.

        The handshake is one itself if it fails.
        """
        wire_format = exchange.wire_format = WIRE_FORMATS[api]
        exchange.interception = _interception(exchange, api, RequestFacts(), headers, actor)
        exchange.record = self._record(exchange.interception)
        self._apply_policy(exchange, actor)

        def begin(request: Members) -> InterceptionRecord:
            facts = replace(wire_format.read_request(request), streaming=True)
            record = self._record(_interception(exchange, api, facts, headers, actor))
            exchange.flow.metadata["aibridge_interception_id"] = record.interception.id
            record.begin(facts.prompt)
            if self._settings.refuse_unrecorded and not self._can_record():
                self._end_refused(record, exchange.route, 503, _NOT_RECORDED, _CANNOT_RECORD)
                body = wire_format.error_body(503, _CANNOT_RECORD)
                raise RefusedError(b'{"type":"error","status":503,' + body[1:])
            return record

        exchange.conversation = Conversation(wire_format, begin)

    def is_ours(self, flow: http.HTTPFlow) -> bool:
        """Whether a request is to a provider, or came to the reverse proxy."""
        reverse = isinstance(flow.client_conn.proxy_mode, ReverseMode)
        return reverse or self.router.is_provider_host(_host(flow))

    def _route(self, flow: http.HTTPFlow, headers: Headers) -> Route | None:
        request = flow.request
        mode = flow.client_conn.proxy_mode
        if not isinstance(mode, ReverseMode) or flow.is_replay:
            return self.router.forward(_host(flow), request.path, request.method)
        route = self.router.reverse(request.path, request.method, target_host=mode.address[0])
        if route is None:
            provider = self.router.instance_of(request.path)
            path = request.path.partition("?")[0]
            message = f"aibridge: {request.method} {path} is not a route of this proxy."
            if provider is None:
                message += f" Paths begin with one of {', '.join(self.router.reverse_prefixes)}."
            wire_format = _wire_format_for(provider, headers)
            flow.response = shaped_error(wire_format, 404, message)
            self._metrics.refused.labels(provider.name if provider else "", _NO_SUCH_ROUTE).inc()
            hide_secrets(request)
        return route

    def _credential(
        self, flow: http.HTTPFlow, provider: Provider, headers: Headers
    ) -> Credential | None:
        """Return the client's own credential, else, in reverse mode, add the central key."""
        own = identity.own_credential(headers)
        if not isinstance(flow.client_conn.proxy_mode, ReverseMode) or not provider.api_key_env:
            return own
        if own and own.secret != identity.PLACEHOLDER_KEY:
            return own
        key = os.environ.get(provider.api_key_env, "").strip()
        if not key:
            return own
        for name in identity.CREDENTIAL_HEADERS:
            flow.request.headers.pop(name, None)
        if provider.type == "anthropic":
            flow.request.headers["x-api-key"] = key
        else:
            flow.request.headers["authorization"] = f"Bearer {key}"
        return Credential(kind="centralized", secret=key)

    def _without_our_headers(self, flow: http.HTTPFlow) -> tuple[tuple[bytes, bytes], ...]:
        ours = self._settings.actor_header.encode()
        fields = flow.request.headers.fields
        return tuple(field for field in fields if field[0].lower() != ours) if ours else fields

    def _read_body(self, request: http.Request, exchange: Exchange) -> Members | None:
        """Return the members of the body; None if it is no JSON object, which is then counted."""
        raw = request.raw_content or b""
        try:
            if len(raw) > exchange.max_bytes:
                raise UndecodableError("the body is larger than the bound")
            coding = request.headers.get("content-encoding", "")
            body = decode_body(raw, coding, max_bytes=exchange.max_bytes) if coding else raw
        except UndecodableError:
            exchange.partial = True
            body = b"{}"
        found = members(body)
        if found is None or exchange.partial:
            self._metrics.unreadable.labels(exchange.route.provider.name, "request").inc()
        return found

    def _apply_policy(self, exchange: Exchange, actor: Actor) -> None:
        if self._settings.require_actor and actor.id == ANONYMOUS:
            message = "aibridge: this proxy must know who asks."
            if self._settings.actor_header:
                message += f" Name yourself in the header {self._settings.actor_header}."
            self._refuse(exchange, 400, _NO_ACTOR, message)
        elif self._settings.refuse_unrecorded and not self._can_record():
            self._refuse(exchange, 503, _NOT_RECORDED, _CANNOT_RECORD)

    def _refuse(self, exchange: Exchange, status: int, reason: str, message: str) -> None:
        assert exchange.wire_format is not None
        exchange.flow.response = shaped_error(exchange.wire_format, status, message)
        assert exchange.record is not None
        self._end_refused(exchange.record, exchange.route, status, reason, message)

    def _end_refused(
        self, record: InterceptionRecord, route: Route, status: int, reason: str, message: str
    ) -> None:
        self._metrics.refused.labels(route.provider.name, reason).inc()
        error = ProviderError(type=reason, message=message)
        record.end(Status.REFUSED, http_status=status, error=error)


def shaped_error(wire_format: WireFormat, status: int, message: str) -> http.Response:
    """Return an error as the clients of a wire format show it to their users."""
    body = wire_format.error_body(status, message)
    return http.Response.make(status, body, {"content-type": "application/json"})


def wire_format_of(provider: Provider) -> WireFormat:
    """Return a wire format whose errors the clients of a provider understand."""
    return anthropic_messages if provider.type == "anthropic" else openai_chat


def _wire_format_for(provider: Provider | None, headers: Headers) -> WireFormat:
    if provider is not None:
        return wire_format_of(provider)
    return anthropic_messages if "anthropic-version" in headers else openai_chat


def _host(flow: http.HTTPFlow) -> str:
    """Return the host that the client means: where it connects by address, the name it says."""
    host = flow.request.host
    if host[-1:].isdigit() or ":" in host:
        return flow.client_conn.sni or flow.request.pretty_host
    return host


def _direct(request: http.Request, route: Route) -> None:
    if (upstream := route.upstream) is None:
        return
    request.data.port = upstream.port  # without the side effect of `request.port`, which is …
    request.scheme = upstream.scheme
    request.host = upstream.host  # … done here: sets the Host header or the authority too
    request.path = upstream.path


def take_proxy_user(flow: http.HTTPFlow) -> str | None:
    """Return the user of mitmproxy's own authentication, and forget the password."""
    match flow.metadata.get("proxyauth"):
        case (str(user), _):
            flow.metadata["proxyauth"] = (user, "")
            return user
    return None


def _interception(
    exchange: Exchange, api: str, facts: RequestFacts, headers: Headers, actor: Actor
) -> Interception:
    route, credential = exchange.route, exchange.credential
    client = identity.recognise(headers)
    metadata: dict[str, Any] = {**actor.metadata, **identity.client_metadata(headers)}
    return Interception(
        id=new_id(),
        initiator_id=actor.id,
        metadata=metadata,
        provider=route.provider.type,
        provider_name=route.provider.name,
        api=api,
        route=route.label,
        method=exchange.flow.request.method,
        model=facts.model,
        client=client.name,
        user_agent=headers.get("user-agent"),
        client_session_id=identity.session_of(client, headers, facts.session_hint),
        correlating_tool_call_id=facts.correlating_tool_call_id,
        credential_kind=credential.kind if credential else None,
        credential_hint=credential.hint if credential else None,
        streaming=facts.streaming,
        started_at=now(),
    )


def _ask_chat_usage(exchange: Exchange) -> None:
    if exchange.route.api != openai_chat.NAME or exchange.members is None:
        return
    if (asking := openai_chat.ask_for_usage(exchange.members)) is not None:
        exchange.members = asking
        exchange.flow.request.content = encoded_body(asking)
        # The extra chunk must be cut out of the answer.
        exchange.flow.request.headers["accept-encoding"] = "identity"
        exchange.withhold = openai_chat.is_usage_only
