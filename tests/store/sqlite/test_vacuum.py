"""Space of deleted rows goes back to the disk in small steps."""

import sqlite3
from contextlib import closing
from itertools import pairwise

import pytest
from sqlite_utils import Database
from store.doubles import all_of_one, prompt, started

from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.sqlite import sweeper as sweeper_module
from aibridge_addon.store.sqlite import vacuum
from aibridge_addon.store.sqlite.database_file import DatabaseFile, transaction
from aibridge_addon.store.sqlite.recorder import SQLiteRecorder
from aibridge_addon.store.sqlite.schema import migrate
from aibridge_addon.store.sqlite.sql import SQL
from aibridge_addon.store.sqlite.sweeper import Sweeper
from aibridge_addon.store.statements import statements

OLD = "2020-01-01T00:00:00.000000+00:00"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "aibridge.sqlite3"


@pytest.fixture
def connection(path):
    database = DatabaseFile(path)
    yield database.connect()
    database.close()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(sweeper_module, "STEP_SECONDS", 0.0)


def fill(connection, count=20):
    """Write old interceptions with large prompts, about 20 KB each."""
    with transaction(connection):
        for _ in range(count):
            interception = started(started_at=OLD)
            facts = [*all_of_one(interception), prompt(interception, "x" * 20_000)]
            for kind, values in statements(facts):
                connection.execute(SQL[kind], values)


def sweep(connection, days=30):
    """Take steps until the round is over; return the changes of the free pages by step."""
    sweeper = Sweeper(Retention(interceptions=days), lambda number: None)
    free = [pages_free(connection)]
    while sweeper.is_due:
        sweeper.step(connection)
        free.append(pages_free(connection))
    return free


def pages_free(connection):
    return connection.execute("PRAGMA freelist_count").fetchone()[0]


def make_older(path):
    """Make a database as versions before this did, which cannot shrink."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(Database(connection))
        fill(connection)


def can_shrink(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA auto_vacuum").fetchone()[0] == 2


def test_deleted_rows_give_their_space_back(connection, path):
    fill(connection)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.stat().st_size

    sweep(connection)

    assert pages_free(connection) == 0
    assert path.stat().st_size < before / 2


def test_no_step_frees_more_than_a_few_pages(connection, monkeypatch):
    monkeypatch.setattr(vacuum, "PAGES_AT_ONCE", 7)
    fill(connection)

    free = sweep(connection)

    most = max(free)
    freed = [before - after for before, after in pairwise(free)]
    assert most > 50
    assert max(freed) == 7
    assert free[-1] == 0


def test_without_retention_nothing_is_deleted(connection):
    fill(connection, 3)
    sweep(connection, days=None)
    assert connection.execute("SELECT count(*) FROM aibridge_interceptions").fetchone()[0] == 3


def test_small_database_of_an_older_version_is_rebuilt_at_the_start(path):
    make_older(path)
    assert not can_shrink(path)

    recorder = SQLiteRecorder(path)
    recorder.start()
    recorder.close()

    assert can_shrink(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("SELECT count(*) FROM aibridge_interceptions").fetchone()[0] == 20


def test_large_database_of_an_older_version_stays_and_that_is_said(path, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(vacuum, "REBUILT_BYTES", 100_000)
    make_older(path)

    recorder = SQLiteRecorder(path)
    recorder.start()
    recorder.close()

    assert not can_shrink(path)
    assert "does not shrink" in caplog.text


def test_steps_in_a_database_that_cannot_shrink_end(path):
    make_older(path)
    database = DatabaseFile(path)

    free = sweep(database.connect())

    assert free[-1] > 0
    database.close()
