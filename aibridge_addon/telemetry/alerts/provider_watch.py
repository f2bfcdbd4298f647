"""Detects provider instances that are down, by the outcomes of their requests. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from aibridge_addon.facts import InterceptionEnded, Status
from aibridge_addon.telemetry.alerts.event import Event

DOWN_AFTER = 5
"""Failures in a row after which an instance counts as down."""
FORGET_SECONDS = 600.0
"""A failure does not continue a row that is older than this."""
_DOWN = frozenset({502, 503, 504, 529})
_MAX_INSTANCES = 1000


@dataclass(slots=True)
class _Row:
    failures: int = 0
    latest: float = 0.0
    down_since: float | None = None


class ProviderWatch:
    """Counts the failures in a row of each instance.

    A failure is a status by which a provider or its gateway says that it cannot serve, or no
    response at all. A response below 400 ends the row. All other outcomes, such as a refusal of
    the request or a client that disconnects, say nothing.
    """

    def __init__(self, publish: Callable[[Event], None], clock: Callable[[], float]) -> None:
        self._publish = publish
        self._clock = clock
        self._rows: dict[str, _Row] = {}

    def note(self, end: InterceptionEnded) -> None:
        """Note the outcome of a request."""
        name = end.interception.provider_name
        if _is_failure(end):
            if name in self._rows or len(self._rows) < _MAX_INSTANCES:
                self._fail(name, self._rows.setdefault(name, _Row()), end)
        elif _is_success(end) and (row := self._rows.pop(name, None)):
            self._recover(name, row)

    def _fail(self, name: str, row: _Row, end: InterceptionEnded) -> None:
        now = self._clock()
        if now - row.latest > FORGET_SECONDS and row.down_since is None:
            row.failures = 0
        row.failures += 1
        row.latest = now
        if row.failures < DOWN_AFTER or row.down_since is not None:
            return
        row.down_since = now
        reason = f"HTTP {end.http_status}" if end.http_status else "no response"
        self._publish(
            Event(
                type="provider_down",
                text=f"{name} is down: {row.failures} requests in a row failed, last: {reason}.",
                figures={
                    "provider": name,
                    "failures": row.failures,
                    "http_status": end.http_status,
                    "error_type": end.error_type,
                },
            )
        )

    def _recover(self, name: str, row: _Row) -> None:
        if row.down_since is None:
            return
        seconds = round(self._clock() - row.down_since)
        self._publish(
            Event(
                type="provider_up",
                text=f"{name} is up again after {seconds} seconds.",
                figures={"provider": name, "seconds": seconds, "failures": row.failures},
            )
        )


def _is_failure(end: InterceptionEnded) -> bool:
    if end.status is not Status.FAILED:
        return False
    return end.http_status in _DOWN or end.http_status is None


def _is_success(end: InterceptionEnded) -> bool:
    served = end.status in (Status.COMPLETED, Status.CANCELLED)
    return served and end.http_status is not None and end.http_status < 400
