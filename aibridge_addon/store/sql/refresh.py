"""Rolls up stale hours, then whole days, then whole weeks and months: one at a time.

Days, weeks and months are those of the local time zone, in which people group reports; where days
begin at half past, those of UTC. Days without requests are left out.
"""

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta

from aibridge_addon.facts import now
from aibridge_addon.report.periods import instant_text, midnight
from aibridge_addon.store.connection import Connection, transaction
from aibridge_addon.store.sql.cubes import DAY, MONTH, WEEK, Part
from aibridge_addon.store.sql.rollup import HOUR_LENGTH, MARK_SPAN, PARTS, REFRESH

type _Span = tuple[str, str]
"""The first hour of a day, week or month, and the first hour after it."""
type _Level = tuple[int, dict[_Span, list[_Span]]]
"""The complete spans of one length, by which `Part.longest` is measured, each with its days."""

_STALE = "SELECT hour FROM aibridge_stale_hours ORDER BY hour"
_NEXT = "SELECT min(hour) FROM aibridge_hourly WHERE hour >= ?"
_SPANS = "SELECT begin_hour, end_hour FROM aibridge_spans WHERE part = ?"
_DAY = timedelta(days=1)


def refresh_one(connection: Connection) -> bool:
    """Roll up the newest hour, day, week or month that is complete and not rolled up.

    Returns False if everything is rolled up.
    """
    current = now()[:HOUR_LENGTH]
    stale = [hour for (hour,) in connection.execute(_STALE)]
    complete = bisect_left(stale, current)
    if complete:
        _refresh_hour(connection, stale[complete - 1])
        return True
    levels = list(_complete_levels(list(_days(connection)), current))
    return any(_sum_up_part(connection, part, levels) for part in PARTS)


def _refresh_hour(connection: Connection, hour: str) -> None:
    # `;` is the character after `:`, so that this is greater than any time of the hour.
    values = {"hour": hour, "next": f"{hour};"}
    with transaction(connection):
        for statement in REFRESH:
            connection.execute(statement, values)


def _sum_up_part(connection: Connection, part: Part, levels: Iterable[_Level]) -> bool:
    """Sum up the newest day, week or month that a part lacks; return False if it lacks none."""
    done = set(connection.execute(_SPANS, [part.table]))
    for length, spans in levels:
        missing = [span for span in spans if span not in done]
        if missing and length <= part.longest:
            begin, end = missing[-1]
            days = json.dumps(spans[begin, end])
            with transaction(connection):
                for statement in part.sum_day if length == DAY else (part.sum_days,):
                    connection.execute(statement, {"begin": begin, "end": end, "days": days})
                connection.execute(MARK_SPAN, (begin, end, part.table))
            return True
    return False


def _days(connection: Connection) -> Iterator[tuple[date, _Span]]:
    """Yield the days that have figures."""
    (hour,) = connection.execute(_NEXT, [""]).fetchone()
    while hour is not None:
        day = datetime.fromisoformat(f"{hour}:00+00:00").astimezone().date()
        while _start(day) > hour:  # they begin elsewhere than the local days
            day -= _DAY
        while (end := _start(day + _DAY)) <= hour:
            day += _DAY
        yield day, (_start(day), end)
        (hour,) = connection.execute(_NEXT, [end]).fetchone()


def _complete_levels(days: list[tuple[date, _Span]], current: str) -> Iterator[_Level]:
    yield DAY, {span: [span] for _, span in days if span[1] <= current}
    for length, bounds in ((WEEK, _week), (MONTH, _month)):
        groups: dict[tuple[date, date], list[_Span]] = {}
        for day, span in days:
            groups.setdefault(bounds(day), []).append(span)
        spans = {(_start(begin), _start(end)): group for (begin, end), group in groups.items()}
        yield length, {span: group for span, group in spans.items() if span[1] <= current}


def _start(day: date) -> str:
    begin = midnight(day)
    if begin.minute:
        begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return instant_text(begin)[:HOUR_LENGTH]


def _week(day: date) -> tuple[date, date]:
    monday = day - day.weekday() * _DAY
    return monday, monday + 7 * _DAY


def _month(day: date) -> tuple[date, date]:
    first = day.replace(day=1)
    return first, (first + 31 * _DAY).replace(day=1)
