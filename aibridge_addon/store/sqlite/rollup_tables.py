"""Tables of the roll-up, and the triggers that mark the hours of changed rows as stale."""

from sqlite_utils import Database

from aibridge_addon.store.sql import span_latency
from aibridge_addon.store.sql.cubes import (
    CUBES,
    FIGURES,
    HOUR_COLUMNS,
    HOUR_TABLES,
    HOURS,
    HourTable,
    create_table_sql,
)
from aibridge_addon.store.sql.figures import KEYS, MEASURES

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
