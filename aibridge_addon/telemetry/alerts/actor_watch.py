"""Detects actors that have never sent a request before."""

import asyncio
import logging
import uuid
from collections.abc import Callable

from aibridge_addon.facts import InterceptionEnded, Status
from aibridge_addon.telemetry.alerts.event import Event

logger = logging.getLogger(__name__)

_MOST_ACTORS = 1000
"""Actors that a process reports at most: a client may choose its name."""
_ANONYMOUS = "anonymous"

type HasEarlier = Callable[[str, str], bool]
"""Tells whether an actor has a request before a time; may block."""


class ActorWatch:
    """Looks up each actor in the record once per process."""

    def __init__(self, publish: Callable[[Event], None], has_earlier: HasEarlier | None) -> None:
        """Report new actors; None: the record cannot be asked, so that nobody is new."""
        self._publish = publish
        self._has_earlier = has_earlier
        self._seen = {_ANONYMOUS}
        self._checks: set[asyncio.Task[None]] = set()

    def note(self, end: InterceptionEnded) -> None:
        """Note the end of a request; one that was refused says nothing."""
        interception = end.interception
        name = interception.initiator_id
        if self._has_earlier is None or name in self._seen or end.status is Status.REFUSED:
            return
        if len(self._seen) > _MOST_ACTORS:
            return
        self._seen.add(name)
        check = self._check(self._has_earlier, name, interception.started_at)
        task = asyncio.get_running_loop().create_task(check, name="aibridge new actor")
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)

    async def _check(self, has_earlier: HasEarlier, name: str, started_at: str) -> None:
        try:
            if await asyncio.to_thread(has_earlier, name, started_at):
                return
        except Exception:  # the edge: any store may answer
            logger.exception("aibridge: an actor cannot be looked up")
            return
        self._publish(
            Event(
                type="new_actor",
                text=f"{name} has sent a request for the first time.",
                figures={"actor": name},
                # The same from each process that sees the actor at the same time.
                id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"aibridge:new_actor:{name}")),
            )
        )
