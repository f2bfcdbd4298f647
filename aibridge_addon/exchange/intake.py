"""What becomes of a request: routed, its secrets masked, its actor found, read, or refused.

Only the head of a request is changed, and only as the route says: where it goes, the central key,
our own headers. Its body goes on as it came (but see the option `aibridge_ask_chat_usage`).
"""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mitmproxy import http
from mitmproxy.proxy.mode_specs import ReverseMode

from aibridge_addon.access.admission import login_required
from aibridge_addon.access.cors import CrossOriginSharing
from aibridge_addon.access.policies import Asked, Refusal
from aibridge_addon.access.sender import Admission, Sender
from aibridge_addon.access.tokens import AccessToken, TokenError
from aibridge_addon.config.settings import Settings
from aibridge_addon.exchange.asking import Asking, asking_of
from aibridge_addon.exchange.error_answers import (
    refused_message,
    shaped_error,
    wire_format_for,
    wire_format_of,
    wire_format_of_route,
)
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.typed_prompts import TypedPrompts
from aibridge_addon.exchange.unrecorded_usage import UnrecordedUsage
from aibridge_addon.exchange.websocket import Conversation
from aibridge_addon.facts import (
    Interception,
    ProviderError,
    RequestFacts,
    Status,
)
from aibridge_addon.formats import FORMATS, RequestView
from aibridge_addon.formats.decoders.codings import UndecodableError
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.interception import InterceptionRecord, Publish
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.providers import credentials, identity
from aibridge_addon.providers.credentials import Credential
from aibridge_addon.providers.routing import Provider, Route, Router, bare_host
from aibridge_addon.raw_json import body as encoded_body
from aibridge_addon.raw_json import member, members, text
from aibridge_addon.relay.mitm_layers import NAMED_HOSTS
from aibridge_addon.relay.original_request import OriginalRequest
from aibridge_addon.relay.secrets import mask_fields, mask_request
from aibridge_addon.relay.upgrades import is_websocket, strip_other_upgrades

logger = logging.getLogger(__name__)

_NO_SUCH_ROUTE = "no_such_route"
_BODY_TOO_LARGE = "body_too_large"
_TOO_MUCH_HELD = "too_much_held"
_HOLDS_TOO_MUCH = (
    "aibridge: this proxy holds too many large requests at the moment"
    " (option aibridge_held_bodies_mib). Try again."
)
_UNREAD_WEBSOCKET = "aibridge: this proxy cannot read a WebSocket of this path, and lets none pass."
_NOT_ADMITTED = "aibridge: this proxy cannot tell whether you may use it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What is known of a request before its body has come."""

    admission: Admission
    exchange: Exchange | None = None
    """None: it is to no provider, or has no route."""
    proxy_user: str | None = None


