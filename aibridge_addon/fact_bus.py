"""Delivers each published fact to the handlers that subscribed to its type, in order."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from aibridge_addon.facts import Fact, Interception, ProcessSeen, TunnelEnded

logger = logging.getLogger(__name__)

type Handlers = Mapping[type, Callable[[Any], None]]
"""Handlers by the type of the facts that they receive."""


class FactBus:
    """Publishes facts. A handler that raises is logged and does not affect the others."""

    def __init__(self) -> None:
        self._handlers: dict[type, list[Callable[[Any], None]]] = {}

    def subscribe(self, handlers: Handlers) -> None:
        """Add handlers; they run after those that subscribed before."""
        for kind, handler in handlers.items():
            self._handlers.setdefault(kind, []).append(handler)

    def publish(self, fact: Fact) -> None:
        """Call all handlers of a fact."""
        for handler in self._handlers.get(type(fact), ()):
            try:
                handler(fact)
            except Exception:  # the edge: one subscriber must not harm the others
                logger.exception("aibridge: a fact of %s is lost", _name_of(fact))


def _name_of(fact: Fact) -> str:
    if isinstance(fact, ProcessSeen):
        return f"process {fact.id}"
    if isinstance(fact, TunnelEnded):
        return f"tunnel {fact.id}"
    interception = fact if isinstance(fact, Interception) else fact.interception
    return f"interception {interception.id}"
