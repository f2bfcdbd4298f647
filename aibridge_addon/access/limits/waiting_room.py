"""Waiting room: round robin over actors, first in first out within each. Pure."""

from collections import OrderedDict, deque
from collections.abc import Callable


class WaitingRoom[Waiter]:
    """Those who wait, by actor; whoever was served goes to the end of the rotation."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[Waiter]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def first_of(self, actor: str) -> Waiter | None:
        """Return whoever of an actor is served next; None if nobody waits."""
        queue = self._queues.get(actor)
        return queue[0] if queue else None

    def add(self, actor: str, waiter: Waiter) -> None:
        """Let somebody wait, behind all others of the actor."""
        self._queues.setdefault(actor, deque()).append(waiter)

    def remove(self, actor: str, waiter: Waiter) -> None:
        """Remove somebody who waits no more, if they are still here."""
        queue = self._queues.get(actor)
        if queue and waiter in queue:
            queue.remove(waiter)
            self._drop_empty(actor)

    def serve(self, admit: Callable[[Waiter], bool]) -> None:
        """Admit as many as possible; one of each actor in turn."""
        has_admitted = True
        while has_admitted:
            has_admitted = False
            for actor in tuple(self._queues):
                if admit(self._queues[actor][0]):
                    has_admitted = True
                    self._queues[actor].popleft()
                    self._queues.move_to_end(actor)
                    self._drop_empty(actor)

    def _drop_empty(self, actor: str) -> None:
        if not self._queues[actor]:
            del self._queues[actor]
