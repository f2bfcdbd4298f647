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
from aibridge_addon.identity import Credential, Headers
from aibridge_addon.interception import InterceptionRecord, Publish
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.proxy.conversation import Conversation, RefusedError
from aibridge_addon.proxy.exchange import Exchange
from aibridge_addon.proxy.gate import Admission, Gate, ask_for_login
from aibridge_addon.proxy.headers import hide_secrets, lowered, sealed
from aibridge_addon.proxy.policy import Policy, Refusal, Sender
from aibridge_addon.routing import Provider, Route, Router
from aibridge_addon.settings import Settings
from aibridge_addon.tokens import TokenError
from aibridge_addon.wire import body as encoded_body
from aibridge_addon.wire import member, members, text

logger = logging.getLogger(__name__)

_NO_SUCH_ROUTE = "no_such_route"
_BODY_TOO_LARGE = "body_too_large"
_NOT_ADMITTED = "aibridge: this proxy cannot tell whether you may use it."


class Intake:
    """Takes requests in."""

    def __init__(
        self,
        settings: Settings,
        *,
        publish: Publish,
        metrics: Metrics,
        gate: Gate,
        can_record: Callable[[], bool],
    ) -> None:
        self.router = Router(settings.providers)
        self._settings = settings
        self._publish = publish
        self._metrics = metrics
        self._policy = Policy(settings, gate=gate, can_record=can_record)

    def take(self, flow: http.HTTPFlow, admission: Admission) -> Exchange | None:
        """Prepare a request for the way up. None: it is to no provider, and not our business."""
        proxy_user = take_proxy_user(flow)
        route = self._route(flow, admission.headers)
        if route is None:
            self._refuse_unrouted(flow, admission.refusal)
            return None
        credential = self._credential(flow, route.provider, admission.headers)
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
            self._look_into(exchange, self._sender(exchange, admission, proxy_user))
        except Exception:
            # The request goes on as it is; without its exchange, it would go without its secrets.
            logger.exception(
                "aibridge: a request is not read, by a bug of ours; interception %s",
                flow.metadata.get("aibridge_interception_id", "none"),
            )
            if not admission.is_free and flow.response is None:
                flow.response = shaped_error(wire_format_of(route.provider), 400, _NOT_ADMITTED)
        return exchange

    def _look_into(self, exchange: Exchange, sender: Sender) -> None:
        """Read a request, and begin its record if it is bridged."""
        flow, route = exchange.flow, exchange.route
        if route.socket and sender.headers.get("upgrade", "").lower() == "websocket":
            self._open_conversation(exchange, route.socket, sender)
            return
        api = route.api or route.counts_for
        if api is not None:
            exchange.members = self._read_body(flow.request, exchange)
        if route.api is None or exchange.members is None:
            self._metrics.count_passthrough(route.provider.name, route.label, flow.request.method)
        if api is not None and exchange.members is not None:
            exchange.wire_format = WIRE_FORMATS[api]
            facts = exchange.wire_format.read_request(exchange.members)
            exchange.interception = _interception(exchange, api, facts, sender)
            if route.api is not None:
                self._begin_record(exchange, facts, sender)
                return
        self._check_passing(exchange, sender)

    def _begin_record(self, exchange: Exchange, facts: RequestFacts, sender: Sender) -> None:
        assert exchange.interception
        exchange.flow.metadata["aibridge_interception_id"] = exchange.interception.id
        exchange.record = self._record(exchange.interception)
        exchange.record.begin(facts.prompt)
        self._apply_policy(exchange, sender, model=facts.model)
        if self._settings.ask_chat_usage and facts.streaming and not exchange.record.ended:
            _ask_chat_usage(exchange)

    def _record(self, interception: Interception) -> InterceptionRecord:
        return InterceptionRecord(
            interception, publish=self._publish, capture=self._settings.capture
        )

    def _open_conversation(self, exchange: Exchange, api: str, sender: Sender) -> None:
        """Get ready for a WebSocket, each of whose requests will be an interception.

        The handshake is one itself if it fails.
        """
        wire_format = exchange.wire_format = WIRE_FORMATS[api]
        exchange.interception = _interception(exchange, api, RequestFacts(), sender)
        exchange.record = self._record(exchange.interception)
        self._apply_policy(exchange, sender, any_model=True)

        def begin(request: Members) -> InterceptionRecord:
            facts = replace(wire_format.read_request(request), streaming=True)
            record = self._record(_interception(exchange, api, facts, sender))
            exchange.flow.metadata["aibridge_interception_id"] = record.interception.id
            record.begin(facts.prompt)
            if refusal := self._policy.why_not(exchange, sender, model=facts.model):
                self._end_refused(record, exchange.route, refusal)
                body = wire_format.error_body(refusal.status, refusal.message)
                raise RefusedError(b'{"type":"error","status":%d,' % refusal.status + body[1:])
            return record

        exchange.conversation = Conversation(wire_format, begin)

    def is_ours(self, flow: http.HTTPFlow) -> bool:
        """Whether a request is to a provider, or came to the reverse proxy."""
        reverse = isinstance(flow.client_conn.proxy_mode, ReverseMode)
        return reverse or self.router.is_provider_host(_host(flow))

    def too_large(self, flow: http.HTTPFlow, limit: str) -> http.Response | None:
        """Answer a request to a provider whose body is larger than is taken; None: it is to none.

        It has not been read, so that it is not recorded.
        """
        route = self._route(flow, lowered(flow.request.headers.fields))
        if route is None:
            return flow.response
        self._metrics.count_refused(route.provider.name, _BODY_TOO_LARGE)
        wire_format = WIRE_FORMATS[route.api] if route.api else wire_format_of(route.provider)
        message = f"aibridge: this proxy takes bodies of up to {limit} (option body_size_limit)."
        return shaped_error(wire_format, 413, message)

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
            self._metrics.count_refused(provider.name if provider else "", _NO_SUCH_ROUTE)
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
        try:
            body = self._decoded(request, exchange.max_bytes)
        except UndecodableError:
            exchange.partial = True
            body = b"{}"
        found = members(body)
        if found is None or exchange.partial:
            self._metrics.count_unreadable(exchange.route.provider.name, "request")
        return found

    def _decoded(self, request: http.Request, max_bytes: int) -> bytes:
        raw = request.raw_content or b""
        if len(raw) > max_bytes:
            raise UndecodableError("the body is larger than the bound")
        coding = request.headers.get("content-encoding", "")
        return decode_body(raw, coding, max_bytes=max_bytes) if coding else raw

    def _sender(self, exchange: Exchange, admission: Admission, proxy_user: str | None) -> Sender:
        actor = identity.actor_of(
            proxy_user=proxy_user,
            token_owner=admission.owner,
            header_value=admission.headers.get(self._settings.actor_header),
            credential=exchange.credential,
            known_actors=self._settings.actors,
        )
        return Sender(actor=actor, admission=admission)

    # Policy

    def _apply_policy(
        self,
        exchange: Exchange,
        sender: Sender,
        *,
        model: str | None = None,
        any_model: bool = False,
    ) -> None:
        """Answer a recorded request that must not go on."""
        if refusal := self._policy.why_not(exchange, sender, model=model, any_model=any_model):
            assert exchange.wire_format is not None
            assert exchange.record is not None
            exchange.flow.response = shaped_error(
                exchange.wire_format, refusal.status, refusal.message
            )
            self._end_refused(exchange.record, exchange.route, refusal)

    def _check_passing(self, exchange: Exchange, sender: Sender) -> None:
        """Answer a request that is not recorded, and must not go on either."""
        route = exchange.route
        token = sender.admission.token
        model = self._model_told(exchange) if token and token.models else None
        names_one = bool(model or route.api or route.counts_for)
        if refusal := self._policy.why_not_by_token(
            exchange, sender, model=model, any_model=not names_one
        ):
            wire_format = exchange.wire_format or wire_format_of(route.provider)
            exchange.flow.response = shaped_error(wire_format, refusal.status, refusal.message)
            self._metrics.count_refused(route.provider.name, refusal.reason)

    def _model_told(self, exchange: Exchange) -> str | None:
        """Return the model that a request names, which nobody has to read otherwise."""
        told = exchange.members
        if told is None:
            try:
                told = members(self._decoded(exchange.flow.request, exchange.max_bytes))
            except UndecodableError:
                return None
        return text(member(told, "model")) if told else None

    def _refuse_unrouted(self, flow: http.HTTPFlow, refusal: TokenError | None) -> None:
        """Answer a plain request to another host, if its sender must not pass."""
        if refusal and flow.response is None:
            flow.response = ask_for_login(refusal)
            self._metrics.count_refused("", refusal.reason)
            hide_secrets(flow.request)

    def _end_refused(self, record: InterceptionRecord, route: Route, refusal: Refusal) -> None:
        self._metrics.count_refused(route.provider.name, refusal.reason)
        error = ProviderError(type=refusal.reason, message=refusal.message)
        record.end(Status.REFUSED, http_status=refusal.status, error=error)


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
    exchange: Exchange, api: str, facts: RequestFacts, sender: Sender
) -> Interception:
    route, credential = exchange.route, exchange.credential
    headers, actor = sender.headers, sender.actor
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
