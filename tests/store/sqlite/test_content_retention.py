"""Retention of contents: messages by the time of their interception, parts by their last use."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlite_utils import Database
from store.doubles import ended, request_content, response_content, started

from aibridge_addon.store.preparation import Preparation
from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.sql import content_retention, sweeper
from aibridge_addon.store.sql.sweeper import Sweeper
from aibridge_addon.store.sqlite import vacuum
from aibridge_addon.store.sqlite.schema import migrate
from aibridge_addon.store.sqlite.writer import execute

NOW = datetime.now(UTC)
HISTORY = [{"role": "user", "content": f"message {number}"} for number in range(5)]


@pytest.fixture(autouse=True)
def _every_step_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "ROUND_SECONDS", 0.0)
    monkeypatch.setattr(sweeper, "STEP_SECONDS", 0.0)


@pytest.fixture
def db() -> Iterator[Database]:
    database = Database(sqlite3.connect(":memory:", isolation_level=None))
    migrate(database)
    yield database
    database.close()


def record(db: Database, preparation: Preparation, *, days_ago: float, said: str) -> str:
    """Record an interception of some days ago with a history and an own message."""
    moment = NOW - timedelta(days=days_ago)
    milliseconds = f"{int(moment.timestamp() * 1000):012x}"
    id_ = f"{milliseconds[:8]}-{milliseconds[8:]}-7000-8000-{abs(hash(said)) % 10**12:012d}"
    at = moment.isoformat(timespec="microseconds")
    interception = started(id=id_, started_at=at)
    body = {"messages": [*HISTORY, {"role": "user", "content": said}]}
    answer = {"id": said, "type": "message", "content": [{"type": "text", "text": f"re: {said}"}]}
    facts = (
        interception,
        request_content(interception, body, created_at=at),
        response_content(interception, answer, created_at=at),
        ended(interception, ended_at=at),
    )
    for statement in preparation.statements(facts):
        execute(db.conn, statement)
    return id_


def sweep(db: Database, retention: Retention) -> None:
    swept = Sweeper(retention, lambda number: None, vacuum.free_some)
    for _ in range(20):
        swept.step(db.conn)


def left(db: Database) -> tuple[set[str], int]:
    """Return the interceptions that have messages, and the number of parts."""
    rows = db.execute("SELECT DISTINCT interception_id FROM aibridge_messages")
    return {id_ for (id_,) in rows}, db.table("aibridge_parts").count


def dangling(db: Database) -> int:
    query = "SELECT count(*) FROM aibridge_messages WHERE part NOT IN (SELECT digest FROM aibridge_parts)"  # noqa: E501
    return int(db.execute(query).fetchone()[0])


def test_contents_are_deleted_after_their_own_days_and_the_rest_stays(db: Database) -> None:
    preparation = Preparation()
    old = record(db, preparation, days_ago=20, said="old")
    new = record(db, preparation, days_ago=1, said="new")

    sweep(db, Retention(content=10))

    assert left(db) == ({new}, 7)
    assert {row["id"] for row in db.table("aibridge_interceptions").rows} == {old, new}
    assert dangling(db) == 0
    texts = {row["interception_id"] for row in db.table("aibridge_search_texts").rows}
    assert texts == {new}


def test_parts_that_newer_requests_use_stay(db: Database) -> None:
    preparation = Preparation()
    for days in (20, 19, 13, 11, 8, 3):
        record(db, preparation, days_ago=days, said=f"{days}")

    sweep(db, Retention(content=10))

    ids, parts = left(db)
    assert len(ids) == 2
    assert dangling(db) == 0
    assert parts == len(HISTORY) + 2 * 2 + 2  # those of eleven days ago stay for two more days


def test_messages_are_deleted_with_their_interceptions(db: Database) -> None:
    preparation = Preparation()
    record(db, preparation, days_ago=20, said="old")
    new = record(db, preparation, days_ago=1, said="new")

    sweep(db, Retention(interceptions=10))

    assert left(db) == ({new}, 7)
    assert [row["id"] for row in db.table("aibridge_interceptions").rows] == [new]


def test_contents_stay_without_retention(db: Database) -> None:
    record(db, Preparation(), days_ago=2000, said="old")

    sweep(db, Retention(hidden_turns=1))

    assert len(left(db)[0]) == 1


def test_each_step_deletes_a_bounded_number_of_rows(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_retention, "STEP_ROWS", 4)
    record(db, Preparation(), days_ago=20, said="old")
    swept = Sweeper(Retention(content=10), lambda number: None, vacuum.free_some)
    counts = []
    for _ in range(4):
        swept.step(db.conn)
        counts.append((db.table("aibridge_messages").count, db.table("aibridge_parts").count))

    assert counts == [(3, 3), (0, 0), (0, 0), (0, 0)]
