"""Divides a period into spans of the roll-up and spans whose interceptions must be read."""

import json
from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from aibridge_addon.report.periods import instant_text, midnight, normal_text
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql.reports.selection import Selection
from aibridge_addon.store.sql.rollup import HOUR_LENGTH

type Span = tuple[str, str]
"""A half-open interval of times or hours."""

_END = "9"
"""Greater than every time."""
_HOUR = timedelta(hours=1)
_STALE = "SELECT hour FROM aibridge_stale_hours WHERE hour >= ? AND hour < ? ORDER BY hour"
_SPANS = (
    "SELECT begin_hour, end_hour FROM aibridge_spans"
    " WHERE begin_hour >= ? AND end_hour <= ? AND part = ?"
)
_FIRST = (
    "SELECT min(first) FROM (SELECT min(hour) AS first FROM aibridge_hourly"
    " UNION ALL SELECT min(started_at) FROM aibridge_interceptions) f"
)


def span_source(table: str) -> str:
    """Return the source `i` of the rows of the days, weeks and months that a division takes."""
    return (
        f"json_each(:summed) s CROSS JOIN {table} i"
        " ON i.begin_hour = json_extract(s.value, '$[0]')"
        " AND i.end_hour = json_extract(s.value, '$[1]')"
    )


def hour_source(table: str) -> str:
    """Return the source `i` of the rows of the hours that a division takes."""
    return (
        f"json_each(:gaps) g CROSS JOIN {table} i"  # noqa: S608
        " ON i.hour >= json_extract(g.value, '$[0]') AND i.hour < json_extract(g.value, '$[1]')"
        " AND (i.archived = 1"
        " OR (i.hour < :end AND i.hour NOT IN (SELECT value FROM json_each(:excluded))))"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """Spans of interceptions to read, and the parameters of the sources for all the rest."""

    spans: tuple[Span, ...]
    """Half-open intervals of `started_at`."""
    rolled: dict[str, str] | None = None
    """None: the roll-up is not used."""


def add(chosen: Selection, span: Span, *, hidden: bool = False) -> None:
    """Add the condition that interceptions `i` started in a span.

    `hidden`: SQLite must not use the index of starts, since another one is better.
    """
    column = "+i.started_at" if hidden else "i.started_at"
    begin, end = map(chosen.bind, span)
    chosen.add(f"{column} >= {begin} AND {column} < {end}")


def interceptions(division: Division, chosen: Selection, *, hidden: bool = False) -> str:
    """Add the conditions of the spans to read; return the source `i` of their interceptions.

    `hidden`: SQLite must not use the index of starts, since another one is better.
    """
    column = "+i.started_at" if hidden else "i.started_at"
    if len(division.spans) == 1:
        add(chosen, division.spans[0], hidden=hidden)
        return "aibridge_interceptions i"
    begin, end = ("json_extract(s.value, '$[0]')", "json_extract(s.value, '$[1]')")
    chosen.add(f"{column} >= {begin} AND {column} < {end}")
    chosen.values["spans"] = json.dumps(division.spans)
    return "json_each(:spans) s CROSS JOIN aibridge_interceptions i"


def read_all(since: str, until: str) -> Division:
    """Return the division that reads every interception of a period."""
    return Division(spans=((normal_text(since), normal_text(until) or _END),))


def divide_without_hours(connection: Connection, part: str, since: str, until: str) -> Division:
    """Return the division of a period into the spans of a part, and interceptions."""
    since, until = normal_text(since), normal_text(until) or _END
    first, end = _next_hour(since), until[:HOUR_LENGTH]
    if end <= first:
        return read_all(since, until if until != _END else "")
    stale = [hour for (hour,) in connection.execute(_STALE, (first, end))]
    summed = _summed_spans(connection, part, first, end, stale, ())
    spans = [(since, first), *_gaps(summed, first, until)]
    return Division(spans=tuple(joined(spans)), rolled={"summed": json.dumps(summed)})


def divide(
    connection: Connection, part: str, since: str, until: str, times: Collection[str]
) -> Division:
    """Return the division of a period into spans of a part, hours and interceptions.

    It reads the fewest rows. `times`: groupings by time.
    """
    since, until = normal_text(since), normal_text(until) or _END
    first, end = _next_hour(since), until[:HOUR_LENGTH]
    if end <= first:
        return read_all(since, until if until != _END else "")
    stale = [hour for (hour,) in connection.execute(_STALE, (first, end))]
    summed = _summed_spans(connection, part, first, end, stale, times)
    excluded = set(stale)
    if times:
        excluded |= {
            hour
            for hour in _hours_of_two_days(connection, first, end)
            if not any(begin <= hour < end for begin, end in summed)
        }
    hours = [(hour, after(hour)) for hour in sorted(excluded)]
    rolled = {
        "end": end,
        "excluded": json.dumps(sorted(excluded)),
        "summed": json.dumps(summed),
        "gaps": json.dumps(list(_gaps(summed, first, until))),
    }
    spans = [(since, first), *hours, (end, until)]
    return Division(spans=tuple(joined(spans)), rolled=rolled)


def _summed_spans(
    connection: Connection,
    part: str,
    first: str,
    end: str,
    stale: list[str],
    times: Collection[str],
) -> list[Span]:
    """Return months, weeks and days without stale hours that belong to one group each, in order.

    A longer span is preferred: it has fewer rows than the spans inside it.
    """
    taken: list[Span] = []
    for span in sorted(connection.execute(_SPANS, (first, end, part)), key=_days_of, reverse=True):
        index = bisect_left(stale, span[0])
        is_stale = index < len(stale) and stale[index] < span[1]
        place = bisect_left(taken, span)
        is_free = (place == 0 or taken[place - 1][1] <= span[0]) and (
            place == len(taken) or span[1] <= taken[place][0]
        )
        if is_free and not is_stale and _is_of_one_group(span, times):
            taken.insert(place, span)
    return taken


def _days_of(span: Span) -> int:
    begin, end = (date.fromisoformat(hour[:10]) for hour in span)
    return (end - begin).days


def _is_of_one_group(span: Span, times: Collection[str]) -> bool:
    begin, end = (datetime.fromisoformat(f"{hour}:00+00:00") for hour in span)
    first, last = begin.astimezone(), (end - timedelta(microseconds=1)).astimezone()
    return all(_group(first, name) == _group(last, name) for name in times)


def _group(moment: datetime, name: str) -> object:
    match name:
        case "month":
            return moment.year, moment.month
        case "week":
            return moment.isocalendar()[:2]
        case "day":
            return moment.date()
    return moment.date(), moment.hour


def _gaps(summed: list[Span], first: str, until: str) -> Iterator[Span]:
    """Yield what is between the spans."""
    position = first
    for begin, end in summed:
        if position < begin:
            yield position, begin
        position = end
    if position < until:
        yield position, until


def _next_hour(moment: str) -> str:
    """Return the first hour that starts at or after a moment."""
    if not moment:
        return ""
    time = datetime.fromisoformat(moment)
    hour = time.replace(minute=0, second=0, microsecond=0)
    return instant_text(hour if hour == time else hour + _HOUR)[:HOUR_LENGTH]


def after(hour: str) -> str:
    """Return the hour after an hour."""
    return _next_hour(f"{hour}:00:00.000001+00:00")


def _hours_of_two_days(connection: Connection, first: str, end: str) -> Iterator[str]:
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


def joined(spans: list[Span]) -> Iterator[Span]:
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
