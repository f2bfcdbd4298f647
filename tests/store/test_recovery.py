"""Recovery of a writer whose database was locked for a minute, on a fake clock."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from databases import Database, PostgresDatabase
from store.doubles import started

from aibridge_addon.store import record_writer
from aibridge_addon.store.postgres import connection as postgres_connection
from aibridge_addon.store.postgres import writer as postgres_writer
from aibridge_addon.store.postgres.address import Address
from aibridge_addon.store.postgres.budget_book import PostgresBudgetBook
from aibridge_addon.store.postgres.connection import PostgresConnection
from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.record_writer import RecordWriter
from aibridge_addon.store.sql.budget_book import SQLBudgetBook
from aibridge_addon.store.sqlite import database_file
from aibridge_addon.store.sqlite import writer as sqlite_writer
from aibridge_addon.store.statements import statements

LOCK_S = 62.0
"""Just longer than some pauses that double."""
TURN_S = 0.5
"""Interval at which a recorder calls its writer."""
LOCKS = {
    False: "BEGIN EXCLUSIVE",
    True: "BEGIN; LOCK TABLE aibridge_interceptions IN ACCESS EXCLUSIVE MODE",
}
"""Statements by whether the database is PostgreSQL."""


class Clock:
    """The clock of the writer."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


class ImmediateReconnection:
    """A `Reconnection` that is done at once, so that no fake time passes meanwhile."""

    is_done = True

    def __init__(self, connect: Callable[[], PostgresConnection]) -> None:
        self._connect = connect

    def result(self) -> PostgresConnection:
        """Connect."""
        return self._connect()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Clock:
    """Return the writer's clock; waits for locks are short."""
    monkeypatch.setattr(record_writer, "time", made := Clock())
    monkeypatch.setattr(database_file, "BUSY_SECONDS", 0.0)
    monkeypatch.setattr(postgres_connection, "_SETTINGS", "SET lock_timeout = 10")
    monkeypatch.setattr(postgres_writer, "Reconnection", ImmediateReconnection)
    monkeypatch.setattr(postgres_writer, "user_data_path", lambda *args, **options: tmp_path)
    return made


@contextmanager
def opened(database: Database) -> Iterator[RecordWriter[Any]]:
    """Return a started writer of a database."""
    made: RecordWriter[Any]
    if isinstance(database, PostgresDatabase):
        made = postgres_writer.Writer(
            Address(database.location), lambda *event: None, Retention(), PostgresBudgetBook()
        )
    else:
        made = sqlite_writer.Writer(
            Path(database.location), lambda *event: None, Retention(), SQLBudgetBook()
        )
    with closing(made):
        made.start()
        yield made


def test_records_are_stored_within_seconds_after_a_long_lock(
    database: Database, clock: Clock
) -> None:
    facts = [started() for _ in range(int(LOCK_S / TURN_S))]
    with opened(database) as writer:
        with database.connected() as other:
            other.execute(LOCKS[isinstance(database, PostgresDatabase)])
            for fact in facts:
                assert writer.write(list(statements([fact])))
                assert not writer.available
                writer.tidy()
                clock.now += TURN_S
        unlocked = clock.now
        while not writer.available:
            writer.write([])
            writer.tidy()
            clock.now += TURN_S
        assert clock.now - unlocked <= 6
    assert database.select("SELECT count(*) FROM aibridge_interceptions") == [(len(facts),)]
