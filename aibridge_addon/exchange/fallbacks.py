"""Redirects requests to other provider instances, where the config file has a fallback for them.

Only requests with a central key, or without any: nobody's own credential goes to another provider.
State of a provider is refused by every other one, so that requests with it stay.
"""

import os
from collections.abc import Iterable
from dataclasses import replace

from aibridge_addon.access.keys.affinity import affinity_of
from aibridge_addon.exchange.bridged import BridgedExchange
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.key_pools import KeyPools
from aibridge_addon.exchange.read_request import ReadRequest
from aibridge_addon.formats.decoders.codings import UndecodableError
from aibridge_addon.providers.credentials import Credential
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.resend_rules import Fallback
from aibridge_addon.providers.routing import Route, Router
from aibridge_addon.raw_json import member, members, text, with_values


class Fallbacks:
    """Finds and applies the fallbacks of requests."""

    def __init__(self, pools: KeyPools) -> None:
        self._pools = pools
        self._providers: dict[str, Provider] = {}
        self._router = Router(())

    def apply_settings(self, providers: Iterable[Provider]) -> None:
        """Use these instances."""
        self._providers = {provider.name: provider for provider in providers}
        self._router = Router(self._providers.values())

    def options(self, exchange: Exchange) -> list[Fallback]:
        """Return the fallbacks that can serve a request, in their order."""
        if not isinstance(exchange, BridgedExchange):
            return []
        return self.options_of(exchange.read)

    def options_of(self, read: ReadRequest) -> list[Fallback]:
        """Return the fallbacks that can serve a request, in their order."""
        fallbacks = read.client.route.provider.resend.fallbacks
        credential = read.client.credential
        is_signed = read.client.is_signed or read.client.needs_signature
        is_own = credential is not None and credential.kind != "centralized"
        if not fallbacks or is_own or is_signed:
            return []
        try:
            body = read.client.body()
        except UndecodableError:
            return []
        model = _model_of(body)
        if model is None or affinity_of("", None, body).is_bound:
            return []
        return [
            fallback
            for fallback in fallbacks
            if model in fallback.models and self._has_key(fallback, credential)
        ]

    def apply(self, read: ReadRequest, fallback: Fallback) -> None:
        """Redirect a request."""
        request, body = read.client, read.client.body()
        model = fallback.models[_model_of(body) or ""]
        route = self._route(fallback.provider, request.route, request.flow.request.method)
        request.route = route
        if upstream := route.upstream:
            request.flow.request.data.port = upstream.port
            request.flow.request.scheme = upstream.scheme
            request.flow.request.host = upstream.host
            request.flow.request.path = upstream.path
        request.flow.request.content = with_values(body, {"model": model})
        original = read.original
        if not read.is_reverted:
            changed = with_values(original.body, {"model": model})
            read.original = original._replace(body=changed)
        self._use_key(read, model)
        request.served_by = f"{fallback.provider}/{model}"
        read.asked = replace(read.asked, route=route, credential=request.credential, model=model)

    def _use_key(self, read: ReadRequest, model: str) -> None:
        request, provider = read.client, read.client.route.provider
        request.pooled = None
        if provider.keys:
            begun = read.interception
            affinity = affinity_of(begun.initiator_id, begun.client_session_id, request.body())
            self._pools.assign(request, affinity, model)
        elif secret := _secret_of(provider):
            header = provider.provider_type.authorization(secret)
            request.use_key(header, Credential(kind="centralized", secret=secret))

    def _route(self, name: str, route: Route, method: str) -> Route:
        below = route.label.removeprefix(route.provider.provider_type.prefix)
        prefix = self._providers[name].reverse_prefix
        found = self._router.reverse(prefix + below, method)
        assert found is not None, "the instances have the same type"
        return found

    def _has_key(self, fallback: Fallback, credential: Credential | None) -> bool:
        provider = self._providers.get(fallback.provider)
        return provider is not None and (credential is None or bool(_secret_of(provider)))


def _secret_of(provider: Provider) -> str:
    secrets = (key.secret(os.environ) for key in provider.central_keys)
    return next(filter(None, secrets), "")


def _model_of(body: bytes) -> str | None:
    return text(member(members(body) or {}, "model"))
