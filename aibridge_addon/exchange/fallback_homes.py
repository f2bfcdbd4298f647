"""Remembers the conversations that a fallback serves: the state that it made is known there only.

Encrypted reasoning, signed thinking and stored responses of another instance are refused by the
first one. A conversation is recognised by the id of its last response, or by its beginning. The
store tells other processes; they ask it once about a conversation that they do not know.
"""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any

from aibridge_addon.access.keys.affinity import beginning_of
from aibridge_addon.facts import HiddenTurns, Interception, InterceptionEnded, Status, now
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import encode, member, read, text

logger = logging.getLogger(__name__)

_MOST = 10_000
_PREVIOUS = ("previous_response_id", "previous_interaction_id")
_SCOPE = "fallback"
"""Scope of homes in the store."""

type Mark = tuple[str, ...]
"""The first instance, and what a conversation is recognised by."""
type Remember = Callable[[HiddenTurns], None]
type Find = Callable[[str, Collection[str]], Awaitable[Mapping[str, str]]]


class FallbackHomes:
    """Finds the instance that served a conversation in place of the first one."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._homes: OrderedDict[Mark, str] = OrderedDict()
        """The fallbacks that served conversations."""
        self._at_first: OrderedDict[Mark, None] = OrderedDict()
        """Conversations of the first instance, which the store need not be asked about."""
        self._running: OrderedDict[str, tuple[str, Mark | None]] = OrderedDict()
        """First instances and conversations of requests, by interception."""
        self._remember: Remember | None = None
        self._find: Find | None = None

    def share(self, *, remember: Remember, find: Find) -> None:
        """Share the homes with other processes by a store."""
        self._remember, self._find = remember, find

    @property
    def handlers(self) -> Mapping[type, Callable[[Any], None]]:
        """Handlers of facts."""
        return {InterceptionEnded: self.on_end}

    def note(self, begun: Interception, request: Members) -> Mark | None:
        """Note a request; return the mark of the conversation whose state it may carry."""
        beginning = _beginning(begun, request)
        self._running[begun.id] = begun.provider_name, beginning
        self._forget(self._running)
        for previous in _previous_ids(request):
            return begun.provider_name, previous
        return beginning

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
            before = self._homes.get(mark, first)
            self._keep(mark, served_by)
            if self._remember and before != served_by:
                self._remember(_stored(mark, served_by))

    async def find(self, mark: Mark) -> str | None:
        """Return the instance whose state a request with a mark carries, if it is a fallback."""
        home = self._homes.get(mark)
        if home is not None or mark in self._at_first or self._find is None:
            return home
        key = _key(mark)
        try:
            found = await self._find(_SCOPE, [key])
        except Exception:  # the edge: the store may be away, or somebody else's
            logger.warning("aibridge: the home of a conversation is not found", exc_info=True)
            return None
        home = text(read(found.get(key, "").encode()))
        self._keep(mark, home or mark[0])
        return self._homes.get(mark)

    def _keep(self, mark: Mark, served_by: str) -> None:
        """Keep who has the state of a conversation, as the newest."""
        self._homes.pop(mark, None)
        self._at_first.pop(mark, None)
        if served_by == mark[0]:
            self._at_first[mark] = None
            self._forget(self._at_first)
        else:
            self._homes[mark] = served_by
            self._forget(self._homes)

    def _forget(self, values: OrderedDict[Any, Any]) -> None:
        while len(values) > self._most:
            values.popitem(last=False)


def _previous_ids(request: Members) -> Iterator[str]:
    for name in _PREVIOUS:
        if found := text(member(request, name)):
            yield found


def _beginning(begun: Interception, request: Members) -> Mark | None:
    """Return the mark of a conversation; sub-agents of one session begin differently."""
    said = beginning_of(request)
    if said is None:
        return None
    return begun.provider_name, begun.initiator_id, begun.client_session_id or "", said


def _stored(mark: Mark, served_by: str) -> HiddenTurns:
    return HiddenTurns(scope=_SCOPE, key=_key(mark), content=encode(served_by), created_at=now())


def _key(mark: Mark) -> str:
    return hashlib.blake2b("\0".join(mark).encode(), digest_size=16).hexdigest()
