"""Drops the partitions of a month after its retention: its figures stay, as archived ones."""

from datetime import UTC, datetime

from aibridge_addon.report.periods import instant_text
from aibridge_addon.store.connection import transaction
from aibridge_addon.store.postgres import partitions
from aibridge_addon.store.postgres.connection import PostgresConnection
from aibridge_addon.store.sql.rollup import ARCHIVE_HOURS, HOUR_LENGTH

_NAMES = (
    "SELECT c.relname FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid"
    " WHERE h.inhparent = to_regclass('aibridge_interceptions') ORDER BY c.relname"
)
_PREFIX = "aibridge_interceptions_"
_OBSTACLES = """
SELECT 1 FROM aibridge_interceptions WHERE id >= :first AND id < :last
    AND (ended_at IS NULL OR started_at < :begin OR started_at >= :end)
UNION ALL SELECT 1 FROM aibridge_interceptions WHERE started_at >= :begin AND started_at < :end
    AND NOT (id >= :first AND id < :last)
UNION ALL SELECT 1 FROM aibridge_stale_hours WHERE hour >= :hour AND hour < :last_hour LIMIT 1
"""
"""Rows that are open, that are in another month than their ids say, or not rolled up yet: then rows
are deleted one by one."""
_ROWS = ("aibridge_user_prompts", "aibridge_search_texts")
"""Further tables with rows of interceptions."""


def drop_one(connection: PostgresConnection, before: datetime) -> int:
    """Drop the oldest month that ended before a time; return the number of its interceptions."""
    for (name,) in connection.execute(_NAMES).fetchall():
        month = _month(name)
        if month is not None and partitions.next_month(month) <= before:
            return _drop(connection, month) if partitions.may_be_dropped(connection) else 0
    return 0


def _month(partition: str) -> datetime | None:
    try:
        return datetime.strptime(partition.removeprefix(_PREFIX), "%Y_%m").replace(tzinfo=UTC)
    except ValueError:
        return None


def _drop(connection: PostgresConnection, month: datetime) -> int:
    end = partitions.next_month(month)
    values = {
        "first": partitions.first_id(month),
        "last": partitions.first_id(end),
        "begin": instant_text(month),
        "end": instant_text(end),
        "hour": instant_text(month)[:HOUR_LENGTH],
        "last_hour": instant_text(end)[:HOUR_LENGTH],
    }
    if connection.execute(_OBSTACLES, values).fetchone():
        return 0
    partition = partitions.name_of("aibridge_interceptions", month)
    (count,) = connection.execute(f"SELECT count(*) FROM {partition}").fetchone() or (0,)  # noqa: S608
    with transaction(connection):
        for statement in ARCHIVE_HOURS:
            connection.execute(statement, values)
        for table in _ROWS:
            connection.execute(
                f"DELETE FROM {table} WHERE interception_id >= :first"  # noqa: S608
                " AND interception_id < :last",
                values,
            )
        for table in partitions.KEYS:
            connection.execute(f"DROP TABLE IF EXISTS {partitions.name_of(table, month)}")
    return int(count)
