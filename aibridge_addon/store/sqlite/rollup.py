"""Roll-up of the figures by hour, day, week and month, so that reports need not read all requests.

Triggers mark the hours of changed rows as stale. Reports take fresh hours and the spans above them
from the roll-up and read the interceptions of stale hours, so that they are exact at any time. Rows
of deleted interceptions stay in the roll-up as archived.
"""

from sqlite_utils import Database

from aibridge_addon.store.sqlite import span_latency
from aibridge_addon.store.sqlite.cubes import (
    CUBES,
    FIGURES,
    HOUR_COLUMNS,
    HOUR_TABLES,
    HOURS,
    HourTable,
    create_table_sql,
)
from aibridge_addon.store.sqlite.figures import KEYS, MEASURES, MONEY

HOUR_LENGTH = len("2026-01-31T12")
"""An hour in UTC is the beginning of the time of its start."""

_SOURCES = {
    "aibridge_interceptions": "SELECT substr({row}.started_at, 1, 13) WHERE 1",
    "aibridge_token_usages": "SELECT substr(i.started_at, 1, 13)"
    " FROM aibridge_interceptions i WHERE i.id = {row}.interception_id",
    "aibridge_tool_usages": "SELECT substr(i.started_at, 1, 13)"
    " FROM aibridge_interceptions i WHERE i.id = {row}.interception_id",
}
"""SELECT of the hour of a changed row, by table."""
_EVENTS = {"INSERT": ("NEW",), "DELETE": ("OLD",), "UPDATE": ("OLD", "NEW")}
_MARK_ALL = (
    "INSERT OR IGNORE INTO aibridge_stale_hours (hour)"
    " SELECT DISTINCT substr(started_at, 1, 13) FROM aibridge_interceptions"
)
_BEFORE = "aibridge_hourly_before"


def create(db: Database) -> None:
    """Create the roll-up by hour, day and month, and the triggers that mark stale hours."""
    db.execute(create_table_sql(HOURS.table, dict.fromkeys(HOUR_COLUMNS, "TEXT"), KEYS))
    db.execute(FIGURES.create_sql())
    db.execute(
        "CREATE TABLE aibridge_spans (begin_hour TEXT, end_hour TEXT,"
        " PRIMARY KEY (begin_hour, end_hour)) WITHOUT ROWID"
    )
    db.execute("CREATE TABLE aibridge_stale_hours (hour TEXT PRIMARY KEY) WITHOUT ROWID")
    db.execute(_MARK_ALL)
    _create_triggers(db, "aibridge_interceptions")
    _create_triggers(db, "aibridge_token_usages")


def add_sessions_and_tools(db: Database) -> None:
    """Add sessions, tools, weeks and latency; everything is to be rolled up again.

    Sessions and tools of interceptions that were deleted before are not known.
    """
    db.execute(f"ALTER TABLE {HOURS.table} RENAME TO {_BEFORE}")
    db.execute(f"DROP TABLE {FIGURES.table}")
    db.execute("DROP TABLE aibridge_spans")
    db.execute(
        "CREATE TABLE aibridge_spans (begin_hour TEXT, end_hour TEXT, part TEXT,"
        " PRIMARY KEY (begin_hour, end_hour, part)) WITHOUT ROWID"
    )
    known = {column.name for column in db.table(_BEFORE).columns}
    for table in HOUR_TABLES:
        db.execute(table.create_sql())
        db.execute(_copy_archived_sql(table, known))
    db.execute(f"DROP TABLE {_BEFORE}")
    for cube in CUBES:
        db.execute(cube.create_sql())
    db.execute(span_latency.CREATE)
    db.execute(_MARK_ALL)
    _create_triggers(db, "aibridge_tool_usages")


def _copy_archived_sql(table: HourTable, known: set[str]) -> str:
    values = dict.fromkeys(table.keys, "''") | dict.fromkeys(MEASURES, "0")
    values |= {name: name for name in table.columns if name in known}
    return (
        f"INSERT INTO {table.table} ({', '.join(values)})"  # noqa: S608
        f" SELECT {', '.join(values.values())} FROM {_BEFORE} WHERE archived"
    )


def _create_triggers(db: Database, table: str) -> None:
    for event in _EVENTS:
        db.execute(_create_trigger(table, event))


def _create_trigger(table: str, event: str) -> str:
    # `OR IGNORE` would yield to the conflict clause of the statement that fires the trigger.
    marks = " ".join(
        "INSERT INTO aibridge_stale_hours (hour)"
        f" {_SOURCES[table].format(row=row)} ON CONFLICT DO NOTHING;"
        for row in _EVENTS[event]
    )
    name = f"{table}_stale_on_{event.lower()}"
    return f"CREATE TRIGGER {name} AFTER {event} ON {table} BEGIN {marks} END"


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