class Intake:
    """Takes requests in."""

    def __init__(
        self,
        settings: Settings,
        *,
        publish: Publish,
        metrics: Metrics,
        typed_prompts: TypedPrompts,
        cross_origin: CrossOriginSharing,
        check_admission: Callable[[Admission], None],
        check: Callable[[Asked], Refusal | None],
    ) -> None:
        self.router = Router(settings.providers)
        self.cross_origin = cross_origin
        self._settings = settings
        self._publish = publish
        self._metrics = metrics
        self._typed_prompts = typed_prompts
        self._check_admission = check_admission
        self._check = check
        self._unrecorded_usage = UnrecordedUsage(metrics)

    def take_head(self, flow: http.HTTPFlow, admission: Admission) -> Head:
        """Prepare the head of a request for the way up, before its body has come."""
        proxy_user = take_proxy_user(flow)
        hosts = take_hosts(flow)
        if preflight := self.cross_origin.preflight(flow):
            flow.response = preflight
            mask_request(flow.request)
            return Head(admission=admission)
        route = self._route(flow, admission)
        if route is None:
            self._refuse_unrouted(flow, admission)
            return Head(admission=admission)
        credential = self._credential(flow, route.provider, admission)
        flow.request.headers.fields, secrets = mask_fields(self._without_our_headers(flow))
        _direct(flow.request, route)
        strip_other_upgrades(flow.request)
        exchange = Exchange(
            flow=flow,
            route=route,
            secrets=secrets,
            credential=credential,
            hosts=hosts,
            max_bytes=self._settings.max_body_bytes,
            on_unrecorded_usage=self._unrecorded_usage.count,
        )
        return Head(admission=admission, exchange=exchange, proxy_user=proxy_user)

    def check_unrouted(self, flow: http.HTTPFlow, head: Head) -> None:
        """Answer a request to no provider whose sender, by what is known now, must not pass."""
        if head.exchange is not None:
            return
        try:
            self._check_admission(head.admission)
        except TokenError as error:
            self._refuse_unrouted(flow, replace(head.admission, refusal=error))

    def take(self, head: Head) -> None:
        """Read a request to a provider that has come whole."""
        exchange, admission = head.exchange, head.admission
        assert exchange
        flow = exchange.flow
        exchange.own = OriginalRequest(flow.request.headers.fields, flow.request.raw_content or b"")
        try:
            self._look_into(exchange, self._sender(exchange, admission, head.proxy_user))
        except Exception:
            logger.exception(
                "aibridge: a request is not read, by a bug of ours; interception %s",
                flow.metadata.get("aibridge_interception_id", "none"),
            )
            if not admission.is_free and flow.response is None:
                wire_format = wire_format_of(exchange.route.provider)
                flow.response = shaped_error(wire_format, 400, _NOT_ADMITTED)

    def refused_unread(self, head: Head) -> http.Response | None:
        """Return what answers a request whose body is not worth waiting for; None: it is."""
        refusal, exchange = head.admission.refusal, head.exchange
        if exchange is None or refusal is None:
            return None
        self._metrics.count_refused(exchange.route.provider.name, refusal.reason)
        return shaped_error(wire_format_of_route(exchange.route), 400, f"aibridge: {refusal}")

    def _look_into(self, exchange: Exchange, sender: Sender) -> None:
        """Read a request, and begin its record if it is bridged."""
        flow, route = exchange.flow, exchange.route
        if is_websocket(flow.request):
            if route.socket:
                self._open_conversation(exchange, route.socket, sender)
            else:
                self._pass_websocket(exchange, sender)
            return
        api = route.api or route.counts_for
        if api is not None:
            exchange.members = self._read_body(exchange)
        if route.api is None or exchange.members is None:
            self._metrics.count_passthrough(route.provider.name, route.label, flow.request.method)
        if api is not None and exchange.members is not None:
            exchange.wire_format = FORMATS[api]
            facts = exchange.wire_format.read_request(_view(exchange, exchange.members, sender))
            asking = asking_of(exchange, api, facts, sender)
            exchange.interception = asking.interception
            if route.api is not None:
                self._begin_record(exchange, asking, facts, sender)
                return
        self._check_passing(exchange, sender)

    def _begin_record(
        self, exchange: Exchange, asking: Asking, facts: RequestFacts, sender: Sender
    ) -> None:
        asked = self._asked(exchange, sender, model=facts.model)
        refusal = self._judged(exchange, asked)
        record = exchange.record
        assert record
        exchange.flow.metadata["aibridge_interception_id"] = record.interception.id
        self._begin(record, asking, refusal)
        record.in_background = facts.background
        if refusal:
            self._refuse_recorded(exchange, record, refusal)
        elif facts.streaming and self._may_ask_usage(exchange):
            _ask_chat_usage(exchange)

    def _may_ask_usage(self, exchange: Exchange) -> bool:
        """Return whether usage may be asked for: a forward proxy's requests stay as they are."""
        rule = self._settings.ask_chat_usage
        is_reverse = isinstance(exchange.flow.client_conn.proxy_mode, ReverseMode)
        takes_it = is_reverse and exchange.route.provider.takes_include_usage
        return rule == "always" or (rule == "auto" and takes_it)

    def _judged(self, exchange: Exchange, asked: Asked) -> Refusal | None:
        """Check a request, and make its record: of a refused one, with no credential."""
        assert exchange.interception
        exchange.asked = asked
        refusal = self._check(asked)
        if refusal:
            exchange.interception = _without_credential(exchange.interception)
        exchange.record = self._record(exchange.interception)
        return refusal

    def _begin(self, record: InterceptionRecord, asking: Asking, refusal: Refusal | None) -> None:
        """Begin a record with what was typed, unless an earlier request has brought that."""
        prompt = None
        if not (refusal and refusal.denies_access):  # what strangers say could fill the disk
            prompt = self._typed_prompts.new(
                asking.interception,
                asking.purpose,
                position=asking.position,
                is_retry=asking.is_retry,
            )
        record.begin(prompt and prompt.text, digest=prompt and prompt.digest)

    def _record(self, interception: Interception) -> InterceptionRecord:
        return InterceptionRecord(
            interception, publish=self._publish, capture=self._settings.capture
        )

    def _open_conversation(self, exchange: Exchange, api: str, sender: Sender) -> None:
        """Get ready for a WebSocket, each of whose requests will be an interception.

        The handshake is one itself if it fails.
        """
        wire_format = exchange.wire_format = FORMATS[api]
        exchange.interception = asking_of(exchange, api, RequestFacts(), sender).interception
        opening = replace(self._asked(exchange, sender), must_name_model=False)
        if (refusal := self._judged(exchange, opening)) and exchange.record:
            self._refuse_recorded(exchange, exchange.record, refusal)

        def begin(request: Members, message: bytes) -> InterceptionRecord:
            view = _view(exchange, request, sender)
            facts = replace(wire_format.read_request(view), streaming=True)
            asking = asking_of(exchange, api, facts, sender)
            interception = asking.interception
            asked = _said(opening, message, model=facts.model, must_name_model=True)
            refusal = self._check(asked)
            record = self._record(_without_credential(interception) if refusal else interception)
            exchange.flow.metadata["aibridge_interception_id"] = interception.id
            self._begin(record, asking, refusal)
            if refusal:
                self._end_refused(record, exchange.route, refusal)
                raise refused_message(wire_format, refusal)
            return record

        def check(message: bytes) -> None:
            if refusal := self._check(_said(opening, message, is_recorded=False)):
                self._metrics.count_refused(exchange.route.provider.name, refusal.reason)
                raise refused_message(wire_format, refusal)

        exchange.conversation = Conversation(wire_format, begin, check)

    def _pass_websocket(self, exchange: Exchange, sender: Sender) -> None:
        """Let a WebSocket pass that nobody reads, unless that spends our key or hides a model."""
        flow, route, token = exchange.flow, exchange.route, sender.admission.token
        self._check_passing(exchange, sender)
        if flow.response:
            return
        if isinstance(flow.client_conn.proxy_mode, ReverseMode) or (token and token.models):
            flow.response = shaped_error(wire_format_of(route.provider), 400, _UNREAD_WEBSOCKET)
            self._metrics.count_refused(route.provider.name, "unread_websocket")
            return
        self._metrics.count_passthrough(route.provider.name, route.label, flow.request.method)

    def is_ours(self, flow: http.HTTPFlow) -> bool:
        """Whether a request is to a provider, or came to the reverse proxy."""
        reverse = isinstance(flow.client_conn.proxy_mode, ReverseMode)
        return reverse or self.router.is_provider_host(_host(flow))

    def too_much_held(self, head: Head) -> http.Response:
        """Answer a request whose body would exceed what the proxy holds of all requests."""
        route = head.exchange.route if head.exchange else None
        self._metrics.count_refused(route.provider.name if route else "", _TOO_MUCH_HELD)
        wire_format = wire_format_of_route(route) if route else wire_format_for(None, {})
        answer = shaped_error(wire_format, 503, _HOLDS_TOO_MUCH)
        answer.headers["retry-after"] = "1"
        return answer

    def too_large(self, head: Head, limit: str) -> http.Response | None:
        """Answer a request to a provider whose body is larger than is taken; None: it is to none.

        It has not been read, so that it is not recorded.
        """
        if head.exchange is None:
            return None
        route = head.exchange.route
        self._metrics.count_refused(route.provider.name, _BODY_TOO_LARGE)
        wire_format = wire_format_of_route(route)
        message = f"aibridge: this proxy takes bodies of up to {limit} (option body_size_limit)."
        return shaped_error(wire_format, 413, message)

    def _route(self, flow: http.HTTPFlow, admission: Admission) -> Route | None:
        request = flow.request
        mode = flow.client_conn.proxy_mode
        if not isinstance(mode, ReverseMode) or flow.is_replay:
            return self.router.forward(_host(flow), request.path, request.method)
        method = _method(request)
        route = self.router.reverse(request.path, method, target_host=mode.address[0])
        if route is None and admission.refusal:  # to strangers, nothing is told of what there is
            wire_format = wire_format_for(None, admission.headers)
            flow.response = shaped_error(wire_format, 400, f"aibridge: {admission.refusal}")
            self._metrics.count_refused("", admission.refusal.reason)
            mask_request(request)
        elif route is None:
            provider = self.router.instance_of(request.path)
            path = request.path.partition("?")[0]
            message = f"aibridge: {method} {path} is not a route of this proxy."
            if provider is None:
                message += f" Paths begin with one of {', '.join(self.router.reverse_prefixes)}."
            wire_format = wire_format_for(provider, admission.headers)
            flow.response = shaped_error(wire_format, 404, message)
            self._metrics.count_refused(provider.name if provider else "", _NO_SUCH_ROUTE)
            mask_request(request)
        return route

    def _credential(
        self, flow: http.HTTPFlow, provider: Provider, admission: Admission
    ) -> Credential | None:
        """Return the client's own credential, else, in reverse mode, add the central key."""
        own = credentials.own_credential(admission.headers)
        if not isinstance(flow.client_conn.proxy_mode, ReverseMode) or not provider.api_key_env:
            return own
        if admission.refusal:
            return own
        if own and own.secret != credentials.PLACEHOLDER_KEY:
            return own
        key = os.environ.get(provider.api_key_env, "").strip()
        if not key:
            return own
        for name in credentials.CREDENTIAL_HEADERS:
            flow.request.headers.pop(name, None)
        name, value = provider.provider_type.authorization(key)
        flow.request.headers[name] = value
        return Credential(kind="centralized", secret=key)

    def _without_our_headers(self, flow: http.HTTPFlow) -> tuple[tuple[bytes, bytes], ...]:
        ours = self._settings.actor_header.encode()
        fields = flow.request.headers.fields
        return tuple(field for field in fields if field[0].lower() != ours) if ours else fields

    def _read_body(self, exchange: Exchange) -> Members | None:
        """Return the members of the body; None if it is no JSON object, which is then counted."""
        try:
            body = exchange.request_body()
        except UndecodableError:
            exchange.partial = True
            body = b"{}"
        found = members(body)
        if found is None or exchange.partial:
            self._metrics.count_unreadable(exchange.route.provider.name, "request")
        return found

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

    def _asked(self, exchange: Exchange, sender: Sender, *, model: str | None = None) -> Asked:
        """Return what the policies are to judge of a client's request."""
        flow, route = exchange.flow, exchange.route
        return Asked(
            sender=sender,
            route=route,
            credential=exchange.credential,
            method=flow.request.method,
            path=flow.request.path,
            fields=flow.request.headers.fields,
            hosts=exchange.hosts,
            to_reverse_proxy=isinstance(flow.client_conn.proxy_mode, ReverseMode),
            content=exchange.content_to_judge,
            model=model,
            must_name_model=bool(route.api or route.counts_for),
            is_recorded=bool(route.api or route.socket),
            uses_central_tools=self._offers_tools(exchange.interception),
        )

    def _offers_tools(self, asks: Interception | None) -> bool:
        return (
            asks is not None
            and bool(self._settings.mcp_servers)
            and self._settings.injection.allows(
                actor=asks.initiator_id,
                client=asks.client,
                provider=asks.provider_name,
                model=asks.model or "",
            )
        )

    def _refuse_recorded(
        self, exchange: Exchange, record: InterceptionRecord, refusal: Refusal
    ) -> None:
        assert exchange.wire_format is not None
        exchange.flow.response = shaped_error(exchange.wire_format, refusal.status, refusal.message)
        self._end_refused(record, exchange.route, refusal)

    def _check_passing(self, exchange: Exchange, sender: Sender) -> None:
        """Answer a request that is not recorded, and must not go on either."""
        route = exchange.route
        model = text(member(exchange.members, "model")) if exchange.members else None
        asked = replace(self._asked(exchange, sender, model=model), is_recorded=False)
        if refusal := self._check(asked):
            wire_format = exchange.wire_format or wire_format_of(route.provider)
            exchange.flow.response = shaped_error(wire_format, refusal.status, refusal.message)
            self._metrics.count_refused(route.provider.name, refusal.reason)

    def _refuse_unrouted(self, flow: http.HTTPFlow, admission: Admission) -> None:
        """Answer a plain request to another host, if its sender must not pass."""
        refusal = admission.refusal or self._why_not_unseen(flow, admission.token)
        if refusal and flow.response is None:
            flow.response = login_required(refusal)
            self._metrics.count_refused("", refusal.reason)
            mask_request(flow.request)

    def _why_not_unseen(self, flow: http.HTTPFlow, token: AccessToken | None) -> TokenError | None:
        there = self.router.tunnels_to(flow.request.host, flow.request.port)
        try:
            if token:
                token.check_tunnel(provider.name for provider in there)
        except TokenError as error:
            return error
        return None

    def _end_refused(self, record: InterceptionRecord, route: Route, refusal: Refusal) -> None:
        self._metrics.count_refused(route.provider.name, refusal.reason)
        error = ProviderError(type=refusal.reason, message=refusal.message)
        record.end(Status.REFUSED, http_status=refusal.status, error=error)


