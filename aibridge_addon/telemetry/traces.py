"""Collects facts into traces, and releases each once it is complete. Pure.

The price of a call is known only after its record is committed, which is after the interception
has ended: a trace waits for it, but not for long.
"""

from collections.abc import Callable, Iterator

from aibridge_addon.facts import Interception, InterceptionEnded, RequestFact
from aibridge_addon.telemetry.trace import Trace

PRICE_SECONDS = 5.0
"""Longest wait for the prices of an interception that has ended."""
MAX_OPEN = 20_000
"""Interceptions that are collected at once; the oldest is then dropped."""

type MakeTrace = Callable[[Interception], Trace]


class Traces:
    """Open traces by interception.

    `on_dropped` is called for each trace that is dropped.
    """

    def __init__(self, make: MakeTrace, on_dropped: Callable[[], None]) -> None:
        self._make = make
        self._on_dropped = on_dropped
        self._open: dict[str, Trace] = {}
        self._deadlines: dict[str, float] = {}
        """Of interceptions that have ended and wait for prices, in their order."""

    def add(self, fact: RequestFact, now: float) -> Trace | None:
        """Add a fact; return the trace that it completes."""
        interception = fact if isinstance(fact, Interception) else fact.interception
        trace = self._open.get(interception.id) or self._begin(interception, fact)
        if trace is None:
            return None
        trace.add(fact)
        if trace.is_complete:
            return self._pop(interception.id)
        if trace.end and interception.id not in self._deadlines:
            self._deadlines[interception.id] = now + PRICE_SECONDS
        return None

    def expired(self, now: float) -> Iterator[Trace]:
        """Yield the traces that have waited too long for prices."""
        while self._deadlines:
            first = next(iter(self._deadlines))
            if self._deadlines[first] > now:
                return
            yield self._pop(first)

    def _begin(self, interception: Interception, fact: RequestFact) -> Trace | None:
        """Begin a trace; late facts, such as a price after its deadline, begin none."""
        if not isinstance(fact, Interception | InterceptionEnded):
            return None
        if len(self._open) >= MAX_OPEN:
            self._pop(next(iter(self._open)))
            self._on_dropped()
        trace = self._open[interception.id] = self._make(interception)
        return trace

    def _pop(self, interception_id: str) -> Trace:
        self._deadlines.pop(interception_id, None)
        return self._open.pop(interception_id)
