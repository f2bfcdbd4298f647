"""Prepares facts for a store: turns them into statements, on the thread of a recorder.

Nothing of this runs on the event loop, so that its steps may be slow.
"""

from collections.abc import Iterable

from aibridge_addon.facts import Fact, HiddenTurns
from aibridge_addon.store.statements import Statement, statements


class Preparation:
    """Makes the statements of facts; used by one thread at a time."""

    def statements(self, facts: Iterable[Fact | HiddenTurns]) -> list[Statement]:
        """Return the statements of some facts, in their order."""
        return statements(facts)
