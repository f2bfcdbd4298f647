"""Processes in the records: what an ended process left open is closed by the others."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlite_utils import Database
from store.doubles import ended, started

from aibridge_addon.facts import Interception, ProcessSeen
from aibridge_addon.store.sql.processes import SILENCE_SECONDS, tidy
from aibridge_addon.store.sql.reports.processes import read_processes
from aibridge_addon.store.sql.writes import SQL
from aibridge_addon.store.sqlite.schema import migrate
from aibridge_addon.store.statements import statements


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="microseconds")


def seen(id_: str, *, silent: float = 0, ended_at: str | None = None) -> ProcessSeen:
    return ProcessSeen(
        id=id_,
        host="one",
        pid=7,
        version="0",
        started_at=ago(silent + 60),
        seen_at=ago(silent),
        ended_at=ended_at,
        open_requests=1,
        requests=2,
        cpu_percent=3.5,
    )


@pytest.fixture
def db() -> Iterator[Database]:
    with closing(Database(memory=True)) as database:
        migrate(database)
        yield database


def store(db: Database, *facts: object) -> None:
    for statement in statements(facts):  # type: ignore[arg-type]
        db.execute(SQL[statement.kind], statement.values)


def open_of(process: str) -> Interception:
    return started(id=f"open of {process}", process_id=process)


def states(db: Database) -> dict[str, str | None]:
    return {row["process_id"]: row["status"] for row in db.table("aibridge_interceptions").rows}


def test_a_process_has_one_row_with_its_last_sign_of_life(db: Database) -> None:
    store(db, seen("one", silent=30))
    store(db, seen("one"))
    [row] = read_processes(db.conn, datetime.now(UTC))
    assert (row.id, row.requests, row.cpu_percent, row.ended_at) == ("one", 2, 3.5, None)


def test_requests_of_silent_and_ended_processes_are_closed(db: Database) -> None:
    store(db, seen("silent", silent=SILENCE_SECONDS + 1), seen("ended", ended_at=ago(1)))
    store(db, seen("alive", silent=SILENCE_SECONDS - 5))
    store(db, *(open_of(process) for process in ("silent", "ended", "alive", "unknown")))

    tidy(db.conn, datetime.now(UTC))

    assert states(db) == {
        "silent": "interrupted",
        "ended": "interrupted",
        "alive": None,
        "unknown": None,
    }


def test_real_end_of_a_process_that_lives_after_all_replaces_the_closing(db: Database) -> None:
    store(db, seen("silent", silent=SILENCE_SECONDS + 1), open_of("silent"))
    tidy(db.conn, datetime.now(UTC))

    store(db, ended(open_of("silent")))

    assert states(db) == {"silent": "completed"}


def test_processes_are_forgotten_after_a_week(db: Database) -> None:
    store(db, seen("old", silent=8 * 86400), seen("recent", silent=6 * 86400))
    tidy(db.conn, datetime.now(UTC))
    assert [row.id for row in read_processes(db.conn, datetime.now(UTC))] == ["recent"]
