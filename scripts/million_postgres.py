"""Fills a PostgreSQL database with the rows of `million_rows`, by COPY."""

import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import million_rows

from aibridge_addon.store.connection import transaction
from aibridge_addon.store.postgres import partitions, schema
from aibridge_addon.store.postgres.address import Address
from aibridge_addon.store.postgres.connection import PostgresConnection, connect
from aibridge_addon.store.sql.refresh import refresh_one

_ON_COMMIT = ("aibridge_interceptions", "aibridge_token_usages", "aibridge_tool_usages")
"""Tables whose triggers take most of the time: what they write is written once at the end."""
_WRITTEN_ON_COMMIT = (
    "INSERT INTO aibridge_stale_hours (hour)"
    " SELECT DISTINCT substr(started_at, 1, 13) FROM aibridge_interceptions",
    "INSERT INTO aibridge_endings (interception_id)"
    " SELECT id FROM aibridge_interceptions ORDER BY ended_at, id",
)

_BACKENDS = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE application_name = 'aibridge' AND datname = current_database()"
)


def is_filled(url: str) -> bool:
    """Return True if a database has interceptions."""
    with closing(connect(Address(url))) as connection:
        if not schema.applied_migrations(connection):
            return False
        found = connection.execute("SELECT 1 FROM aibridge_interceptions LIMIT 1").fetchone()
        return found is not None


def make(url: str, count: int, actors: int = 200) -> None:
    """Create the tables, with `count` interceptions."""
    with closing(connect(Address(url))) as connection:
        schema.migrate(connection)
        _make_partitions(connection)
        connection.execute("SET synchronous_commit = off")
        for table in _ON_COMMIT:
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER {table}_on_commit")
        for rows in million_rows.batches(count, actors):
            with transaction(connection):
                for table, found in rows.items():
                    _copy(connection, table, found)
        for statement in _WRITTEN_ON_COMMIT:
            connection.execute(statement)
        for table in _ON_COMMIT:
            connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER {table}_on_commit")
        connection.execute("ANALYZE")


def roll_up(url: str) -> tuple[int, int]:
    """Roll everything up; return the number of hours, and of rows of the roll-up."""
    with closing(connect(Address(url))) as connection:
        hours = 1
        while refresh_one(connection):
            hours += 1
        connection.execute("VACUUM ANALYZE")
        (rows,) = connection.execute("SELECT count(*) FROM aibridge_hourly").fetchone() or (0,)
    return hours, int(rows)


def clock(url: str) -> Callable[[], float]:
    """Return a clock of the CPU seconds of this process and of the server's that serve it.

    Of a server elsewhere, it returns the elapsed seconds.
    """
    try:
        _cpu_seconds(url)
    except OSError:
        return time.monotonic
    return lambda: time.process_time() + _cpu_seconds(url)


def _cpu_seconds(url: str) -> float:
    with closing(connect(Address(url), "clock")) as connection:
        found = connection.execute(_BACKENDS).fetchall()
    times = (Path(f"/proc/{pid}/schedstat").read_text() for (pid,) in found)
    return sum(int(each.split()[0]) for each in times) / 1e9


def bytes_of(url: str) -> int:
    """Return the size of a database."""
    with closing(connect(Address(url))) as connection:
        sql = "SELECT pg_database_size(current_database())"
        (size,) = connection.execute(sql).fetchone() or (0,)
    return int(size)


def _make_partitions(connection: PostgresConnection) -> None:
    now = datetime.now(UTC)
    month = partitions.month_of(now - timedelta(days=million_rows.DAYS))
    while month <= now:
        for statement in partitions.create(month):
            connection.execute(statement)
        month = partitions.next_month(month)


def _copy(connection: PostgresConnection, table: str, rows: list[million_rows.Row]) -> None:
    with (
        connection.raw.cursor() as cursor,
        cursor.copy(f"COPY {table} ({', '.join(rows[0])}) FROM STDIN".encode()) as copy,
    ):
        for row in rows:
            copy.write_row(list(row.values()))
