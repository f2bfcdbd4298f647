"""Circuit breaker: stops requests to a provider that is out of order, and probes it. Pure.

Each of three states has its own answers: closed lets requests pass, open refuses them for a time,
half-open lets a few probes pass. A probe has a lease, so that one that never reports cannot block.
Each change of state begins a generation, and outcomes of requests of an earlier one are ignored.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

type State = Literal["closed", "half_open", "open"]
type Outcome = Literal["success", "failure", "neutral"]

_MOST_FAILURES = 5
_FAILURE_SPAN = 10.0
"""So many failures in a row, within these seconds, open the breaker."""
_OPEN_SECONDS = 30.0
_LONGEST_OPEN_SECONDS = 300.0
_MOST_PROBES = 3
_SUCCESSES = 3
_LEASE_SECONDS = 60.0
_RETRY_SECONDS = 5.0
"""Time after which a request that finds all probes taken should be tried again."""


@dataclass(slots=True)
class Breaker:
    """The breaker of one model at one route of a provider instance; times are monotonic."""

    trips: int = 0
    """Number of times that it opened."""
    generation: int = 0
    """Number of times that it opened or closed."""
    _failures: deque[float] = field(default_factory=deque)
    _open_until: float | None = None
    """None: closed."""
    _open_seconds: float = _OPEN_SECONDS
    _probes: dict[str, float] = field(default_factory=dict)
    """Ends of the leases by request."""
    _successes: int = 0

    def state(self, now: float) -> State:
        """Return the state."""
        if self._open_until is None:
            return "closed"
        return "open" if now < self._open_until else "half_open"

    def wait_for(self, now: float) -> float:
        """Return the seconds for which a request must wait; 0: it may pass."""
        if self._open_until is None:
            return 0.0
        if now < self._open_until:
            return self._open_until - now
        return 0.0 if len(self._leased(now)) < _MOST_PROBES else _RETRY_SECONDS

    def admit(self, request_id: str, now: float) -> int:
        """Note a request that passes, and return its generation; half-open, it is a probe."""
        if self.state(now) == "half_open":
            self._probes = {**self._leased(now), request_id: now + _LEASE_SECONDS}
        return self.generation

    def report(
        self,
        request_id: str,
        outcome: Outcome,
        now: float,
        retry_after: float | None = None,
        *,
        generation: int | None = None,
    ) -> None:
        """Note the outcome of a request, by the head of its response.

        Only probes count in the half-open state, and nothing in the open one: requests that passed
        before tell nothing new. Without a `generation`, it is of the current one.
        """
        if generation not in (None, self.generation):
            return
        match self.state(now):
            case "closed":
                self._report_closed(outcome, now, retry_after)
            case "half_open" if self._probes.pop(request_id, None) is not None:
                self._report_probe(outcome, now, retry_after)

    def _leased(self, now: float) -> dict[str, float]:
        """Return the probes whose leases have not ended."""
        return {id_: end for id_, end in self._probes.items() if end > now}

    def _report_closed(self, outcome: Outcome, now: float, retry_after: float | None) -> None:
        if outcome == "success":
            self._failures.clear()
        elif outcome == "failure":
            self._failures.append(now)
            while self._failures[0] < now - _FAILURE_SPAN:
                self._failures.popleft()
            if len(self._failures) >= _MOST_FAILURES:
                self._open(now, _OPEN_SECONDS, retry_after)

    def _report_probe(self, outcome: Outcome, now: float, retry_after: float | None) -> None:
        if outcome == "failure":
            self._open(now, self._open_seconds * 2, retry_after)
        elif outcome == "success":
            self._successes += 1
            if self._successes >= _SUCCESSES:
                self._open_until = None
                self.generation += 1
                self._failures.clear()

    def _open(self, now: float, seconds: float, retry_after: float | None) -> None:
        self.trips += 1
        self.generation += 1
        self._open_seconds = min(seconds, _LONGEST_OPEN_SECONDS)
        stated = min(retry_after or 0.0, _LONGEST_OPEN_SECONDS)
        self._open_until = now + max(self._open_seconds, stated)
        self._probes.clear()
        self._successes = 0


def outcome_of(http_status: int | None) -> Outcome:
    """Return the outcome of a request by the status of its response; None: no connection.

    A request that the provider refuses, or limits, says nothing about its health.
    """
    if http_status in (None, 503, 504, 529):
        return "failure"
    return "success" if http_status is not None and http_status < 300 else "neutral"
