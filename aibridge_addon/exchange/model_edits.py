"""Applies the model rules to requests: aliases, and the ceiling of the output tokens.

An edit changes the values of its members, and the model in the path; every other byte stays as it
is.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from aibridge_addon.access.asked import Asked
from aibridge_addon.access.model_rule import AppliedRules, ModelRule, ModelRuleTable
from aibridge_addon.exchange.bridged import BridgedExchange
from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.exchange.counted import CountedExchange
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.read_request import ReadRequest
from aibridge_addon.formats import Format
from aibridge_addon.formats.form import with_fields
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.providers.types import MODEL
from aibridge_addon.raw_json import JSON, encode, member, members, text, with_values

logger = logging.getLogger(__name__)


class ModelEdits:
    """The edits of all model rules."""

    def __init__(self, rules: tuple[ModelRule, ...]) -> None:
        self._rules = ModelRuleTable(rules)
        self._warned: set[str] = set()
        """Actors whose signed requests the rules do not change."""

    async def apply(self, exchange: Exchange) -> Exchange:
        """Edit a request whose body was read; of a signed request, nothing can be changed."""
        if self._rules and isinstance(exchange, BridgedExchange | CountedExchange):
            read = exchange.read
            if exchange.request.is_signed:
                self._warn_of_signature(read)
                return exchange
            rules = self._rules.applied_to(read.asked)
            if model := rules.alias(read.asked.model):
                if isinstance(exchange, BridgedExchange):
                    exchange.record.sent_model = model
                _edit_path(exchange.request, model)
            if (model or rules.output_ceiling is not None) and not read.is_partial:
                if read.asked.route.bills_later:  # it may have many thousands of requests
                    await asyncio.to_thread(_edit, read, rules)
                else:
                    _edit(read, rules)
        return exchange

    def message(self, asked: Asked, message: bytes, wire_format: Format) -> bytes:
        """Return a request in a WebSocket as it is sent upstream."""
        request = members(message) if self._rules else None
        if request is None:
            return message
        asked = replace(asked, model=text(member(request, MODEL)))
        rules = self._rules.applied_to(asked)
        return edited_body(asked, rules, request, message, wire_format)

    def _warn_of_signature(self, read: ReadRequest) -> None:
        """Warn once of each sender whose signed requests the rules would change."""
        sender = read.asked.sender.actor.id
        asked = replace(read.asked, is_signed=False)
        rules = self._rules.applied_to(asked)
        if sender in self._warned or not (rules.alias(asked.model) or _lowers(rules, read)):
            return
        self._warned.add(sender)
        logger.warning(
            "aibridge: aliases and ceilings of [[model_rules]] do not change the requests of %s,"
            " which are signed; deny their models, or let the reverse proxy sign.",
            sender,
        )


def _edit(read: ReadRequest, rules: AppliedRules) -> None:
    """Replace the body, if the rules change it."""
    if read.client.is_form:
        _edit_form(read, rules)
        return
    body = read.client.body()
    edited = edited_body(read.asked, rules, read.members, body, read.wire_format)
    if edited != body:
        _send(read, edited, members(edited) or {})


def _edit_form(read: ReadRequest, rules: AppliedRules) -> None:
    request = read.client
    if renamed := renamed_members(read.asked, rules, read.members, read.wire_format):
        texts = {name: str(value) for name, value in renamed.items()}
        raw = {name: msgspec.Raw(encode(value).encode()) for name, value in renamed.items()}
        body = with_fields(request.content_type, request.body(), texts)
        _send(read, body, {**read.members, **raw})


def edited_body(
    asked: Asked, rules: AppliedRules, given: Members, body: bytes, wire_format: Format
) -> bytes:
    """Return the body of a request, given with its members, as the rules change it."""
    if renamed := renamed_members(asked, rules, given, wire_format):
        body = with_values(body, renamed)
    ceiling = rules.output_ceiling
    return body if ceiling is None else wire_format.lower_output_limit(body, given, ceiling)


def renamed_members(
    asked: Asked, rules: AppliedRules, members: Members, wire_format: Format
) -> Mapping[str, JSON]:
    """Return the members that name the model, with the model that an alias stands for."""
    if not (model := rules.alias(asked.model)):
        return {}
    return wire_format.with_model(members, asked.route.provider.name_of(model))


def _lowers(rules: AppliedRules, read: ReadRequest) -> bool:
    """Return True if the rules lower the output limit of a request."""
    ceiling = rules.output_ceiling
    if ceiling is None:
        return False
    least = read.wire_format.least_output_limit(read.members)
    return (read.wire_format.output_limit(read.members) or 0) > max(ceiling, least)


def _send(read: ReadRequest, body: bytes, members: Members) -> None:
    """Send another body upstream; nothing reverts it, as the client's own breaks the rule."""
    read.client.flow.request.content = body
    read.members = members
    read.original = read.original._replace(body=read.client.raw_body)


def _edit_path(request: ClientRequest, model: str) -> None:
    """Replace the model in the path, if it is there."""
    route = request.route
    if route.template is None or MODEL not in route.path_values:
        return
    path, mark, query = request.flow.request.path.partition("?")
    path = route.template.with_value(path, MODEL, route.provider.name_of(model))
    request.flow.request.path = path + mark + query
