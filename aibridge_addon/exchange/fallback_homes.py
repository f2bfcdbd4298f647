"""Remembers the conversations that a fallback serves: the state that it made is known there only.

Encrypted reasoning, signed thinking and stored responses of another instance are refused by the
first one. A conversation is recognised by the id of its last response, or by its beginning.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aibridge_addon.access.keys.affinity import beginning_of
from aibridge_addon.facts import Interception, InterceptionEnded, Status
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import member, text

_MOST = 10_000
_PREVIOUS = ("previous_response_id", "previous_interaction_id")

type _Mark = tuple[str, ...]
"""The first instance, and what a conversation is recognised by."""


class FallbackHomes:
    """Finds the instance that served a conversation in place of the first one."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._homes: OrderedDict[_Mark, str] = OrderedDict()
        self._running: OrderedDict[str, tuple[str, _Mark | None]] = OrderedDict()
        """First instances and conversations of requests, by interception."""

    @property
    def handlers(self) -> Mapping[type, Callable[[Any], None]]:
        """Handlers of facts."""
        return {InterceptionEnded: self.on_end}

    def of_request(self, begun: Interception, request: Members) -> str | None:
        """Note a request; return the instance whose state it carries, if that is another one."""
        beginning = _beginning(begun, request)
        self._running[begun.id] = begun.provider_name, beginning
        self._forget(self._running)
        for previous in _previous_ids(request):
            return self.of_response(begun.provider_name, previous)
        return self._homes.get(beginning) if beginning else None

    def on_end(self, fact: InterceptionEnded) -> None:
        """Learn who made the state that the next request of the conversation may carry."""
        first, beginning = self._running.pop(fact.interception.id, ("", None))
        if not first or fact.status not in (Status.COMPLETED, Status.CANCELLED):
            return
        response_id = fact.provider_response_id
        served_by = fact.interception.provider_name
        for mark in (beginning, (first, response_id) if response_id else None):
            if mark is None:
                continue
            self._homes.pop(mark, None)
            if served_by != first:
                self._homes[mark] = served_by
        self._forget(self._homes)

    def of_response(self, first: str, response_id: str | None) -> str | None:
        """Return the instance that made a response for requests to the `first` one."""
        return self._homes.get((first, response_id)) if response_id else None

    def _forget(self, values: OrderedDict[Any, Any]) -> None:
        while len(values) > self._most:
            values.popitem(last=False)


def _previous_ids(request: Members) -> Iterator[str]:
    for name in _PREVIOUS:
        if found := text(member(request, name)):
            yield found


def _beginning(begun: Interception, request: Members) -> _Mark | None:
    """Return the mark of a conversation; sub-agents of one session begin differently."""
    said = beginning_of(request)
    if said is None:
        return None
    return begun.provider_name, begun.initiator_id, begun.client_session_id or "", said
