"""Remembers the edits of requests that a provider has refused, for a limited time. Pure.

A model may not support tools, or a restored result may be illegal: each further request with the
same edit would be refused too, and cost a second attempt.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

MAX_REFUSALS = 1_000
SECONDS = 3600.0
"""Time until a refused edit is tried again, since a model's support may change."""


class RefusedEdits:
    """The most recent refused edits."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._expiry: OrderedDict[Hashable, float] = OrderedDict()

    def add(self, edit: Hashable) -> None:
        """Remember a refused edit."""
        self._expiry[edit] = self._clock() + SECONDS
        self._expiry.move_to_end(edit)
        if len(self._expiry) > MAX_REFUSALS:
            self._expiry.popitem(last=False)

    def __contains__(self, edit: Hashable) -> bool:
        expiry = self._expiry.get(edit)
        if expiry is not None and expiry <= self._clock():
            del self._expiry[edit]
            return False
        return expiry is not None
