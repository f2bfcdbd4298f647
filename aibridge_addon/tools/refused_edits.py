"""Remembers which edits of requests a provider has refused, for a while. Pure.

A model may take no tools, or a restored result may be illegal: what was refused once would be
refused again in each request, and cost a second attempt each time.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

MAX_REFUSALS = 1_000
SECONDS = 3600.0
"""How long a refusal counts: what a model takes may change."""


class RefusedEdits:
    """The newest refused edits."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._expiry: OrderedDict[Hashable, float] = OrderedDict()

    def add(self, edit: Hashable) -> None:
        """Remember that an edit was refused."""
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
