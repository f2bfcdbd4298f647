"""Reads heads of requests: finds the route, masks the secrets, adds the central key.

Only the head is changed, and only as the route states: its destination, the central key, and the
headers of this proxy.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from mitmproxy import http
from mitmproxy.proxy.mode_specs import ReverseMode

from aibridge_addon.access.admission import login_required
from aibridge_addon.access.cors import CrossOriginSharing
from aibridge_addon.access.sender import Admission
from aibridge_addon.access.tokens import AccessToken, TokenError
from aibridge_addon.config.settings import Settings
from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.exchange.error_responses import (
    error_format_of_headers,
    error_format_of_provider,
    shaped_error,
)
from aibridge_addon.exchange.head import Head, RoutedHead
from aibridge_addon.exchange.policy_check import is_reverse
from aibridge_addon.headers import Fields
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.providers import credentials
from aibridge_addon.providers.credentials import Credential
from aibridge_addon.providers.hosts import bare_host
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.protocol_keys import (
    PROTOCOL_HEADER,
    protocol_key,
    without_protocol_key,
)
from aibridge_addon.providers.query_keys import without_keys
from aibridge_addon.providers.routing import Route, Router
from aibridge_addon.providers.signatures import is_signed, signed_names
from aibridge_addon.relay.mitm_layers import NAMED_HOSTS
from aibridge_addon.relay.secrets import mask_fields, mask_query, mask_request
from aibridge_addon.relay.upgrades import strip_other_upgrades

_NO_SUCH_ROUTE = "no_such_route"


class HeadReader:
    """Prepares the heads of requests for upstream, and refuses those that have no route."""

    def __init__(
        self,
        settings: Settings,
        *,
        cross_origin: CrossOriginSharing,
        check_admission: Callable[[Admission], None],
        metrics: Metrics,
    ) -> None:
        self.router = Router(settings.providers)
        self._settings = settings
        self._cross_origin = cross_origin
        self._check_admission = check_admission
        self._metrics = metrics
        names = {settings.actor_header} - {""}
        names = names.union(*(proxy.headers for proxy in settings.front_proxies))
        self._our_headers = frozenset(name.encode() for name in names)

    def is_ours(self, flow: http.HTTPFlow) -> bool:
        """Return True if a request is to a provider, or was sent to the reverse proxy."""
        return is_reverse(flow) or self.router.is_provider_host(_host(flow))

    def read(self, flow: http.HTTPFlow, admission: Admission) -> Head:
        """Prepare the head of a request for upstream."""
        proxy_user = take_proxy_user(flow)
        hosts = take_hosts(flow)
        if preflight := self._cross_origin.preflight(flow):
            flow.response = preflight
            mask_request(flow.request)
            return Head(admission=admission)
        route = self._route(flow, admission)
        if route is None:
            self._check_unrouted(flow, admission)
            return Head(admission=admission)
        credential = self._credential(flow, route.provider, admission)
        signed = not is_reverse(flow) and is_signed(admission.headers, flow.request.path)
        covered = signed_names(admission.headers) if signed else frozenset()
        flow.request.headers.fields, secrets = mask_fields(self._without_our_headers(flow, covered))
        _direct(flow.request, route)
        if credential and credential.kind == "centralized":
            flow.request.path = without_keys(flow.request.path)
        flow.request.path = mask_query(flow.request.path, secrets)
        strip_other_upgrades(flow.request)
        request = ClientRequest(
            flow=flow,
            route=route,
            secrets=secrets,
            credential=credential,
            hosts=hosts,
            is_signed=signed,
            needs_signature=credential is credentials.OPERATOR,
            max_bytes=self._settings.max_body_bytes,
        )
        return RoutedHead(admission=admission, request=request, proxy_user=proxy_user)

    def check_again(self, flow: http.HTTPFlow, head: Head) -> None:
        """Refuse a request without a route if, meanwhile, its access token is not accepted."""
        try:
            self._check_admission(head.admission)
        except TokenError as error:
            self._check_unrouted(flow, replace(head.admission, refusal=error))

    def _route(self, flow: http.HTTPFlow, admission: Admission) -> Route | None:
        request, mode = flow.request, flow.client_conn.proxy_mode
        if not isinstance(mode, ReverseMode) or flow.is_replay:
            return self.router.forward(
                _host(flow),
                request.path,
                request.method,
                is_signed=is_signed(admission.headers, request.path),
            )
        method, target = _method(request), mode.address[0]
        route = self.router.reverse(request.path, method, target_host=target)
        if route is None and admission.refusal:  # strangers do not learn which routes exist
            self._refuse_stranger(flow, admission, admission.refusal)
        elif route is None:
            self._refuse_path(flow, method, admission)
        return route

    def _refuse_stranger(
        self, flow: http.HTTPFlow, admission: Admission, refusal: TokenError
    ) -> None:
        wire_format = error_format_of_headers(admission.headers)
        flow.response = shaped_error(wire_format, 400, f"aibridge: {refusal}")
        self._metrics.count_refused("", refusal.reason)
        mask_request(flow.request)

    def _refuse_path(self, flow: http.HTTPFlow, method: str, admission: Admission) -> None:
        provider = self.router.instance_of(flow.request.path)
        path = flow.request.path.partition("?")[0]
        message = f"aibridge: {method} {path} is not a route of this proxy."
        wire_format = error_format_of_headers(admission.headers)
        if provider is None:
            prefixes = ", ".join(self.router.reverse_prefixes)
            message += f" Paths begin with one of {prefixes}, or with the name of a known host."
        else:
            message += "" if provider.base_url else f" Set base_url of {provider.name!r} for it."
            wire_format = error_format_of_provider(provider)
        flow.response = shaped_error(wire_format, 404, message)
        self._metrics.count_refused(provider.name if provider else "", _NO_SUCH_ROUTE)
        mask_request(flow.request)

    def _credential(
        self, flow: http.HTTPFlow, provider: Provider, admission: Admission
    ) -> Credential | None:
        """Return the client's own credential; in reverse mode, add the central key otherwise."""
        own = credentials.own_credential(admission.headers, flow.request.path)
        if not is_reverse(flow) or admission.refusal:
            return own
        if is_signed(admission.headers, flow.request.path):
            own = credentials.UNUSABLE  # the client has signed the proxy's address
        if own and own.secret != credentials.PLACEHOLDER_KEY:
            return own
        # Of a pool the first key; once the body is read, the conversation decides.
        secrets = (key.secret(os.environ) for key in provider.central_keys)
        key = next(filter(None, secrets), "")
        if not key and not provider.can_sign:
            return own
        for name in credentials.CREDENTIAL_HEADERS:
            flow.request.headers.pop(name, None)
        _remove_protocol_key(flow.request)
        if not key:
            return credentials.OPERATOR
        name, value = provider.provider_type.authorization(key)
        flow.request.headers[name] = value
        return Credential(kind="centralized", secret=key)

    def _without_our_headers(self, flow: http.HTTPFlow, covered: frozenset[bytes]) -> Fields:
        """Return the fields without ours, unless a signature covers them."""
        ours = self._our_headers - covered
        fields: Fields = flow.request.headers.fields
        return tuple(field for field in fields if field[0].lower() not in ours)

    def _check_unrouted(self, flow: http.HTTPFlow, admission: Admission) -> None:
        """Refuse a plain request to another host whose sender must not use the proxy."""
        refusal = admission.refusal or self._unseen_refusal(flow, admission.token)
        if refusal and flow.response is None:
            flow.response = login_required(refusal)
            self._metrics.count_refused("", refusal.reason)
            mask_request(flow.request)

    def _unseen_refusal(self, flow: http.HTTPFlow, token: AccessToken | None) -> TokenError | None:
        destinations = self.router.tunnels_to(flow.request.host, flow.request.port)
        try:
            if token:
                token.check_tunnel(provider.name for provider in destinations)
        except TokenError as error:
            return error
        return None


def _remove_protocol_key(request: http.Request) -> None:
    """Remove a placeholder that a browser offers as the key, among the protocols."""
    offered = request.headers.get(PROTOCOL_HEADER, "")
    if protocol_key(offered):
        request.headers[PROTOCOL_HEADER] = without_protocol_key(offered)


def take_proxy_user(flow: http.HTTPFlow) -> str | None:
    """Return the user of mitmproxy's own authentication, and remove the password."""
    match flow.metadata.get("proxyauth"):
        case (str(user), _):
            flow.metadata["proxyauth"] = (user, "")
            return user
    return None


def take_hosts(flow: http.HTTPFlow) -> tuple[str, ...]:
    """Return the authorities that a client named, before mitmproxy changed them."""
    hosts: Sequence[str] = flow.metadata.pop(NAMED_HOSTS, ())
    return tuple(hosts)


def _host(flow: http.HTTPFlow) -> str:
    """Return the host that the client names; for a connection by address, its server name."""
    host = flow.request.host
    if bare_host(host)[-1:].isdigit() or ":" in host:
        return flow.client_conn.sni or flow.request.pretty_host
    return host


def _method(request: http.Request) -> str:
    """Return the method as it is sent: `request.method` is in upper case, and may differ."""
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