def _host(flow: http.HTTPFlow) -> str:
    """Return the host that the client means: where it connects by address, the name it says."""
    host = flow.request.host
    if bare_host(host)[-1:].isdigit() or ":" in host:
        return flow.client_conn.sni or flow.request.pretty_host
    return host


def _method(request: http.Request) -> str:
    """Return the method that goes up: `request.method` is in upper case, which may be another."""
    method: bytes = request.data.method
    return method.decode("utf-8", "backslashreplace")


def _direct(request: http.Request, route: Route) -> None:
    if route.path is not None:
        request.path = route.path
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


def take_hosts(flow: http.HTTPFlow) -> tuple[str, ...]:
    """Return the authorities that a client named, before mitmproxy has changed them."""
    hosts: Sequence[str] = flow.metadata.pop(NAMED_HOSTS, ())
    return tuple(hosts)


def _said(opening: Asked, message: bytes, **changes: Any) -> Asked:
    """Return what the policies are to judge of a message over a WebSocket."""
    return replace(opening, content=lambda: message, is_message=True, **changes)


def _view(exchange: Exchange, request: Members, sender: Sender) -> RequestView:
    """Return what a wire format reads of a request, given the members of its body."""
    path, _, query = exchange.flow.request.path.partition("?")
    return RequestView(
        members=request,
        method=exchange.flow.request.method,
        path=path,
        query=query,
        headers=sender.headers,
        path_values=exchange.route.path_values,
    )


def _without_credential(interception: Interception) -> Interception:
    """Return an interception of which nothing goes up, so that no key is used."""
    return replace(interception, credential_kind=None, credential_hint=None)


def _ask_chat_usage(exchange: Exchange) -> None:
    wire_format = exchange.wire_format
    if wire_format is None or exchange.members is None:
        return
    if (asking := wire_format.ask_for_usage(exchange.members)) is not None:
        exchange.members = asking
        exchange.flow.request.content = encoded_body(asking)
        # The extra chunk must be cut out of the answer.
        exchange.flow.request.headers["accept-encoding"] = "identity"
        exchange.withhold = wire_format.is_usage_only
