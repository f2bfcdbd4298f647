"""Redirects requests to other provider instances, where the config file has a fallback for them.

A request falls back if it has a central key, no key, or a signature by the operator's credentials:
a client's own credential never goes to another provider, and what it signed cannot be changed.
Requests that carry state of a provider do not fall back, since other providers refuse it.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mitmproxy import http

from aibridge_addon.access.keys.affinity import Affinity, affinity_of, affinity_of_path
from aibridge_addon.access.model_rule import ModelRule, ModelRuleTable
from aibridge_addon.exchange.bridged import BridgedExchange
from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.fallback_homes import FallbackHomes
from aibridge_addon.exchange.key_pools import KeyPools
from aibridge_addon.exchange.read_request import ReadRequest
from aibridge_addon.exchange.request_signing import RequestSigning
from aibridge_addon.formats.decoders.codings import UndecodableError
from aibridge_addon.headers import Fields
from aibridge_addon.providers.credentials import CREDENTIAL_HEADERS, OPERATOR, Credential
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.locations import location_of_host
from aibridge_addon.providers.resend_rules import Fallback
from aibridge_addon.providers.routing import Route, Router
from aibridge_addon.providers.types import MODEL
from aibridge_addon.raw_json import member, members, text, with_values
from aibridge_addon.relay.aws_signing import Sign, SigningError

logger = logging.getLogger(__name__)

_LOCATION = "location"


@dataclass(frozen=True, slots=True)
class FallbackOption:
    """A fallback that can serve a request."""

    rule: Fallback
    model: str
    """Its name of the model that the client requests, or that an alias stands for."""


class Fallbacks:
    """Finds and applies the fallbacks of requests."""

    def __init__(self, pools: KeyPools, signing: RequestSigning) -> None:
        self._pools = pools
        self._signing = signing
        self._signs: dict[str, Sign] = {}
        """Functions that sign, by the names of instances."""
        self._providers: dict[str, Provider] = {}
        self._router = Router(())
        self._models = ModelRuleTable(())
        self.homes = FallbackHomes()
        self._warned: set[tuple[str, str]] = set()
        """Instances and actors whose signed requests do not fall back."""

    def apply_settings(
        self, providers: Iterable[Provider], model_rules: Iterable[ModelRule] = ()
    ) -> None:
        """Use these instances and aliases of models."""
        self._models = ModelRuleTable(model_rules)
        self._providers = {provider.name: provider for provider in providers}
        self._router = Router(self._providers.values())

    def options(self, exchange: Exchange) -> list[FallbackOption]:
        """Return the fallbacks that can serve a request, in their order."""
        if not isinstance(exchange, BridgedExchange):
            return []
        return self.options_of(exchange.read)

    def options_of(self, read: ReadRequest) -> list[FallbackOption]:
        """Return the fallbacks that can serve a request, in their order."""
        request = read.client
        fallbacks = request.route.provider.resend.fallbacks
        makes_objects = request.route.makes_objects or _is_polled(read)
        if not fallbacks or makes_objects or request.is_form:
            return []
        if request.is_signed:
            self._warn_of_signature(read)
            return []
        credential = request.credential
        if credential is not None and credential.kind != "centralized":
            return []
        try:
            body = request.body()
        except UndecodableError:
            return []
        if affinity_of("", None, body).is_bound:
            return []
        names = list(self._names(read))
        found = (
            FallbackOption(fallback, next(filter(None, map(fallback.models.get, names)), ""))
            for fallback in fallbacks
        )
        return [option for option in found if option.model and self._can_send(request, option)]

    @property
    def handlers(self) -> Mapping[type, Any]:
        """Handlers of the facts that tell who served a conversation."""
        return self.homes.handlers

    async def send_home(self, read: ReadRequest) -> str | None:
        """Redirect a request with state of a fallback to it.

        Returns:
            The model that serves it; None if it has no such state.
        """
        request = read.client
        if not request.route.provider.resend.fallbacks or request.is_form:
            return None
        mark = self.homes.note(read.interception, read.members)
        if mark is None or not affinity_of("", None, request.body()).is_bound:
            return None
        home = await self.homes.find(mark)
        names = list(self._names(read))
        for rule in self._open_to(request, home):
            model = next(filter(None, map(rule.models.get, names)), "")
            option = FallbackOption(rule, model)
            if model and self._can_send(request, option) and await self._is_ready(rule):
                return self.apply(read, option)
        return None

    async def send_path_home(self, request: ClientRequest) -> None:
        """Redirect a request about a response that a fallback has stored to it."""
        provider = request.route.provider
        if not provider.resend.fallbacks or request.route.api:
            return
        path = request.flow.request.path
        stored = affinity_of_path("", path).previous_response_id
        home = await self.homes.find((provider.name, stored)) if stored else None
        for rule in self._open_to(request, home):
            option = FallbackOption(rule, "")
            if self._can_send(request, option) and await self._is_ready(rule):
                route = self._destination(request, option)
                assert route is not None, "it can be sent there"
                request.route = route
                _direct(request.flow.request, route)
                self._use_key(request, affinity_of_path("", path), None)
                request.served_by = rule.provider
                return

    def _open_to(self, request: ClientRequest, home: str | None) -> list[Fallback]:
        """Return the rule of a request's fallback, if the request may go there."""
        is_own = request.credential is not None and request.credential.kind != "centralized"
        if home is None or is_own or request.is_signed:
            return []
        return [rule for rule in request.route.provider.resend.fallbacks if rule.provider == home]

    def _names(self, read: ReadRequest) -> Iterator[str]:
        """Yield the names of the model of a request: that an alias stands for, and requested.

        The name that is sent may stand for another model at the instance.
        """
        request, provider = read.client, read.client.route.provider
        alias = self._models.applied_to(read.asked).alias(read.asked.model)
        sent = _sent_name(request)
        if sent is None:
            return
        for name in (provider.name_of(alias) if alias else None, sent, read.asked.model):
            if name is not None:
                yield name
                yield provider.model_of(name)

    async def find(self, options: Iterable[FallbackOption], failure: str) -> FallbackOption | None:
        """Return the first fallback for a kind of failure whose credentials are there."""
        for option in options:
            if failure in option.rule.on and await self._is_ready(option.rule):
                return option
        return None

    async def _is_ready(self, fallback: Fallback) -> bool:
        provider = self._providers[fallback.provider]
        if not _is_signed_at(provider):
            return True
        try:
            self._signs[provider.name] = await self._signing.signer_for(provider)
        except SigningError as error:
            logger.warning("aibridge: no fallback to %s: %s", provider.name, error)
            return False
        return True

    def apply(self, read: ReadRequest, option: FallbackOption) -> str:
        """Redirect a request to a fallback that was found; return the model that serves it."""
        request, body = read.client, read.client.body()
        name = option.model
        route = self._destination(request, option)
        assert route is not None, "only such fallbacks are options"
        location = route.path_values.get(_LOCATION)
        if location != request.route.path_values.get(_LOCATION):
            request.location = location
        request.route = route
        _direct(request.flow.request, route)
        changed = with_values(body, read.wire_format.with_model(members(body) or {}, name))
        if changed != body:
            request.flow.request.content = changed
            read.members = members(changed) or {}
        model = route.provider.model_of(name)
        begun = read.interception
        affinity = affinity_of(begun.initiator_id, begun.client_session_id, request.body())
        self._use_key(request, affinity, model)
        if not read.is_reverted:
            given = members(read.original.body) or {}
            read.original = read.original._replace(
                fields=_with_destination(read.original.fields, request.flow.request.headers),
                body=with_values(read.original.body, read.wire_format.with_model(given, name)),
            )
        request.served_by = f"{option.rule.provider}/{name}"
        read.asked = replace(
            read.asked,
            route=route,
            credential=request.credential,
            path=request.flow.request.path,
            members=None,
            model=model,
        )
        return model

    def _use_key(self, request: ClientRequest, affinity: Affinity, model: str | None) -> None:
        provider = request.route.provider
        request.pooled = request.sign = None
        request.needs_signature = False
        if provider.keys:
            self._pools.assign(request, affinity, model)
        elif secret := _secret_of(provider):
            header = provider.provider_type.authorization(secret)
            request.use_key(header, Credential(kind="centralized", secret=secret))
        elif _is_signed_at(provider):
            for name in CREDENTIAL_HEADERS:
                request.flow.request.headers.pop(name, None)
            request.credential = OPERATOR
            request.needs_signature = True
            request.sign = self._signs[provider.name]

    def _destination(self, request: ClientRequest, option: FallbackOption) -> Route | None:
        """Return the route at another instance, whose path has its model and location."""
        route, sent = request.route, request.flow.request
        below = route.path_below(sent.path)
        provider = self._providers.get(option.rule.provider)
        if below is None or provider is None or route.template is None:
            return None
        path, mark, query = below.partition("?")
        if MODEL in route.path_values:
            path = route.template.with_value(path, MODEL, option.model)
        location = location_of_host(provider.host)
        if location and _LOCATION in route.path_values and provider.host != sent.host:
            path = route.template.with_value(path, _LOCATION, location)
        path += mark + query
        return self._router.at_instance(provider.name, route, path, sent.method)

    def _can_send(self, request: ClientRequest, option: FallbackOption) -> bool:
        provider = self._providers.get(option.rule.provider)
        if provider is None or self._destination(request, option) is None:
            return False
        return request.credential is None or bool(_secret_of(provider)) or provider.can_sign

    def _warn_of_signature(self, read: ReadRequest) -> None:
        instance, sender = read.client.route.provider.name, read.asked.sender.actor.id
        if (instance, sender) in self._warned:
            return
        self._warned.add((instance, sender))
        logger.warning(
            "aibridge: the fallbacks of %s do not serve the requests of %s, which are signed;"
            " let the reverse proxy sign.",
            instance,
            sender,
        )


