"""Roll-up of the figures by hour, so that reports need not read every interception.

Triggers mark the hours of changed rows as stale. Reports take fresh hours from the roll-up and read
the interceptions of stale hours, so that they are exact at any time. Rows of deleted interceptions
stay in the roll-up as archived.
"""

from sqlite_utils import Database

from aibridge_addon.store.sqlite.figures import KEYS, MEASURES, MONEY, requests_sql, sums_sql

HOUR_LENGTH = len("2026-01-31T12")
"""An hour in UTC is the beginning of the time of its start."""
_TABLE = "aibridge_hourly"
_HOUR_COLUMNS = ("hour", "archived")
_COLUMNS = ", ".join((*_HOUR_COLUMNS, *KEYS, *MEASURES, "latest"))
_KEY_COLUMNS = ", ".join((*_HOUR_COLUMNS, *KEYS))


_SOURCES = {
    "aibridge_interceptions": "SELECT substr({row}.started_at, 1, 13) WHERE 1",
    "aibridge_token_usages": "SELECT substr(i.started_at, 1, 13)"
    " FROM aibridge_interceptions i WHERE i.id = {row}.interception_id",
}
"""SELECT of the hour of a changed row, by table."""
_EVENTS = {"INSERT": ("NEW",), "DELETE": ("OLD",), "UPDATE": ("OLD", "NEW")}


def create(db: Database) -> None:
    """Create the tables of the roll-up and the triggers that mark stale hours."""
    db.execute(_create_table())
    db.execute("CREATE TABLE aibridge_stale_hours (hour TEXT PRIMARY KEY) WITHOUT ROWID")
    db.execute(
        "INSERT INTO aibridge_stale_hours (hour)"
        " SELECT DISTINCT substr(started_at, 1, 13) FROM aibridge_interceptions"
    )
    for table in _SOURCES:
        for event in _EVENTS:
            db.execute(_create_trigger(table, event))


def _create_table() -> str:
    keys = ", ".join(f"{name} TEXT NOT NULL" for name in KEYS)
    sums = ", ".join(f"{name} INTEGER{' NOT NULL' * (name not in MONEY)}" for name in MEASURES)
    return (
        f"CREATE TABLE {_TABLE} (hour TEXT NOT NULL, archived INTEGER NOT NULL, {keys}, {sums},"
        f" latest TEXT NOT NULL, PRIMARY KEY ({_KEY_COLUMNS})) WITHOUT ROWID"
    )


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
REFRESH = (
    f"DELETE FROM {_TABLE} WHERE hour = :hour AND NOT archived",  # noqa: S608
    f"INSERT INTO {_TABLE} ({_COLUMNS})"  # noqa: S608
    f" SELECT :hour, 0, {', '.join(KEYS)}, {sums_sql()}, max(started_at)"
    f" FROM ({requests_sql('aibridge_interceptions i', [_OF_HOUR], {})})"
    f" GROUP BY {', '.join(KEYS)}",
    "DELETE FROM aibridge_stale_hours WHERE hour = :hour",
)
"""Executed in this order: rolls up the interceptions between `hour` and `next`."""


def _merged(name: str) -> str:
    if name in MONEY:
        return f"{name} = coalesce({name} + excluded.{name}, {name}, excluded.{name})"
    return f"{name} = {name} + excluded.{name}"


def archive_sql(expired: str) -> str:
    """Return the statement that archives interceptions before they are deleted.

    `expired` is the SELECT of their ids.
    """
    hour = "substr(started_at, 1, 13)"
    merged = ", ".join(_merged(name) for name in MEASURES)
    return (
        f"INSERT INTO {_TABLE} ({_COLUMNS})"  # noqa: S608
        f" SELECT {hour}, 1, {', '.join(KEYS)}, {sums_sql()}, max(started_at)"
        f" FROM ({requests_sql('aibridge_interceptions i', [f'i.id IN ({expired})'], {})})"
        f" WHERE 1 GROUP BY {hour}, {', '.join(KEYS)}"
        f" ON CONFLICT DO UPDATE SET {merged}, latest = max(latest, excluded.latest)"
    )
