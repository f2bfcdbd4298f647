"""Rolls up stale hours, then whole days, then whole months: one at a time.

Days and months are those of the local time zone, in which people group reports; where days begin at
half past, those of UTC.
"""

import json
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

from aibridge_addon.facts import now
from aibridge_addon.report.periods import instant_text, midnight
from aibridge_addon.store.connection import Connection, transaction
from aibridge_addon.store.sqlite.rollup import HOUR_LENGTH, REFRESH, SUM_UP_DAY, SUM_UP_MONTH

type Span = tuple[str, str]
"""The first hour of a day or month, and the first hour after it."""

_STALE = "SELECT hour FROM aibridge_stale_hours ORDER BY hour"
_LATEST_BEFORE = "SELECT max(hour) FROM aibridge_hourly WHERE hour < ?"
_MARK = "INSERT INTO aibridge_spans (begin_hour, end_hour) VALUES (?, ?) ON CONFLICT DO NOTHING"
_FIRST = "SELECT min(hour) FROM aibridge_hourly"


def refresh_one(connection: Connection) -> bool:
    """Roll up the newest hour, day or month that is complete and not rolled up.

    Returns False if everything is rolled up.
    """
    current = now()[:HOUR_LENGTH]
    stale = [hour for (hour,) in connection.execute(_STALE)]
    complete = bisect_left(stale, current)
    if complete:
        _refresh_hour(connection, stale[complete - 1])
        return True
    return _sum_up_one(connection, current)


def _refresh_hour(connection: Connection, hour: str) -> None:
    # `;` is the character after `:`, so that this is greater than any time of the hour.
    values = {"hour": hour, "next": f"{hour};"}
    with transaction(connection):
        for statement in REFRESH:
            connection.execute(statement, values)


def _sum_up_one(connection: Connection, current: str) -> bool:
    (first,) = connection.execute(_FIRST).fetchone()
    if first is None:
        return False
    spans = set(connection.execute("SELECT begin_hour, end_hour FROM aibridge_spans"))
    days = list(_days(first, current))
    missing = [day for day in reversed(days) if day not in spans]
    if missing:
        _sum_up_days(connection, missing)
        return True
    for month in _complete_months(days):
        begin, end = month[0][0], month[-1][1]
        if (begin, end) not in spans and spans.issuperset(month):
            values = {"begin": begin, "end": end, "days": json.dumps(month)}
            _sum_up(connection, SUM_UP_MONTH, values)
            return True
    return False


def _sum_up_days(connection: Connection, missing: list[Span]) -> None:
    """Sum up the newest of some days, and mark the empty days before it as done."""
    begin, end = missing[0]
    (latest,) = connection.execute(_LATEST_BEFORE, (end,)).fetchone()
    if latest is not None and latest >= begin:
        _sum_up(connection, SUM_UP_DAY, {"begin": begin, "end": end})
        return
    empty = [day for day in missing if latest is None or day[0] > latest]
    with transaction(connection):
        connection.executemany(_MARK, empty)


def _sum_up(connection: Connection, statements: tuple[str, ...], values: dict[str, str]) -> None:
    with transaction(connection):
        for statement in statements:
            connection.execute(statement, values)


def _days(first: str, current: str) -> Iterator[Span]:
    """Yield the complete days from the hour of the first figures on."""
    day = datetime.fromisoformat(f"{first}:00+00:00").astimezone().date()
    begin = _start(day)
    while begin < current:
        day += timedelta(days=1)
        end = _start(day)
        if end <= current:
            yield begin, end
        begin = end


def _start(day: date) -> str:
    begin = midnight(day)
    if begin.minute:
        begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return instant_text(begin)[:HOUR_LENGTH]


def _complete_months(days: list[Span]) -> Iterator[list[Span]]:
    for month, group in groupby(days, key=lambda day: _month(day[0])):
        of_month = list(group)
        if _month(of_month[-1][1]) != month:  # the next day
            yield of_month


def _month(begin: str) -> tuple[int, int]:
    """Return the month of a day. Its noon is of the same day in UTC and in the local zone."""
    noon = datetime.fromisoformat(f"{begin}:00+00:00") + timedelta(hours=12)
    local = noon.astimezone()
    return local.year, local.month
