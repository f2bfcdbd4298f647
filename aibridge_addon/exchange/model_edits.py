"""Applies the model rules to requests: aliases, and the ceiling of the output tokens.

An edit changes the values of its members; every other byte of the body stays as it is.
"""

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from aibridge_addon.access.asked import Asked
from aibridge_addon.access.model_rule import ModelRule, rules_for
from aibridge_addon.exchange.bridged import BridgedExchange
from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.exchange.counted import CountedExchange
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.formats import Format
from aibridge_addon.formats.form import with_fields
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, encode, member, members, text, with_values

_MODEL = "model"


def _edited(request: ClientRequest, changes: Mapping[str, JSON]) -> bytes:
    """Return the body of a request with other values of some members, or fields of its form."""
    if not request.is_form:
        return with_values(request.body(), changes)
    texts = {name: str(value) for name, value in changes.items()}
    return with_fields(request.content_type, request.body(), texts)


class ModelEdits:
    """The edits of all model rules."""

    def __init__(self, rules: tuple[ModelRule, ...]) -> None:
        self._rules = rules

    async def apply(self, exchange: Exchange) -> Exchange:
        """Edit a request whose body was read."""
        if self._rules and isinstance(exchange, BridgedExchange | CountedExchange):
            read = exchange.read
            if changes := self.changes(read.asked, read.members, read.wire_format):
                exchange.flow.request.content = _edited(exchange.request, changes)
                raw = {name: msgspec.Raw(encode(value).encode()) for name, value in changes.items()}
                read.members = {**read.members, **raw}
                # Nothing reverts the edit: the client's own request breaks the rule.
                read.original = read.original._replace(body=exchange.request.raw_body)
        return exchange

    def message(self, asked: Asked, message: bytes, wire_format: Format) -> bytes:
        """Return a request in a WebSocket as it is sent upstream."""
        request = members(message) if self._rules else None
        if request is None:
            return message
        asked = replace(asked, model=text(member(request, _MODEL)))
        changes = self.changes(asked, request, wire_format)
        return with_values(message, changes) if changes else message

    def changes(self, asked: Asked, members: Members, wire_format: Format) -> Mapping[str, JSON]:
        """Return the members to change in a request, with their new values."""
        rules = rules_for(self._rules, asked)
        changes: dict[str, JSON] = {}
        if _MODEL in members and (model := rules.sent(asked.model)) != asked.model:
            changes[_MODEL] = model
        if (ceiling := rules.output_ceiling) is not None:
            changes |= wire_format.lower_output_limit(members, ceiling)
        return changes
