"""Space of deleted rows is returned to the disk in small steps."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from sqlite_utils import Database
from store.doubles import all_of_one, prompt, started

from aibridge_addon.facts import Fact
from aibridge_addon.store.connection import transaction
from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.sql import sweeper as sweeper_module
from aibridge_addon.store.sql.sweeper import Sweeper
from aibridge_addon.store.sql.writes import SQL
from aibridge_addon.store.sqlite import vacuum
from aibridge_addon.store.sqlite.database_file import DatabaseFile
from aibridge_addon.store.sqlite.recorder import SQLiteRecorder
from aibridge_addon.store.sqlite.schema import migrate
from aibridge_addon.store.statements import statements

OLD = "2020-01-01T00:00:00.000000+00:00"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "aibridge.sqlite3"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    database = DatabaseFile(path)
    yield database.connect()
    database.close()


@pytest.fixture(autouse=True)
def _steps_without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper_module, "STEP_SECONDS", 0.0)


def fill(connection: sqlite3.Connection, count: int = 20) -> None:
    """Write old interceptions with large prompts, about 20 KB each."""
    with transaction(connection):
        for _ in range(count):
            interception = started(started_at=OLD)
            facts: list[Fact] = [*all_of_one(interception), prompt(interception, "x" * 20_000)]
            for kind, values in statements(facts):
                connection.execute(SQL[kind], values)


def sweep(connection: sqlite3.Connection, days: int | None = 30) -> list[int]:
    """Execute steps until the round is over; return the number of all pages after each."""
    sweeper = Sweeper(Retention(interceptions=days), lambda number: None, vacuum.free_some)
    pages = [page_count(connection)]
    while sweeper.is_due:
        sweeper.step(connection)
        pages.append(page_count(connection))
    return pages


def page_count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA page_count").fetchone()[0])


def pages_free(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA freelist_count").fetchone()[0])


def make_older(path: Path) -> None:
    """Create a database as older versions did, which cannot shrink."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(Database(connection))
        fill(connection)


def can_shrink(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("PRAGMA auto_vacuum").fetchone()[0] == 2)


def test_space_of_deleted_rows_is_returned_to_the_disk(
    connection: sqlite3.Connection, path: Path
) -> None:
    fill(connection)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.stat().st_size

    sweep(connection)

    assert pages_free(connection) == 0
    assert path.stat().st_size < before / 2


def test_each_step_frees_a_limited_number_of_pages(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vacuum, "PAGES_AT_ONCE", 7)
    fill(connection)

    pages = sweep(connection)

    freed = [before - after for before, after in pairwise(pages)]
    assert sum(freed) > 50
    assert max(freed) == 7
    assert pages_free(connection) == 0


def test_without_retention_nothing_is_deleted(connection: sqlite3.Connection) -> None:
    fill(connection, 3)
    sweep(connection, days=None)
    assert connection.execute("SELECT count(*) FROM aibridge_interceptions").fetchone()[0] == 3


def test_small_database_of_an_older_version_is_rebuilt_at_the_start(path: Path) -> None:
    make_older(path)
    assert not can_shrink(path)

    recorder = SQLiteRecorder(path)
    recorder.start()
    recorder.close()

    assert can_shrink(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("SELECT count(*) FROM aibridge_interceptions").fetchone()[0] == 20


def test_large_database_of_an_older_version_is_not_rebuilt_and_logged(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(vacuum, "REBUILT_BYTES", 100_000)
    make_older(path)

    recorder = SQLiteRecorder(path)
    recorder.start()
    recorder.close()

    assert not can_shrink(path)
    assert "does not shrink" in caplog.text


def test_steps_end_in_a_database_that_cannot_shrink(path: Path) -> None:
    make_older(path)
    database = DatabaseFile(path)

    free = sweep(database.connect())

    assert free[-1] > 0
    database.close()
