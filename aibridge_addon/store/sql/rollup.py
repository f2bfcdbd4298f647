"""Roll-up of the figures by hour, day, week and month, so that reports need not read all requests.

Triggers mark the hours of changed rows as stale. Reports take fresh hours and the spans above them
from the roll-up and read the interceptions of stale hours, so that they are exact at any time. Rows
of deleted interceptions stay in the roll-up as archived.
"""

from aibridge_addon.store.sql import span_latency
from aibridge_addon.store.sql.cubes import CUBES, HOUR_COLUMNS, HOUR_TABLES, HourTable
from aibridge_addon.store.sql.figures import MEASURES, MONEY

HOUR_LENGTH = len("2026-01-31T12")
"""An hour in UTC is the beginning of the time of its start."""

_OF_HOUR = "i.started_at >= :hour AND i.started_at < :next"
_OF_SPANS_AROUND = "begin_hour <= :hour AND end_hour > :hour"
_SPANS_AROUND = f"SELECT begin_hour, end_hour FROM aibridge_spans WHERE {_OF_SPANS_AROUND}"  # noqa: S608
PARTS = (*(cube.part for cube in CUBES), span_latency.PART)
"""The tables of days, weeks and months."""
REFRESH = (
    *(f"DELETE FROM {each.table} WHERE hour = :hour AND archived = 0" for each in HOUR_TABLES),  # noqa: S608
    *(each.sum_sql(":hour", 0, _OF_HOUR) for each in HOUR_TABLES),
    *(
        f"DELETE FROM {part.table} WHERE (begin_hour, end_hour) IN ({_SPANS_AROUND})"  # noqa: S608
        for part in PARTS
    ),
    f"DELETE FROM aibridge_spans WHERE {_OF_SPANS_AROUND}",  # noqa: S608
    "DELETE FROM aibridge_stale_hours WHERE hour = :hour",
)
"""Executed in this order: rolls up the interceptions between `hour` and `next`."""
MARK_SPAN = (
    "INSERT INTO aibridge_spans (begin_hour, end_hour, part) VALUES (?, ?, ?)"
    " ON CONFLICT DO NOTHING"
)
"""Executed after a span was summed up into a part."""


def _merged(table: str, name: str) -> str:
    own = f"{table}.{name}"
    if name in MONEY:
        return f"{name} = coalesce({own} + excluded.{name}, {own}, excluded.{name})"
    return f"{name} = {own} + excluded.{name}"


def _merge(table: HourTable) -> str:
    return (
        f" ON CONFLICT ({', '.join((*HOUR_COLUMNS, *table.keys))}) DO UPDATE SET"
        f" {', '.join(_merged(table.table, name) for name in MEASURES)},"
        f" latest = max({table.table}.latest, excluded.latest)"
    )


def archive_sql(expired: str) -> tuple[str, ...]:
    """Return the statements that archive interceptions before they are deleted.

    `expired` is the SELECT of their ids.
    """
    return tuple(
        table.sum_sql("substr(started_at, 1, 13)", 1, f"i.id IN ({expired})") + _merge(table)
        for table in HOUR_TABLES
    )


def _archive_hours(table: HourTable) -> tuple[str, str]:
    fresh = f"FROM {table.table} WHERE archived = 0 AND hour >= :hour AND hour < :last_hour"
    columns = ", ".join((*table.keys, *MEASURES, "latest"))
    return (
        f"INSERT INTO {table.table} (hour, archived, {columns})"
        f" SELECT hour, 1, {columns} {fresh}{_merge(table)}",
        f"DELETE {fresh}",
    )


ARCHIVE_HOURS = tuple(statement for table in HOUR_TABLES for statement in _archive_hours(table))
"""Executed in this order: archives hours all of whose interceptions are deleted."""
