"""Reads the stored content of a request with the view of its wire format. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import cast

from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.content import Conversation, ModelMessage, StoredKind, StoredPart
from aibridge_addon.formats.view import View
from aibridge_addon.report.rows import InterceptionDetail, StoredMessage

_RESPONSE = "response"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The captured content of one request to a provider."""

    conversation: Conversation
    is_whole: bool
    """True if the complete conversation was captured, not only a part of it."""
    has_system: bool


def read_conversations(detail: InterceptionDetail) -> Mapping[int, Sent]:
    """Return the captured requests by their number; none if nothing was captured."""
    view = _view(detail)
    if view is None:
        return {}
    return {number: _sent(view, found) for number, found in _by_number(detail, of_response=False)}


def read_answers(detail: InterceptionDetail) -> Mapping[int, ModelMessage]:
    """Return the captured responses by the number of their request."""
    view = _view(detail)
    if view is None:
        return {}
    found = _by_number(detail, of_response=True)
    return {number: view.read_response(messages[-1].content) for number, messages in found}


def _view(detail: InterceptionDetail) -> View | None:
    found = FORMATS.get(detail.row.api)
    return found.view if found else None


def _by_number(
    detail: InterceptionDetail, *, of_response: bool
) -> Iterator[tuple[int, list[StoredMessage]]]:
    chosen = (m for m in detail.messages if (m.kind == _RESPONSE) is of_response)
    ordered = sorted(chosen, key=lambda message: (message.upstream, message.position))
    for number, messages in groupby(ordered, key=lambda message: message.upstream):
        yield number, list(messages)


def _sent(view: View, messages: list[StoredMessage]) -> Sent:
    kinds = {message.kind for message in messages}
    parts = [
        StoredPart(role=m.role, kind=cast(StoredKind, m.kind), content=m.content) for m in messages
    ]
    is_whole = "parameters" in kinds
    return Sent(
        conversation=view.conversation_of(parts),
        is_whole=is_whole,
        has_system=is_whole or "system" in kinds,
    )
