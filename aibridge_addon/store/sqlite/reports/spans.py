"""Divides a period into hours of the roll-up and spans whose interceptions must be read."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aibridge_addon.report.periods import instant_text, midnight, normal_text
from aibridge_addon.store.sqlite.rollup import HOUR_LENGTH

_END = "9"
"""Greater than every time."""
_HOUR = timedelta(hours=1)
_STALE = "SELECT hour FROM aibridge_stale_hours WHERE hour >= ? AND hour < ? ORDER BY hour"
_FIRST = (
    "SELECT min(first) FROM (SELECT min(hour) AS first FROM aibridge_hourly"
    " UNION ALL SELECT min(started_at) FROM aibridge_interceptions)"
)
ROLLED = (
    "(hour >= :first AND CASE WHEN archived THEN hour < :until ELSE hour < :end"
    " AND hour NOT IN (SELECT value FROM json_each(:excluded)) END)"
)
"""Condition for the rows of the roll-up that a division takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """Spans of interceptions to read, and the parameters of `ROLLED` for all the rest."""

    spans: tuple[tuple[str, str], ...]
    """Half-open intervals of `started_at`."""
    rolled: dict[str, str] | None = None
    """None: the roll-up is not used."""


def read_all(since: str, until: str) -> Division:
    """Return the division that reads every interception of a period."""
    return Division(spans=((normal_text(since), normal_text(until) or _END),))


def divide(
    connection: sqlite3.Connection, since: str, until: str, *, by_local_day: bool
) -> Division:
    """Return the division of a period that reads the fewest interceptions."""
    since, until = normal_text(since), normal_text(until) or _END
    first, end = _next_hour(since), until[:HOUR_LENGTH]
    if end <= first:
        return read_all(since, until)
    excluded = {hour for (hour,) in connection.execute(_STALE, (first, end))}
    if by_local_day:
        excluded |= set(_hours_of_two_days(connection, first, end))
    spans = [(since, first), *((hour, _after(hour)) for hour in sorted(excluded)), (end, until)]
    rolled = {
        "first": first,
        "until": until,
        "end": end,
        "excluded": json.dumps(sorted(excluded)),
    }
    return Division(spans=tuple(_joined(spans)), rolled=rolled)


def _next_hour(moment: str) -> str:
    """Return the first hour that starts at or after a moment."""
    if not moment:
        return ""
    time = datetime.fromisoformat(moment)
    hour = time.replace(minute=0, second=0, microsecond=0)
    return instant_text(hour if hour == time else hour + _HOUR)[:HOUR_LENGTH]


def _after(hour: str) -> str:
    return _next_hour(f"{hour}:00:00.000001+00:00")


def _hours_of_two_days(connection: sqlite3.Connection, first: str, end: str) -> Iterator[str]:
    """Yield the hours in which a local day begins, in zones such as UTC+05:30."""
    (earliest,) = connection.execute(_FIRST).fetchone()
    if earliest is None:
        return
    begin = datetime.fromisoformat(f"{max(first, earliest)[:HOUR_LENGTH]}:00+00:00")
    finish = datetime.now(UTC) + _HOUR
    if end < _END:
        finish = min(finish, datetime.fromisoformat(f"{end}:00+00:00"))
    day = begin.astimezone().date()
    while (start := midnight(day)) < finish:
        if start > begin and start.minute:
            yield instant_text(start)[:HOUR_LENGTH]
        day += timedelta(days=1)


def _joined(spans: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the spans that are not empty, with adjacent ones joined."""
    begin = end = ""
    for span in (span for span in spans if span[0] < span[1]):
        if span[0] == end:
            end = span[1]
            continue
        if begin < end:
            yield begin, end
        begin, end = span
    if begin < end:
        yield begin, end