def _direct(request: http.Request, route: Route) -> None:
    if upstream := route.upstream:
        request.data.port = upstream.port
        request.scheme = upstream.scheme
        request.host = upstream.host
        request.path = upstream.path


def _with_destination(fields: Fields, sent: http.Headers) -> Fields:
    """Return the fields of the client's request with the host and key of what is sent."""
    headers = http.Headers(fields)
    for name in ("host", *CREDENTIAL_HEADERS):
        headers.pop(name, None)
        if name in sent:
            headers[name] = sent[name]
    found: Fields = headers.fields
    return found


def _is_signed_at(provider: Provider) -> bool:
    return provider.can_sign and not provider.keys and not _secret_of(provider)


def _secret_of(provider: Provider) -> str:
    secrets = (key.secret(os.environ) for key in provider.central_keys)
    return next(filter(None, secrets), "")


def _is_polled(read: ReadRequest) -> bool:
    """Return True if later requests ask the instance for the response."""
    return member(read.members, "background") is True


def _sent_name(request: ClientRequest) -> str | None:
    """Return the name of a request's model. A path wins over the body, as at Azure."""
    name = _model_in_path(request.route, request.flow.request.path)
    return name or text(member(members(request.body()) or {}, "model"))


def _model_in_path(route: Route, path: str) -> str | None:
    below = route.path_below(path)
    if below is None or route.template is None:
        return None
    return (route.template.match(below.partition("?")[0]) or {}).get(MODEL)
