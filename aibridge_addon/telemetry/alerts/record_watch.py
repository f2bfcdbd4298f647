"""Detects that the database is away for a while, and that it is back. Pure."""

from collections.abc import Callable

from aibridge_addon.telemetry.alerts.event import Event

AWAY_SECONDS = 5.0
"""Shorter absences, such as a lock of another process, are not reported."""


class RecordWatch:
    """Follows the availability of the record's database."""

    def __init__(self, publish: Callable[[Event], None], clock: Callable[[], float]) -> None:
        self._publish = publish
        self._clock = clock
        self._away_since: float | None = None
        self._is_reported = False

    def note(self, *, available: bool) -> None:
        """Note the state of this moment."""
        now = self._clock()
        if available:
            self._note_back(now)
        elif self._away_since is None:
            self._away_since = now
        elif now - self._away_since >= AWAY_SECONDS and not self._is_reported:
            self._is_reported = True
            self._publish(
                Event(
                    type="record_away",
                    text="the database cannot be written; records wait on the proxy's disk.",
                    figures={"seconds": round(now - self._away_since)},
                )
            )

    def _note_back(self, now: float) -> None:
        since, reported = self._away_since, self._is_reported
        self._away_since, self._is_reported = None, False
        if since is None or not reported:
            return
        seconds = round(now - since)
        self._publish(
            Event(
                type="record_back",
                text=f"the database can be written again after {seconds} seconds.",
                figures={"seconds": seconds},
            )
        )
