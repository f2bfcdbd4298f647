"""Roll-up of the figures by hour, day and month, so that reports need not read every interception.

Triggers mark the hours of changed rows as stale. Reports take fresh hours, days and months from the
roll-up and read the interceptions of stale hours, so that they are exact at any time. Rows of
deleted interceptions stay in the roll-up as archived.
"""

from collections.abc import Mapping

from sqlite_utils import Database

from aibridge_addon.store.sqlite.figures import KEYS, MEASURES, MONEY, requests_sql, sums_sql

HOUR_LENGTH = len("2026-01-31T12")
"""An hour in UTC is the beginning of the time of its start."""
_TABLE = "aibridge_hourly"
_HOUR_COLUMNS = ("hour", "archived")
_COLUMNS = ", ".join((*_HOUR_COLUMNS, *KEYS, *MEASURES, "latest"))
SPAN_FIGURES = "aibridge_span_figures"
SPAN_COLUMNS = ("begin_hour", "end_hour")
"""Columns of a span, a whole day or month: its first hour, and the first hour after it."""


_SOURCES = {
    "aibridge_interceptions": "SELECT substr({row}.started_at, 1, 13) WHERE 1",
    "aibridge_token_usages": "SELECT substr(i.started_at, 1, 13)"
    " FROM aibridge_interceptions i WHERE i.id = {row}.interception_id",
}
"""SELECT of the hour of a changed row, by table."""
_EVENTS = {"INSERT": ("NEW",), "DELETE": ("OLD",), "UPDATE": ("OLD", "NEW")}


def create(db: Database) -> None:
    """Create the tables of the roll-up and the triggers that mark stale hours."""
    db.execute(_create_table(_TABLE, {"hour": "TEXT", "archived": "INTEGER"}))
    db.execute(_create_table(SPAN_FIGURES, dict.fromkeys(SPAN_COLUMNS, "TEXT")))
    db.execute(
        "CREATE TABLE aibridge_spans (begin_hour TEXT, end_hour TEXT,"
        " PRIMARY KEY (begin_hour, end_hour)) WITHOUT ROWID"
    )
    db.execute("CREATE TABLE aibridge_stale_hours (hour TEXT PRIMARY KEY) WITHOUT ROWID")
    db.execute(
        "INSERT INTO aibridge_stale_hours (hour)"
        " SELECT DISTINCT substr(started_at, 1, 13) FROM aibridge_interceptions"
    )
    for table in _SOURCES:
        for event in _EVENTS:
            db.execute(_create_trigger(table, event))


def _create_table(table: str, first: Mapping[str, str]) -> str:
    columns = {name: f"{kind} NOT NULL" for name, kind in first.items()}
    columns |= dict.fromkeys(KEYS, "TEXT NOT NULL")
    columns |= {name: f"INTEGER{' NOT NULL' * (name not in MONEY)}" for name in MEASURES}
    columns["latest"] = "TEXT NOT NULL"
    declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    key = ", ".join((*first, *KEYS))
    return f"CREATE TABLE {table} ({declared}, PRIMARY KEY ({key})) WITHOUT ROWID"


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
REFRESH = (
    f"DELETE FROM {_TABLE} WHERE hour = :hour AND archived = 0",  # noqa: S608
    f"INSERT INTO {_TABLE} ({_COLUMNS})"  # noqa: S608
    f" SELECT :hour, 0, {', '.join(KEYS)}, {sums_sql()}, max(started_at)"
    f" FROM ({requests_sql('aibridge_interceptions i', [_OF_HOUR], {})}) r"
    f" GROUP BY {', '.join(KEYS)}",
    f"DELETE FROM {SPAN_FIGURES} WHERE (begin_hour, end_hour) IN"  # noqa: S608
    f" (SELECT begin_hour, end_hour FROM aibridge_spans WHERE {_OF_SPANS_AROUND})",
    f"DELETE FROM aibridge_spans WHERE {_OF_SPANS_AROUND}",  # noqa: S608
    "DELETE FROM aibridge_stale_hours WHERE hour = :hour",
)
"""Executed in this order: rolls up the interceptions between `hour` and `next`."""


def _sum_up(source: str) -> tuple[str, str]:
    columns = ", ".join((*SPAN_COLUMNS, *KEYS, *MEASURES, "latest"))
    keys = ", ".join(f"i.{name}" for name in KEYS)
    renewed = ", ".join(f"{name} = excluded.{name}" for name in (*MEASURES, "latest"))
    return (
        f"INSERT INTO {SPAN_FIGURES} ({columns})"  # noqa: S608
        f" SELECT :begin, :end, {keys}, {sums_sql()}, max(latest) FROM {source} GROUP BY {keys}"
        f" ON CONFLICT ({', '.join((*SPAN_COLUMNS, *KEYS))}) DO UPDATE SET {renewed}",
        "INSERT INTO aibridge_spans (begin_hour, end_hour) VALUES (:begin, :end)"
        " ON CONFLICT DO NOTHING",
    )


SUM_UP_DAY = _sum_up(f"{_TABLE} i WHERE hour >= :begin AND hour < :end")
"""Executed in this order: sums up the hours from `begin` to `end`; twice does no harm."""
SUM_UP_MONTH = _sum_up(
    f"json_each(:days) d CROSS JOIN {SPAN_FIGURES} i"
    " ON i.begin_hour = json_extract(d.value, '$[0]')"
    " AND i.end_hour = json_extract(d.value, '$[1]')"
)
"""Likewise sums up the days that are in a JSON list."""


def _merged(name: str) -> str:
    own = f"{_TABLE}.{name}"
    if name in MONEY:
        return f"{name} = coalesce({own} + excluded.{name}, {own}, excluded.{name})"
    return f"{name} = {own} + excluded.{name}"


def archive_sql(expired: str) -> str:
    """Return the statement that archives interceptions before they are deleted.

    `expired` is the SELECT of their ids.
    """
    hour = "substr(started_at, 1, 13)"
    return (
        f"INSERT INTO {_TABLE} ({_COLUMNS})"  # noqa: S608
        f" SELECT {hour}, 1, {', '.join(KEYS)}, {sums_sql()}, max(started_at)"
        f" FROM ({requests_sql('aibridge_interceptions i', [f'i.id IN ({expired})'], {})}) r"
        f" WHERE TRUE GROUP BY {hour}, {', '.join(KEYS)} {_MERGE}"
    )


_MERGE = (
    f"ON CONFLICT (hour, archived, {', '.join(KEYS)}) DO UPDATE SET"
    f" {', '.join(_merged(name) for name in MEASURES)},"
    f" latest = max({_TABLE}.latest, excluded.latest)"
)
_FRESH = f"FROM {_TABLE} WHERE archived = 0 AND hour >= :hour AND hour < :last_hour"
ARCHIVE_HOURS = (
    f"INSERT INTO {_TABLE} ({_COLUMNS}) SELECT hour, 1, {', '.join(KEYS)},"
    f" {', '.join(MEASURES)}, latest {_FRESH} {_MERGE}",
    f"DELETE {_FRESH}",
)
"""Executed in this order: archives hours all of whose interceptions are deleted."""
