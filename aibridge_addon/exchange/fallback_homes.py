"""Remembers the conversations that a fallback serves: the state that it made is known there only.

Encrypted reasoning, signed thinking and stored responses of another instance are refused by the
first one. A conversation is recognised by the id of its last response, or by its beginning. The
store tells other processes, which ask it about requests with state.
"""

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aibridge_addon.access.keys.affinity import beginning_of
from aibridge_addon.facts import HiddenTurns, Interception, InterceptionEnded, Status, now
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import encode, member, read, text

logger = logging.getLogger(__name__)

_MOST = 20_000
_FRESH_SECONDS = 2.0
"""Time in which what a process knows of a conversation is not asked for again."""
_PREVIOUS = ("previous_response_id", "previous_interaction_id")
_SCOPE = "fallback"
"""Scope of homes in the store."""

type Mark = tuple[str, ...]
"""The first instance, and what a conversation is recognised by."""
type Remember = Callable[[HiddenTurns], None]
type Find = Callable[[str, Collection[str]], Awaitable[Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class _Home:
    """The instance that has the state of a conversation."""

    instance: str
    since: str
    """When it made a response last, as far as it is known; empty if it never did."""
    fresh_until: float
    """The time, by the clock, from which the store may know better."""


class FallbackHomes:
    """Finds the instance that served a conversation in place of the first one."""

    def __init__(self, most: int = _MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._homes: OrderedDict[Mark, _Home] = OrderedDict()
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
            before = self._homes.get(mark)
            self._keep(mark, served_by, fact.ended_at)
            if served_by != (before.instance if before else first):
                self._store(mark)

    async def find(self, mark: Mark) -> str | None:
        """Return the instance whose state a request with a mark carries, if it is a fallback."""
        home = self._homes.get(mark)
        if home is None or self._clock() >= home.fresh_until:
            await self._ask(mark)
            home = self._homes.get(mark)
        return home.instance if home and home.instance != mark[0] else None

    async def _ask(self, mark: Mark) -> None:
        """Learn what the store knows of a conversation, or tell it what is newer."""
        if self._find is None:
            return
        key = _key(mark)
        try:
            found = await self._find(_SCOPE, [key])
        except Exception:  # the edge: the store may be away, or somebody else's
            logger.warning("aibridge: the home of a conversation is not found", exc_info=True)
            return
        instance, since = _read(found.get(key), mark)
        home = self._homes.get(mark)
        if home and home.since >= since:
            self._keep(mark, home.instance, home.since)
            if home.instance != instance:
                self._store(mark)
        else:
            self._keep(mark, instance, since)

    def _keep(self, mark: Mark, instance: str, since: str) -> None:
        """Keep who has the state of a conversation, as the newest."""
        self._homes.pop(mark, None)
        self._homes[mark] = _Home(instance, since, self._clock() + _FRESH_SECONDS)
        self._forget(self._homes)

    def _store(self, mark: Mark) -> None:
        """Tell other processes who has the state of a conversation."""
        if self._remember:
            home = self._homes[mark]
            content = encode([home.instance, home.since])
            turns = HiddenTurns(scope=_SCOPE, key=_key(mark), content=content, created_at=now())
            self._remember(turns)

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


def _read(content: str | None, mark: Mark) -> tuple[str, str]:
    """Return a stored instance, and since when; the first one if none is stored."""
    match read(content.encode()) if content else None:
        case [str(instance), str(since)]:
            return instance, since
    return mark[0], ""


def _key(mark: Mark) -> str:
    return hashlib.blake2b("\0".join(mark).encode(), digest_size=16).hexdigest()
